/**
 * The transcendental instructions against rows of a real processor. Ours are correctly rounded, the processor's are
 * good to less than one unit in the last place: each row may differ by one unit, few may at all. Then exact and
 * limiting cases.
 */
import t from 'tap'
import {X87Unit} from '../../../lib/x86/float/x87-unit.js'
import {goldenRows, hexadecimal} from './golden.js'
import {rowBytes, runRow} from './x87-rows.js'

t.test('rows', async t => {
  const rows = goldenRows('x87-transcendental', rowBytes)
  let forgiven = 0
  for (const row of rows) {
    const result = runRow(row, true)
    t.equal(result.actual, result.expected, result.input)
    if (result.forgiven) forgiven++
  }
  t.ok(forgiven < rows.length / 25, `${forgiven} of ${rows.length} rows differ by one unit`)
})

const view = new DataView(new ArrayBuffer(1024))
const unit = new X87Unit(view, 0)

/** Loads doubles, the last into ST(0), executes D9 `modrm`, returns ST(0) as sign and exponent, significand. */
function evaluate(modrm: number, ...operands: number[]): string {
  unit.execute(0xdb, 0xe3, 0)
  for (const operand of operands) {
    view.setFloat64(512, operand, true)
    unit.execute(0xdd, 0x00, 512)
  }
  unit.execute(0xd9, modrm, 0)
  unit.execute(0xdb, 0x38, 512)
  return `${hexadecimal(view, 520, 2)}:${hexadecimal(view, 512, 8)}`
}

t.test('known values, correctly rounded', async t => {
  // From 400-bit arithmetic.
  t.equal(evaluate(0xf3, 1, 1), '3ffe:c90fdaa22168c235', 'FPATAN(1, 1) = π/4')
  t.equal(evaluate(0xf3, 0, -1), '4000:c90fdaa22168c235', 'FPATAN(0, −1) = π')
  t.equal(evaluate(0xf1, 1, 10), '4000:d49a784bcd1b8afe', 'FYL2X(10) = log2 10')
  t.equal(evaluate(0xf1, 3, 1024), '4003:f000000000000000', '3 × log2 1024 is exact')
  t.equal(evaluate(0xf0, 0.5), '3ffd:d413cccfe7799211', 'F2XM1(½) = √2 − 1')
  t.equal(evaluate(0xfe, 0.5), '3ffd:f57743a2582f7f44', 'sin ½')
  t.equal(evaluate(0xff, 0.5), '3ffe:e0a94032dbea7cee', 'cos ½')
})

t.test('an argument of 2^63 is left to the program', async t => {
  t.equal(evaluate(0xfe, 2 ** 63), '403e:8000000000000000')
  unit.execute(0xdf, 0xe0, 512)
  t.equal(view.getUint16(512, true) & 0x400, 0x400, 'C2')
})
