/**
 * The shared flag writers of the integer families, by operation. See flags.ts for how each kind yields its six flags.
 *
 * Source: SDM vol. 1 3.4.3.1 and the "Flags Affected" lines of vol. 2.
 */
import type {Builder, Value} from '../ir/builder.js'

export function setFlagsAdd(s: Builder, left: Value, right: Value, sum: Value): void {
  s.setFlags('add', left.bits, {a: left, b: right, r: sum})
}

export function setFlagsSubtract(s: Builder, left: Value, right: Value, difference: Value): void {
  s.setFlags('sub', left.bits, {a: left, b: right, r: difference})
}

export function setFlagsLogic(s: Builder, result: Value): void {
  s.setFlags('logic', result.bits, {r: result})
}

/** ZF SF PF from the result, CF and OF (each 0 or 1) given, AF clear. */
export function setFlagsResult(s: Builder, result: Value, carry: Value, overflow: Value): void {
  const bits = s.or(carry, s.shiftLeft(overflow, s.constant(32, 11)))
  if (result.bits === 64) s.setFlags('result', 64, {a: s.zeroExtend(bits, 64), r: result})
  else s.setFlags('result', 32, {a: bits, r: s.signExtend(result, 32)})
}

/** Replaces the flags in `mask` by `bits`, keeps the others. */
export function setFlagsSome(s: Builder, mask: number, bits: Value): void {
  const kept = s.and(s.statusFlags(), s.constant(32, ~mask))
  s.setFlags('explicit', 32, {a: s.or(kept, bits)})
}

/** CF as 0 or 1. */
export function carryFlag(s: Builder): Value {
  return s.condition(2)
}

/** The top bit as 0 or 1 (i32). */
export function topBit(s: Builder, value: Value): Value {
  const shifted = s.shiftRight(value, s.constant(value.bits, value.bits - 1))
  return s.narrow(s.resize(shifted, 32), 32)
}
