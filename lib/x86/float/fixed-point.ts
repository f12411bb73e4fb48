/**
 * Wide numbers for the transcendental functions: a bigint mantissa and a power of two, wide enough that the 64 bits
 * delivered are those of the exact value but for cases too rare to meet. A series runs in fixed point with
 * `fractionBits` below the point.
 *
 * No result of these functions is exact (the few that are, are answered before), so a value taken from here always
 * carries the sticky bit: precision is raised and directed rounding goes the right way.
 * Source: Abramowitz and Stegun, 4.1 to 4.4.
 */
import type {Real} from './real.js'

/** A positive value mantissa × 2^exponent. */
export interface Wide {
  readonly mantissa: bigint
  readonly exponent: number
}

/** Bits below the point in every series. */
export const fractionBits = 128
const shift = BigInt(fractionBits)

/** 1 in fixed point. */
export const one = 1n << shift

/** π with 256 bits below the point: reduces arguments up to 2^63 with 128 bits to spare. */
export const pi = 0x3243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89n
/** Bits below the point of `pi`. */
export const piBits = 256
/** ln 2 with 160 bits below the point. */
export const ln2 = 0xb17217f7d1cf79abc9e3b39803f2f6af40f34326n
/** 1 ÷ ln 2 with 160 bits below the point. */
export const inverseLn2 = 0x171547652b82fe1777d0ffda0d23a7d11d6aef551n
/** Bits below the point of `ln2` and `inverseLn2`. */
export const lnBits = 160

/** The 64-bit significand as an integer. */
export function significand(real: Real): bigint {
  return (BigInt(real.hi) << 32n) | BigInt(real.lo)
}

/** Bits in a positive integer. */
export function bitLength(value: bigint): number {
  const text = value.toString(16)
  return text.length * 4 - Math.clz32(Number.parseInt(text[0], 16)) + 28
}

/** value × 2^power, fractions cut. */
export function scaled(value: bigint, power: number): bigint {
  return power >= 0 ? value << BigInt(power) : value >> BigInt(-power)
}

/** Product of two fixed-point numbers. */
export function times(left: bigint, right: bigint): bigint {
  return (left * right) >> shift
}

/** Sets a number to an inexact value: 96 bits of significand, the last one sticky. */
export function setWide(real: Real, sign: number, wide: Wide): void {
  const length = bitLength(wide.mantissa)
  const bits = scaled(wide.mantissa, 96 - length)
  const low = Number(bits & 0xffffffffn)
  real.setFinite(
    sign,
    wide.exponent + length - 1,
    Number(bits >> 64n),
    Number((bits >> 32n) & 0xffffffffn),
    (low | 1) >>> 0,
  )
}

/** Just below a value: keeps "slightly less than exact" when a series adds nothing that 128 bits can show. */
export function below(wide: Wide): Wide {
  return {mantissa: (wide.mantissa << 64n) - 1n, exponent: wide.exponent - 64}
}

/** 1 ÷ 1 ∓ v ÷ 3 + v² ÷ 5 ∓ …: the sum behind arctangent (`alternating`) and logarithm, v in fixed point below 1. */
export function oddReciprocals(v: bigint, alternating: boolean): bigint {
  let power = one
  let sum = one
  for (let n = 3n; ; n += 2n) {
    power = times(power, v)
    if (power === 0n) return sum
    const term = power / n
    sum += alternating && n & 2n ? -term : term
  }
}
