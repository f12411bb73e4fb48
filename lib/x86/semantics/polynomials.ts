/**
 * Polynomials over GF(2): CRC32 (remainder by the Castagnoli polynomial, eight tables of tables.ts: all bytes of an operand at once) and
 * PCLMULQDQ (product).
 *
 * A product without carries is made of ordinary ones: take every fourth bit of both factors, and the sums of at most 16 ones that pile up
 * at each fourth bit of the product stay below the next one (but for the topmost, whose carry leaves the word). That gives the lower half; the upper
 * half is the lower half of the product of the factors with their bits reversed, reversed again.
 *
 * Source: SDM vol. 2A CRC32, vol. 2B PCLMULQDQ.
 */
import type {Builder, Operand, Value} from '../ir/builder.js'
import {tables} from '../state.js'
import {form, type Instruction, instruction} from './instruction.js'
import {lane, readAligned, register, setRegister, shuffle} from './sse-common.js'

const crc = {feature: 'crc32'}

/** The remainder has 32 bits, whatever the register is called. */
function crc32(s: Builder, named: Operand, source: Operand): void {
  const target = {...named, bits: 32}
  const data = s.read(source)
  const before = s.read(target)
  const bytes = data.bits / 8
  const mixed = s.xor(s.resize(before, Math.max(data.bits, 32)), s.zeroExtend(data, Math.max(data.bits, 32)))
  const terms = Array.from({length: bytes}, (_, index) => {
    const shifted = index === 0 ? mixed : s.shiftRight(mixed, s.constant(mixed.bits, 8 * index))
    const offset = s.shiftLeft(s.and(s.narrow(shifted, 32), s.constant(32, 0xff)), s.constant(32, 2))
    return s.lookup('i32.load', tables.crc32 + 1024 * (bytes - 1 - index), offset)
  })
  // Bytes of the old remainder that the operand does not reach move down.
  if (data.bits < 32) terms.push(s.shiftRight(before, s.constant(32, data.bits)))
  s.write(
    target,
    terms.reduce((left, right) => s.xor(left, right)),
  )
}

const reversedNibbles = Uint8Array.from([0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15])

/** All 128 bits in reverse order. */
function reversed(s: Builder, value: Value): Value {
  const bytes = shuffle(s, value, value, [15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
  const table = s.vector(reversedNibbles)
  const low = s.wasm('v128.and', [bytes, s.vector(new Uint8Array(16).fill(15))])
  const high = s.wasm('i8x16.shr_u', [bytes, s.constant(32, 4)])
  const four = s.constant(32, 4)
  return s.wasm('v128.or', [
    s.wasm('i8x16.shl', [s.wasm('i8x16.swizzle', [table, low]), four]),
    s.wasm('i8x16.swizzle', [table, high]),
  ])
}

/** The lower 64 bits of a product. */
function lowProduct(s: Builder, left: Value, right: Value): Value {
  const masks = [0, 1, 2, 3].map(bit => s.constant(64, BigInt.asIntN(64, 0x1111111111111111n << BigInt(bit))))
  const [a, b] = [left, right].map(factor => masks.map(mask => s.and(factor, mask)))
  return masks
    .map((mask, bit) => {
      const products = a.map((part, index) => s.multiply(part, b[(bit - index + 4) & 3]))
      const sum = products.reduce((one, other) => s.xor(one, other))
      return s.and(sum, mask)
    })
    .reduce((one, other) => s.or(one, other))
}

/** Of each operand the immediate chooses a half: bit 0 for the target, bit 4 for the source. */
function carrylessMultiply(s: Builder, target: Operand, source: Operand, immediate: Operand): void {
  const right = readAligned(s, source)
  const left = register(s, target)
  const choice = s.zeroExtend(s.read(immediate), 32)
  const half = (value: Value, bit: number, inverted: boolean) => {
    const chosen = s.and(s.shiftRight(choice, s.constant(32, bit)), s.constant(32, 1))
    return s.select(chosen, lane(s, value, 64, inverted ? 0 : 1), lane(s, value, 64, inverted ? 1 : 0))
  }
  const low = lowProduct(s, half(left, 0, false), half(right, 4, false))
  // Reversing a whole register swaps its halves too.
  const mirror = lowProduct(s, half(reversed(s, left), 0, true), half(reversed(s, right), 4, true))
  const back = lane(s, reversed(s, s.wasm('i64x2.splat', [mirror])), 64, 0)
  // Bits 127 to 64 of the product; the mirrored one ends at bit 126.
  const high = s.shiftRight(back, s.constant(64, 1))
  setRegister(s, target, s.wasm('i64x2.replace_lane', [s.wasm('i64x2.splat', [low]), high], {lanes: [1]}))
}

/** By the halves that the immediate chooses: of the source, then of the target. */
const halves = {0: 'PCLMULLQLQDQ', 1: 'PCLMULHQLQDQ', 16: 'PCLMULLQHQDQ', 17: 'PCLMULHQHQDQ'}

export const polynomials: Instruction[] = [
  instruction('CRC32', {
    source: 'SDM vol. 2A CRC32',
    forms: [form('F2 0F 38 F0 /r', 'Gy', 'Eb', crc), form('F2 0F 38 F1 /r', 'Gy', 'Ev', crc)],
    execute: crc32,
  }),
  instruction('PCLMULQDQ', {
    source: 'SDM vol. 2B PCLMULQDQ',
    forms: [form('66 0F 3A 44 /r', 'Vx', 'Wx', 'Ib', {feature: 'pclmulqdq', immediateNames: halves})],
    execute: carrylessMultiply,
  }),
]
