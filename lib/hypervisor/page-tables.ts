/**
 * The guest's page tables: pins, roots and checked entry updates. Which frame is a table of which level is frame-types.ts's; an update of an entry
 * first takes what the new entry uses, then stores it, then lets go of what the old one used.
 *
 * Source: xen/arch/x86/mm.c (mod_l*_entry, ptwr), public/xen.h MMUEXT_*.
 */
import {Errno} from '../abi/xen.js'
import type {LinearMemory} from '../x86/memory.js'
import {state} from '../x86/state.js'
import {DirtyFrames} from './dirty-frames.js'
import {FrameType, FrameTypes, isAllowed, xenSlots} from './frame-types.js'
import type {MachineLayout} from './layout.js'
import {field, type MachineRecord} from './record.js'

const present = 1
const large = 0x80
/** Bits 0, 1 and 12 to 31 of an entry's low half: with them unchanged an update changes no use. */
const useBits = 0xfffff003
const frameBitsHigh = 0xfffff

export class PageTables {
  readonly types: FrameTypes
  private readonly dirty: DirtyFrames

  constructor(
    private readonly memory: LinearMemory,
    private readonly layout: MachineLayout,
    private readonly record: MachineRecord,
  ) {
    this.dirty = new DirtyFrames(memory, layout)
    this.types = new FrameTypes(memory, layout, this.dirty)
  }

  /** Byte offset of a frame in linear memory, or -1 when it is not the domain's. */
  address(mfn: number): number {
    return mfn >= 0 && mfn < this.layout.frames ? this.layout.ramBase + mfn * 4096 : -1
  }

  /** All machine frames, Xen's own included. */
  get frameCount(): number {
    return this.layout.frames
  }

  /** True for frames that are the domain's to use: RAM it has not given back, shared_info, grant frames. */
  isOwn(mfn: number): boolean {
    return mfn < this.layout.ramPages ? this.types.typeOf(mfn) !== FrameType.absent : mfn < this.layout.m2p
  }

  /** Word offset of the entry at a machine address, or -1. */
  entryPlace(machineAddress: number): number {
    const at = this.address(Math.floor(machineAddress / 4096))
    return at < 0 ? -1 : (at + ((machineAddress % 4096) & ~7)) >>> 2
  }

  /** Byte offset of a RAM frame that the guest may have changed for it: not a table, not descriptors; otherwise -1. */
  plainAddress(mfn: number): number {
    if (mfn >= this.layout.ramPages) return -1
    const type = this.types.typeOf(mfn)
    return type === FrameType.none || type === FrameType.writable ? this.address(mfn) : -1
  }

  /** Stores an entry at a machine address; in a frame that is no table the 8 bytes are just stored. 0 or -errno. */
  update(machineAddress: number, low: number, high: number): number {
    const mfn = Math.floor(machineAddress / 4096)
    if (mfn >= this.layout.ramPages) return -Errno.inval
    const slot = (machineAddress % 4096) >>> 3
    const at = (this.layout.ramBase + mfn * 4096 + slot * 8) >>> 2
    const {uint32} = this.memory
    const level = this.types.typeOf(mfn)
    if (level === FrameType.descriptors || level === FrameType.absent) return -Errno.inval
    if (level >= FrameType.level1 && level <= FrameType.level4) {
      if (level === FrameType.level4 && slot >= xenSlots.first && slot <= xenSlots.last) return -Errno.inval
      const oldLow = uint32[at]
      const oldHigh = uint32[at + 1]
      if (!isAllowed(level, low)) return -Errno.inval
      if (((oldLow ^ low) & useBits) !== 0 || ((oldHigh ^ high) & frameBitsHigh) !== 0) {
        const result = this.types.takeEntry(level, low, high)
        if (result < 0) return result
        this.dirty.mark(mfn)
        uint32[at] = low
        uint32[at + 1] = high
        this.types.releaseEntry(level, oldLow, oldHigh)
        return 0
      }
    }
    this.dirty.mark(mfn)
    uint32[at] = low
    uint32[at + 1] = high
    return 0
  }

  /** Sets a frame's entry in the machine-to-physical table. */
  setPfn(mfn: number, low: number, high: number): void {
    const at = this.layout.m2p * 4096 + mfn * 8
    this.dirty.mark(at >>> 12)
    const {uint32} = this.memory
    uint32[(this.layout.ramBase + at) >>> 2] = low
    uint32[((this.layout.ramBase + at) >>> 2) + 1] = high
  }

  /** Makes a level-4 table the kernel's or the user's root; -1 for none. False: it is no valid root. */
  setRoot(which: 'kernelRoot' | 'userRoot', mfn: number): boolean {
    if (mfn >= 0 && this.types.take(mfn, FrameType.level4) < 0) return false
    const old = this.record.f64(field[which])
    this.record.setF64(field[which], mfn < 0 ? -1 : mfn * 4096)
    const root = this.layout.vcpuBase + state.root + (which === 'userRoot' ? 4 : 0)
    this.memory.uint32[root >>> 2] = mfn
    if (which === 'kernelRoot') this.memory.uint64[(this.layout.vcpuBase + state.cr3) >>> 3] = BigInt(mfn * 4096)
    if (old >= 0) this.types.release(Math.floor(old / 4096))
    return true
  }

  /** PIN_L1 … PIN_L4. */
  pin(mfn: number, level: number): number {
    if (mfn >= this.layout.ramPages || this.pinOf(mfn) !== 0) return -Errno.inval
    const result = this.types.take(mfn, level)
    if (result < 0) return result
    this.memory.bytes[this.layout.pins + mfn] = level
    return 0
  }

  unpin(mfn: number): number {
    if (mfn >= this.layout.ramPages || this.pinOf(mfn) === 0) return -Errno.inval
    this.memory.bytes[this.layout.pins + mfn] = 0
    this.types.release(mfn)
    return 0
  }

  private pinOf(mfn: number): number {
    return this.memory.bytes[this.layout.pins + mfn]
  }

  /** Byte offset of the level-1 entry that maps a linear address under the kernel root, or -1. */
  leafEntry(low: number, high: number): number {
    let table = Math.floor(this.record.f64(field.kernelRoot) / 4096)
    for (let level = 4; level > 1; level--) {
      const shift = 12 + 9 * (level - 1)
      const index =
        shift >= 32
          ? (high >>> (shift - 32)) & 511
          : shift === 30
            ? ((low >>> 30) | (high << 2)) & 511
            : (low >>> shift) & 511
      const at = this.address(table)
      if (at < 0) return -1
      const entry = this.memory.uint32[(at + index * 8) >>> 2]
      if ((entry & present) === 0 || (entry & large) !== 0) return -1
      table = (entry >>> 12) + (this.memory.uint32[(at + index * 8 + 4) >>> 2] & 0xfffff) * 0x100000
    }
    const at = this.address(table)
    return at < 0 ? -1 : at + ((low >>> 12) & 511) * 8
  }

  /** Byte offset in linear memory of a byte in the kernel's address space, or -1. */
  kernelAddress(low: number, high: number): number {
    const entry = this.leafEntry(low, high)
    if (entry < 0 || (this.memory.uint32[entry >>> 2] & present) === 0) return -1
    const frame = this.address(
      (this.memory.uint32[entry >>> 2] >>> 12) + (this.memory.uint32[(entry >>> 2) + 1] & 0xfffff) * 2 ** 20,
    )
    return frame < 0 ? -1 : frame + (low & 0xfff)
  }

  /** True while the frame is in use as a level-1 table. */
  isLevel1(mfn: number): boolean {
    return this.types.typeOf(mfn) === FrameType.level1
  }
}
