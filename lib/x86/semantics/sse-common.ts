/**
 * What the SSE families share: aligned operands, lanes as values, whole-register writes.
 *
 * Legacy SSE instructions with a 16-byte memory operand raise #GP(0) when it is not aligned, but for the MOVU family.
 * Source: SDM vol. 1 10.2, 11.4; vol. 2A 2.4 table 2-20.
 */
import type {Builder, Operand, Value} from '../ir/builder.js'

/** A 128-bit operand's value; a memory operand must be aligned. */
export function readAligned(s: Builder, operand: Operand): Value {
  checkAligned(s, operand)
  return s.read(operand)
}

/** #GP(0) unless the memory operand is aligned to 16 bytes. */
export function checkAligned(s: Builder, operand: Operand): void {
  if (operand.kind !== 'memory') return
  const misaligned = s.wasm('i32.wrap_i64', [s.and(s.address(), s.constant(64, 15))])
  s.if(misaligned, () => s.fault(13, 0))
}

/** The operand as a register of 128 bits, whatever its size letter says. */
export function whole(operand: Operand): Operand {
  return {...operand, bits: 128}
}

/** The whole register of a V operand. */
export function register(s: Builder, operand: Operand): Value {
  return s.register(operand.ref!, 128)
}

export function setRegister(s: Builder, operand: Operand, value: Value): void {
  s.setRegister(operand.ref!, 128, value, 0, true)
}

/** A register with the low lane given and zeros above. */
export function zeroExtended(s: Builder, low: Value): Value {
  const zero = s.vector(new Uint8Array(16))
  return s.wasm(low.bits === 64 ? 'i64x2.replace_lane' : 'i32x4.replace_lane', [zero, low], {lanes: [0]})
}

/** One 32- or 64-bit lane as an integer. */
export function lane(s: Builder, value: Value, bits: 32 | 64, index: number): Value {
  return s.wasm(bits === 64 ? 'i64x2.extract_lane' : 'i32x4.extract_lane', [value], {lanes: [index]})
}

export function withLane(s: Builder, value: Value, bits: 32 | 64, index: number, part: Value): Value {
  return s.wasm(bits === 64 ? 'i64x2.replace_lane' : 'i32x4.replace_lane', [value, part], {lanes: [index]})
}

/** i8x16.shuffle of two values. */
export function shuffle(s: Builder, left: Value, right: Value, lanes: readonly number[]): Value {
  return s.wasm('i8x16.shuffle', [left, right], {lanes})
}

/** Byte lanes 0 to 15 for element order `order` of elements of `bytes` bytes; elements from 16/bytes on come from the second operand. */
export function elements(bytes: number, order: readonly number[]): number[] {
  return order.flatMap(element => Array.from({length: bytes}, (_, index) => element * bytes + index))
}
