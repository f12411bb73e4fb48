/**
 * FPREM and FPREM1: the exact remainder, taken at most 63 binary places of quotient at a time. When the operands'
 * exponents are further apart the remainder is only reduced and C2 asks the program to go on.
 *
 * How far one step reduces is the processor's choice between 32 and 63 places; `partialStep` is what was measured.
 * Source: SDM vol. 2A FPREM, FPREM1.
 */
import {Exception, Kind, normalise, type Real} from './real.js'

/** Low three bits of the quotient, and whether the reduction is incomplete, of the last `remainder`. */
export const quotient = {bits: 0, incomplete: false}

/** dividend rem divisor in `result`: quotient cut (FPREM) or rounded to nearest even (FPREM1). No NaN comes here. */
export function remainder(result: Real, dividend: Real, divisor: Real, nearest: boolean): number {
  quotient.bits = 0
  quotient.incomplete = false
  if (dividend.kind === Kind.infinity || divisor.kind === Kind.zero) {
    result.setIndefinite()
    return Exception.invalid
  }
  result.copy(dividend)
  if (dividend.kind === Kind.zero || divisor.kind === Kind.infinity) return 0
  const distance = dividend.exponent - divisor.exponent
  if (distance < -1 || (distance < 0 && !nearest)) return 0
  quotient.incomplete = distance > 63
  reduce(result, divisor, quotient.incomplete ? partialStep(distance) : distance)
  if (nearest && !quotient.incomplete) roundQuotient(result, divisor)
  if (quotient.incomplete) quotient.bits = 0
  normalise(result)
  return 0
}

/** Places by which an incomplete reduction lowers the exponent. */
function partialStep(distance: number): number {
  return 32 + (distance & 31)
}

/** Divides `places` binary places; leaves the remainder, at scale exponent − places, and the quotient's low bits. */
function reduce(real: Real, divisor: Real, places: number): void {
  let {hi, lo} = real
  let bits = 0
  let carry = 0
  for (let place = 0; place <= places; place++) {
    if (place > 0) {
      carry = hi >>> 31
      hi = ((hi << 1) | (lo >>> 31)) >>> 0
      lo = (lo << 1) >>> 0
    }
    bits <<= 1
    if (carry !== 0 || hi > divisor.hi || (hi === divisor.hi && lo >= divisor.lo)) {
      hi = (hi - divisor.hi - (lo < divisor.lo ? 1 : 0)) >>> 0
      lo = (lo - divisor.lo) >>> 0
      bits |= 1
    }
  }
  if (places < 0) return
  real.hi = hi
  real.lo = lo
  real.exponent -= places
  quotient.bits = bits & 7
}

/** Takes the divisor off once more if the remainder exceeds its half, or equals it under an odd quotient. */
function roundQuotient(real: Real, divisor: Real): void {
  // At exponent divisor − 1 the significand counts halves of the divisor's unit; otherwise both have one scale.
  const isHalfScale = real.exponent < divisor.exponent
  const hi = isHalfScale ? real.hi : ((real.hi << 1) | (real.lo >>> 31)) >>> 0
  const lo = isHalfScale ? real.lo : (real.lo << 1) >>> 0
  const carry = isHalfScale ? 0 : real.hi >>> 31
  const order = carry || hi - divisor.hi || lo - divisor.lo
  if (order < 0 || (order === 0 && (quotient.bits & 1) === 0)) return
  // divisor − remainder, with one more bit below when the remainder stands at half scale.
  const whole = isHalfScale ? real.hi >>> 1 : real.hi
  const rest = isHalfScale ? ((real.lo >>> 1) | (real.hi << 31)) >>> 0 : real.lo
  const half = isHalfScale ? (real.lo & 1) * 0x80000000 : 0
  const extra = -half
  const low = divisor.lo - rest - (extra < 0 ? 1 : 0)
  const high = divisor.hi - whole - (low < 0 ? 1 : 0)
  real.setFinite(real.sign ^ 1, divisor.exponent, high >>> 0, low >>> 0, extra >>> 0)
  quotient.bits = (quotient.bits + 1) & 7
}
