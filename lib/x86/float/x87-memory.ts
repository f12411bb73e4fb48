/**
 * x87 loads and stores: FLD, FST, FILD, FIST, FISTTP, FBLD, FBSTP, and the register moves FLD ST(i), FST ST(i), FXCH,
 * FCMOVcc. A function that loads expects the operand's bytes at `at`; one that stores writes them there and answers
 * whether it did: an unmasked invalid, overflow or underflow exception leaves memory and stack alone.
 * Source: SDM vol. 2A of each; vol. 1, 8.5.1 for stack faults and 8.5.4 for results bound for memory.
 */
import {type Format, readDouble, readSingle, single, truncateNaN, writeDouble, writeSingle} from './formats.js'
import {decimal, fromInt32, fromInteger, integer, readDecimal, toDecimal, toInteger} from './integers.js'
import {Exception, Kind, quieten, Rounding} from './real.js'
import {round} from './round.js'
import type {X87Registers} from './x87-registers.js'

/** Memory formats an x87 instruction names. */
export const Operand = {single: 0, int32: 1, double: 2, int16: 3, int64: 4} as const

/** Unpacks a memory operand into `r.b`. */
export function readOperand(r: X87Registers, operand: number, at: number): void {
  const {view, b} = r
  if (operand === Operand.single) readSingle(view, at, b)
  else if (operand === Operand.double) readDouble(view, at, b)
  else if (operand === Operand.int32) fromInt32(b, view.getInt32(at, true))
  else if (operand === Operand.int16) fromInt32(b, view.getInt16(at, true))
  else fromInteger(b, view.getUint32(at + 4, true), view.getUint32(at, true))
}

/**
 * FLD m32, FLD m64, FILD. An unmasked denormal exception does not keep the number out (AMD; Intel leaves the stack
 * alone).
 */
export function load(r: X87Registers, operand: number, at: number): void {
  if (r.pushFaults()) return
  const {b} = r
  readOperand(r, operand, at)
  let flags = 0
  if (b.kind === Kind.signallingNaN) {
    quieten(b)
    flags = Exception.invalid
  } else if (b.denormal) flags = Exception.denormal
  if (r.raise(flags) || flags === Exception.denormal) r.push(b)
}

/** FLD m80: bits as they are. */
export function loadExtended(r: X87Registers, at: number): void {
  if (r.pushFaults()) return
  r.setC1(0)
  r.top = (r.top + 7) & 7
  copyTen(r, at, r.address(0))
  r.tags |= 1 << r.top
}

/** FBLD. */
export function loadDecimal(r: X87Registers, at: number): void {
  if (r.pushFaults()) return
  r.setC1(0)
  readDecimal(r.view, at, r.b)
  r.push(r.b)
}

/** FLD ST(i). */
export function loadRegister(r: X87Registers, source: number): void {
  if (r.isEmpty(source)) {
    if (!r.underflow()) return
    r.result.setIndefinite()
    r.push(r.result)
    return
  }
  if (r.pushFaults()) return
  r.setC1(0)
  const from = r.address(source)
  r.top = (r.top + 7) & 7
  copyTen(r, from, r.address(0))
  r.tags |= 1 << r.top
}

function copyTen(r: X87Registers, from: number, to: number): void {
  const {view} = r
  const low = view.getUint32(from, true)
  const high = view.getUint32(from + 4, true)
  const head = view.getUint16(from + 8, true)
  view.setUint32(to, low, true)
  view.setUint32(to + 4, high, true)
  view.setUint16(to + 8, head, true)
}

/** FST m32, FST m64. */
export function store(r: X87Registers, format: Format, at: number): boolean {
  const {result, view} = r
  const write = format === single ? writeSingle : writeDouble
  if (r.isEmpty(0)) {
    if (!r.underflow()) return false
    result.setIndefinite()
    write(view, at, result)
    return true
  }
  r.read(0, result)
  let flags = 0
  if (result.kind === Kind.unsupported) {
    result.setIndefinite()
    flags = Exception.invalid
  } else if (result.kind >= Kind.quietNaN) {
    if (result.kind === Kind.signallingNaN) flags = Exception.invalid
    truncateNaN(result, format)
  } else if (result.kind === Kind.finite) {
    r.context.precision = format.precision
    flags = round(result, format, r.context)
    const lost = flags & ~r.control & (Exception.overflow | Exception.underflow)
    if (lost) {
      r.setC1(0)
      r.status |= lost
      return false
    }
  }
  if (!r.raise(flags)) return false
  write(view, at, result)
  return true
}

/** FSTP m80: bits as they are. */
export function storeExtended(r: X87Registers, at: number): boolean {
  if (r.isEmpty(0)) {
    if (!r.underflow()) return false
    writeIndefinite(r, at)
    return true
  }
  r.setC1(0)
  copyTen(r, r.address(0), at)
  return true
}

function writeIndefinite(r: X87Registers, at: number): void {
  r.view.setUint32(at, 0, true)
  r.view.setUint32(at + 4, 0xc0000000, true)
  r.view.setUint16(at + 8, 0xffff, true)
}

/** FIST, FISTP, FISTTP (`truncate`) of 16, 32 or 64 bits. */
export function storeInteger(r: X87Registers, bits: 16 | 32 | 64, truncate: boolean, at: number): boolean {
  const {result, view} = r
  let completes: boolean
  if (r.isEmpty(0)) {
    result.setIndefinite()
    toInteger(result, bits, Rounding.nearest)
    completes = r.underflow()
  } else {
    r.read(0, result)
    completes = r.raise(toInteger(result, bits, truncate ? Rounding.zero : r.context.rounding))
  }
  if (!completes) return false
  if (bits === 16) view.setUint16(at, integer.lo & 0xffff, true)
  else view.setUint32(at, integer.lo, true)
  if (bits === 64) view.setUint32(at + 4, integer.hi, true)
  return true
}

/** FBSTP. */
export function storeDecimal(r: X87Registers, at: number): boolean {
  const {result, view} = r
  let completes: boolean
  if (r.isEmpty(0)) {
    result.setIndefinite()
    toDecimal(result, Rounding.nearest)
    completes = r.underflow()
  } else {
    r.read(0, result)
    completes = r.raise(toDecimal(result, r.context.rounding))
  }
  if (!completes) return false
  for (let i = 0; i < 10; i++) view.setUint8(at + i, decimal[i])
  return true
}

/** FST ST(i). */
export function storeRegister(r: X87Registers, destination: number): boolean {
  if (r.isEmpty(0)) {
    if (!r.underflow()) return false
    r.result.setIndefinite()
    r.write(destination, r.result)
    return true
  }
  r.setC1(0)
  copyTen(r, r.address(0), r.address(destination))
  r.tags |= 1 << ((r.top + destination) & 7)
  return true
}

/** D9 D8+i, an undocumented FSTP that raises nothing when ST(0) is empty: it then only pops. */
export function storeUnchecked(r: X87Registers, destination: number): void {
  r.setC1(0)
  if (!r.isEmpty(0)) {
    copyTen(r, r.address(0), r.address(destination))
    r.tags |= 1 << ((r.top + destination) & 7)
  }
  r.pop()
}

/** FXCH: an empty register takes part as the indefinite. */
export function exchange(r: X87Registers, other: number): void {
  if (r.isEmpty(0) || r.isEmpty(other)) {
    if (!r.underflow()) return
    r.result.setIndefinite()
    if (r.isEmpty(0)) r.write(0, r.result)
    if (r.isEmpty(other)) r.write(other, r.result)
  } else r.setC1(0)
  const {view} = r
  const at = r.address(0)
  const to = r.address(other)
  const low = view.getUint32(at, true)
  const high = view.getUint32(at + 4, true)
  const head = view.getUint16(at + 8, true)
  copyTen(r, to, at)
  view.setUint32(to, low, true)
  view.setUint32(to + 4, high, true)
  view.setUint16(to + 8, head, true)
}

/** FCMOVcc, condition number 0–7 (B E BE U, then their opposites), with the flags in the u32 at `flagsAddress`. */
export function conditionalMove(r: X87Registers, condition: number, source: number, flagsAddress: number): void {
  if (r.isEmpty(0) || r.isEmpty(source)) {
    if (!r.underflow()) return
    r.result.setIndefinite()
    r.write(0, r.result)
    return
  }
  const tested = [0x01, 0x40, 0x41, 0x04][condition & 3]
  const holds = (r.view.getUint32(flagsAddress, true) & tested) !== 0
  if (holds === condition < 4) copyTen(r, r.address(source), r.address(0))
}
