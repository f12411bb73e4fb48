/**
 * One lane of an SSE floating-point instruction: two operands in, one result and its exception flags out. Unlike the
 * x87 unit, SSE lets the first operand's NaN win over the second's, rounds straight to the format (no precision
 * control), may take denormal operands for zeros (MXCSR.DAZ) and give zeros for denormal results (MXCSR.FTZ).
 *
 * Results are left as bits in `lane`. `setMode` must have been called with the MXCSR in force.
 * Source: SDM vol. 1, 10.2.3, 11.5.2 and appendix E.4.
 */
import {add, compare, divide, multiply, squareRoot} from './arithmetic.js'
import {
  double,
  type Format,
  fromDoubleBits,
  fromSingleBits,
  single,
  toDoubleHigh,
  toDoubleLow,
  toSingleBits,
  truncateNaN,
} from './formats.js'
import {fromInteger, integer, toInteger} from './integers.js'
import {Exception, Kind, quieten, Real, Rounding} from './real.js'
import {type RoundingContext, round, roundToIntegral} from './round.js'

/** Bits of the last result: a single or a 32-bit integer is in `lo`. */
export const lane = {hi: 0, lo: 0}

/** Which arithmetic `arithmeticLane` does. */
export const Arithmetic = {add: 0, subtract: 1, multiply: 2, divide: 3} as const

const context: RoundingContext = {rounding: 0, precision: 24, masked: 0x3f, flushToZero: false}
let denormalsAreZero = false

const left = new Real()
const right = new Real()
const result = new Real()

/** Takes rounding mode, masks, DAZ and FTZ from an MXCSR value. */
export function setMode(mxcsr: number): void {
  context.rounding = (mxcsr >>> 13) & 3
  context.masked = (mxcsr >>> 7) & 0x3f
  context.flushToZero = (mxcsr & 0x8000) !== 0
  denormalsAreZero = (mxcsr & 0x40) !== 0
}

const foundInOperands = Exception.invalid | Exception.denormal | Exception.zeroDivide
const anyException = 0x3f

/** Whether one of the exceptions must be raised. */
export function isUnmasked(flags: number): boolean {
  return (flags & ~context.masked & anyException) !== 0
}

/**
 * The flags that MXCSR shows of those that all lanes raised: exceptions of the operands are found before anything is
 * computed, so an unmasked one leaves no trace of the results.
 */
export function visibleExceptions(flags: number): number {
  return isUnmasked(flags & foundInOperands) ? flags & foundInOperands : flags & anyException
}

function read(view: DataView, at: number, real: Real, isDouble: number): void {
  if (isDouble) fromDoubleBits(real, view.getUint32(at + 4, true), view.getUint32(at, true), denormalsAreZero)
  else fromSingleBits(real, view.getUint32(at, true), denormalsAreZero)
}

function give(real: Real, isDouble: number): void {
  if (isDouble) {
    lane.hi = toDoubleHigh(real)
    lane.lo = toDoubleLow(real)
  } else lane.lo = toSingleBits(real)
}

/** An operand as it stands in memory, unless DAZ has made it a zero. */
function giveUnchanged(view: DataView, at: number, real: Real, isDouble: number): void {
  if (real.kind === Kind.zero) {
    give(real, isDouble)
    return
  }
  lane.lo = view.getUint32(at, true)
  if (isDouble) lane.hi = view.getUint32(at + 4, true)
}

function fit(real: Real, format: Format): number {
  if (real.kind !== Kind.finite) return 0
  context.precision = format.precision
  return round(real, format, context)
}

/** Puts the NaN that survives in `result`: the first operand's, else the second's. */
function chooseNaN(): number {
  result.copy(left.kind >= Kind.quietNaN ? left : right)
  quieten(result)
  return left.kind === Kind.signallingNaN || right.kind === Kind.signallingNaN ? Exception.invalid : 0
}

function arithmetic(operator: number, isDouble: number): number {
  if (left.kind >= Kind.quietNaN || right.kind >= Kind.quietNaN) return chooseNaN()
  let flags: number
  if (operator === Arithmetic.multiply) flags = multiply(result, left, right)
  else if (operator === Arithmetic.divide) flags = divide(result, left, right)
  else flags = add(result, left, right, operator, context.rounding)
  if (flags !== 0) return flags
  return (left.denormal | right.denormal ? Exception.denormal : 0) | fit(result, isDouble ? double : single)
}

/** first + second and so on, of the numbers at two addresses. */
export function arithmeticLane(
  view: DataView,
  operator: number,
  isDouble: number,
  first: number,
  second: number,
): number {
  read(view, first, left, isDouble)
  read(view, second, right, isDouble)
  const flags = arithmetic(operator, isDouble)
  give(result, isDouble)
  return flags
}

/** √ of the number at `at`. */
export function squareRootLane(view: DataView, isDouble: number, at: number): number {
  read(view, at, left, isDouble)
  let flags: number
  if (left.kind >= Kind.quietNaN) {
    right.setZero(0)
    flags = chooseNaN()
  } else {
    flags = squareRoot(result, left)
    if (flags === 0) flags = (left.denormal ? Exception.denormal : 0) | fit(result, isDouble ? double : single)
  }
  give(result, isDouble)
  return flags
}

/** MIN or MAX: the second operand wins when either is a NaN and when both are zero. */
export function extremeLane(view: DataView, maximum: boolean, isDouble: number, first: number, second: number): number {
  read(view, first, left, isDouble)
  read(view, second, right, isDouble)
  const unordered = left.kind >= Kind.quietNaN || right.kind >= Kind.quietNaN
  const order = unordered ? 0 : compare(left, right)
  const takeFirst = maximum ? order > 0 : order < 0
  giveUnchanged(view, takeFirst ? first : second, takeFirst ? left : right, isDouble)
  if (unordered) return Exception.invalid
  return left.denormal | right.denormal ? Exception.denormal : 0
}

/**
 * The order of two numbers as ZF, PF and CF at their places in EFLAGS: unordered 0x45, less 1, equal 0x40, greater 0.
 */
export function orderLane(view: DataView, isDouble: number, first: number, second: number): number {
  read(view, first, left, isDouble)
  read(view, second, right, isDouble)
  if (left.kind >= Kind.quietNaN || right.kind >= Kind.quietNaN) return 0x45
  const order = compare(left, right)
  return order === 0 ? 0x40 : order < 0 ? 1 : 0
}

/** Exceptions of comparing the numbers that `orderLane` has read: a quiet NaN is invalid only if `signalling`. */
export function orderExceptions(signalling: boolean): number {
  if (left.kind >= Kind.quietNaN || right.kind >= Kind.quietNaN) {
    return signalling || left.kind === Kind.signallingNaN || right.kind === Kind.signallingNaN ? Exception.invalid : 0
  }
  return left.denormal | right.denormal ? Exception.denormal : 0
}

/** ROUNDxx: bit 2 of the immediate takes MXCSR's mode, bit 3 suppresses the precision exception. */
export function roundLane(view: DataView, immediate: number, isDouble: number, at: number): number {
  read(view, at, result, isDouble)
  let flags = 0
  if (result.kind === Kind.signallingNaN) {
    quieten(result)
    flags = Exception.invalid
  } else flags = roundToIntegral(result, immediate & 4 ? context.rounding : immediate & 3)
  give(result, isDouble)
  return immediate & 8 ? flags & ~Exception.precision : flags
}

/** Single to double (`isDouble` 0) or double to single (1). */
export function convertLane(view: DataView, isDouble: number, at: number): number {
  read(view, at, result, isDouble)
  const to = isDouble ? single : double
  let flags = 0
  if (result.kind >= Kind.quietNaN) {
    flags = result.kind === Kind.signallingNaN ? Exception.invalid : 0
    truncateNaN(result, to)
  } else flags = (result.denormal ? Exception.denormal : 0) | fit(result, to)
  give(result, isDouble ^ 1)
  return flags
}

/** To a signed integer of 32 or 64 bits, by MXCSR's rounding mode or towards zero. */
export function toIntegerLane(view: DataView, isDouble: number, bits: 32 | 64, truncate: boolean, at: number): number {
  read(view, at, result, isDouble)
  const flags = toInteger(result, bits, truncate ? Rounding.zero : context.rounding)
  lane.hi = integer.hi
  lane.lo = integer.lo
  return flags
}

/** From a signed integer of 32 or 64 bits. */
export function fromIntegerLane(view: DataView, isDouble: number, bits: 32 | 64, at: number): number {
  const lo = view.getInt32(at, true)
  const hi = bits === 64 ? view.getInt32(at + 4, true) : lo >> 31
  fromInteger(result, hi, lo >>> 0)
  const flags = fit(result, isDouble ? double : single)
  give(result, isDouble)
  return flags
}

/**
 * The sum of DPPS and DPPD: products of the lanes that bits 4–7 of the immediate name, added in pairs, then the pairs.
 * Each stage rounds, and its exceptions count; one that raises an unmasked exception is the last.
 */
export function dotProduct(view: DataView, immediate: number, isDouble: number, first: number, second: number): number {
  const size = isDouble ? 8 : 4
  const lanes = isDouble ? 2 : 4
  let stage = 0
  for (let i = 0; i < lanes; i++) {
    if (immediate & (16 << i)) {
      read(view, first + i * size, left, isDouble)
      read(view, second + i * size, right, isDouble)
      stage |= arithmetic(Arithmetic.multiply, isDouble)
      keep(i, isDouble)
    } else partialHi[i] = partialLo[i] = 0
  }
  let flags = visibleExceptions(stage)
  for (let width = 1; width < lanes && !isUnmasked(flags); width *= 2) {
    stage = 0
    for (let i = 0; i < lanes; i += width * 2) {
      fromBits(left, i, isDouble)
      fromBits(right, i + width, isDouble)
      stage |= arithmetic(Arithmetic.add, isDouble)
      keep(i, isDouble)
    }
    flags |= visibleExceptions(stage)
  }
  lane.hi = partialHi[0]
  lane.lo = partialLo[0]
  return flags
}

const partialHi = new Uint32Array(4)
const partialLo = new Uint32Array(4)

function keep(index: number, isDouble: number): void {
  give(result, isDouble)
  partialHi[index] = lane.hi
  partialLo[index] = lane.lo
}

function fromBits(real: Real, index: number, isDouble: number): void {
  if (isDouble) fromDoubleBits(real, partialHi[index], partialLo[index], denormalsAreZero)
  else fromSingleBits(real, partialLo[index], denormalsAreZero)
}
