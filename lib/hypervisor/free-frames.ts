/**
 * The RAM frames that a domain has given back: the balloon's and memory_exchange's supply. Such a frame has type `absent`, its entry in the
 * machine-to-physical table is all ones. There is no other supply: what one domain gives back no other gets.
 */
import type {LinearMemory} from '../x86/memory.js'
import {FrameType} from './frame-types.js'
import type {MachineLayout} from './layout.js'
import type {PageTables} from './page-tables.js'
import {field} from './record.js'

const invalidEntry = 0xffffffff

export class FreeFrames {
  constructor(
    private readonly memory: LinearMemory,
    private readonly layout: MachineLayout,
    private readonly tables: PageTables,
  ) {}

  /** How many frames the domain has given back. */
  get count(): number {
    return this.memory.uint32[field.absentPages >> 2]
  }

  private set count(value: number) {
    this.memory.uint32[field.absentPages >> 2] = value
  }

  /** True when nothing uses a run of the domain's RAM frames in a way that counts, so that it can be given back. */
  mayGive(mfn: number, frames: number): boolean {
    if (mfn + frames > this.layout.ramPages) return false
    for (let index = 0; index < frames; index++) if (this.tables.types.isUsed(mfn + index)) return false
    return true
  }

  /** Takes a run of frames from the domain; their contents are gone. */
  give(mfn: number, frames: number): void {
    for (let frame = mfn; frame < mfn + frames; frame++) {
      this.tables.types.take(frame, FrameType.absent)
      this.setPfn(frame, invalidEntry, invalidEntry)
      const at = this.layout.ramBase + frame * 4096
      this.memory.bytes.fill(0, at, at + 4096)
    }
    this.count += frames
  }

  /** Hands the domain an aligned run of 2^order frames below a limit, with no PFN yet; undefined when there is none. */
  allocate(order: number, limit: number): number | undefined {
    const frames = 2 ** order
    if (this.count < frames) return undefined
    const end = Math.min(limit, this.layout.ramPages)
    const hint = order === 0 ? this.memory.uint32[field.freeHint >> 2] : 0
    for (let mfn = hint < end ? hint : 0, left = Math.ceil(end / frames); left > 0; left--) {
      if (mfn + frames <= end && this.isAbsent(mfn, frames)) {
        for (let frame = mfn; frame < mfn + frames; frame++) this.tables.types.release(frame)
        this.count -= frames
        if (order === 0) this.memory.uint32[field.freeHint >> 2] = mfn
        return mfn
      }
      mfn = mfn + frames < end ? mfn + frames : 0
    }
    return undefined
  }

  private isAbsent(mfn: number, frames: number): boolean {
    for (let index = 0; index < frames; index++)
      if (this.tables.types.typeOf(mfn + index) !== FrameType.absent) return false
    return true
  }

  /** Sets a frame's entry in the machine-to-physical table. */
  setPfn(mfn: number, low: number, high: number): void {
    const at = (this.layout.ramBase + this.layout.m2p * 4096 + mfn * 8) >>> 2
    this.memory.uint32[at] = low
    this.memory.uint32[at + 1] = high
  }
}
