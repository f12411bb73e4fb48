/**
 * x87 instructions on ST(0) alone: FCHS, FABS, FTST, FXAM, the constants, FSQRT, FRNDINT, FXTRACT.
 * The constants are rounded by the rounding mode in force, never by precision control, and raise nothing.
 * Source: SDM vol. 2A of each; vol. 1, 8.3.2 for the constants.
 */
import {squareRoot} from './arithmetic.js'
import {Exception, Kind, quieten, Rounding} from './real.js'
import {roundToIntegral} from './round.js'
import {extract} from './scale.js'
import {compareOperands, fit, underflowCompare, underflowInto} from './x87-arithmetic.js'
import type {X87Registers} from './x87-registers.js'
import {Status} from './x87-state.js'

/** FCHS, FABS: the sign bit only, whatever the register holds. */
export function changeSign(r: X87Registers, absolute: boolean): void {
  if (r.isEmpty(0)) {
    underflowInto(r, 0)
    return
  }
  r.setC1(0)
  const at = r.address(0) + 9
  const head = r.view.getUint8(at)
  r.view.setUint8(at, absolute ? head & 0x7f : head ^ 0x80)
}

/** FTST: ST(0) against +0. */
export function test(r: X87Registers): void {
  if (r.isEmpty(0)) {
    underflowCompare(r)
    return
  }
  r.read(0, r.a)
  r.b.setZero(0)
  compareOperands(r, false)
}

/** FXAM: class in C3, C2, C0, sign in C1; an empty register has a sign too. */
export function examine(r: X87Registers): void {
  const {a} = r
  r.read(0, a)
  r.setC1(a.sign ? Status.c1 : 0)
  let kind: number
  if (r.isEmpty(0)) kind = Status.c3 | Status.c0
  else if (a.kind === Kind.zero) kind = Status.c3
  else if (a.kind === Kind.finite) kind = a.denormal ? Status.c3 | Status.c2 : Status.c2
  else if (a.kind === Kind.infinity) kind = Status.c2 | Status.c0
  else kind = a.kind === Kind.unsupported ? 0 : Status.c0
  r.setConditions(kind)
}

/** D9 E8–EE: exponent, significand, and the bits that follow it, which decide the rounding. */
const constants = [
  {exponent: 0, hi: 0x80000000, lo: 0, extra: 0}, //                       FLD1
  {exponent: 1, hi: 0xd49a784b, lo: 0xcd1b8afe, extra: 0x492bf6ff}, //      FLDL2T
  {exponent: 0, hi: 0xb8aa3b29, lo: 0x5c17f0bb, extra: 0xbe87fed0}, //      FLDL2E
  {exponent: 1, hi: 0xc90fdaa2, lo: 0x2168c234, extra: 0xc4c6628b}, //      FLDPI
  {exponent: -2, hi: 0x9a209a84, lo: 0xfbcff798, extra: 0x8f8959ac}, //     FLDLG2
  {exponent: -1, hi: 0xb17217f7, lo: 0xd1cf79ab, extra: 0xc9e3b398}, //     FLDLN2
]

/** FLD1 … FLDZ by the low bits of ModRM. */
export function loadConstant(r: X87Registers, index: number): void {
  if (r.pushFaults()) return
  r.setC1(0)
  const {result, context} = r
  result.setZero(0)
  if (index < constants.length) {
    const {exponent, hi, lo, extra} = constants[index]
    // All are positive: rounding up adds one to the last place, and no carry leaves it.
    const up = context.rounding === Rounding.up ? extra !== 0 : context.rounding === Rounding.nearest && extra >>> 31
    result.setFinite(0, exponent, hi, up ? lo + 1 : lo, 0)
  }
  r.push(result)
}

/** FSQRT. */
export function squareRootTop(r: X87Registers): void {
  unary(r, () => {
    const {a, result, context} = r
    const flags = squareRoot(result, a)
    if (flags) return flags
    context.precision = r.precision
    return (a.denormal ? Exception.denormal : 0) | fit(r, result)
  })
}

/** FRNDINT. */
export function roundTop(r: X87Registers): void {
  unary(r, () => {
    const {a, result, context} = r
    result.copy(a)
    const flags = roundToIntegral(result, context.rounding)
    return flags | (a.denormal ? Exception.denormal : 0)
  })
}

/** Runs `compute` on a number in `r.a` into `r.result`; NaN and empty registers are dealt with here. */
export function unary(r: X87Registers, compute: () => number): void {
  if (r.isEmpty(0)) {
    underflowInto(r, 0)
    return
  }
  r.read(0, r.a)
  const flags = r.a.kind >= Kind.quietNaN ? r.chooseNaN(r.a, r.a) : compute()
  if (r.raise(flags)) r.write(0, r.result)
}

/** FXTRACT: ST(0) becomes the exponent, then the significand is pushed. */
export function extractTop(r: X87Registers): void {
  const {a, b, result} = r
  if (r.isEmpty(0) || !r.isEmpty(7)) {
    if (r.isEmpty(0) ? !r.underflow() : !r.overflow()) return
    result.setIndefinite()
    r.write(0, result)
    r.push(result)
    return
  }
  r.read(0, a)
  let flags: number
  if (a.kind >= Kind.quietNaN) {
    flags = r.chooseNaN(a, a)
    b.copy(result)
    quieten(b)
  } else flags = extract(b, result, a)
  if (!r.raise(flags)) return
  r.write(0, b)
  r.push(result)
}
