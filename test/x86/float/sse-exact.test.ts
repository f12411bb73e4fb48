/**
 * The exact SSE path against rows of a real processor, in all rounding modes, with DAZ, FTZ and unmasked exceptions.
 * Row: u32 operation, lanes, form (0 xmm ← xmm, 1 integer register ← xmm, 2 xmm ← integer register, 3 COMI/UCOMI),
 * MXCSR; 16 bytes destination, 16 source; u32 MXCSR after, u32 1 if #XM came; 16 bytes result (form 3: EFLAGS).
 */
import t from 'tap'
import {compareSse, executeSse, SseOperation} from '../../../lib/x86/float/sse-exact.js'
import {goldenRows, hexadecimal} from './golden.js'

const nameOf = new Map<number, string>(Object.entries(SseOperation).map(([name, number]) => [number, name]))
const comparisons = new Map([
  [100, {name: 'COMISS', isDouble: false, quiet: false}],
  [101, {name: 'COMISD', isDouble: true, quiet: false}],
  [102, {name: 'UCOMISS', isDouble: false, quiet: true}],
  [103, {name: 'UCOMISD', isDouble: true, quiet: true}],
])
const mxcsrAddress = 32
const written = new Set<number>([
  SseOperation.doubleToSingle,
  SseOperation.doubleToInt32,
  SseOperation.doubleTruncateInt32,
])

function runRow(row: DataView): {expected: string; actual: string} {
  const operation = row.getUint32(0, true)
  const lanes = row.getUint32(4, true)
  const form = row.getUint32(8, true)
  const memory = new DataView(new ArrayBuffer(64))
  for (let i = 0; i < 32; i++) memory.setUint8(i, row.getUint8(16 + i))
  memory.setUint32(mxcsrAddress, row.getUint32(12, true), true)
  const trapped = row.getUint32(52, true)
  let raised: number
  let result: string
  let wanted = hexadecimal(row, 56, 16)
  const comparison = comparisons.get(operation & 0xff)
  if (comparison) {
    const flags = compareSse(memory, comparison.isDouble, comparison.quiet, 0, 16, mxcsrAddress)
    raised = flags < 0 ? 1 : 0
    result = (flags & 0x8d5).toString(16)
    wanted = (row.getUint32(56, true) & 0x8d5).toString(16)
  } else {
    if (form === 1) new Uint8Array(memory.buffer).fill(0, 0, 16)
    raised = executeSse(memory, operation, 0, 16, lanes, mxcsrAddress)
    if (form === 0 && lanes === 2 && written.has(operation & 0xff)) memory.setBigUint64(8, 0n)
    result = hexadecimal(memory, 0, 16)
  }
  const after = (mxcsr: number, trap: number, value: string) =>
    `MXCSR ${mxcsr.toString(16)}, ${trap ? '#XM' : `result ${value}`}`
  return {
    expected: after(row.getUint32(48, true), trapped, wanted),
    actual: after(memory.getUint32(mxcsrAddress, true), raised, result),
  }
}

const rows = goldenRows('sse', 72)
const byOperation = new Map<number, DataView[]>()
for (const row of rows) {
  const number = row.getUint8(0)
  byOperation.set(number, [...(byOperation.get(number) ?? []), row])
}

t.test('every operation has rows', async t => {
  for (const number of [...nameOf.keys(), ...comparisons.keys()]) t.ok(byOperation.has(number), `${number}`)
})

for (const [number, group] of byOperation) {
  t.test(`${comparisons.get(number)?.name ?? nameOf.get(number)}: ${group.length} rows`, async t => {
    for (const row of group) {
      const {expected, actual} = runRow(row)
      const input = `operation ${row.getUint32(0, true).toString(16)}, MXCSR ${row.getUint32(12, true).toString(16)}`
      t.equal(actual, expected, `${input}, ${hexadecimal(row, 16, 16)}, ${hexadecimal(row, 32, 16)}`)
    }
  })
}

t.test('#XM leaves the destination as it was', async t => {
  const memory = new DataView(new ArrayBuffer(64))
  memory.setFloat64(0, 1, true)
  memory.setFloat64(8, 1, true)
  memory.setFloat64(24, 3, true)
  memory.setUint32(mxcsrAddress, 0x1f80 & ~(4 << 7), true)
  t.equal(executeSse(memory, SseOperation.divideDouble, 0, 16, 2, mxcsrAddress), 1)
  t.equal(memory.getFloat64(0, true), 1)
  t.equal(memory.getUint32(mxcsrAddress, true) & 0x3f, 4, 'ZE only: 1 ÷ 3 of the other lane leaves no PE')
})
