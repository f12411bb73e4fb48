/**
 * AES-NI: one round of the cipher or its inverse per instruction. A state is 16 bytes, column by column; a round takes the bytes of its
 * columns from where the row shift brings them, and adds up what each contributes to its column (tables.ts).
 *
 * Source: SDM vol. 2A AESDEC … AESKEYGENASSIST; FIPS 197, section 5.
 */
import type {Builder, Value} from '../ir/builder.js'
import {tables} from '../state.js'
import {form, type Instruction, instruction} from './instruction.js'
import {readAligned, register, setRegister, shuffle} from './sse-common.js'

const aes = {feature: 'aes'}

const byteOf = (s: Builder, value: Value, index: number) => s.wasm('i8x16.extract_lane_u', [value], {lanes: [index]})

/** Column `column` after the row shift, as the places of its four bytes. Row r moves left by r, or right in the inverse cipher. */
function shifted(column: number, inverse: boolean): number[] {
  return [0, 1, 2, 3].map(row => 4 * ((column + (inverse ? 4 - row : row)) & 3) + row)
}

/** The column whose rows are contributed by these bytes: row r adds the table's word, rotated by r bytes. */
function mixed(s: Builder, value: Value, places: readonly number[], table: number): Value {
  return places
    .map((place, row) => {
      const word = s.lookup('i32.load', table, s.shiftLeft(byteOf(s, value, place), s.constant(32, 2)))
      return row === 0 ? word : s.wasm('i32.rotl', [word, s.constant(32, 8 * row)])
    })
    .reduce((left, right) => s.xor(left, right))
}

/** The column of substituted bytes. */
function substituted(s: Builder, value: Value, places: readonly number[], table: number): Value {
  return places
    .map((place, row) => s.shiftLeft(s.lookup('i32.load8_u', table, byteOf(s, value, place)), s.constant(32, 8 * row)))
    .reduce((left, right) => s.or(left, right))
}

/** Four columns as a vector. */
function state(s: Builder, column: (index: number) => Value): Value {
  let value = s.wasm('i32x4.splat', [column(0)])
  for (let index = 1; index < 4; index++) value = s.wasm('i32x4.replace_lane', [value, column(index)], {lanes: [index]})
  return value
}

function round(mnemonic: string, opcode: string, inverse: boolean, compute: typeof mixed, table: number): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2A ${mnemonic}`,
    forms: [form(`66 0F 38 ${opcode} /r`, 'Vx', 'Wx', aes)],
    execute(s, target, source) {
      const key = readAligned(s, source)
      const before = register(s, target)
      const after = state(s, index => compute(s, before, shifted(index, inverse), table))
      setRegister(s, target, s.wasm('v128.xor', [after, key]))
    },
  })
}

/** Every byte times x in GF(2^8). */
function double(s: Builder, value: Value): Value {
  const overflow = s.wasm('i8x16.shr_s', [value, s.constant(32, 7)])
  const reduction = s.wasm('v128.and', [overflow, s.vector(new Uint8Array(16).fill(0x1b))])
  return s.wasm('v128.xor', [s.wasm('i8x16.add', [value, value]), reduction])
}

/** Every column rotated up by `rows` rows. */
function rotated(s: Builder, value: Value, rows: number): Value {
  return shuffle(
    s,
    value,
    value,
    Array.from({length: 16}, (_, index) => (index & 12) + ((index + rows) & 3)),
  )
}

/** The inverse column mix: 14, 11, 13, 9 are 2, 3, 1, 1 after adding 4 times each byte and its opposite. */
function inverseMix(s: Builder, value: Value): Value {
  const xor = (left: Value, right: Value) => s.wasm('v128.xor', [left, right])
  const fourfold = double(s, double(s, xor(value, rotated(s, value, 2))))
  const prepared = xor(value, fourfold)
  const neighbour = rotated(s, prepared, 1)
  const pair = xor(prepared, neighbour)
  return xor(xor(double(s, pair), neighbour), rotated(s, pair, 2))
}

export const aesInstructions: Instruction[] = [
  round('AESENC', 'DC', false, mixed, tables.aesEncrypt),
  round('AESENCLAST', 'DD', false, substituted, tables.aesBox),
  round('AESDEC', 'DE', true, mixed, tables.aesDecrypt),
  round('AESDECLAST', 'DF', true, substituted, tables.aesInverseBox),
  instruction('AESIMC', {
    source: 'SDM vol. 2A AESIMC',
    forms: [form('66 0F 38 DB /r', 'Vx', 'Wx', aes)],
    execute: (s, target, source) => setRegister(s, target, inverseMix(s, readAligned(s, source))),
  }),
  instruction('AESKEYGENASSIST', {
    source: 'SDM vol. 2A AESKEYGENASSIST',
    forms: [form('66 0F 3A DF /r', 'Vx', 'Wx', 'Ib', aes)],
    execute(s, target, source, immediate) {
      const key = readAligned(s, source)
      const constant = s.zeroExtend(s.read(immediate), 32)
      const pair = (first: number) => {
        const word = substituted(s, key, [first, first + 1, first + 2, first + 3], tables.aesBox)
        return [word, s.xor(s.wasm('i32.rotr', [word, s.constant(32, 8)]), constant)]
      }
      const columns = [...pair(4), ...pair(12)]
      setRegister(
        s,
        target,
        state(s, index => columns[index]),
      )
    },
  }),
]
