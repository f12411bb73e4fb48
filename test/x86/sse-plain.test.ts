/**
 * Where the host's instructions do floating-point arithmetic (MXCSR as programs have it) the result and the flags are those of the exact
 * operations, which the vectors and the golden rows of test/x86/float check. Numbers are ordinary ones mixed with edges: zeros, denormals, sums that
 * cancel, products that overflow or vanish, halves, limits of integers.
 */
import t from 'tap'
import {executeSse, SseOperation} from '../../lib/x86/float/sse-exact.js'
import {state} from '../../lib/x86/state.js'
import {assembled} from '../support/assembler.js'
import {machine} from '../support/machine.js'

const code = 0x800000
/** Round to nearest, everything masked; without and with PE. */
const modes = [0x1f80, 0x1fa0]

/** [instruction, exact operation, lanes, bytes of a source lane, target is RAX]. Operands are XMM1 (or EAX) and XMM2. */
const rows: [text: string, operation: number, lanes: number, sourceBytes: 4 | 8, general?: boolean][] = []
const operations = [
  ['add', SseOperation.addSingle],
  ['mul', SseOperation.multiplySingle],
  ['sub', SseOperation.subtractSingle],
  ['min', SseOperation.minimumSingle],
  ['div', SseOperation.divideSingle],
  ['max', SseOperation.maximumSingle],
  ['sqrt', SseOperation.squareRootSingle],
] as const
for (const [name, single] of operations)
  rows.push(
    [`${name}ps xmm1,xmm2`, single, 4, 4],
    [`${name}pd xmm1,xmm2`, single + 1, 2, 8],
    [`${name}ss xmm1,xmm2`, single, 1, 4],
    [`${name}sd xmm1,xmm2`, single + 1, 1, 8],
  )
for (const [number, predicate] of ['eq', 'lt', 'le', 'unord', 'neq', 'nlt', 'nle', 'ord'].entries())
  rows.push(
    [`cmp${predicate}ps xmm1,xmm2`, SseOperation.compareSingle | (number << 8), 4, 4],
    [`cmp${predicate}pd xmm1,xmm2`, SseOperation.compareDouble | (number << 8), 2, 8],
    [`cmp${predicate}ss xmm1,xmm2`, SseOperation.compareSingle | (number << 8), 1, 4],
    [`cmp${predicate}sd xmm1,xmm2`, SseOperation.compareDouble | (number << 8), 1, 8],
  )
for (let control = 0; control < 16; control++) {
  rows.push(
    [`roundss xmm1,xmm2,0x${control.toString(16)}`, SseOperation.roundSingle | (control << 8), 1, 4],
    [`roundsd xmm1,xmm2,0x${control.toString(16)}`, SseOperation.roundDouble | (control << 8), 1, 8],
  )
}
rows.push(
  ['cvtss2sd xmm1,xmm2', SseOperation.singleToDouble, 1, 4],
  ['cvtsd2ss xmm1,xmm2', SseOperation.doubleToSingle, 1, 8],
  ['cvtps2pd xmm1,xmm2', SseOperation.singleToDouble, 2, 4],
  ['cvtdq2ps xmm1,xmm2', SseOperation.int32ToSingle, 4, 4],
  ['cvttps2dq xmm1,xmm2', SseOperation.singleTruncateInt32, 4, 4],
  ['cvtdq2pd xmm1,xmm2', SseOperation.int32ToDouble, 2, 4],
  ['cvttss2si eax,xmm2', SseOperation.singleTruncateInt32, 1, 4, true],
  ['cvttsd2si eax,xmm2', SseOperation.doubleTruncateInt32, 1, 8, true],
  ['cvtss2si eax,xmm2', SseOperation.singleToInt32, 1, 4, true],
  ['cvtsd2si eax,xmm2', SseOperation.doubleToInt32, 1, 8, true],
  ['cvttss2si rax,xmm2', SseOperation.singleTruncateInt64, 1, 4, true],
  ['cvttsd2si rax,xmm2', SseOperation.doubleTruncateInt64, 1, 8, true],
  ['cvtss2si rax,xmm2', SseOperation.singleToInt64, 1, 4, true],
  ['cvtsd2si rax,xmm2', SseOperation.doubleToInt64, 1, 8, true],
)

// biome-ignore format: a table
const numbers = [0, -0, 1, -1, 1.5, -2.5, 0.5, 3.25, 1e-3, 1 / 3, -1e9, 1e300, -1e300, 1e-300, 1e38, -1e38, 1e-38, 2 ** -126, 2 ** -1022, 5e-324,
  2 ** -149, 2 ** 31, -(2 ** 31), 2 ** 31 - 0.5, 2 ** 31 - 1, -(2 ** 31) - 1, 2 ** 53, 2 ** 53 + 2, 2 ** 63, -(2 ** 63), 2 ** 24 + 1, 0.49999999999999994,
  Infinity, -Infinity, NaN, 3.4028234663852886e38, 1.7976931348623157e308]

t.test('the host and the exact operations agree', async t => {
  const {vcpu, memory, at, run} = machine({translateAfter: 1})
  const {view, bytes} = memory
  const xmm = (register: number) => vcpu.base + state.xmm + register * 16
  /** Where the expected result is made, and MXCSR beside it. */
  const expected = at(0x900000)
  const write = (to: number, size: 4 | 8, lane: number, value: number) =>
    size === 8 ? view.setFloat64(to + lane * 8, value, true) : view.setFloat32(to + lane * 4, value, true)
  for (const [text, operation, lanes, size, general] of rows) {
    bytes.set(assembled(`${text}; int3`), at(code))
    vcpu.code.invalidatePage(at(code))
    let wrong = ''
    for (const mode of modes)
      for (const [index, left] of numbers.entries())
        for (const [other, right] of numbers.entries()) {
          // Every sixth pair; in the lanes above there are others.
          if ((index + other) % 6 !== 0) continue
          for (let lane = 0; lane < 16 / size; lane++) {
            write(xmm(1), size, lane, numbers[(index + lane * 5) % numbers.length])
            write(xmm(2), size, lane, numbers[(other + lane * 3) % numbers.length])
          }
          bytes.copyWithin(expected, xmm(1), xmm(1) + 16)
          view.setUint32(expected + 32, mode, true)
          executeSse(view, operation, expected, xmm(2), lanes, expected + 32)
          vcpu.setU32(state.mxcsr, mode)
          vcpu.rip = BigInt(code)
          run()
          const width = general ? ((operation & 0xff) % 4 < 2 && (operation & 2) === 0 ? 4 : 8) : 16
          const result = general ? vcpu.base : xmm(1)
          const isSame = bytes.subarray(result, result + width).every((byte, place) => byte === bytes[expected + place])
          if (!isSame || vcpu.u32(state.mxcsr) !== view.getUint32(expected + 32, true))
            wrong ||= `${left}, ${right}, ${mode}`
        }
    t.equal(wrong, '', text)
  }
})

t.test('comparisons that set flags', async t => {
  const {vcpu, memory, at, run} = machine({translateAfter: 1})
  const xmm = (register: number) => vcpu.base + state.xmm + register * 16
  for (const [text, isDouble] of [
    ['ucomiss xmm1,xmm2', false],
    ['ucomisd xmm1,xmm2', true],
    ['comiss xmm1,xmm2', false],
    ['comisd xmm1,xmm2', true],
  ] as const) {
    memory.bytes.set(assembled(`${text}; int3`), at(code))
    vcpu.code.invalidatePage(at(code))
    for (const [index, left] of numbers.entries())
      for (const right of numbers.slice(index % 4).filter((_, place) => place % 4 === 0)) {
        const [a, b] = isDouble ? [left, right] : [Math.fround(left), Math.fround(right)]
        for (const [register, value] of [
          [1, a],
          [2, b],
        ])
          if (isDouble) memory.view.setFloat64(xmm(register), value, true)
          else memory.view.setFloat32(xmm(register), value, true)
        vcpu.setU32(state.mxcsr, 0x1f80)
        vcpu.rip = BigInt(code)
        run()
        const flags = a < b ? 0x01 : a === b ? 0x40 : a > b ? 0 : 0x45
        const actual = Number(vcpu.rflags & 0x8d5n)
        if (actual !== flags) t.equal(actual, flags, `${text}: ${a} ${b}`)
      }
    t.pass(text)
  }
})
