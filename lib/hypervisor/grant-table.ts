/**
 * The domain's grant table: who may use which frame, and who does. Backends on the main thread and the guest's own hypercalls use grants through
 * here; a lock word in the machine record keeps their bookkeeping apart.
 *
 *   entry (the guest's):  flags  domain  frame        GTF_reading and GTF_writing stay set while there are uses
 *   uses of a reference:  all | writing << 16          taken by acquire, ended by release
 *   uses of a frame:      reads | writes << 8          while there are writes the frame cannot become a page table, while any, not be given back
 *
 * Source: xen/common/grant_table.c.
 */
import {GrantFlag, GrantStatus, grantEntryBytes, grantsPerFrame} from '../abi/grant-table.js'
import type {LinearMemory} from '../x86/memory.js'
import {FrameType} from './frame-types.js'
import type {MachineLayout} from './layout.js'
import {field} from './record.js'

/** Uses of one frame that can be counted. */
const mostFrameUses = 255

/** What a reference gave. */
export interface Acquired {
  readonly status: number
  /** Frame, when the status is okay. */
  readonly mfn: number
}

export class GrantTable {
  private readonly frameUses: Uint16Array

  constructor(
    private readonly memory: LinearMemory,
    private readonly layout: MachineLayout,
  ) {
    this.frameUses = new Uint16Array(memory.wasm.buffer, layout.grantFrameUses, layout.ramPages)
  }

  /** Frames of the table that the guest has asked for. */
  get frames(): number {
    return this.memory.uint32[field.grantFrameCount >> 2]
  }
  set frames(value: number) {
    this.memory.uint32[field.grantFrameCount >> 2] = value
  }

  /** Word offset of an entry, or -1 for a reference beyond the table. */
  entryAt(ref: number): number {
    if (ref >= this.frames * grantsPerFrame) return -1
    return (this.layout.ramBase + this.layout.grantFrames * 4096 + ref * grantEntryBytes) >>> 2
  }

  /** True while a reference is in use. */
  isUsed(ref: number): boolean {
    return (Atomics.load(this.memory.int32, this.usesAt(ref)) & 0xffff) !== 0
  }

  /** Begins a use of a reference by domain `user`. */
  acquire(ref: number, user: number, writes: boolean): Acquired {
    const at = this.entryAt(ref)
    if (at === -1) return failed(GrantStatus.badGntref)
    this.lock()
    try {
      return this.acquireLocked(ref, at, user, writes)
    } finally {
      this.unlock()
    }
  }

  private acquireLocked(ref: number, at: number, user: number, writes: boolean): Acquired {
    const {int32, uint32} = this.memory
    const marks = GrantFlag.reading | (writes ? GrantFlag.writing : 0)
    for (;;) {
      const word = Atomics.load(int32, at)
      const isGranted = (word & GrantFlag.typeMask) === GrantFlag.permitAccess && word >>> 16 === user
      if (!isGranted || (writes && (word & GrantFlag.readonly) !== 0)) return failed(GrantStatus.generalError)
      const mfn = uint32[at + 1]
      // The guest may change the entry until the marks are on it.
      if (Atomics.compareExchange(int32, at, word, word | marks) !== word) continue
      if (uint32[at + 1] === mfn && this.holdFrame(mfn, writes)) {
        this.memory.int32[this.usesAt(ref)] += writes ? 0x10001 : 1
        return {status: GrantStatus.okay, mfn}
      }
      this.clearMarks(ref, at)
      return failed(GrantStatus.generalError)
    }
  }

  /** Ends a use; `mfn` is what acquire gave. */
  release(ref: number, mfn: number, writes: boolean): void {
    this.lock()
    this.memory.int32[this.usesAt(ref)] -= writes ? 0x10001 : 1
    this.letFrameGo(mfn, writes)
    this.clearMarks(ref, this.entryAt(ref))
    this.unlock()
  }

  /** Takes those marks off an entry that its uses do not need. */
  private clearMarks(ref: number, at: number): void {
    const uses = this.memory.int32[this.usesAt(ref)]
    const idle = ((uses & 0xffff) === 0 ? GrantFlag.reading : 0) | (uses >>> 16 === 0 ? GrantFlag.writing : 0)
    Atomics.and(this.memory.int32, at, ~idle)
  }

  /** Exchanges two entries; an entry in use stays where it is. */
  swap(first: number, second: number): number {
    const a = this.entryAt(first)
    const b = this.entryAt(second)
    if (a === -1 || b === -1) return GrantStatus.badGntref
    if (first === second) return GrantStatus.okay
    const {uint32} = this.memory
    this.lock()
    const inUse = this.isUsed(first) || this.isUsed(second)
    if (!inUse) {
      const [flags, frame] = [uint32[a], uint32[a + 1]]
      uint32[a] = uint32[b]
      uint32[a + 1] = uint32[b + 1]
      uint32[b] = flags
      uint32[b + 1] = frame
    }
    this.unlock()
    return inUse ? GrantStatus.eagain : GrantStatus.okay
  }

  /**
   * Counts a use of a frame. False: it is no RAM of the domain, a table that nobody may write to, or in too many uses. Against a vCPU that makes
   * it a table at the same moment: it sets the type and then looks at the uses, here it is the other way round.
   */
  private holdFrame(mfn: number, writes: boolean): boolean {
    if (mfn >= this.layout.ramPages) return false
    const uses = Atomics.load(this.frameUses, mfn)
    if ((writes ? uses >>> 8 : uses & 0xff) === mostFrameUses) return false
    Atomics.add(this.frameUses, mfn, writes ? 0x100 : 1)
    const word = Atomics.load(this.memory.int32, (this.layout.frameTypes >>> 2) + mfn) >>> 0
    const type = (word & 0x1fffffff) === 0 ? FrameType.none : word >>> 29
    const isFree = type === FrameType.none || type === FrameType.writable
    if (isFree || (!writes && type !== FrameType.absent)) return true
    this.letFrameGo(mfn, writes)
    return false
  }

  private letFrameGo(mfn: number, writes: boolean): void {
    Atomics.sub(this.frameUses, mfn, writes ? 0x100 : 1)
  }

  private usesAt(ref: number): number {
    return (this.layout.grantUses >>> 2) + ref
  }

  /** Held for a few instructions only, by threads that both always run. */
  private lock(): void {
    while (Atomics.compareExchange(this.memory.int32, field.grantLock >> 2, 0, 1) !== 0);
  }
  private unlock(): void {
    Atomics.store(this.memory.int32, field.grantLock >> 2, 0)
  }
}

const failed = (status: number): Acquired => ({status, mfn: -1})
