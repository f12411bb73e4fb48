/**
 * Numbers to and from integers: 16, 32 and 64 bits two's complement, and the 80-bit packed decimal of FBLD and FBSTP.
 * An integer that does not fit, an infinity or a NaN gives the "integer indefinite" (only the top bit set) and raises
 * invalid; a fraction that was cut raises precision.
 * Source: SDM vol. 1, 4.2.3, 4.7 and 8.1.; vol. 2A FIST, FBSTP, CVTSD2SI.
 */
import {Exception, Kind, normalise, type Real} from './real.js'
import {cutToInteger} from './round.js'

/** The two halves of the last integer made; 16- and 32-bit results are in `lo`. */
export const integer = {hi: 0, lo: 0}

/**
 * Converts to an integer of `bits` bits in `integer`, destroying `real`; returns invalid, or precision with roundedUp,
 * or 0.
 */
export function toInteger(real: Real, bits: 16 | 32 | 64, rounding: number): number {
  if (real.kind === Kind.zero) {
    integer.hi = integer.lo = 0
    return 0
  }
  if (real.kind !== Kind.finite || real.exponent > 63) return indefinite(bits)
  const flags = cutToInteger(real, rounding)
  const {sign} = real
  if (bits === 64) {
    // −2^63 fits, +2^63 does not.
    if (real.hi >>> 31 && (!sign || real.hi !== 0x80000000 || real.lo !== 0)) return indefinite(bits)
  } else {
    const limit = bits === 32 ? 0x80000000 : 0x8000
    if (real.hi !== 0 || real.lo > limit || (real.lo === limit && !sign)) return indefinite(bits)
  }
  integer.hi = real.hi
  integer.lo = real.lo
  if (sign) {
    integer.hi = (~real.hi + (real.lo === 0 ? 1 : 0)) >>> 0
    integer.lo = -real.lo >>> 0
  }
  return flags
}

function indefinite(bits: 16 | 32 | 64): number {
  integer.hi = bits === 64 ? 0x80000000 : 0
  integer.lo = bits === 32 ? 0x80000000 : bits === 16 ? 0x8000 : 0
  return Exception.invalid
}

/** Sets a number to a 64-bit two's complement integer given as halves. Exact: 64 bits always fit the significand. */
export function fromInteger(real: Real, hi: number, lo: number): void {
  const sign = hi >>> 31
  if (sign) real.setFinite(1, 63, (~hi + (lo === 0 ? 1 : 0)) >>> 0, -lo >>> 0, 0)
  else real.setFinite(0, 63, hi >>> 0, lo >>> 0, 0)
  normalise(real)
}

/** Sets a number to a signed integer of at most 32 bits. */
export function fromInt32(real: Real, value: number): void {
  fromInteger(real, value < 0 ? 0xffffffff : 0, value >>> 0)
}

const decimalLimit = 10n ** 18n

/** Reads the 18-digit packed decimal at `at`; digits above 9 count as their value, as the processor happens to do. */
export function readDecimal(view: DataView, at: number, real: Real): void {
  let magnitude = 0n
  for (let i = 8; i >= 0; i--) {
    const byte = view.getUint8(at + i)
    magnitude = magnitude * 100n + BigInt((byte >>> 4) * 10 + (byte & 15))
  }
  real.setFinite(view.getUint8(at + 9) >>> 7, 63, Number(magnitude >> 32n), Number(magnitude & 0xffffffffn), 0)
  normalise(real)
}

/** The ten bytes of the last packed decimal made. */
export const decimal = new Uint8Array(10)

/** Converts to packed decimal in `decimal`, destroying `real`; returns invalid, or precision with roundedUp, or 0. */
export function toDecimal(real: Real, rounding: number): number {
  let flags = 0
  let magnitude = 0n
  if (real.kind === Kind.finite) {
    flags = cutToInteger(real, rounding)
    magnitude = (BigInt(real.hi) << 32n) | BigInt(real.lo)
  }
  if (real.kind > Kind.finite || real.exponent > 63 || magnitude >= decimalLimit) {
    decimal.fill(0)
    decimal.set([0xc0, 0xff, 0xff], 7)
    return Exception.invalid
  }
  for (let i = 0; i < 9; i++) {
    const pair = Number(magnitude % 100n)
    decimal[i] = (Math.floor(pair / 10) << 4) | (pair % 10)
    magnitude /= 100n
  }
  decimal[9] = real.sign << 7
  return flags
}
