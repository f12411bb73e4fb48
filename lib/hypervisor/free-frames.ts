/**
 * The RAM frames that a domain has given back: the balloon's and memory_exchange's supply. Such a frame has type `absent`, its entry in the
 * machine-to-physical table is all ones. There is no other supply: what one domain gives back no other gets, but the host has its pages.
 *
 *   give ─ the frames are absent at once, their contents wait
 *   settle ─ what waits is emptied, in runs: a balloon gives pages one by one, in any order, and the host takes runs far faster
 *   allocate ─ a frame that is handed out is empty
 *
 * Rule of use: who gives settles before the guest runs on. All of it happens on the vCPU's thread, so no frame is handed out while the
 * host still takes it.
 */
import type {LinearMemory} from '../x86/memory.js'
import {FrameType} from './frame-types.js'
import type {Host} from './hypercall/call.js'
import type {MachineLayout} from './layout.js'
import type {PageTables} from './page-tables.js'
import {field} from './record.js'

const invalidEntry = 0xffffffff

export class FreeFrames {
  /** Frames given and not emptied yet. */
  private given: number[] = []

  constructor(
    private readonly memory: LinearMemory,
    private readonly layout: MachineLayout,
    private readonly tables: PageTables,
    private readonly host: Pick<Host, 'giveBack'>,
  ) {}

  /** How many frames the domain has given back. */
  get count(): number {
    return this.memory.uint32[field.absentPages >> 2]
  }

  private set count(value: number) {
    this.memory.uint32[field.absentPages >> 2] = value
  }

  /** True when nothing uses a run of the domain's RAM frames in a way that counts. */
  mayClaim(mfn: number, frames: number): boolean {
    if (mfn + frames > this.layout.ramPages) return false
    for (let index = 0; index < frames; index++) if (this.tables.types.isUsed(mfn + index)) return false
    return true
  }

  /**
   * Marks a run of frames as absent, which nobody can use from then on: to be given, or unclaimed. False, with nothing changed, when
   * one of them may not be claimed.
   */
  claim(mfn: number, frames: number): boolean {
    if (!this.mayClaim(mfn, frames)) return false
    for (let index = 0; index < frames; index++) {
      // A backend may have begun to use it meanwhile: what the types say last is what counts.
      if (this.tables.types.take(mfn + index, FrameType.absent) === 0) continue
      this.unclaim(mfn, index)
      return false
    }
    return true
  }

  /** Ends a claim. */
  unclaim(mfn: number, frames: number): void {
    for (let index = 0; index < frames; index++) this.tables.types.release(mfn + index)
  }

  /** Takes a claimed run of frames from the domain; their contents are gone with the next `settle`. */
  give(mfn: number, frames: number): void {
    for (let frame = mfn; frame < mfn + frames; frame++) {
      this.tables.setPfn(frame, invalidEntry, invalidEntry)
      this.given.push(frame)
    }
    this.count += frames
  }

  /** Empties what has been given. */
  settle(): void {
    const given = this.given.sort((a, b) => a - b)
    for (let from = 0, to = 1; from < given.length; from = to, to = from + 1) {
      while (given[to] === given[to - 1] + 1) to++
      this.host.giveBack(this.layout.ramBase + given[from] * 4096, (to - from) * 4096)
    }
    this.given = []
  }

  /** How many frames the domain may have beyond those it has. */
  private get allowed(): number {
    const most = Atomics.load(this.memory.int32, field.mostPages >> 2) >>> 0
    return most - (this.layout.ramPages - this.count)
  }

  /**
   * Hands the domain an aligned run of 2^order frames below a limit, with no PFN yet; undefined when there is none, or when the domain
   * would have more than it may. `inExchange`: it has just given as many.
   */
  allocate(order: number, limit: number, inExchange = false): number | undefined {
    this.settle()
    const frames = 2 ** order
    if (this.count < frames || (!inExchange && this.allowed < frames)) return undefined
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
}
