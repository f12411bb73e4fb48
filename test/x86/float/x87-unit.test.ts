/**
 * The x87 unit against rows of a real processor: every encoding of D8–DF except the transcendental ones, all control
 * words, stack faults, unmasked and pending exceptions. Then what rows cannot show: operand sizes, the 16-bit images,
 * EMMS.
 */
import t from 'tap'
import {fullTags, leaveMmx, storeLegacyImage, x87State} from '../../../lib/x86/float/x87-state.js'
import {Outcome, operandSize, X87Unit} from '../../../lib/x86/float/x87-unit.js'
import {goldenRows} from './golden.js'
import {encodingOf, rowBytes, runRow} from './x87-rows.js'

const groups = new Map<string, DataView[]>()
for (const row of goldenRows('x87', rowBytes)) {
  const opcode = encodingOf(row).slice(0, 2)
  groups.set(opcode, [...(groups.get(opcode) ?? []), row])
}
t.equal(groups.size, 8)
for (const [opcode, rows] of groups) {
  t.test(`${opcode}: ${rows.length} rows`, async t => {
    for (const row of rows) {
      const {expected, actual, input} = runRow(row)
      t.equal(actual, expected, input)
    }
  })
}

t.test('operand sizes', async t => {
  t.same(operandSize(0xd9, 0x28), {bytes: 2, direction: 'load'}, 'FLDCW')
  t.same(operandSize(0xdb, 0x38), {bytes: 10, direction: 'store'}, 'FSTP m80')
  t.same(operandSize(0xdd, 0x30), {bytes: 108, direction: 'store'}, 'FNSAVE')
  t.same(operandSize(0xdd, 0x20, true), {bytes: 94, direction: 'load'}, 'FRSTOR, 16-bit')
  t.same(operandSize(0xd9, 0x30, true), {bytes: 14, direction: 'store'}, 'FNSTENV, 16-bit')
  t.same(operandSize(0xd8, 0xc1), {bytes: 0, direction: 'none'}, 'FADD ST(1)')
})

t.test('16-bit FNSAVE and FRSTOR give the state back', async t => {
  const view = new DataView(new ArrayBuffer(1024))
  const unit = new X87Unit(view, 0)
  unit.execute(0xdb, 0xe3, 0)
  unit.execute(0xd9, 0xeb, 0) // FLDPI
  unit.execute(0xd9, 0xee, 0) // FLDZ
  const before = x87State.read(view, 0)
  unit.execute(0xdd, 0x30, 512, true)
  t.equal(view.getUint16(514, true), 0x3000, 'status word at 2')
  t.equal(view.getUint16(516, true), 0x1fff, 'full tag word at 4: R7 valid, R6 zero')
  t.equal(view.getUint8(x87State.offset.tags), 0, 'initialised')
  t.equal(unit.execute(0xdd, 0x20, 512, true), Outcome.done)
  t.same(x87State.read(view, 0), before)
})

t.test('EMMS empties every register', async t => {
  const view = new DataView(new ArrayBuffer(512))
  const unit = new X87Unit(view, 0)
  unit.execute(0xdb, 0xe3, 0)
  unit.execute(0xd9, 0xe8, 0)
  leaveMmx(view, 0)
  t.equal(view.getUint16(x87State.offset.status, true) & 0x3800, 0)
  t.equal(fullTags(view, 0), 0xffff)
})

t.test('pointers of the last instruction', async t => {
  const view = new DataView(new ArrayBuffer(2048))
  const unit = new X87Unit(view, 0)
  const code = {low: 0x12345678, high: 0xffff8000, selector: 0x33}
  const data = {low: 0x1000, high: 0x7fff, selector: 0x2b}
  const run = (opcode: number, modrm: number) => {
    const outcome = unit.execute(opcode, modrm, 1024)
    unit.note(opcode, modrm, code, modrm < 0xc0 ? data : undefined)
    return outcome
  }
  run(0xdb, 0xe3)
  view.setUint16(1024, 0x0340, true)
  run(0xd9, 0x28) // FLDCW: all unmasked
  view.setFloat64(1024, 1, true)
  run(0xdd, 0x00)
  view.setUint16(1024, 0, true)
  unit.execute(0xd9, 0x30, 1100) // FNSTENV, which masks all
  t.equal(view.getUint32(1112, true), 0x12345678)
  t.equal(view.getUint16(1116, true), 0x33)
  t.equal(view.getUint16(1118, true), 0x500, 'DD /0')
  t.equal(view.getUint32(1120, true), 0x1000)
  t.equal(view.getUint32(1124, true), 0xffff002b)
  unit.execute(0xd9, 0x30, 1300, true) // the 16-bit image
  t.strictSame(
    [3, 4, 5, 6].map(index => view.getUint16(1300 + index * 2, true)),
    [0x5678, 0x33, 0x1000, 0x2b],
  )
  storeLegacyImage(view, 0, 1200, true)
  t.equal(view.getBigUint64(1208, true), 0n, 'FXSAVE shows none while nothing is pending')
  unit.execute(0xd9, 0x20, 1100) // FLDENV
  view.setUint16(1024, 0x0340, true)
  run(0xd9, 0x28)
  t.equal(view.getUint16(x87State.offset.dataSelector, true), 0x2b)
  run(0xd8, 0xc3) // FADD ST(0), ST(3): stack underflow
  storeLegacyImage(view, 0, 1200, true)
  t.equal(view.getUint16(1206, true), 0x0c3)
  t.equal(view.getBigUint64(1208, true), 0xffff800012345678n)
  t.equal(view.getBigUint64(1216, true), 0x1000n, 'a register form keeps the data pointer, as FLDENV left it')
  storeLegacyImage(view, 0, 1200, false)
  t.equal(view.getBigUint64(1208, true), 0x3312345678n, 'the 32-bit form shows selectors')
  t.equal(view.getBigUint64(1216, true), 0x2b00001000n)
})

t.test('an unmasked exception waits for the next waiting instruction', async t => {
  const view = new DataView(new ArrayBuffer(1024))
  const unit = new X87Unit(view, 0)
  unit.execute(0xdb, 0xe3, 0)
  view.setUint16(512, 0x037b, true)
  unit.execute(0xd9, 0x28, 512) // FLDCW: zero divide unmasked
  unit.execute(0xd9, 0xe8, 0)
  unit.execute(0xd9, 0xee, 0)
  t.equal(unit.execute(0xd8, 0xf9, 0), Outcome.done, '1 ÷ 0 itself is not stopped')
  t.ok(unit.pending)
  t.equal(unit.execute(0xd9, 0x3c, 512), Outcome.done, 'FNSTCW does not wait')
  t.equal(unit.execute(0xd9, 0xe8, 0), Outcome.mathFault)
  t.equal(unit.execute(0xdb, 0xe2, 0), Outcome.done, 'FNCLEX')
  t.equal(unit.execute(0xd9, 0xe8, 0), Outcome.done)
})
