/**
 * Bytes → instruction, its operands and memory operand, as text. What instructions do is checked by the vectors; here: prefixes, ModRM and SIB,
 * sizes, immediates, lengths, and what is no instruction.
 *
 * Source: SDM vol. 2A chapter 2.
 */
import t from 'tap'
import {offered} from '../../../lib/x86/cpuid.js'
import {createDecoder} from '../../../lib/x86/decode/decode.js'
import type {DecodedInstruction} from '../../../lib/x86/decode/instruction-record.js'
import {instructions} from '../../../lib/x86/semantics/index.js'
import {state} from '../../../lib/x86/state.js'

const decode = createDecoder(instructions, offered)
const rip = 0x1000

const names = 'ax cx dx bx sp bp si di 8 9 10 11 12 13 14 15'.split(' ')
const segments = ['es', 'cs', 'ss', 'ds', 'fs', 'gs']

function register(offset: number, bits: number, isSelector: boolean): string {
  if (isSelector) return segments[(offset - state.selector) / 2]
  if (offset >= state.x87) return `mm${(offset - state.x87) / 16}`
  if (offset >= state.xmm) return `xmm${(offset - state.xmm) / 16}`
  const name = names[offset >> 3]
  if (bits === 8) return offset & 1 ? `${name[0]}h` : `${name}.b`
  return `${name}.${{16: 'w', 32: 'd', 64: 'q'}[bits]}`
}

function memoryText({memory, variant}: DecodedInstruction): string {
  if (memory === undefined) return '?'
  const {base, index, scale, displacement, segment, addsSegmentBase} = memory
  const terms: string[] = []
  if (base !== state.zero) terms.push(names[base >> 3])
  if (index !== state.zero) terms.push(`${names[index >> 3]}*${1 << scale}`)
  if (displacement !== 0 || terms.length === 0) terms.push(`${displacement < 0 ? '-' : ''}0x${abs(displacement)}`)
  return `${addsSegmentBase ? `${segments[segment]}:` : ''}${variant.addressBits}[${terms.join(' ')}]`
}
const abs = (value: number | bigint) => (value < 0 ? -value : value).toString(16)

/** The instruction as text, or why there is none. */
function text(hex: string, bits: 64 | 32 | 16): string {
  const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
  // Behind the instruction there is always something.
  const decoded = decode(Buffer.concat([bytes, Buffer.alloc(15, 0xcc)]), 0, rip, bits)
  if (typeof decoded === 'string') return decoded
  let slot = 0
  const operands = decoded.operands.map((operand, index) => {
    const letter = decoded.form.operands[index]
    if (operand.kind === 'memory') return `${operand.bits}${memoryText(decoded)}`
    if (operand.kind === 'immediate') return operand.constant ?? `${decoded.immediate}`
    if (operand.kind === 'fixed') return letter
    const offset = operand.ref && 'fixed' in operand.ref ? operand.ref.fixed : decoded.slots[slot++]
    return register(offset, operand.bits, letter.startsWith('S'))
  })
  const rep = decoded.variant.rep === 'none' ? '' : `${decoded.variant.rep} `
  const lock = decoded.variant.locked ? 'lock ' : ''
  const extra = decoded.length === bytes.length ? '' : ` (${decoded.length} bytes)`
  return `${lock}${rep}${decoded.instruction.mnemonic} ${operands.join(', ')}`.trim() + extra
}

const rows: [title: string, bits: 64 | 32 | 16, rows: [hex: string, expected: string][]][] = [
  [
    'operand sizes in 64-bit code',
    64,
    [
      ['01 c8', 'ADD ax.d, cx.d'],
      ['48 01 c8', 'ADD ax.q, cx.q'],
      ['66 01 c8', 'ADD ax.w, cx.w'],
      ['66 48 01 c8', 'ADD ax.q, cx.q'],
      ['00 e1', 'ADD cx.b, ah'],
      ['40 00 e1', 'ADD cx.b, sp.b'],
      ['45 01 c8', 'ADD 8.d, 9.d'],
      ['48 66 01 c8', 'ADD ax.w, cx.w'],
      ['50', 'PUSH ax.q'],
      ['66 50', 'PUSH ax.w'],
      ['41 57', 'PUSH 15.q'],
    ],
  ],
  [
    'immediates',
    64,
    [
      ['83 c0 ff', 'ADD ax.d, -1'],
      ['48 81 c0 00 00 00 80', 'ADD ax.q, -2147483648'],
      ['66 81 c0 34 12', 'ADD ax.w, 4660'],
      ['48 b8 88 77 66 55 44 33 22 11', 'MOV ax.q, 1234605616436508552'],
      ['c8 34 12 02', 'ENTER 135732, 135732'],
      ['d1 e0', 'SHL ax.d, 1'],
      ['d3 e0', 'SHL ax.d, cx.b'],
    ],
  ],
  [
    'relative branches hold their target',
    64,
    [
      ['eb fe', 'JMP 4096'],
      ['e9 00 01 00 00', 'JMP 4357'],
      ['74 10', 'JE 4114'],
    ],
  ],
  [
    'ModRM and SIB in 64-bit code',
    64,
    [
      ['8b 00', 'MOV ax.d, 3264[ax]'],
      ['8b 40 80', 'MOV ax.d, 3264[ax -0x80]'],
      ['8b 80 00 01 00 00', 'MOV ax.d, 3264[ax 0x100]'],
      ['8b 04 24', 'MOV ax.d, 3264[sp]'],
      ['41 8b 04 24', 'MOV ax.d, 3264[12]'],
      ['8b 04 8a', 'MOV ax.d, 3264[dx cx*4]'],
      ['42 8b 04 a2', 'MOV ax.d, 3264[dx 12*4]'],
      ['8b 04 25 10 00 00 00', 'MOV ax.d, 3264[0x10]'],
      ['8b 04 8d 10 00 00 00', 'MOV ax.d, 3264[cx*4 0x10]'],
      ['8b 44 8d 10', 'MOV ax.d, 3264[bp cx*4 0x10]'],
      ['41 8b 45 00', 'MOV ax.d, 3264[13]'],
      ['67 8b 00', 'MOV ax.d, 3232[ax]'],
    ],
  ],
  [
    'RIP-relative operands count from the end of the instruction',
    64,
    [
      ['8b 05 10 00 00 00', 'MOV ax.d, 3264[0x1016]'],
      ['83 3d 10 00 00 00 05', 'CMP 3264[0x1017], 5'],
      ['67 8b 05 10 00 00 00', 'MOV ax.d, 3232[0x1017]'],
    ],
  ],
  [
    'segments: in 64-bit code only FS and GS count',
    64,
    [
      ['64 8b 00', 'MOV ax.d, 32fs:64[ax]'],
      ['2e 8b 00', 'MOV ax.d, 3264[ax]'],
      ['65 3e 8b 00', 'MOV ax.d, 32gs:64[ax]'],
      ['8e d8', 'MOV ds, ax.w'],
      ['8e c8', 'MOV cs, ax.w'],
    ],
  ],
  [
    'segments and addresses in 32-bit code',
    32,
    [
      ['8b 00', 'MOV ax.d, 32ds:32[ax]'],
      ['8b 45 04', 'MOV ax.d, 32ss:32[bp 0x4]'],
      ['8b 05 10 00 00 00', 'MOV ax.d, 32ds:32[0x10]'],
      ['2e 8b 04 24', 'MOV ax.d, 32cs:32[sp]'],
      ['40', 'INC ax.d'],
      ['67 8b 07', 'MOV ax.d, 32ds:16[bx]'],
      ['67 8b 42 fe', 'MOV ax.d, 32ss:16[bp si*1 -0x2]'],
      ['67 8b 06 34 12', 'MOV ax.d, 32ds:16[0x1234]'],
      ['66 8b 00', 'MOV ax.w, 16ds:32[ax]'],
    ],
  ],
  [
    '16-bit code',
    16,
    [
      ['8b 07', 'MOV ax.w, 16ds:16[bx]'],
      ['66 67 8b 00', 'MOV ax.d, 32ds:32[ax]'],
    ],
  ],
  [
    'prefixes that mean something',
    64,
    [
      ['f0 01 08', 'lock ADD 3264[ax], cx.d'],
      ['f3 a4', 'rep MOVS Yb, Xb'],
      ['f2 ae', 'repne SCAS Yb, ax.b'],
      ['f3 90', 'PAUSE'],
      ['90', 'NOP'],
      ['41 90', 'XCHG 8.d, ax.d'],
      ['f3 0f b8 c1', 'POPCNT ax.d, cx.d'],
      ['66 0f 6f c1', 'MOVDQA xmm0, xmm1'],
      ['66 f3 0f 6f c1', 'MOVDQU xmm0, xmm1'],
      ['f2 66 0f 38 f1 c1', 'CRC32 ax.d, cx.w'],
      ['f2 48 0f 38 f1 c1', 'CRC32 ax.d, cx.q'],
      ['66 0f 38 f1 08', 'MOVBE 1664[ax], cx.w'],
      ['c4 e2 70 f2 c2', 'ANDN ax.d, cx.d, dx.d'],
      ['c4 62 f0 f2 c2', 'ANDN 8.q, cx.q, dx.q'],
    ],
  ],
  [
    'no instructions',
    64,
    [
      ['06', 'undefined'],
      ['0f 0b', 'UD2'],
      ['f0 01 c8', 'undefined'],
      ['f0 8b 08', 'undefined'],
      ['8d c0', 'undefined'],
      ['0f c7 c8', 'undefined'],
      ['66 c4 e2 70 f2 c2', 'undefined'],
      ['8e f0', 'undefined'],
    ],
  ],
]

for (const [title, bits, list] of rows) {
  t.test(title, async t => {
    for (const [hex, expected] of list) t.equal(text(hex, bits), expected, hex)
  })
}

t.test('15 bytes are the most', async t => {
  t.equal(text(`${'66'.repeat(13)}01c8`, 64), 'ADD ax.w, cx.w')
  t.equal(text(`${'66'.repeat(14)}01c8`, 64), 'too-long')
})

t.test('every cut of an instruction asks for more bytes', async t => {
  for (const hex of ['48b88877665544332211', '6764f081848d1000000078563412', 'c4e270f2440810', '660f3adfc805'])
    for (let length = 0; length < hex.length / 2; length++)
      t.equal(decode(Buffer.from(hex, 'hex').subarray(0, length), 0, rip, 64), 'more-bytes', `${length} of ${hex}`)
})

t.test('variants: the same key for the same form and sizes, another one otherwise', async t => {
  const key = (hex: string) => {
    const decoded = decode(Buffer.concat([Buffer.from(hex, 'hex'), Buffer.alloc(15)]), 0, rip, 64)
    return typeof decoded === 'string' ? decoded : decoded.variantKey
  }
  t.equal(key('01c8'), key('01d9'))
  t.not(key('01c8'), key('4801c8'))
  t.not(key('01c8'), key('0108'))
  t.not(key('0108'), key('f00108'))
  t.not(key('c1e000'), key('c1e001'), 'a shift by zero leaves the flags')
  t.equal(key('c1e001'), key('c1e01f'))
})
