/**
 * When a floating-point operation may be done by the host's instruction: no exception flag may change by it that is not set already, and its
 * result must be the guest's to the last bit. All conditions are i32 truth values, computed without branches.
 *
 *   plain mode     round to nearest, all exceptions masked, no DAZ, no FTZ; and PE is set already, so that inexact results change nothing
 *   normal         neither zero, denormal, infinite nor a NaN
 *   ordered        not denormal and not a NaN: comparing such numbers raises nothing, in any mode
 *
 * Source: SDM vol. 1 10.2.3, 11.5.
 */
import type {Builder, Value} from '../ir/builder.js'
import {state} from '../state.js'

export type Bits = 32 | 64

const both = (s: Builder, ...conditions: Value[]) => conditions.reduce((one, other) => s.and(one, other))

/** See the file's head. */
export function isPlainMode(s: Builder): Value {
  return s.equal(s.and(s.state('i32.load', state.mxcsr), s.constant(32, 0xffe0)), s.constant(32, 0x1fa0))
}

/** PE is masked and set: an inexact result that does not depend on the rounding mode changes nothing. */
export function isInexactSeen(s: Builder): Value {
  return s.equal(s.and(s.state('i32.load', state.mxcsr), s.constant(32, 0x1020)), s.constant(32, 0x1020))
}

/** The number's bits without its sign, moved up by one. */
const magnitude = (s: Builder, value: Value) => s.shiftLeft(value, s.constant(value.bits, 1))
/** The magnitude of the least normal number. */
const leastNormal = (bits: number) => (bits === 64 ? 1n << 53n : 1 << 24)
/** How many magnitudes are normal; `more`: beyond them, infinity. */
const normals = (bits: number, more = 0) => (bits === 64 ? -(1n << 54n) + BigInt(more) : -(1 << 25) + more)

export function isNormal(s: Builder, value: Value): Value {
  const {bits} = value
  const above = s.subtract(magnitude(s, value), s.constant(bits, leastNormal(bits)))
  return s.below(above, s.constant(bits, normals(bits)))
}

export function isZeroNumber(s: Builder, value: Value): Value {
  return s.isZero(magnitude(s, value))
}

/** Normal, zero or infinite. */
export function isOrdered(s: Builder, value: Value): Value {
  const {bits} = value
  const size = magnitude(s, value)
  const above = s.subtract(size, s.constant(bits, leastNormal(bits)))
  const upToInfinity = s.below(above, s.constant(bits, normals(bits, 1)))
  return s.or(upToInfinity, s.isZero(size))
}

export type Operator = 'add' | 'sub' | 'mul' | 'div'

/** Normal operands with a normal result. */
export function isNormalOperation(s: Builder, left: Value, right: Value, result: Value): Value {
  return both(s, isPlainMode(s), isNormal(s, left), isNormal(s, right), isNormal(s, result))
}

/** Zeros too, where they follow exactly: not a quotient by zero, nor a product or quotient that became zero. */
export function isZeroOperation(s: Builder, operator: Operator, left: Value, right: Value, result: Value): Value {
  const number = (value: Value) => s.or(isNormal(s, value), isZeroNumber(s, value))
  let exactZero = s.constant(32, 1)
  if (operator === 'mul') exactZero = s.or(isZeroNumber(s, left), isZeroNumber(s, right))
  if (operator === 'div') exactZero = isZeroNumber(s, left)
  const divisor = operator === 'div' ? isNormal(s, right) : number(right)
  const given = s.or(isNormal(s, result), s.and(isZeroNumber(s, result), exactZero))
  return both(s, isPlainMode(s), number(left), divisor, given)
}

// ---- whole vectors ----

const shapeOf = (bits: Bits) => (bits === 64 ? 'i64x2' : 'i32x4')

function exponents(s: Builder, bits: Bits): Value {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  for (let at = 0; at < 16; at += bits / 8) {
    if (bits === 64) view.setBigUint64(at, 0x7ff0000000000000n, true)
    else view.setUint32(at, 0x7f800000, true)
  }
  return s.vector(bytes)
}

const zeros = (s: Builder) => s.vector(new Uint8Array(16))
const lanes = (s: Builder, bits: Bits, name: string, left: Value, right: Value) =>
  s.wasm(`${shapeOf(bits)}.${name}`, [left, right])

/** Lanes that hold zero. */
function zeroLanes(s: Builder, bits: Bits, value: Value): Value {
  const size = s.wasm(`${shapeOf(bits)}.shl`, [value, s.constant(32, 1)])
  return lanes(s, bits, 'eq', size, zeros(s))
}

/** Lanes that are neither normal nor zero. */
function oddLanes(s: Builder, bits: Bits, value: Value): Value {
  const mask = exponents(s, bits)
  const exponent = s.wasm('v128.and', [value, mask])
  const denormal = s.wasm('v128.andnot', [lanes(s, bits, 'eq', exponent, zeros(s)), zeroLanes(s, bits, value)])
  return s.wasm('v128.or', [denormal, lanes(s, bits, 'eq', exponent, mask)])
}

/** Plain mode, and every lane as isZeroOperation wants it. */
export function arePlainLanes(
  s: Builder,
  bits: Bits,
  operator: Operator,
  left: Value,
  right: Value,
  result: Value,
): Value {
  const or = (...values: Value[]) => values.reduce((one, other) => s.wasm('v128.or', [one, other]))
  let bad = or(oddLanes(s, bits, left), oddLanes(s, bits, right), oddLanes(s, bits, result))
  if (operator === 'mul' || operator === 'div') {
    const exact = or(zeroLanes(s, bits, left), zeroLanes(s, bits, right))
    bad = or(bad, s.wasm('v128.andnot', [zeroLanes(s, bits, result), exact]))
  }
  if (operator === 'div') bad = or(bad, zeroLanes(s, bits, right))
  return s.and(isPlainMode(s), s.isZero(s.wasm('v128.any_true', [bad])))
}

/** Plain mode, and every lane a positive normal number. */
export function arePositiveLanes(s: Builder, bits: Bits, value: Value): Value {
  const notPositive = s.wasm('v128.or', [zeroLanes(s, bits, value), lanes(s, bits, 'lt_s', value, zeros(s))])
  const bad = s.wasm('v128.or', [oddLanes(s, bits, value), notPositive])
  return s.and(isPlainMode(s), s.isZero(s.wasm('v128.any_true', [bad])))
}

/** No lane denormal or a NaN. */
export function areOrderedLanes(s: Builder, bits: Bits, ...values: Value[]): Value {
  const bad = values.map(value => {
    const unordered = s.wasm(bits === 64 ? 'f64x2.ne' : 'f32x4.ne', [value, value])
    const exponent = s.wasm('v128.and', [value, exponents(s, bits)])
    const small = lanes(s, bits, 'eq', exponent, zeros(s))
    return s.wasm('v128.or', [unordered, s.wasm('v128.andnot', [small, zeroLanes(s, bits, value)])])
  })
  return s.isZero(s.wasm('v128.any_true', [bad.reduce((one, other) => s.wasm('v128.or', [one, other]))]))
}

/** Every lane's magnitude below 2^31. */
export function areSmallLanes(s: Builder, value: Value): Value {
  const limit = s.wasm('i32x4.splat', [s.constant(32, 0x4f000000)])
  return s.wasm('i32x4.all_true', [s.wasm('f32x4.lt', [s.wasm('f32x4.abs', [value]), limit])])
}
