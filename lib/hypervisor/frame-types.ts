/**
 * What each RAM frame is in use as, and by how many: the rule that keeps page tables honest. A frame has one type at a time, which may change only
 * when nothing uses it as that type: so a page table is never mapped writable, and a page with a writable mapping is never a page table.
 *
 *   word per frame:  type << 29 | number of uses
 *
 * A writable entry of a level-1 table uses its frame as `writable`; an entry of a level-n table uses its frame as a level-(n-1) table; pins and
 * page-table roots use their frame as a table, a GDT as `descriptors`. The first use as a table validates all its entries, the last one lets go of
 * them. Read-only mappings need no type. A frame that the balloon gave back is in use as `absent`, by Xen, so that nothing else can have it.
 *
 * Source: xen/arch/x86/mm.c (page types, get_page_from_l*e).
 */
import {Errno} from '../abi/xen.js'
import type {LinearMemory} from '../x86/memory.js'
import type {DirtyFrames} from './dirty-frames.js'
import type {MachineLayout} from './layout.js'

/** Types 1 to 4 are page tables of that level. */
export const FrameType = {none: 0, level1: 1, level4: 4, writable: 5, descriptors: 6, absent: 7} as const

const typeShift = 29
const countMask = 0x1fffffff
const Entry = {present: 1, writable: 2, writeThrough: 8, uncached: 0x10, large: 0x80, global: 0x100} as const
/** Bits that an entry may not have: other caching than write-back, superpages (at level 1 the same bit is a caching one), global tables. */
const forbiddenLeaf = Entry.writeThrough | Entry.uncached | Entry.large
const forbiddenTable = forbiddenLeaf | Entry.global
/** The frame of an entry of all ones. */
const invalidFrame = 0xffffffffff
/** L4 slots that are Xen's: 256 shows the machine-to-physical table, the others stay empty. */
export const xenSlots = {first: 256, last: 271} as const
const entriesPerTable = 512

/** Machine frame an entry names. */
const frameOf = (low: number, high: number) => (low >>> 12) + (high & 0xfffff) * 0x100000

/** False for a present entry with bits that no guest may set. */
export function isAllowed(level: number, low: number): boolean {
  return (low & Entry.present) === 0 || (low & (level > 1 ? forbiddenTable : forbiddenLeaf)) === 0
}

export class FrameTypes {
  /** Takes back every permission to store to a frame, given by its byte offset in linear memory, that a TLB may still hold. */
  denyStores: (page: number) => void = () => {}

  private readonly grantUses: Uint16Array

  constructor(
    private readonly memory: LinearMemory,
    private readonly layout: MachineLayout,
    private readonly dirty: DirtyFrames,
  ) {
    this.grantUses = new Uint16Array(memory.wasm.buffer, layout.grantFrameUses, layout.ramPages)
  }

  /** The type a frame is in use as, `none` when it has no use. */
  typeOf(mfn: number): number {
    if (mfn >= this.layout.ramPages) return FrameType.none
    const word = this.memory.uint32[(this.layout.frameTypes >>> 2) + mfn]
    return (word & countMask) === 0 ? FrameType.none : word >>> typeShift
  }

  /** True while the frame has a type, or a backend has it through a grant. */
  isUsed(mfn: number): boolean {
    return this.typeOf(mfn) !== FrameType.none || Atomics.load(this.grantUses, mfn) !== 0
  }

  /** Adds a use. 0, or -errno when the frame is in use as something else or is not a valid table. */
  take(mfn: number, type: number): number {
    if (mfn >= this.layout.ramPages) return -Errno.inval
    const {uint32} = this.memory
    const at = (this.layout.frameTypes >>> 2) + mfn
    const word = uint32[at]
    if ((word & countMask) !== 0) {
      if (word >>> typeShift !== type) return type === FrameType.writable ? -Errno.busy : -Errno.inval
      uint32[at] = word + 1
      return 0
    }
    if (type !== FrameType.writable) {
      // Backends write to granted frames from another thread: the type is there before their uses are looked at (see grant-table.ts).
      Atomics.store(this.memory.int32, at, (type << typeShift) | 1)
      const uses = Atomics.load(this.grantUses, mfn)
      if (uses >>> 8 !== 0 || (type === FrameType.absent && uses !== 0)) {
        Atomics.store(this.memory.int32, at, word)
        return -Errno.inval
      }
    }
    uint32[at] = ((type << typeShift) | 1) >>> 0
    // The last writable mapping may be gone from the tables and still be in a TLB.
    if (word >>> typeShift === FrameType.writable && type !== FrameType.writable)
      this.denyStores(this.layout.ramBase + mfn * 4096)
    if (type > FrameType.level4) return 0
    const result = this.validate(mfn, type)
    if (result < 0) uint32[at] = 0
    return result
  }

  /** Ends a use. */
  release(mfn: number): void {
    if (mfn >= this.layout.ramPages) return
    const {uint32} = this.memory
    const at = (this.layout.frameTypes >>> 2) + mfn
    const word = uint32[at]
    if ((word & countMask) === 0) return
    uint32[at] = word - 1
    const type = word >>> typeShift
    if ((word & countMask) === 1 && type <= FrameType.level4) this.letGo(mfn, type, entriesPerTable)
  }

  /** Adds the use that an entry of a level-`level` table makes of its frame. 0 or -errno. */
  takeEntry(level: number, low: number, high: number): number {
    if ((low & Entry.present) === 0) return 0
    const mfn = frameOf(low, high)
    const {layout} = this
    if (!isAllowed(level, low)) return -Errno.inval
    if (level > 1) return this.take(mfn, level - 1)
    if (mfn < layout.ramPages) {
      if ((low & Entry.writable) !== 0) return this.take(mfn, FrameType.writable)
      return this.typeOf(mfn) === FrameType.absent ? -Errno.busy : 0
    }
    // Shared_info and grant frames as the guest likes; the M2P and its tables are Xen's own.
    if (mfn < layout.m2p) return 0
    if (mfn < layout.frames) return -Errno.busy
    return mfn === invalidFrame ? -Errno.inval : -Errno.perm
  }

  /** Ends the use that an entry made. */
  releaseEntry(level: number, low: number, high: number): void {
    if ((low & Entry.present) === 0) return
    if (level > 1 || (low & Entry.writable) !== 0) this.release(frameOf(low, high))
  }

  private validate(mfn: number, level: number): number {
    const {uint32} = this.memory
    const table = (this.layout.ramBase + mfn * 4096) >>> 2
    if (level === FrameType.level4) {
      this.dirty.mark(mfn)
      for (let slot: number = xenSlots.first; slot <= xenSlots.last; slot++) {
        uint32[table + slot * 2] = slot === xenSlots.first ? (this.layout.m2pTables * 4096) | 0x65 : 0
        uint32[table + slot * 2 + 1] = 0
      }
    }
    for (let slot = 0; slot < entriesPerTable; slot++) {
      if (level === FrameType.level4 && slot >= xenSlots.first && slot <= xenSlots.last) continue
      const result = this.takeEntry(level, uint32[table + slot * 2], uint32[table + slot * 2 + 1])
      if (result === 0) continue
      this.letGo(mfn, level, slot)
      return result
    }
    return 0
  }

  /** Ends the uses made by the first `slots` entries of a table. */
  private letGo(mfn: number, level: number, slots: number): void {
    const {uint32} = this.memory
    const table = (this.layout.ramBase + mfn * 4096) >>> 2
    for (let slot = 0; slot < slots; slot++) {
      if (level === FrameType.level4 && slot >= xenSlots.first && slot <= xenSlots.last) continue
      this.releaseEntry(level, uint32[table + slot * 2], uint32[table + slot * 2 + 1])
    }
  }
}
