/**
 * Two-operand x87 instructions: FADD … FDIVR in all their forms, the comparisons, FPREM, FPREM1, FSCALE. Every function
 * works on open registers, leaves the stack as the architecture says (also when an exception is unmasked), and answers
 * whether the instruction completed, so that the caller may pop.
 *
 * Arithmetic is ST(0) op operand whatever the destination: the encodings of FSUB and FSUBR swap places between D8 and
 * DC so that this holds. Precision control applies to these and to the square root only.
 * Source: SDM vol. 2A FADD … FUCOMIP; vol. 1, 8.1.5.2 and 8.3.5.
 */
import {add, compare, divide, multiply} from './arithmetic.js'
import {extended} from './formats.js'
import {Exception, Kind, type Real} from './real.js'
import {quotient, remainder} from './remainder.js'
import {round} from './round.js'
import {scaleByPower} from './scale.js'
import type {X87Registers} from './x87-registers.js'
import {Status} from './x87-state.js'

/** The reg field of D8, DA, DC, DE. */
export const X87Operator = {
  add: 0,
  multiply: 1,
  compare: 2,
  comparePop: 3,
  subtract: 4,
  subtractReversed: 5,
  divide: 6,
  divideReversed: 7,
} as const

/** Rounds a finite result; other kinds pass. */
export function fit(r: X87Registers, real: Real): number {
  return real.kind === Kind.finite ? round(real, extended, r.context) : 0
}

function isNaN2(a: Real, b: Real): boolean {
  return a.kind >= Kind.quietNaN || b.kind >= Kind.quietNaN
}

function compute(r: X87Registers, operator: number, a: Real, b: Real): number {
  if (isNaN2(a, b)) return r.chooseNaN(a, b)
  const {result, context} = r
  let flags = 0
  switch (operator) {
    case X87Operator.add:
      flags = add(result, a, b, 0, context.rounding)
      break
    case X87Operator.multiply:
      flags = multiply(result, a, b)
      break
    case X87Operator.subtract:
      flags = add(result, a, b, 1, context.rounding)
      break
    case X87Operator.subtractReversed:
      flags = add(result, b, a, 1, context.rounding)
      break
    case X87Operator.divide:
      flags = divide(result, a, b)
      break
    default:
      flags = divide(result, b, a)
  }
  if (flags !== 0) return flags
  if (a.denormal | b.denormal) flags |= Exception.denormal
  context.precision = r.precision
  return flags | fit(r, result)
}

/** Both operands read: `r.a` is ST(0), `r.b` the other. Writes ST(destination). */
export function arithmetic(r: X87Registers, operator: number, destination: number): boolean {
  if (!r.raise(compute(r, operator, r.a, r.b))) return false
  r.write(destination, r.result)
  return true
}

/** Stack underflow of an instruction that writes ST(destination). */
export function underflowInto(r: X87Registers, destination: number): boolean {
  if (!r.underflow()) return false
  r.result.setIndefinite()
  r.write(destination, r.result)
  return true
}

/** FADD ST(0), ST(i) and so on: D8 (destination 0), DC and DE (destination i). */
export function arithmeticRegisters(r: X87Registers, operator: number, source: number, destination: number): boolean {
  if (r.isEmpty(0) || r.isEmpty(source)) return underflowInto(r, destination)
  r.read(0, r.a)
  r.read(source, r.b)
  return arithmetic(r, operator, destination)
}

const unordered = Status.c3 | Status.c2 | Status.c0

/** C3, C2, C0 of an order. */
function conditions(order: number): number {
  return order === 0 ? Status.c3 : order < 0 ? Status.c0 : 0
}

let completed = false

/** `r.a` compared with `r.b`: the order as C3, C2, C0; `completed` turns false when an unmasked exception was met. */
function orderOf(r: X87Registers, quiet: boolean): number {
  const {a, b} = r
  let flags = 0
  let order: number = unordered
  if (isNaN2(a, b)) {
    const invalid = (real: Real) => real.kind > Kind.quietNaN || (real.kind === Kind.quietNaN && !quiet)
    if (invalid(a) || invalid(b)) flags = Exception.invalid
  } else {
    order = conditions(compare(a, b))
    if (a.denormal | b.denormal) flags = Exception.denormal
  }
  completed = r.raise(flags)
  return order
}

/** FCOM, FUCOM (`quiet`), FTST, FICOM: sets C3, C2, C0 from `r.a` and `r.b`, an unmasked exception or not. */
export function compareOperands(r: X87Registers, quiet: boolean): boolean {
  r.setConditions(orderOf(r, quiet))
  return completed
}

/** Stack underflow of a comparison: unordered. */
export function underflowCompare(r: X87Registers): boolean {
  r.setConditions(unordered)
  return r.underflow()
}

/** FCOM ST(i), FUCOM ST(i). */
export function compareRegisters(r: X87Registers, source: number, quiet: boolean): boolean {
  if (r.isEmpty(0) || r.isEmpty(source)) return underflowCompare(r)
  r.read(0, r.a)
  r.read(source, r.b)
  return compareOperands(r, quiet)
}

/**
 * FCOMI, FUCOMI: the result goes to ZF, PF, CF of the u32 at `flagsAddress`, whose other status flags become 0. C1
 * stays as it was unless the stack underflows.
 */
export function compareToFlags(r: X87Registers, source: number, quiet: boolean, flagsAddress: number): boolean {
  let order: number = unordered
  if (r.isEmpty(0) || r.isEmpty(source)) completed = r.underflow()
  else {
    const c1 = r.status & Status.c1
    r.read(0, r.a)
    r.read(source, r.b)
    order = orderOf(r, quiet)
    r.setC1(c1)
  }
  const statusFlags = 0x8d5
  // C0, C2, C3 lie eight bits above CF, PF, ZF.
  r.view.setUint32(flagsAddress, (r.view.getUint32(flagsAddress, true) & ~statusFlags) | (order >> 8), true)
  return completed
}

/** FPREM, FPREM1: ST(0) rem ST(1). */
export function partialRemainder(r: X87Registers, nearest: boolean): void {
  r.status &= ~Status.c2
  if (r.isEmpty(0) || r.isEmpty(1)) {
    underflowInto(r, 0)
    return
  }
  const {a, b, result} = r
  r.read(0, a)
  r.read(1, b)
  let flags: number
  const hasQuotient = !isNaN2(a, b)
  if (hasQuotient) {
    flags = remainder(result, a, b, nearest)
    if (flags === 0) flags = (a.denormal | b.denormal ? Exception.denormal : 0) | fit(r, result)
  } else flags = r.chooseNaN(a, b)
  if (!r.raise(flags)) return
  r.write(0, result)
  if (!hasQuotient || flags & Exception.invalid) return
  const {bits, incomplete} = quotient
  r.setConditions((incomplete ? Status.c2 : 0) | (bits & 2 ? Status.c3 : 0) | (bits & 4 ? Status.c0 : 0))
  r.setC1(bits & 1 ? Status.c1 : 0)
}

/** FSCALE: ST(0) × 2^⌊ST(1)⌋, cut towards zero. */
export function scale(r: X87Registers): void {
  if (r.isEmpty(0) || r.isEmpty(1)) {
    underflowInto(r, 0)
    return
  }
  const {a, b, result} = r
  r.read(0, a)
  r.read(1, b)
  let flags: number
  if (isNaN2(a, b)) flags = r.chooseNaN(a, b)
  else {
    flags = scaleByPower(result, a, b)
    if (flags === 0) flags = (a.denormal | b.denormal ? Exception.denormal : 0) | fit(r, result)
  }
  if (r.raise(flags)) r.write(0, result)
}
