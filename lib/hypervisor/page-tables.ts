/**
 * The guest's page tables: pins, checked entry updates, and which frames are level-1 tables right now (the writable-page-table assist
 * applies to those alone). An entry may only name frames of the domain; the slots of an L4 that belong to Xen cannot be changed.
 *
 * Source: xen/arch/x86/mm.c (mod_l*_entry, ptwr), public/xen.h MMUEXT_*.
 */
import {Errno} from '../abi/xen.js'
import type {LinearMemory} from '../x86/memory.js'
import type {MachineLayout} from './layout.js'
import type {MachineRecord} from './record.js'

const present = 1
const large = 0x80
/** L4 slots 256 to 271. */
const xenSlots = {first: 256, last: 271}

export class PageTables {
  /** Level-1 table → byte offset of an L2 entry that named it when last looked at; a cache. */
  private readonly seenAt = new Map<number, number>()

  constructor(
    private readonly memory: LinearMemory,
    private readonly layout: MachineLayout,
    private readonly record: MachineRecord,
  ) {}

  /** Byte offset of a frame in linear memory, or -1 when it is not the domain's. */
  address(mfn: number): number {
    return mfn >= 0 && mfn < this.layout.frames ? this.layout.ramBase + mfn * 4096 : -1
  }

  /** Stores an entry at a machine address. 0 or -errno. */
  update(machineAddress: number, low: number, high: number): number {
    const table = this.address(Math.floor(machineAddress / 4096))
    if (table < 0) return -Errno.inval
    const slot = (machineAddress % 4096) >>> 3
    const at = (table + slot * 8) >>> 2
    const {uint32} = this.memory
    if ((low & present) !== 0) {
      const mfn = (low >>> 12) + (high & 0xfffff) * 0x100000
      if (mfn >= this.layout.frames) return -Errno.perm
    }
    if (slot >= xenSlots.first && slot <= xenSlots.last && this.isRoot(table)) return -Errno.inval
    uint32[at] = low
    uint32[at + 1] = high
    return 0
  }

  private isRoot(table: number): boolean {
    return this.memory.uint32[(table + xenSlots.first * 8) >>> 2] === this.xenEntry()
  }

  private xenEntry(): number {
    return ((this.layout.m2pTables * 4096) | 0x65) >>> 0
  }

  /** Gives a root its Xen slots. */
  prepareRoot(mfn: number): number {
    const table = this.address(mfn)
    if (table < 0) return -Errno.inval
    const at = (table + xenSlots.first * 8) >>> 2
    this.memory.uint32[at] = this.xenEntry()
    this.memory.uint32[at + 1] = 0
    return 0
  }

  /** PIN_L1 … PIN_L4. */
  pin(mfn: number, level: number): number {
    if (this.address(mfn) < 0) return -Errno.inval
    const {bytes} = this.memory
    if (bytes[this.layout.pins + mfn] !== 0) return -Errno.inval
    if (level === 4) this.prepareRoot(mfn)
    bytes[this.layout.pins + mfn] = level
    return 0
  }

  unpin(mfn: number): number {
    if (this.address(mfn) < 0 || this.memory.bytes[this.layout.pins + mfn] === 0) return -Errno.inval
    this.memory.bytes[this.layout.pins + mfn] = 0
    return 0
  }

  /** Byte offset of the level-1 entry that maps a linear address under the kernel root, or -1. */
  leafEntry(low: number, high: number): number {
    let table = Math.floor(this.record.f64('kernelRoot') / 4096)
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

  /** True while some root in use names the frame as a level-1 table. */
  isLevel1(mfn: number): boolean {
    if (this.memory.bytes[this.layout.pins + mfn] === 1) return true
    const known = this.seenAt.get(mfn)
    if (known !== undefined && this.names(known, mfn)) return true
    for (const root of this.roots()) {
      const found = this.findLevel1(root, mfn)
      if (found < 0) continue
      this.seenAt.set(mfn, found)
      return true
    }
    return false
  }

  private names(entryAt: number, mfn: number): boolean {
    const low = this.memory.uint32[entryAt >>> 2]
    return (low & present) !== 0 && low >>> 12 === mfn
  }

  private *roots(): Iterable<number> {
    yield Math.floor(this.record.f64('kernelRoot') / 4096)
    const {bytes} = this.memory
    const {pins, frames} = this.layout
    for (let mfn = 0; mfn < frames; mfn++) if (bytes[pins + mfn] === 4) yield mfn
  }

  /** Byte offset of the L2 entry below a root that names the frame, or -1. */
  private findLevel1(root: number, mfn: number): number {
    const search = (table: number, level: number): number => {
      const at = this.address(table)
      if (at < 0) return -1
      for (let index = 0; index < 512; index++) {
        if (level === 4 && index >= xenSlots.first && index <= xenSlots.last) continue
        const entryAt = at + index * 8
        const low = this.memory.uint32[entryAt >>> 2]
        if ((low & present) === 0 || (low & large) !== 0) continue
        if (level === 2) {
          if (low >>> 12 === mfn) return entryAt
          continue
        }
        const found = search((low >>> 12) + (this.memory.uint32[(entryAt + 4) >>> 2] & 0xfffff) * 0x100000, level - 1)
        if (found >= 0) return found
      }
      return -1
    }
    return search(root, 4)
  }
}
