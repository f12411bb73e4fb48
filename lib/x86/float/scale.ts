/**
 * FSCALE and FXTRACT on numbers: multiply by a power of two given as a number, and split into exponent and significand.
 * Source: SDM vol. 2A FSCALE (table 3-36), FXTRACT.
 */
import {fromInt32} from './integers.js'
import {Exception, Kind, type Real} from './real.js'

/** Beyond this power every number overflows or vanishes, also after the wrap of an unmasked exception. */
const powerLimit = 0x10000

/** operand × 2^power, power cut towards zero; no NaN comes here. Rounding is left to the caller. */
export function scaleByPower(result: Real, operand: Real, power: Real): number {
  result.copy(operand)
  result.denormal = 0
  if (power.kind === Kind.infinity) {
    const vanishes = power.sign === 1
    if (operand.kind === (vanishes ? Kind.infinity : Kind.zero)) {
      result.setIndefinite()
      return Exception.invalid
    }
    if (vanishes) result.setZero(operand.sign)
    else result.setInfinity(operand.sign)
    return 0
  }
  if (operand.kind !== Kind.finite || power.kind === Kind.zero || power.exponent < 0) return 0
  const magnitude = power.exponent > 16 ? powerLimit : Math.floor(power.hi / 2 ** (31 - power.exponent))
  result.exponent += power.sign ? -magnitude : magnitude
  return 0
}

/** Splits a number that is not a NaN: exponent as an integral number, significand with exponent 0. */
export function extract(exponent: Real, significand: Real, operand: Real): number {
  significand.copy(operand)
  significand.denormal = 0
  if (operand.kind === Kind.zero) {
    exponent.setInfinity(1)
    return Exception.zeroDivide
  }
  if (operand.kind === Kind.infinity) {
    exponent.setInfinity(0)
    return 0
  }
  fromInt32(exponent, operand.exponent)
  significand.exponent = 0
  return operand.denormal ? Exception.denormal : 0
}
