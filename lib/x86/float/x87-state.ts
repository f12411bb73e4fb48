/**
 * Where the x87 unit's state lives, and the images instructions make of it. The area is all there is: the unit keeps
 * nothing in JavaScript between instructions, so saving the area saves the unit. Register k below is physical (Rk);
 * ST(i) is R((TOP + i) mod 8), TOP being bits 11–13 of the status word. MMn is the significand of Rn. 16 bytes are set
 * aside for each register, of which 10 are used.
 *
 *   x87State.offset.tags   one bit per physical register, 1 = holds something, as FXSAVE keeps it; the two-bit tag word
 *                          of FNSTENV is worked out from the registers' contents
 *
 * The last instruction and data pointers are 64-bit offsets, each with the selector of its segment. The 32-bit images
 * show selectors and the low half of the offsets, FXSAVE64 whole offsets without selectors.
 * Source: SDM vol. 1, 8.1.8 to 8.1.10, 9.6.2 and 10.5.1; vol. 2A FXSAVE.
 */
import {bytes, struct, u8, u16, u64} from '../../base/struct.js'
import {readExtended} from './formats.js'
import {Kind, Real} from './real.js'

/** The area's layout: pass its start as `base` to everything here. */
export const x87State = struct({
  registers: bytes(128), // 8 × 16 bytes: R0 … R7
  control: u16,
  status: u16,
  tags: u8,
  opcode: u16, //          11 bits: low three bits of the opcode byte, then ModRM
  instructionPointer: u64,
  dataPointer: u64,
  codeSelector: u16,
  dataSelector: u16,
})

const {offset} = x87State

/** Bits of the status word beyond the exception flags (bits 0–5). */
export const Status = {
  stackFault: 0x40,
  summary: 0x80, // ES: an unmasked exception waits
  c0: 0x100,
  c1: 0x200,
  c2: 0x400,
  top: 0x3800,
  c3: 0x4000,
  busy: 0x8000, //  follows ES
} as const

/** Bytes of the FNSTENV image and of the FNSAVE image, for 32-bit and 16-bit operand size. */
export const environmentBytes = {wide: 28, narrow: 14} as const
export const saveBytes = {wide: 108, narrow: 94} as const

/** FNINIT: the state a reset or FNINIT leaves; the registers keep their contents. */
export function initialise(view: DataView, base: number): void {
  view.setUint16(base + offset.control, 0x037f, true)
  view.setUint16(base + offset.status, 0, true)
  view.setUint8(base + offset.tags, 0)
  setPointers(view, base, 0, nowhere, nowhere)
}

/** Where an instruction or its operand is: the halves of its offset, and its selector. */
export interface FarPointer {
  readonly low: number
  readonly high: number
  readonly selector: number
}

const nowhere: FarPointer = {low: 0, high: 0, selector: 0}

/** Opcode and place of the last x87 instruction that was not a control instruction; `data` is absent when it had no memory operand. */
export function setPointers(view: DataView, base: number, opcode: number, code: FarPointer, data?: FarPointer): void {
  view.setUint16(base + offset.opcode, opcode & 0x7ff, true)
  view.setUint32(base + offset.instructionPointer, code.low, true)
  view.setUint32(base + offset.instructionPointer + 4, code.high, true)
  view.setUint16(base + offset.codeSelector, code.selector, true)
  if (data === undefined) return
  view.setUint32(base + offset.dataPointer, data.low, true)
  view.setUint32(base + offset.dataPointer + 4, data.high, true)
  view.setUint16(base + offset.dataSelector, data.selector, true)
}

/** ES and B as the exception flags and masks demand. */
export function summarise(status: number, control: number): number {
  const plain = status & ~(Status.summary | Status.busy)
  return status & ~control & 0x3f ? plain | Status.summary | Status.busy : plain
}

/** EMMS: every register empty. TOP is 0 then too. */
export function leaveMmx(view: DataView, base: number): void {
  const status = view.getUint16(base + offset.status, true)
  view.setUint16(base + offset.status, status & ~Status.top, true)
  view.setUint8(base + offset.tags, 0)
}

const probe = new Real()

/** The two-bit tags, R0 lowest: 0 valid, 1 zero, 2 special, 3 empty. */
export function fullTags(view: DataView, base: number): number {
  const tags = view.getUint8(base + offset.tags)
  let full = 0
  for (let register = 0; register < 8; register++) {
    let tag = 3
    if ((tags >> register) & 1) {
      readExtended(view, base + register * 16, probe)
      tag = probe.kind === Kind.zero ? 1 : probe.kind === Kind.finite && !probe.denormal ? 0 : 2
    }
    full |= tag << (register * 2)
  }
  return full
}

function setFullTags(view: DataView, base: number, full: number): void {
  let tags = 0
  for (let register = 0; register < 8; register++) if (((full >> (register * 2)) & 3) !== 3) tags |= 1 << register
  view.setUint8(base + offset.tags, tags)
}

/** FNSTENV without its side effect on the masks: writes the environment image at `to`. */
export function storeEnvironment(view: DataView, base: number, to: number, narrow: boolean): void {
  const control = view.getUint16(base + offset.control, true)
  const status = view.getUint16(base + offset.status, true)
  const instruction = view.getUint32(base + offset.instructionPointer, true)
  const data = view.getUint32(base + offset.dataPointer, true)
  const codeSelector = view.getUint16(base + offset.codeSelector, true)
  const dataSelector = view.getUint16(base + offset.dataSelector, true)
  const words = [control, status, fullTags(view, base)]
  if (narrow) {
    const pointers = [instruction & 0xffff, codeSelector, data & 0xffff, dataSelector]
    for (const [i, word] of [...words, ...pointers].entries()) {
      view.setUint16(to + i * 2, word, true)
    }
    return
  }
  for (const [i, word] of words.entries()) view.setUint32(to + i * 4, (word | 0xffff0000) >>> 0, true)
  view.setUint32(to + 12, instruction, true)
  view.setUint16(to + 16, codeSelector, true)
  view.setUint16(to + 18, view.getUint16(base + offset.opcode, true), true)
  view.setUint32(to + 20, data, true)
  view.setUint32(to + 24, (dataSelector | 0xffff0000) >>> 0, true)
}

/** FLDENV: takes the environment from the image at `from`. */
export function loadEnvironment(view: DataView, base: number, from: number, narrow: boolean): void {
  const step = narrow ? 2 : 4
  setControlAndStatus(view, base, view.getUint16(from, true), view.getUint16(from + step, true))
  setFullTags(view, base, view.getUint16(from + step * 2, true))
  const pointer = (at: number): FarPointer => ({
    low: narrow ? view.getUint16(at, true) : view.getUint32(at, true),
    high: 0,
    selector: view.getUint16(at + step, true),
  })
  const opcode = narrow ? 0 : view.getUint16(from + 18, true)
  setPointers(view, base, opcode, pointer(from + step * 3), pointer(from + step * 5))
}

function setControlAndStatus(view: DataView, base: number, control: number, status: number): void {
  // Bits 6 of the control word reads as 1, bits 7, 13–15 as 0; bit 12 (infinity control of the 287) is kept.
  const kept = (control & 0x1f7f) | 0x40
  view.setUint16(base + offset.control, kept, true)
  view.setUint16(base + offset.status, summarise(status, kept), true)
}

/** Sets the control word; exceptions already flagged may become pending by it. */
export function setControl(view: DataView, base: number, control: number): void {
  setControlAndStatus(view, base, control, view.getUint16(base + offset.status, true))
}

function stackAddress(view: DataView, base: number, index: number): number {
  const top = (view.getUint16(base + offset.status, true) >> 11) & 7
  return base + ((top + index) & 7) * 16
}

function copyTen(view: DataView, from: number, to: number): void {
  view.setUint32(to, view.getUint32(from, true), true)
  view.setUint32(to + 4, view.getUint32(from + 4, true), true)
  view.setUint16(to + 8, view.getUint16(from + 8, true), true)
}

/** FNSAVE: the environment, then ST(0) … ST(7) packed, then FNINIT. */
export function save(view: DataView, base: number, to: number, narrow: boolean): void {
  storeEnvironment(view, base, to, narrow)
  const start = to + (narrow ? environmentBytes.narrow : environmentBytes.wide)
  for (let i = 0; i < 8; i++) copyTen(view, stackAddress(view, base, i), start + i * 10)
  initialise(view, base)
}

/** FRSTOR: the reverse of FNSAVE. */
export function restore(view: DataView, base: number, from: number, narrow: boolean): void {
  loadEnvironment(view, base, from, narrow)
  const start = from + (narrow ? environmentBytes.narrow : environmentBytes.wide)
  for (let i = 0; i < 8; i++) copyTen(view, start + i * 10, stackAddress(view, base, i))
}

/**
 * The x87 part of the FXSAVE image: bytes 0–23 and 32–159 of the 512; MXCSR (24–31) and XMM (160–415) are the caller's.
 * `wide` is the REX.W form with 64-bit pointers, otherwise selectors take the place of their upper halves. The pointers are stored only
 * while an unmasked exception is pending, else zeros (AMD; Intel always stores them).
 */
export function storeLegacyImage(view: DataView, base: number, to: number, wide: boolean): void {
  const status = view.getUint16(base + offset.status, true)
  const isPending = (status & Status.summary) !== 0
  view.setUint16(to, view.getUint16(base + offset.control, true), true)
  view.setUint16(to + 2, status, true)
  view.setUint16(to + 4, view.getUint8(base + offset.tags), true)
  view.setUint16(to + 6, isPending ? view.getUint16(base + offset.opcode, true) : 0, true)
  const pointer = (at: number, field: number, selector: number) => {
    const upper = wide ? view.getUint32(field + 4, true) : view.getUint16(selector, true)
    view.setUint32(at, isPending ? view.getUint32(field, true) : 0, true)
    view.setUint32(at + 4, isPending ? upper : 0, true)
  }
  pointer(to + 8, base + offset.instructionPointer, base + offset.codeSelector)
  pointer(to + 16, base + offset.dataPointer, base + offset.dataSelector)
  for (let i = 0; i < 8; i++) {
    const slot = to + 32 + i * 16
    copyTen(view, stackAddress(view, base, i), slot)
    view.setUint16(slot + 10, 0, true)
    view.setUint32(slot + 12, 0, true)
  }
}

/** FXRSTOR: the reverse of `storeLegacyImage`. */
export function loadLegacyImage(view: DataView, base: number, from: number, wide: boolean): void {
  setControlAndStatus(view, base, view.getUint16(from, true), view.getUint16(from + 2, true))
  view.setUint8(base + offset.tags, view.getUint8(from + 4))
  const pointer = (at: number): FarPointer => ({
    low: view.getUint32(at, true),
    high: wide ? view.getUint32(at + 4, true) : 0,
    selector: wide ? 0 : view.getUint16(at + 4, true),
  })
  setPointers(view, base, view.getUint16(from + 6, true), pointer(from + 8), pointer(from + 16))
  for (let i = 0; i < 8; i++) copyTen(view, from + 32 + i * 16, stackAddress(view, base, i))
}
