/**
 * Rounding: fits an exact (or sticky) result to a format and says which exceptions that raised.
 *
 * - A result is *tiny* when, rounded to the precision as if exponents had no lower bound, it still lies below the
 *   smallest normal number (detection after rounding, as both vendors do). Masked underflow is reported only if the
 *   denormal result is also inexact; unmasked underflow is reported for every tiny result.
 * - With the overflow or underflow exception unmasked, a result bound for a register is delivered with its exponent
 *   wrapped (`wrapExponent` added or subtracted), or as infinity or zero if that does not suffice (FSCALE). Results
 *   bound for memory and SSE results are not delivered at all, which is the caller's part: it compares the returned
 *   flags with its masks.
 * Source: SDM vol. 1, 4.9.1.5, 4.9.1.6, 8.5.4 to 8.5.6.
 */
import type {Format} from './formats.js'
import {Exception, Kind, normalise, type Real, Rounding, shiftRightSticky} from './real.js'

/**
 * How to round. `precision` may be below the format's (x87 precision control); `masked` has a bit per masked exception.
 */
export interface RoundingContext {
  rounding: number
  precision: number
  masked: number
  flushToZero: boolean
}

/** Added to or subtracted from the exponent of an unmasked underflow or overflow in an x87 register. */
export const wrapExponent = 24576

const inexact = Exception.precision
const inexactUp = Exception.precision | Exception.roundedUp

/** 1 when the discarded part makes the magnitude grow. `half` is the first discarded bit, `rest` the others. */
function roundsUp(rounding: number, sign: number, odd: number, half: number, rest: number): number {
  switch (rounding) {
    case Rounding.nearest:
      return half & (rest !== 0 || odd ? 1 : 0)
    case Rounding.down:
      return sign
    case Rounding.up:
      return sign ^ 1
    default:
      return 0
  }
}

/** Cuts the significand to `precision` bits from bit 63 down; returns 0, precision, or precision with roundedUp. */
export function cutSignificand(real: Real, precision: number, rounding: number): number {
  let up: number
  if (precision === 64) {
    const extra = real.extra
    if (extra === 0) return 0
    real.extra = 0
    up = roundsUp(rounding, real.sign, real.lo & 1, extra >>> 31, extra << 1)
    if (up === 0) return inexact
    real.lo = (real.lo + 1) >>> 0
    if (real.lo === 0) real.hi = (real.hi + 1) >>> 0
  } else if (precision === 53) {
    const below = real.lo & 0x7ff
    if ((below | real.extra) === 0) return 0
    up = roundsUp(rounding, real.sign, (real.lo >>> 11) & 1, below >>> 10, (below & 0x3ff) | real.extra)
    real.extra = 0
    real.lo = (real.lo & ~0x7ff) >>> 0
    if (up === 0) return inexact
    real.lo = (real.lo + 0x800) >>> 0
    if (real.lo === 0) real.hi = (real.hi + 1) >>> 0
  } else {
    const below = real.hi & 0xff
    const tail = real.lo | real.extra
    if ((below | tail) === 0) return 0
    up = roundsUp(rounding, real.sign, (real.hi >>> 8) & 1, below >>> 7, (below & 0x7f) | tail)
    real.extra = real.lo = 0
    real.hi = (real.hi & ~0xff) >>> 0
    if (up === 0) return inexact
    real.hi = (real.hi + 0x100) >>> 0
  }
  // A carry out of bit 63 leaves all zeros: the next power of two. A denormal cannot carry that far.
  if (real.hi === 0 && real.lo === 0) {
    real.hi = 0x80000000
    real.exponent++
  }
  return inexactUp
}

const unbounded = {hi: 0, lo: 0, extra: 0, exponent: 0}

/** Fits a finite, nonzero, normalised number to `format`; returns the exception flags, and roundedUp. */
export function round(real: Real, format: Format, context: RoundingContext): number {
  const {precision, rounding, masked} = context
  if (real.exponent >= format.minExponent) {
    const flags = cutSignificand(real, precision, rounding)
    return real.exponent > format.maxExponent ? overflow(real, format, context, flags) : flags
  }
  unbounded.hi = real.hi
  unbounded.lo = real.lo
  unbounded.extra = real.extra
  unbounded.exponent = real.exponent
  const flags = cutSignificand(real, precision, rounding)
  const tiny = real.exponent < format.minExponent
  if (tiny && (masked & Exception.underflow) === 0) {
    real.exponent += wrapExponent
    if (real.exponent >= format.minExponent) return flags | Exception.underflow
    real.setZero(real.sign)
    return Exception.underflow | inexact
  }
  if (tiny && context.flushToZero) {
    real.setZero(real.sign)
    return Exception.underflow | Exception.precision
  }
  real.setFinite(real.sign, format.minExponent, unbounded.hi, unbounded.lo, unbounded.extra)
  shiftRightSticky(real, format.minExponent - unbounded.exponent)
  const denormalFlags = cutSignificand(real, precision, rounding)
  if (real.hi === 0 && real.lo === 0) real.setZero(real.sign)
  return tiny && denormalFlags !== 0 ? denormalFlags | Exception.underflow : denormalFlags
}

function overflow(real: Real, format: Format, context: RoundingContext, flags: number): number {
  if ((context.masked & Exception.overflow) === 0) {
    real.exponent -= wrapExponent
    if (real.exponent <= format.maxExponent) return flags | Exception.overflow
    real.setInfinity(real.sign)
    return Exception.overflow | inexactUp
  }
  const {rounding, precision} = context
  const toInfinity = rounding === Rounding.nearest || rounding === (real.sign ? Rounding.down : Rounding.up)
  if (toInfinity) {
    real.setInfinity(real.sign)
    return Exception.overflow | inexactUp
  }
  real.exponent = format.maxExponent
  real.hi = precision === 24 ? 0xffffff00 : 0xffffffff
  real.lo = precision === 24 ? 0 : precision === 53 ? 0xfffff800 : 0xffffffff
  real.extra = 0
  return Exception.overflow | inexact
}

/**
 * Makes a finite number an integer at scale 2^0 (bit 0 of lo is the unit), exponent 63; exponents above 63 are not
 * touched.
 */
export function cutToInteger(real: Real, rounding: number): number {
  if (real.exponent > 63) return 0
  shiftRightSticky(real, 63 - real.exponent)
  real.exponent = 63
  return cutSignificand(real, 64, rounding)
}

/** Rounds any number to an integral value of the same format; returns precision and roundedUp as they apply. */
export function roundToIntegral(real: Real, rounding: number): number {
  if (real.kind !== Kind.finite || real.exponent >= 63) return 0
  const flags = cutToInteger(real, rounding)
  normalise(real)
  return flags
}
