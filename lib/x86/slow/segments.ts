/**
 * Segment registers: loads with the manual's checks, far jumps, calls and returns, IRET to the same privilege, and the instructions that look
 * at descriptors (LAR LSL VERR VERW). Descriptors come from the Platform, which knows where the tables are.
 *
 * Source: SDM vol. 3A 3.4.5 (descriptors), 5.5–5.8 (privilege checks), vol. 2A/2B MOV, CALL, JMP, RET, IRET, LAR, LSL.
 */
import type {Outcome} from '../platform.js'
import {Gpr, Rflags} from '../registers.js'
import {Segment, state} from '../state.js'
import type {Vcpu} from '../vcpu.js'
import {
  advance,
  blockEnd,
  exit,
  immediate,
  linearAddress,
  load,
  moveStack,
  nextRip,
  opcode,
  operandBits,
  push,
  raise,
  readE,
  type SlowPath,
  slot,
  stackAddress,
  writeE,
  writeRegister,
} from './operand.js'
import {writableFlags} from './stack.js'

/** Bits of a descriptor's high half. */
const Descriptor = {
  present: 1 << 15,
  system: 1 << 12,
  code: 1 << 11,
  conforming: 1 << 10,
  writable: 1 << 9,
  long: 1 << 21,
  big: 1 << 22,
  granular: 1 << 23,
}

const dplOf = (high: number) => (high >> 13) & 3

function baseOf(low: number, high: number): bigint {
  return BigInt(((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff000000)) >>> 0)
}

function limitOf(low: number, high: number): number {
  const raw = (low & 0xffff) | (high & 0xf0000)
  return high & Descriptor.granular ? (raw * 4096 + 4095) >>> 0 : raw
}

const isNull = (selector: number) => (selector & ~3) === 0

function setCache(vcpu: Vcpu, segment: number, selector: number, low: number, high: number): void {
  vcpu.setSelector(segment, selector)
  vcpu.setSegmentBase(segment, baseOf(low, high))
  const {uint32} = vcpu.memory
  uint32[((vcpu.base + state.segmentLimit) >> 2) + segment] = limitOf(low, high)
  uint32[((vcpu.base + state.segmentAttributes) >> 2) + segment] = (high >>> 8) & 0xf0ff
}

/** Loads DS ES FS GS or SS. */
export function loadSegment(vcpu: Vcpu, segment: number, selector: number): Outcome {
  const cpl = vcpu.u32(state.cpl)
  const rpl = selector & 3
  const long = vcpu.u32(state.codeBits) === 64
  const error = selector & 0xfffc
  if (isNull(selector)) {
    if (segment === Segment.ss && (!long || cpl === 3)) return {vector: 13, errorCode: 0}
    vcpu.setSelector(segment, selector)
    vcpu.setSegmentBase(segment, 0n)
    return undefined
  }
  const descriptor = vcpu.platform.descriptor(vcpu, selector)
  if (descriptor === undefined) return {vector: 13, errorCode: error}
  const [low, high] = descriptor
  if ((high & Descriptor.system) === 0) return {vector: 13, errorCode: error}
  const isCode = (high & Descriptor.code) !== 0
  if (segment === Segment.ss) {
    if (rpl !== cpl || dplOf(high) !== cpl || isCode || (high & Descriptor.writable) === 0)
      return {vector: 13, errorCode: error}
    if ((high & Descriptor.present) === 0) return {vector: 12, errorCode: error}
  } else {
    if (isCode && (high & Descriptor.writable) === 0) return {vector: 13, errorCode: error}
    const conforming = isCode && (high & Descriptor.conforming) !== 0
    if (!conforming && (rpl > dplOf(high) || cpl > dplOf(high))) return {vector: 13, errorCode: error}
    if ((high & Descriptor.present) === 0) return {vector: 11, errorCode: error}
  }
  setCache(vcpu, segment, selector, low, high)
  return undefined
}

/** Loads CS for a far transfer that stays at this privilege level. */
export function loadCode(vcpu: Vcpu, selector: number): Outcome {
  const cpl = vcpu.u32(state.cpl)
  const error = selector & 0xfffc
  if (isNull(selector)) return {vector: 13, errorCode: 0}
  const descriptor = vcpu.platform.descriptor(vcpu, selector)
  if (descriptor === undefined) return {vector: 13, errorCode: error}
  const [low, high] = descriptor
  if ((high & Descriptor.system) === 0 || (high & Descriptor.code) === 0) return {vector: 13, errorCode: error}
  const conforming = (high & Descriptor.conforming) !== 0
  if (conforming ? dplOf(high) > cpl : dplOf(high) !== cpl || (selector & 3) > cpl)
    return {vector: 13, errorCode: error}
  if ((high & Descriptor.present) === 0) return {vector: 11, errorCode: error}
  const bits = high & Descriptor.long ? 64 : high & Descriptor.big ? 32 : 16
  setCache(vcpu, Segment.cs, (selector & 0xfffc) | cpl, low, high)
  if (vcpu.u32(state.codeBits) !== bits) {
    vcpu.setU32(state.codeBits, bits)
    // The upper half of RSP does not survive the way into 32-bit code.
    if (bits !== 64) vcpu.setGpr(4, vcpu.gpr(4) & 0xffffffffn)
  }
  return undefined
}

function fail(vcpu: Vcpu, fault: Outcome): boolean {
  if (fault === undefined) return false
  vcpu.raise(fault)
  return true
}

/** MOV to a segment register; the selector waits in scratch, the register is in slot 0. */
function load_(vcpu: Vcpu, at: number): number {
  const segment = (slot(vcpu, at, 0) - state.selector) / 2
  if (segment === Segment.cs || segment > Segment.gs) return raise(vcpu, 6)
  if (fail(vcpu, loadSegment(vcpu, segment, vcpu.u32(state.scratch) & 0xffff))) return exit
  return advance(vcpu, at)
}

/** LES LDS LSS LFS LGS. */
function loadFarPointer(segment: number): SlowPath {
  return (vcpu, at) => {
    const bits = operandBits(vcpu, at)
    const address = linearAddress(vcpu, at)
    const offset = load(vcpu, address, bits / 8)
    if (offset === undefined) return exit
    const selector = load(vcpu, address + BigInt(bits / 8), 2)
    if (selector === undefined) return exit
    if (fail(vcpu, loadSegment(vcpu, segment, Number(selector)))) return exit
    writeRegister(vcpu, slot(vcpu, at, 0), bits, offset)
    return advance(vcpu, at)
  }
}

/** Selector and offset of a far pointer operand: in memory, or in the instruction. */
function farPointer(vcpu: Vcpu, at: number): {selector: number; offset: bigint} | undefined {
  const bits = operandBits(vcpu, at)
  const first = opcode(vcpu, at)
  if (first === 0x9a || first === 0xea) {
    const both = BigInt.asUintN(64, immediate(vcpu, at))
    return {selector: Number((both >> 32n) & 0xffffn), offset: both & 0xffffffffn}
  }
  const address = linearAddress(vcpu, at)
  const offset = load(vcpu, address, bits / 8)
  if (offset === undefined) return undefined
  const selector = load(vcpu, address + BigInt(bits / 8), 2)
  return selector === undefined ? undefined : {selector: Number(selector), offset}
}

function farJump(vcpu: Vcpu, at: number): number {
  const to = farPointer(vcpu, at)
  if (to === undefined || fail(vcpu, loadCode(vcpu, to.selector))) return exit
  vcpu.rip = to.offset
  return blockEnd
}

function farCall(vcpu: Vcpu, at: number): number {
  const to = farPointer(vcpu, at)
  if (to === undefined) return exit
  const bytes = operandBits(vcpu, at) / 8
  const before = vcpu.gpr(4)
  const selector = vcpu.selector(Segment.cs)
  if (!push(vcpu, bytes, BigInt(selector)) || !push(vcpu, bytes, nextRip(vcpu, at))) {
    vcpu.setGpr(4, before)
    return exit
  }
  if (fail(vcpu, loadCode(vcpu, to.selector))) {
    vcpu.setGpr(4, before)
    return exit
  }
  vcpu.rip = to.offset
  return blockEnd
}

function farReturn(vcpu: Vcpu, at: number): number {
  const bytes = operandBits(vcpu, at) / 8
  const offset = load(vcpu, stackAddress(vcpu, 0), bytes)
  if (offset === undefined) return exit
  const selector = load(vcpu, stackAddress(vcpu, bytes), bytes)
  if (selector === undefined || fail(vcpu, loadCode(vcpu, Number(selector & 0xffffn)))) return exit
  moveStack(vcpu, bytes * 2 + (opcode(vcpu, at) === 0xca ? Number(immediate(vcpu, at) & 0xffffn) : 0))
  vcpu.rip = offset
  return blockEnd
}

/** IRET that stays at its privilege level; in 64-bit mode RSP and SS are always restored. */
function iret(vcpu: Vcpu, at: number): number {
  const bytes = operandBits(vcpu, at) / 8
  if (vcpu.u32(state.codeBits) === 64) return iretLong(vcpu, bytes)
  const words: number[] = []
  for (let index = 0; index < 3; index++) {
    const word = load(vcpu, stackAddress(vcpu, index * bytes), bytes)
    if (word === undefined) return exit
    words.push(Number(word & 0xffffffffn))
  }
  const [rip, cs, flags] = words
  if (!enterCode(vcpu, cs)) return exit
  moveStack(vcpu, bytes * 3)
  returnFlags(vcpu, bytes, flags)
  vcpu.rip = BigInt(rip)
  return blockEnd
}

/** The same in 64-bit code, in plain numbers: kernels return to themselves like this a hundred thousand times while they boot. */
function iretLong(vcpu: Vcpu, bytes: number): number {
  const {uint32, view} = vcpu.memory
  const registers = vcpu.base >>> 2
  const frame = vcpu.access.read(vcpu.gprLow(Gpr.rsp), vcpu.gprHigh(Gpr.rsp) | 0, bytes * 5)
  if (frame === 0) return exit
  const low = (index: number) =>
    bytes === 2 ? view.getUint16(frame + index * 2, true) : view.getUint32(frame + index * bytes, true)
  const high = (index: number) => (bytes === 8 ? view.getUint32(frame + index * bytes + 4, true) : 0)
  const [rip, ripHigh, cs, flags, rsp, rspHigh, ss] = [low(0), high(0), low(1), low(2), low(3), high(3), low(4)]
  if (!enterCode(vcpu, cs) || fail(vcpu, loadSegment(vcpu, Segment.ss, ss & 0xffff))) return exit
  uint32[registers + Gpr.rsp * 2] = rsp
  uint32[registers + Gpr.rsp * 2 + 1] = rspHigh
  returnFlags(vcpu, bytes, flags)
  uint32[registers + (state.rip >>> 2)] = rip
  uint32[registers + (state.rip >>> 2) + 1] = ripHigh
  return blockEnd
}

/** Loads the CS that IRET returns to; false with a fault in state. */
function enterCode(vcpu: Vcpu, cs: number): boolean {
  if ((cs & 3) === vcpu.u32(state.cpl)) return !fail(vcpu, loadCode(vcpu, cs & 0xffff))
  vcpu.raise({vector: 13, errorCode: cs & 0xfffc})
  return false
}

function returnFlags(vcpu: Vcpu, bytes: number, flags: number): void {
  vcpu.changeFlags((writableFlags(vcpu) | Rflags.rf) & (bytes === 2 ? 0xffff : -1), flags)
  vcpu.noticeTrapFlag()
}

/** What LAR, LSL, VERR and VERW may look at; undefined clears ZF. */
function visible(vcpu: Vcpu, selector: number): readonly [number, number] | undefined {
  if (isNull(selector)) return undefined
  const descriptor = vcpu.platform.descriptor(vcpu, selector)
  if (descriptor === undefined) return undefined
  const [, high] = descriptor
  const conforming =
    (high & (Descriptor.system | Descriptor.code | Descriptor.conforming)) ===
    (Descriptor.system | Descriptor.code | Descriptor.conforming)
  const cpl = vcpu.u32(state.cpl)
  return conforming || (cpl <= dplOf(high) && (selector & 3) <= dplOf(high)) ? descriptor : undefined
}

function setZero(vcpu: Vcpu, zero: boolean): void {
  vcpu.rflags = zero ? vcpu.rflags | BigInt(Rflags.zf) : vcpu.rflags & ~BigInt(Rflags.zf)
}

/** LAR and LSL: `pick` gives the result, undefined for descriptor types they do not know. */
function look(systemTypes: number, pick: (low: number, high: number) => number): SlowPath {
  return (vcpu, at) => {
    const selector = readE(vcpu, at, 16, 1)
    if (selector === undefined) return exit
    const descriptor = visible(vcpu, Number(selector))
    const known =
      descriptor !== undefined &&
      ((descriptor[1] & Descriptor.system) !== 0 || ((systemTypes >> ((descriptor[1] >> 8) & 15)) & 1) !== 0)
    setZero(vcpu, known)
    if (known) writeRegister(vcpu, slot(vcpu, at, 0), operandBits(vcpu, at), BigInt(pick(...descriptor) >>> 0))
    return advance(vcpu, at)
  }
}

function verify(writes: boolean): SlowPath {
  return (vcpu, at) => {
    const selector = readE(vcpu, at, 16)
    if (selector === undefined) return exit
    const descriptor = visible(vcpu, Number(selector))
    const high = descriptor?.[1] ?? 0
    const isCode = (high & Descriptor.code) !== 0
    const flag = (high & Descriptor.writable) !== 0
    setZero(vcpu, (high & Descriptor.system) !== 0 && (writes ? !isCode && flag : !isCode || flag))
    return advance(vcpu, at)
  }
}

function arpl(vcpu: Vcpu, at: number): number {
  const target = readE(vcpu, at, 16)
  if (target === undefined) return exit
  const rpl = vcpu.memory.view.getUint16(vcpu.base + slot(vcpu, at, 1), true) & 3
  const raise_ = Number(target & 3n) < rpl
  if (raise_ && !writeE(vcpu, at, 16, (target & ~3n) | BigInt(rpl))) return exit
  setZero(vcpu, raise_)
  return advance(vcpu, at)
}

export const segmentPaths: Record<string, SlowPath> = {
  'load-segment': load_,
  les: loadFarPointer(Segment.es),
  lds: loadFarPointer(Segment.ds),
  lss: loadFarPointer(Segment.ss),
  lfs: loadFarPointer(Segment.fs),
  lgs: loadFarPointer(Segment.gs),
  'far-jump': farJump,
  'far-call': farCall,
  'far-return': farReturn,
  iret,
  // System types: LDT 2, TSS 9 and 11, call gates 12 (LAR only).
  lar: look(0x1a04, (_low, high) => high & 0x00ffff00),
  lsl: look(0x0a04, limitOf),
  verr: verify(false),
  verw: verify(true),
  arpl,
}
