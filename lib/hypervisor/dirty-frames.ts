/**
 * Which frames have been written to, for live migration and its relatives. Whoever writes to a frame marks it: the MMU when it gives a page a write
 * entry in the TLB (so stores through that entry need no thought), hypercalls at each store. A round of copying begins with a harvest:
 *
 *   vCPU thread:  drop all TLB entries ─► move the marks to the harvest ─► run on (the next store to a page marks it again)
 *   main thread:  take the harvest ─► copy those frames
 *
 * Frames that the host's side writes to without marks (shared_info, grant frames, vcpu_info, the rings of console and xenstore) are copied in
 * the last round, always.
 */
import type {LinearMemory} from '../x86/memory.js'
import type {MachineLayout} from './layout.js'

export class DirtyFrames {
  private readonly marks: Uint8Array
  private readonly harvested: Uint8Array

  constructor(memory: LinearMemory, layout: MachineLayout) {
    this.marks = new Uint8Array(memory.wasm.buffer, layout.dirtyFrames, layout.frames)
    this.harvested = new Uint8Array(memory.wasm.buffer, layout.harvestedFrames, layout.frames)
  }

  /** Notes a store to a frame; on the vCPU's thread. */
  mark(mfn: number): void {
    this.marks[mfn] = 1
  }

  /** Moves all marks to the harvest; on the vCPU's thread, after its TLB is flushed, or while it is parked. */
  harvest(): void {
    const {marks, harvested} = this
    for (let at = marks.indexOf(1); at !== -1; at = marks.indexOf(1, at + 1)) {
      marks[at] = 0
      harvested[at] = 1
    }
  }

  /** The harvested frames in ascending order; the harvest is empty afterwards. */
  take(): number[] {
    const {harvested} = this
    const frames: number[] = []
    for (let at = harvested.indexOf(1); at !== -1; at = harvested.indexOf(1, at + 1)) {
      harvested[at] = 0
      frames.push(at)
    }
    return frames
  }
}
