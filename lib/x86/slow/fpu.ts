/**
 * x87 instructions and whole floating-point states in memory: the operand travels through the vCPU's image buffer, the unit does the rest.
 *
 * Source: SDM vol. 1 10.5 (FXSAVE), 13.4–13.8 (XSAVE), vol. 2A LDMXCSR.
 */

import {record} from '../decode/record.js'
import {materialiseFlags} from '../flags.js'
import {initialise, leaveMmx, loadLegacyImage, storeLegacyImage} from '../float/x87-state.js'
import {Outcome, operandSize, X87Unit} from '../float/x87-unit.js'
import {Segment, state} from '../state.js'
import type {Vcpu} from '../vcpu.js'
import {
  exit,
  hasPrefix,
  linearAddress,
  load,
  modrm,
  next,
  opcode,
  operandBits,
  raise,
  type SlowPath,
  store,
} from './operand.js'
import {canWrite, fetchBytes, locate, type Place, putBytes} from './place.js'

const units = new WeakMap<Vcpu, X87Unit>()

function unitOf(vcpu: Vcpu): X87Unit {
  let unit = units.get(vcpu)
  if (unit === undefined) {
    unit = new X87Unit(vcpu.memory.view, vcpu.base + state.x87)
    units.set(vcpu, unit)
  }
  return unit
}

const imageOf = (vcpu: Vcpu): number => vcpu.base + state.image

/** FCMOVcc and FCOMI read or write EFLAGS through the operand buffer. */
const isFlagMove = (code: number, second: number) =>
  second >= 0xc0 &&
  (((code === 0xda || code === 0xdb) && second < 0xe0) ||
    ((code === 0xdb || code === 0xdf) && second >= 0xe8 && second < 0xf8))

function x87(vcpu: Vcpu, at: number): number {
  const code = opcode(vcpu, at)
  const second = modrm(vcpu, at)
  const narrow = operandBits(vcpu, at) === 16
  const {bytes, direction} = operandSize(code, second, narrow)
  const image = imageOf(vcpu)
  const {view} = vcpu.memory
  const place = second < 0xc0 ? locate(vcpu, at) : undefined
  if (place !== undefined) {
    if (direction === 'load' && !fetchBytes(vcpu, place, bytes, image)) return exit
    // A store must be able to fault before the unit changes its state.
    if (direction === 'store' && !canWrite(vcpu, place, bytes)) return exit
  }
  const flagMove = isFlagMove(code, second)
  if (flagMove) view.setUint32(image, materialiseFlags(vcpu.memory, vcpu.base), true)
  const isStatusToAx = code === 0xdf && second === 0xe0
  const unit = unitOf(vcpu)
  const outcome = unit.execute(code, second, image, narrow)
  if (outcome === Outcome.invalidOpcode) return raise(vcpu, 6)
  if (outcome === Outcome.mathFault) return raise(vcpu, 16)
  noteInstruction(vcpu, at, unit, place)
  if (flagMove && code !== 0xda && second >= 0xe8) {
    const flags = BigInt(view.getUint32(image, true) & 0x8d5)
    vcpu.rflags = (vcpu.rflags & ~0x8d5n) | flags
  }
  if (isStatusToAx) view.setUint16(vcpu.base, view.getUint16(image, true), true)
  if (place !== undefined && direction === 'store' && outcome === Outcome.done)
    return putBytes(vcpu, place, bytes, image) ? next : exit
  return next
}

/** Where instruction and operand are, for the images that show it. */
function noteInstruction(vcpu: Vcpu, at: number, unit: X87Unit, place: Place | undefined): void {
  const {uint32, bytes} = vcpu.memory
  const rip = (vcpu.base + state.rip) >>> 2
  const code = {low: uint32[rip], high: uint32[rip + 1], selector: vcpu.selector(Segment.cs)}
  if (place === undefined) return unit.note(opcode(vcpu, at), modrm(vcpu, at), code)
  const selector = vcpu.selector(bytes[at + record.segment])
  unit.note(opcode(vcpu, at), modrm(vcpu, at), code, {low: place.offsetLow, high: place.offsetHigh, selector})
}

function fwait(vcpu: Vcpu): number {
  return unitOf(vcpu).pending ? raise(vcpu, 16) : next
}

function emms(vcpu: Vcpu): number {
  if (unitOf(vcpu).pending) return raise(vcpu, 16)
  leaveMmx(vcpu.memory.view, vcpu.base + state.x87)
  return next
}

const mxcsrMask = 0xffff

/** 64-bit code sees 16 XMM registers, other code 8. */
const vectorBytes = (vcpu: Vcpu): number => (vcpu.u32(state.codeBits) === 64 ? 256 : 128)

function saveLegacy(vcpu: Vcpu, at: number, x87Part: boolean, ssePart: boolean): number {
  const {view, bytes} = vcpu.memory
  const image = imageOf(vcpu)
  if (x87Part) storeLegacyImage(view, vcpu.base + state.x87, image, hasPrefix(vcpu, at, 'rexW'))
  view.setUint32(image + 24, vcpu.u32(state.mxcsr), true)
  view.setUint32(image + 28, mxcsrMask, true)
  if (ssePart) bytes.copyWithin(image + 160, vcpu.base + state.xmm, vcpu.base + state.xmm + vectorBytes(vcpu))
  return image
}

function restoreLegacy(vcpu: Vcpu, at: number, x87Part: boolean, ssePart: boolean): void {
  const {view, bytes} = vcpu.memory
  const image = imageOf(vcpu)
  if (x87Part) loadLegacyImage(view, vcpu.base + state.x87, image, hasPrefix(vcpu, at, 'rexW'))
  if (ssePart) bytes.copyWithin(vcpu.base + state.xmm, image + 160, image + 160 + vectorBytes(vcpu))
}

function fxsave(vcpu: Vcpu, at: number): number {
  const place = locate(vcpu, at)
  if ((place.low & 15) !== 0) return raise(vcpu, 13, 0)
  // Bytes 416 to 511 belong to software: what was there stays.
  saveLegacy(vcpu, at, true, true)
  return putBytes(vcpu, place, 160 + vectorBytes(vcpu), imageOf(vcpu)) ? next : exit
}

function fxrstor(vcpu: Vcpu, at: number): number {
  const place = locate(vcpu, at)
  if ((place.low & 15) !== 0) return raise(vcpu, 13, 0)
  if (!fetchBytes(vcpu, place, 416, imageOf(vcpu))) return exit
  const mxcsr = vcpu.memory.view.getUint32(imageOf(vcpu) + 24, true)
  if (mxcsr & ~mxcsrMask) return raise(vcpu, 13, 0)
  restoreLegacy(vcpu, at, true, true)
  vcpu.setU32(state.mxcsr, mxcsr)
  return next
}

/** XSAVE of x87 and SSE. Source: SDM vol. 1 13.7. */
function xsave(vcpu: Vcpu, at: number): number {
  if ((vcpu.u32(state.cr4) & 0x40000) === 0) return raise(vcpu, 6)
  const place = locate(vcpu, at)
  if ((place.low & 63) !== 0) return raise(vcpu, 13, 0)
  const mask = vcpu.gprLow(0) & vcpu.u32(state.xcr0) & 3
  if (!fetchBytes(vcpu, place, 576, imageOf(vcpu))) return exit
  const {view} = vcpu.memory
  const image = imageOf(vcpu)
  const kept = mask & 2 ? undefined : view.getUint32(image + 24, true)
  saveLegacy(vcpu, at, (mask & 1) !== 0, (mask & 2) !== 0)
  if (kept !== undefined) view.setUint32(image + 24, kept, true)
  view.setUint32(image + 512, (view.getUint32(image + 512, true) & ~mask) | mask, true)
  // Software's bytes 464 to 511 are not touched, the header only in XSTATE_BV.
  if (!putBytes(vcpu, place, 160 + vectorBytes(vcpu), image)) return exit
  // Aligned to 64 bytes: the header's offset carries nowhere.
  return putBytes(vcpu, {...place, low: place.low + 512}, 8, image + 512) ? next : exit
}

/** XRSTOR, standard form. Source: SDM vol. 1 13.8. */
function xrstor(vcpu: Vcpu, at: number): number {
  if ((vcpu.u32(state.cr4) & 0x40000) === 0) return raise(vcpu, 6)
  const place = locate(vcpu, at)
  if ((place.low & 63) !== 0) return raise(vcpu, 13, 0)
  if (!fetchBytes(vcpu, place, 576, imageOf(vcpu))) return exit
  const {view, bytes} = vcpu.memory
  const image = imageOf(vcpu)
  for (let offset = 520; offset < 576; offset += 8) {
    if (offset < 536 && view.getBigUint64(image + offset, true) !== 0n) return raise(vcpu, 13, 0)
  }
  const present = view.getUint32(image + 512, true)
  if ((present & ~vcpu.u32(state.xcr0)) !== 0 || view.getUint32(image + 516, true) !== 0) return raise(vcpu, 13, 0)
  const mask = vcpu.gprLow(0) & vcpu.u32(state.xcr0) & 3
  const mxcsr = view.getUint32(image + 24, true)
  if (mask & 2 && mxcsr & ~mxcsrMask) return raise(vcpu, 13, 0)
  restoreLegacy(vcpu, at, (mask & present & 1) !== 0, (mask & present & 2) !== 0)
  if (mask & 1 && !(present & 1)) {
    initialise(view, vcpu.base + state.x87)
    bytes.fill(0, vcpu.base + state.x87, vcpu.base + state.x87 + 128)
  }
  if (mask & 2) {
    if (!(present & 2)) bytes.fill(0, vcpu.base + state.xmm, vcpu.base + state.xmm + vectorBytes(vcpu))
    vcpu.setU32(state.mxcsr, mxcsr)
  }
  return next
}

function ldmxcsr(vcpu: Vcpu, at: number): number {
  const value = load(vcpu, linearAddress(vcpu, at), 4)
  if (value === undefined) return exit
  if (Number(value) & ~mxcsrMask) return raise(vcpu, 13, 0)
  vcpu.setU32(state.mxcsr, Number(value))
  return next
}

function stmxcsr(vcpu: Vcpu, at: number): number {
  return store(vcpu, linearAddress(vcpu, at), 4, BigInt(vcpu.u32(state.mxcsr))) ? next : exit
}

export const fpuPaths: Record<string, SlowPath> = {
  x87,
  fwait,
  emms,
  fxsave,
  fxrstor,
  xsave,
  xrstor,
  ldmxcsr,
  stmxcsr,
}
