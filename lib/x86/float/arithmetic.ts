/**
 * The four operations and the square root, exact: each leaves in `result` a number whose 96-bit significand (64 bits,
 * 32 extra bits, the last one sticky) rounds correctly to any precision up to 64, and returns the exceptions found
 * before rounding (invalid, zero divide). NaN and unsupported operands never come here: which NaN survives differs
 * between x87 and SSE.
 *
 * All in 32-bit halves held by numbers (the root alone uses bigint); products below 2^53 are exact in a double.
 * `result` may not be an operand.
 * Source: SDM vol. 1, 4.9 and 8.5; Knuth, The Art of Computer Programming, vol. 2, 4.3.1.
 */
import {Exception, Kind, normalise, type Real, Rounding, shiftRightSticky} from './real.js'

/** left + right, or left − right; `rounding` decides the sign of an exact zero. */
export function add(result: Real, left: Real, right: Real, subtract: number, rounding: number): number {
  const rightSign = right.sign ^ subtract
  if (left.kind === Kind.finite && right.kind === Kind.finite) {
    if (left.sign === rightSign) addMagnitudes(result, left, right)
    else subtractMagnitudes(result, left, right, rightSign, rounding)
    return 0
  }
  if (left.kind === Kind.infinity) {
    if (right.kind === Kind.infinity && left.sign !== rightSign) {
      result.setIndefinite()
      return Exception.invalid
    }
    result.setInfinity(left.sign)
  } else if (right.kind === Kind.infinity) result.setInfinity(rightSign)
  else if (right.kind === Kind.finite) {
    result.copy(right)
    result.sign = rightSign
  } else if (left.kind === Kind.finite) result.copy(left)
  else result.setZero(left.sign === rightSign ? left.sign : rounding === Rounding.down ? 1 : 0)
  return 0
}

function addMagnitudes(result: Real, left: Real, right: Real): void {
  const leftIsLarger = left.exponent >= right.exponent
  const large = leftIsLarger ? left : right
  const small = leftIsLarger ? right : left
  const {sign} = left
  result.setFinite(sign, large.exponent, small.hi, small.lo, 0)
  shiftRightSticky(result, large.exponent - small.exponent)
  const lo = result.lo + large.lo
  const hi = result.hi + large.hi + (lo > 0xffffffff ? 1 : 0)
  result.lo = lo >>> 0
  result.hi = hi >>> 0
  if (hi > 0xffffffff) {
    shiftRightSticky(result, 1)
    result.hi = (result.hi | 0x80000000) >>> 0
    result.exponent++
  }
}

function subtractMagnitudes(result: Real, left: Real, right: Real, rightSign: number, rounding: number): void {
  let order = left.exponent - right.exponent
  if (order === 0) order = left.hi - right.hi
  if (order === 0) order = left.lo - right.lo
  if (order === 0) {
    result.setZero(rounding === Rounding.down ? 1 : 0)
    return
  }
  const large = order > 0 ? left : right
  const small = order > 0 ? right : left
  result.setFinite(order > 0 ? left.sign : rightSign, large.exponent, small.hi, small.lo, 0)
  shiftRightSticky(result, large.exponent - small.exponent)
  const extra = -result.extra
  const lo = large.lo - result.lo - (extra < 0 ? 1 : 0)
  const hi = large.hi - result.hi - (lo < 0 ? 1 : 0)
  result.extra = extra >>> 0
  result.lo = lo >>> 0
  result.hi = hi >>> 0
  normalise(result)
}

/** left × right. */
export function multiply(result: Real, left: Real, right: Real): number {
  const sign = left.sign ^ right.sign
  if (left.kind === Kind.finite && right.kind === Kind.finite) {
    multiplyFinite(result, left, right, sign)
    return 0
  }
  if (left.kind === Kind.infinity || right.kind === Kind.infinity) {
    if (left.kind === Kind.zero || right.kind === Kind.zero) {
      result.setIndefinite()
      return Exception.invalid
    }
    result.setInfinity(sign)
  } else result.setZero(sign)
  return 0
}

/** The low and high half of the last `wideProduct`. */
let productLow = 0
let productHigh = 0

function wideProduct(left: number, right: number): void {
  const low = left * (right & 0xffff)
  const high = left * (right >>> 16)
  const sum = low + (high & 0xffff) * 0x10000
  productLow = sum >>> 0
  productHigh = Math.floor(sum / 0x100000000) + Math.floor(high / 0x10000)
}

function multiplyFinite(result: Real, left: Real, right: Real, sign: number): void {
  wideProduct(left.lo, right.lo)
  const lowest = productLow
  let extra = productHigh
  wideProduct(left.hi, right.lo)
  extra += productLow
  let lo = productHigh
  wideProduct(left.lo, right.hi)
  extra += productLow
  lo += productHigh
  wideProduct(left.hi, right.hi)
  lo += productLow + Math.floor(extra / 0x100000000)
  const hi = productHigh + Math.floor(lo / 0x100000000)
  // The product of two numbers in [1, 2) lies in [1, 4): bit 127 or bit 126 is the leading one.
  if (hi >= 0x80000000) {
    const sticky = lowest === 0 ? 0 : 1
    result.setFinite(sign, left.exponent + right.exponent + 1, hi, lo >>> 0, ((extra >>> 0) | sticky) >>> 0)
    return
  }
  const sticky = lowest << 1 === 0 ? 0 : 1
  result.setFinite(
    sign,
    left.exponent + right.exponent,
    ((hi << 1) | ((lo >>> 0) >>> 31)) >>> 0,
    ((lo << 1) | ((extra >>> 0) >>> 31)) >>> 0,
    ((extra << 1) | (lowest >>> 31) | sticky) >>> 0,
  )
}

/** left ÷ right. */
export function divide(result: Real, left: Real, right: Real): number {
  const sign = left.sign ^ right.sign
  if (left.kind === Kind.finite && right.kind === Kind.finite) {
    divideFinite(result, left, right, sign)
    return 0
  }
  if (left.kind === right.kind) {
    result.setIndefinite()
    return Exception.invalid
  }
  if (left.kind === Kind.infinity) result.setInfinity(sign)
  else if (right.kind === Kind.infinity || left.kind === Kind.zero) result.setZero(sign)
  else {
    result.setInfinity(sign)
    return Exception.zeroDivide
  }
  return 0
}

/** Remainder of the division under way, below the divisor. */
let remainderHi = 0
let remainderLo = 0

const two32 = 0x100000000
const two20 = 0x100000

/**
 * The next 20 quotient bits: estimated in doubles, then corrected by at most one. Every product is below 2^53, hence
 * exact.
 */
function quotientDigit(divisorHi: number, divisorLo: number): number {
  let digit = Math.floor(((remainderHi * two32 + remainderLo) / (divisorHi * two32 + divisorLo)) * two20)
  let lo = remainderLo * two20 - digit * divisorLo
  const carry = Math.floor(lo / two32)
  lo -= carry * two32
  let hi = remainderHi * two20 - digit * divisorHi + carry
  if (hi < 0) {
    digit--
    lo += divisorLo
    hi += divisorHi
    if (lo >= two32) {
      lo -= two32
      hi++
    }
  } else if (hi > divisorHi || (hi === divisorHi && lo >= divisorLo)) {
    digit++
    lo -= divisorLo
    hi -= divisorHi
    if (lo < 0) {
      lo += two32
      hi--
    }
  }
  remainderHi = hi
  remainderLo = lo
  return digit
}

function divideFinite(result: Real, left: Real, right: Real, sign: number): void {
  remainderHi = left.hi
  remainderLo = left.lo
  const exponent = left.exponent - right.exponent
  const isAtLeastOne = left.hi > right.hi || (left.hi === right.hi && left.lo >= right.lo)
  if (isAtLeastOne) {
    remainderHi = (left.hi - right.hi - (left.lo < right.lo ? 1 : 0)) >>> 0
    remainderLo = (left.lo - right.lo) >>> 0
  }
  const a = quotientDigit(right.hi, right.lo)
  const b = quotientDigit(right.hi, right.lo)
  const c = quotientDigit(right.hi, right.lo)
  const d = quotientDigit(right.hi, right.lo)
  const sticky = remainderHi === 0 && remainderLo === 0 ? 0 : 1
  if (isAtLeastOne) {
    const hi = (0x80000000 | (a << 11) | (b >>> 9)) >>> 0
    const lo = ((b << 23) | (c << 3) | (d >>> 17)) >>> 0
    result.setFinite(sign, exponent, hi, lo, ((d << 15) | sticky) >>> 0)
    return
  }
  // The quotient lies in (1/2, 1): its leading one is the first digit's.
  const hi = ((a << 12) | (b >>> 8)) >>> 0
  const lo = ((b << 24) | (c << 4) | (d >>> 16)) >>> 0
  result.setFinite(sign, exponent - 1, hi, lo, ((d << 16) | sticky) >>> 0)
}

/** √operand. */
export function squareRoot(result: Real, operand: Real): number {
  if (operand.kind === Kind.zero || (operand.kind === Kind.infinity && operand.sign === 0)) {
    result.copy(operand)
    return 0
  }
  if (operand.sign) {
    result.setIndefinite()
    return Exception.invalid
  }
  // √(m × 2^e), e even, as the integer root of m × 2^132: 66 or 67 bits, remainder into the sticky bit.
  const odd = operand.exponent & 1
  const radicand = ((BigInt(operand.hi) << 32n) | BigInt(operand.lo)) << (odd ? 68n : 67n)
  // One Newton step from the double's root, good to 50 bits, gives the integer root or one more.
  const estimate = BigInt(Math.sqrt(Number(radicand)))
  let root = (estimate + radicand / estimate) >> 1n
  const rest = radicand - root * root
  if (rest < 0n) root--
  const sticky = rest === 0n ? 0 : 1
  const bits = root << 30n
  result.setFinite(
    0,
    (operand.exponent - odd) / 2,
    Number(bits >> 64n),
    Number((bits >> 32n) & 0xffffffffn),
    (Number(bits & 0xffffffffn) | sticky) >>> 0,
  )
  return 0
}

/** Order of two numbers that are not NaN: −1, 0 or 1. Zeros of either sign are equal. */
export function compare(left: Real, right: Real): number {
  if (left.kind === Kind.zero && right.kind === Kind.zero) return 0
  if (left.kind === Kind.zero) return right.sign ? 1 : -1
  if (right.kind === Kind.zero) return left.sign ? -1 : 1
  if (left.sign !== right.sign) return left.sign ? -1 : 1
  const flip = left.sign ? -1 : 1
  if (left.kind !== right.kind) return left.kind === Kind.infinity ? flip : -flip
  if (left.kind === Kind.infinity) return 0
  const order = left.exponent - right.exponent || left.hi - right.hi || left.lo - right.lo
  return order === 0 ? 0 : order > 0 ? flip : -flip
}
