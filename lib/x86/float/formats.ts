/**
 * The three formats as bytes: unpack (`read…`) and pack (`write…`), little-endian, at a byte offset of a view.
 * Writing expects a number that `round` has already fitted to the format: a significand without its leading one is a
 * denormal.
 *
 *   single    sign 1, exponent 8, fraction 23
 *   double    sign 1, exponent 11, fraction 52
 *   extended  sign 1, exponent 15, integer bit 1, fraction 63: 10 bytes
 *
 * An extended whose integer bit is 0 under a nonzero exponent (unnormal, pseudo-NaN, pseudo-infinity) is an encoding the
 * processor refuses; an integer bit of 1 under a zero exponent (pseudo-denormal) counts as a denormal.
 * Source: SDM vol. 1, 4.2.2 and 8.2.2.
 */
import {Kind, normalise, quieten, type Real} from './real.js'

/** What rounding must know of a format. Exponents are those of the leading one. */
export interface Format {
  readonly precision: number
  readonly minExponent: number
  readonly maxExponent: number
}

export const single: Format = {precision: 24, minExponent: -126, maxExponent: 127}
export const double: Format = {precision: 53, minExponent: -1022, maxExponent: 1023}
export const extended: Format = {precision: 64, minExponent: -16382, maxExponent: 16383}

/** Shared tail of the readers: a biased exponent of zero. */
function setSubnormal(real: Real, minExponent: number, denormalsAreZero: boolean): void {
  if ((real.hi | real.lo) === 0 || denormalsAreZero) {
    real.setZero(real.sign)
    return
  }
  real.kind = Kind.finite
  real.exponent = minExponent
  real.denormal = 1
  normalise(real)
}

/** Shared tail of the readers: an exponent of all ones. */
function setSpecial(real: Real): void {
  if ((real.hi << 1 || real.lo) === 0) real.kind = Kind.infinity
  else real.kind = real.hi & 0x40000000 ? Kind.quietNaN : Kind.signallingNaN
}

/** Unpacks a single given as its 32 bits. */
export function fromSingleBits(real: Real, bits: number, denormalsAreZero: boolean): void {
  const exponent = (bits >>> 23) & 0xff
  real.sign = bits >>> 31
  real.lo = 0
  real.extra = 0
  real.denormal = 0
  real.hi = (bits << 8) & 0x7fffffff
  if (exponent === 0) {
    setSubnormal(real, single.minExponent, denormalsAreZero)
    return
  }
  real.hi = (real.hi | 0x80000000) >>> 0
  if (exponent === 0xff) {
    setSpecial(real)
    return
  }
  real.kind = Kind.finite
  real.exponent = exponent - 127
}

/** Unpacks a double given as two 32-bit halves. */
export function fromDoubleBits(real: Real, high: number, low: number, denormalsAreZero: boolean): void {
  const exponent = (high >>> 20) & 0x7ff
  real.sign = high >>> 31
  real.extra = 0
  real.denormal = 0
  real.hi = ((high << 11) & 0x7fffffff) | (low >>> 21)
  real.lo = (low << 11) >>> 0
  if (exponent === 0) {
    setSubnormal(real, double.minExponent, denormalsAreZero)
    return
  }
  real.hi = (real.hi | 0x80000000) >>> 0
  if (exponent === 0x7ff) {
    setSpecial(real)
    return
  }
  real.kind = Kind.finite
  real.exponent = exponent - 1023
}

/** Unpacks the single at `at`. */
export function readSingle(view: DataView, at: number, real: Real, denormalsAreZero = false): void {
  fromSingleBits(real, view.getUint32(at, true), denormalsAreZero)
}

/** Unpacks the double at `at`. */
export function readDouble(view: DataView, at: number, real: Real, denormalsAreZero = false): void {
  fromDoubleBits(real, view.getUint32(at + 4, true), view.getUint32(at, true), denormalsAreZero)
}

/** Unpacks the 10-byte extended at `at`. */
export function readExtended(view: DataView, at: number, real: Real): void {
  const head = view.getUint16(at + 8, true)
  const exponent = head & 0x7fff
  real.sign = head >>> 15
  real.hi = view.getUint32(at + 4, true)
  real.lo = view.getUint32(at, true)
  real.extra = 0
  real.denormal = 0
  if (exponent === 0) setSubnormal(real, extended.minExponent, false)
  else if (real.hi >>> 31 === 0) real.kind = Kind.unsupported
  else if (exponent === 0x7fff) setSpecial(real)
  else {
    real.kind = Kind.finite
    real.exponent = exponent - 16383
  }
}

/** The 32 bits of a number fitted to single. */
export function toSingleBits(real: Real): number {
  const sign = real.sign << 31
  if (real.kind === Kind.zero) return sign >>> 0
  const fraction = (real.hi >>> 8) & 0x7fffff
  if (real.kind >= Kind.infinity) return (sign | 0x7f800000 | fraction) >>> 0
  return (sign | (real.hi >>> 31 ? (real.exponent + 127) << 23 : 0) | fraction) >>> 0
}

/** The upper 32 bits of a number fitted to double. */
export function toDoubleHigh(real: Real): number {
  const sign = real.sign << 31
  if (real.kind === Kind.zero) return sign >>> 0
  const fraction = (real.hi >>> 11) & 0xfffff
  if (real.kind >= Kind.infinity) return (sign | 0x7ff00000 | fraction) >>> 0
  return (sign | (real.hi >>> 31 ? (real.exponent + 1023) << 20 : 0) | fraction) >>> 0
}

/** The lower 32 bits of a number fitted to double. */
export function toDoubleLow(real: Real): number {
  return ((real.hi << 21) | (real.lo >>> 11)) >>> 0
}

/** Stores a number fitted to single. */
export function writeSingle(view: DataView, at: number, real: Real): void {
  view.setUint32(at, toSingleBits(real), true)
}

/** Stores a number fitted to double. */
export function writeDouble(view: DataView, at: number, real: Real): void {
  view.setUint32(at + 4, toDoubleHigh(real), true)
  view.setUint32(at, toDoubleLow(real), true)
}

/** Stores a number fitted to extended, 10 bytes. */
export function writeExtended(view: DataView, at: number, real: Real): void {
  view.setUint32(at, real.lo, true)
  view.setUint32(at + 4, real.hi, true)
  let biased = 0
  if (real.kind >= Kind.infinity) biased = 0x7fff
  else if (real.hi >>> 31) biased = real.exponent + 16383
  view.setUint16(at + 8, (real.sign << 15) | biased, true)
}

/** A NaN of a wider format, cut to `format`'s payload and made quiet. */
export function truncateNaN(real: Real, format: Format): void {
  quieten(real)
  if (format.precision === 24) {
    real.hi = (real.hi & ~0xff) >>> 0
    real.lo = 0
  } else if (format.precision === 53) real.lo = (real.lo & ~0x7ff) >>> 0
}
