/**
 * Sine, cosine, tangent, arctangent, 2^x − 1 and base-2 logarithms of finite, nonzero numbers, to about 100 bits: what
 * the x87 unit rounds to 64. Specials (zeros, infinities, NaN, ranges) are the instructions' part,
 * x87-transcendental.ts.
 *
 * Arguments of the circular functions are reduced, exactly, by the 66-bit π that Intel documents and AMD's processors
 * use as well: away from [−π/4, π/4] results are those of a slightly different angle than the mathematician's, as on
 * the real thing.
 * Source: SDM vol. 1, 8.3.8 and 8.3.9; AMD APM vol. 1, 6.4.
 */
import {
  below,
  bitLength,
  fractionBits,
  inverseLn2,
  ln2,
  lnBits,
  oddReciprocals,
  one,
  pi,
  piBits,
  scaled,
  setWide,
  significand,
  times,
  type Wide,
} from './fixed-point.js'
import type {Real} from './real.js'

/** A reduced angle: |x| = quadrant × π/2 ± angle, angle in [0, π/4]. */
interface Reduced {
  readonly quadrant: number
  readonly negative: boolean
  readonly angle: Wide
}

/** π as the processors reduce by it: 66 bits. */
const shortPi = 0xc90fdaa22168c234cn
const reducedBits = 129
/** π ÷ 2 with `reducedBits` below the point: every x from ½ up is an integer at that scale, so reduction is exact. */
const halfShortPi = shortPi << BigInt(reducedBits - 67)
const halfPi = pi >> 1n

function reduce(x: Real): Reduced {
  const mantissa = significand(x)
  if (x.exponent < -1) return {quadrant: 0, negative: false, angle: {mantissa, exponent: x.exponent - 63}}
  const value = scaled(mantissa, x.exponent - 63 + reducedBits)
  let turns = value / halfShortPi
  let angle = value - turns * halfShortPi
  const negative = angle > halfShortPi >> 1n
  if (negative) {
    angle = halfShortPi - angle
    turns++
  }
  return {quadrant: Number(turns & 3n), negative, angle: {mantissa: angle, exponent: -reducedBits}}
}

/** The square in fixed point. */
function squareOf(angle: Wide): bigint {
  return scaled(angle.mantissa * angle.mantissa, angle.exponent * 2 + fractionBits)
}

/** 1 − v ÷ ((n+1)(n+2)) + …: sin x ÷ x from n = 1, cos x from n = 0, of v = x². */
function alternatingFactorials(v: bigint, n: bigint): bigint {
  let term = one
  let sum = 0n
  for (let k = n; term !== 0n; k += 4n) {
    const next = times(term, v) / ((k + 1n) * (k + 2n))
    sum += term - next
    term = times(next, v) / ((k + 3n) * (k + 4n))
  }
  // Below 1 also when v vanishes: the last bit stands for all that follows.
  return sum === one ? one - 1n : sum
}

function sineOf(angle: Wide): Wide {
  const series = alternatingFactorials(squareOf(angle), 1n)
  return {mantissa: angle.mantissa * series, exponent: angle.exponent - fractionBits}
}

function cosineOf(angle: Wide): Wide {
  return {mantissa: alternatingFactorials(squareOf(angle), 0n), exponent: -fractionBits}
}

/** sin x; with `quarter` 1, cos x. */
function circular(result: Real, x: Real, quarter: number): void {
  const {quadrant, negative, angle} = reduce(x)
  const turned = (quadrant + quarter) & 3
  const isCosine = (turned & 1) === 1
  // cos(−a) = cos a; sin(−a) = −sin a.
  let sign = turned >> 1
  if (!isCosine && negative) sign ^= 1
  if (quarter === 0) sign ^= x.sign
  setWide(result, sign, isCosine ? cosineOf(angle) : sineOf(angle))
}

/** sin x, |x| < 2^63. */
export function sine(result: Real, x: Real): void {
  circular(result, x, 0)
}

/** cos x, |x| < 2^63. */
export function cosine(result: Real, x: Real): void {
  circular(result, x, 1)
}

/** tan x, |x| < 2^63. */
export function tangent(result: Real, x: Real): void {
  const {quadrant, negative, angle} = reduce(x)
  const sin = sineOf(angle)
  const cos = cosineOf(angle)
  const isCotangent = (quadrant & 1) === 1
  const [top, bottom] = isCotangent ? [cos, sin] : [sin, cos]
  const sign = x.sign ^ (isCotangent ? 1 : 0) ^ (negative ? 1 : 0)
  const extra = 160 + bitLength(bottom.mantissa) - bitLength(top.mantissa)
  // tan a > a: for the smallest angles the quotient must not fall below a.
  const mantissa = scaled(top.mantissa, extra) / bottom.mantissa + 1n
  setWide(result, sign, {mantissa, exponent: top.exponent - bottom.exponent - extra})
}

const tableSteps = 16
const arctangents: bigint[] = []

/** arctan(k ÷ 16) in fixed point: each entry from the one before, arctan a − arctan b = arctan((a − b) ÷ (1 + ab)). */
function arctangentTable(): bigint[] {
  if (arctangents.length === 0) {
    arctangents.push(0n)
    for (let k = 1; k <= tableSteps; k++) {
      const step = (one * 16n) / BigInt(256 + k * (k - 1))
      arctangents.push(arctangents[k - 1] + times(step, oddReciprocals(times(step, step), true)))
    }
  }
  return arctangents
}

/** arctan of a ratio in (0, 1]. */
function arctangentOf(ratio: Wide): Wide {
  const fixed = scaled(ratio.mantissa, ratio.exponent + fractionBits)
  const nearest = Number((fixed * 32n + one) >> BigInt(fractionBits + 1))
  if (nearest === 0) {
    const series = oddReciprocals(times(fixed, fixed), true)
    const product = {mantissa: ratio.mantissa * series, exponent: ratio.exponent - fractionBits}
    return series === one ? below(product) : product
  }
  const centre = (one * BigInt(nearest)) / BigInt(tableSteps)
  const offset = ((fixed - centre) << BigInt(fractionBits)) / (one + times(fixed, centre))
  const series = oddReciprocals(times(offset, offset), true)
  return {mantissa: arctangentTable()[nearest] + times(offset, series), exponent: -fractionBits}
}

/** The angle of the point (x, y), both finite and nonzero, in (−π, π). */
export function arctangent(result: Real, y: Real, x: Real): void {
  const ySignificand = significand(y)
  const xSignificand = significand(x)
  const order = y.exponent - x.exponent || (ySignificand > xSignificand ? 1 : ySignificand < xSignificand ? -1 : 0)
  const isSteep = order > 0
  const [top, bottom] = isSteep ? [xSignificand, ySignificand] : [ySignificand, xSignificand]
  const exponent = isSteep ? x.exponent - y.exponent : y.exponent - x.exponent
  const quotient = (top << 160n) / bottom
  const angle = arctangentOf({mantissa: quotient, exponent: exponent - 160})
  if (!isSteep && x.sign === 0) {
    setWide(result, y.sign, angle)
    return
  }
  // From here the angle is added to or taken from π/2 or π: an angle below all bits kept still must count.
  const fixed = scaled(angle.mantissa, angle.exponent + fractionBits) || 1n
  const right = isSteep ? halfPi : pi
  const base = scaled(right, fractionBits - piBits)
  const sum = isSteep && x.sign === 1 ? base + fixed : base - fixed
  setWide(result, y.sign, {mantissa: sum, exponent: -fractionBits})
}

/** π × numerator ÷ 4, the angles that FPATAN answers for zeros and infinities. */
export function partOfPi(result: Real, sign: number, numerator: number): void {
  setWide(result, sign, {mantissa: pi * BigInt(numerator), exponent: -piBits - 2})
}

/** 2^x − 1, |x| < 1. */
export function powerMinusOne(result: Real, x: Real): void {
  const product = significand(x) * ln2
  const exponent = x.exponent - 63 - lnBits
  const y = scaled(product, exponent + fractionBits)
  const argument = x.sign ? -y : y
  // (e^y − 1) ÷ y = 1 + y ÷ 2! + y² ÷ 3! + …
  let term = one
  let sum = 0n
  for (let n = 2n; term !== 0n; n++) {
    sum += term
    term = times(term, argument) / n
  }
  setWide(result, x.sign, {mantissa: product * sum, exponent: exponent - fractionBits})
}

const rootTwo = 0x16a09e667f3bcc908n // × 2^−64

/**
 * y × log2(numerator ÷ 2^binaryPlaces). Returns false when that is exact, the quotient being a power of two: then its
 * exponent is in `exactPower` and nothing is set.
 */
function timesLogarithm(result: Real, y: Real, numerator: bigint, binaryPlaces: number): boolean {
  // The fraction is taken from [√½, √2), so that near 1 nothing cancels.
  let length = bitLength(numerator) - 1
  const isUpper = scaled(numerator, 64 - length) > rootTwo
  if (isUpper) length++
  const denominator = 1n << BigInt(length)
  const power = length - binaryPlaces
  const difference = numerator - denominator
  if (difference === 0n) {
    exactPower = power
    return false
  }
  const magnitude = difference < 0n ? -difference : difference
  // ln(n ÷ d) = 2 artanh s, s = (n − d) ÷ (n + d), with 160 significant bits.
  const total = numerator + denominator
  const extra = 160 + bitLength(total) - bitLength(magnitude)
  const s = scaled(magnitude, extra) / total
  const fixed = scaled(s, fractionBits - extra)
  let mantissa = s * oddReciprocals(times(fixed, fixed), false) * inverseLn2
  let exponent = 1 - extra - fractionBits - lnBits
  let sign = isUpper ? 1 : 0
  if (power !== 0) {
    const logarithm = scaled(mantissa, exponent + fractionBits)
    const sum = (BigInt(power) << BigInt(fractionBits)) + (isUpper ? -logarithm : logarithm)
    sign = sum < 0n ? 1 : 0
    mantissa = sum < 0n ? -sum : sum
    exponent = -fractionBits
  }
  setWide(result, y.sign ^ sign, {mantissa: mantissa * significand(y), exponent: exponent + y.exponent - 63})
  return true
}

/** The logarithm when the last call of `logarithm` or `logarithmPlusOne` found it to be an integer. */
export let exactPower = 0

/** y × log2 x, x positive. False: x = 2^exactPower. */
export function logarithm(result: Real, x: Real, y: Real): boolean {
  return timesLogarithm(result, y, significand(x), 63 - x.exponent)
}

/** y × log2(1 + x), x above −1. False: 1 + x = 2^exactPower. */
export function logarithmPlusOne(result: Real, x: Real, y: Real): boolean {
  if (x.exponent > fractionBits) return logarithm(result, x, y)
  if (x.exponent < -fractionBits) {
    // log2(1 + x) = x ÷ ln 2, less x² ÷ 2: below what rounding can see.
    const mantissa = significand(x) * inverseLn2 * significand(y)
    setWide(result, x.sign ^ y.sign, {mantissa, exponent: x.exponent + y.exponent - 126 - lnBits})
    return true
  }
  const places = Math.max(63 - x.exponent, 0)
  const unit = 1n << BigInt(places)
  const offset = scaled(significand(x), x.exponent - 63 + places)
  return timesLogarithm(result, y, x.sign ? unit - offset : unit + offset, places)
}
