/**
 * The transcendental x87 instructions: operands from the stack, zeros, infinities and ranges, then transcendental.ts
 * for the value. Results follow the rounding mode, never precision control, and are correctly rounded (the architecture
 * asks for less than one unit in the last place, so a processor may differ there in the last bit). A circular function
 * of |x| ≥ 2^63 sets C2 and leaves all as it was. Outside the ranges of F2XM1 and FYL2XP1 the result is undefined; ours
 * is what was measured on AMD.
 * Source: SDM vol. 2A of each, tables of results; vol. 1, 8.3.8.
 */
import {multiply} from './arithmetic.js'
import {fromInt32} from './integers.js'
import {Exception, Kind, Real} from './real.js'
import {
  arctangent,
  cosine,
  exactPower,
  logarithm,
  logarithmPlusOne,
  partOfPi,
  powerMinusOne,
  sine,
  tangent,
} from './transcendental.js'
import {fit, underflowInto} from './x87-arithmetic.js'
import type {X87Registers} from './x87-registers.js'
import {Status} from './x87-state.js'
import {unary} from './x87-unary.js'

/** D9 F0–FF where no other file takes it: F2XM1 FYL2X FPTAN FPATAN FYL2XP1 FSINCOS FSIN FCOS. */
export function transcendental(r: X87Registers, modrm: number): void {
  switch (modrm) {
    case 0xf0:
      r.b.denormal = 0
      return unary(r, () => finish(r, powerOf(r.result, r.a)))
    case 0xf1:
      return binaryPop(r, logarithmOf)
    case 0xf2:
      return tangentTop(r)
    case 0xf3:
      return binaryPop(r, angleOf)
    case 0xf9:
      return binaryPop(r, logarithmPlusOneOf)
    case 0xfb:
      return sineCosineTop(r)
    case 0xfe:
      return circularTop(r, sine, false)
    default:
      return circularTop(r, cosine, true)
  }
}

/**
 * Rounds `r.result` unless an invalid operation or zero divide decided it; merges the denormal exception of the
 * operands.
 */
function finish(r: X87Registers, flags: number): number {
  if (flags & (Exception.invalid | Exception.zeroDivide)) return flags
  return flags | (r.a.denormal | r.b.denormal ? Exception.denormal : 0) | fit(r, r.result)
}

function powerOf(result: Real, x: Real): number {
  if (x.kind === Kind.infinity && x.sign) fromInt32(result, -1)
  else if (x.kind !== Kind.finite) result.copy(x)
  else if (x.exponent > 0 || (x.exponent === 0 && (x.hi !== 0x80000000 || x.lo !== 0))) return outOfRange(result, x)
  else powerMinusOne(result, x)
  return 0
}

/** Undefined by the architecture: the operand, called inexact. */
function outOfRange(result: Real, x: Real): number {
  result.copy(x)
  return Exception.precision
}

/** ST(1) := f(ST(0), ST(1)), then pop. */
function binaryPop(r: X87Registers, compute: (result: Real, x: Real, y: Real) => number): void {
  if (r.isEmpty(0) || r.isEmpty(1)) {
    if (underflowInto(r, 1)) r.pop()
    return
  }
  r.read(0, r.a)
  r.read(1, r.b)
  const isNaN2 = r.a.kind >= Kind.quietNaN || r.b.kind >= Kind.quietNaN
  const flags = isNaN2 ? r.chooseNaN(r.a, r.b) : finish(r, compute(r.result, r.a, r.b))
  if (!r.raise(flags)) return
  r.write(1, r.result)
  r.pop()
}

function invalid(result: Real): number {
  result.setIndefinite()
  return Exception.invalid
}

/** log2 x is −1, 0 or 1 in sign: the product with a zero or infinite y. */
function timesSpecial(result: Real, y: Real, sign: number): number {
  if (y.kind === Kind.infinity) {
    if (sign === 0) return invalid(result)
    result.setInfinity(y.sign ^ (sign < 0 ? 1 : 0))
  } else result.setZero(y.sign ^ (sign < 0 ? 1 : 0))
  return 0
}

function logarithmOf(result: Real, x: Real, y: Real): number {
  if (x.kind === Kind.zero) {
    if (y.kind === Kind.zero) return invalid(result)
    result.setInfinity(y.sign ^ 1)
    return y.kind === Kind.infinity ? 0 : Exception.zeroDivide
  }
  if (x.sign) return invalid(result)
  if (x.kind === Kind.infinity) {
    if (y.kind === Kind.zero) return invalid(result)
    result.setInfinity(y.sign)
    return 0
  }
  if (y.kind !== Kind.finite) {
    const isOne = x.exponent === 0 && x.hi === 0x80000000 && x.lo === 0
    return timesSpecial(result, y, isOne ? 0 : x.exponent < 0 ? -1 : 1)
  }
  if (!logarithm(result, x, y)) timesExact(result, y)
  return 0
}

const factor = new Real()

function timesExact(result: Real, y: Real): void {
  if (exactPower === 0) factor.setZero(0)
  else fromInt32(factor, exactPower)
  multiply(result, factor, y)
}

function logarithmPlusOneOf(result: Real, x: Real, y: Real): number {
  if (x.kind === Kind.zero) {
    if (y.kind === Kind.infinity) return invalid(result)
    result.setZero(x.sign ^ y.sign)
    return 0
  }
  if (x.kind === Kind.infinity) {
    if (x.sign || y.kind === Kind.zero) return invalid(result)
    result.setInfinity(y.sign)
    return 0
  }
  if (y.kind !== Kind.finite) return timesSpecial(result, y, x.sign ? -1 : 1)
  if (x.sign && x.exponent >= 0) return outOfRange(result, x)
  if (logarithmPlusOne(result, x, y)) return 0
  timesExact(result, y)
  return Exception.precision
}

/** FPATAN: the angle of the point x = ST(0), y = ST(1). */
function angleOf(result: Real, x: Real, y: Real): number {
  if (y.kind === Kind.finite && x.kind === Kind.finite) arctangent(result, y, x)
  else if (y.kind === Kind.infinity) partOfPi(result, y.sign, x.kind === Kind.infinity ? (x.sign ? 3 : 1) : 2)
  else if (x.kind === Kind.infinity || y.kind === Kind.zero) {
    if (x.sign) partOfPi(result, y.sign, 4)
    else result.setZero(y.sign)
  } else partOfPi(result, y.sign, 2)
  return 0
}

/** Whether |ST(0)| is too large for the circular functions; sets or clears C2. */
function isOutOfRange(r: X87Registers): boolean {
  const isLarge = r.a.kind === Kind.finite && r.a.exponent >= 63
  r.status = isLarge ? r.status | Status.c2 : r.status & ~Status.c2
  if (isLarge) r.setC1(0)
  return isLarge
}

type Circular = (result: Real, x: Real) => void

function circularOf(r: X87Registers, compute: Circular, isCosine: boolean): number {
  const {a, result} = r
  r.b.denormal = 0
  if (a.kind >= Kind.quietNaN) return r.chooseNaN(a, a)
  if (a.kind === Kind.infinity) return invalid(result)
  if (a.kind === Kind.finite) compute(result, a)
  else if (isCosine) fromInt32(result, 1)
  else result.setZero(a.sign)
  return finish(r, 0)
}

function circularTop(r: X87Registers, compute: Circular, isCosine: boolean): void {
  r.status &= ~Status.c2
  if (r.isEmpty(0)) {
    underflowInto(r, 0)
    return
  }
  r.read(0, r.a)
  if (isOutOfRange(r)) return
  if (r.raise(circularOf(r, compute, isCosine))) r.write(0, r.result)
}

/** Stack faults of FPTAN and FSINCOS, which need ST(0) and a free register; true when one was met. */
function pairFaults(r: X87Registers): boolean {
  r.status &= ~Status.c2
  if (!r.isEmpty(0) && r.isEmpty(7)) return false
  if (r.isEmpty(0) ? r.underflow() : r.overflow()) {
    r.result.setIndefinite()
    r.write(0, r.result)
    r.push(r.result)
  }
  return true
}

/** FPTAN: ST(0) becomes the tangent, then 1 is pushed; a NaN is pushed twice. */
function tangentTop(r: X87Registers): void {
  if (pairFaults(r)) return
  r.read(0, r.a)
  if (isOutOfRange(r)) return
  if (!r.raise(circularOf(r, tangent, false))) return
  r.write(0, r.result)
  if (r.result.kind < Kind.quietNaN) fromInt32(r.result, 1)
  r.push(r.result)
}

/** FSINCOS: ST(0) becomes the sine, then the cosine is pushed. */
function sineCosineTop(r: X87Registers): void {
  if (pairFaults(r)) return
  const {a, b, result} = r
  r.read(0, a)
  if (isOutOfRange(r)) return
  const sineFlags = circularOf(r, sine, false)
  b.copy(result)
  const sineC1 = sineFlags
  b.denormal = 0
  if (!r.raise(sineFlags | circularOf(r, cosine, true))) return
  r.setC1(sineC1)
  r.write(0, b)
  r.push(result)
}
