/**
 * Frames that backends wrote to from another thread: the vCPU's thread may hold decoded code of them and must drop it. One bit per RAM frame, a
 * summary bit per 1,024 frames, and one word that says there is something at all.
 *
 *   backend:  write the page ─► mark ─► tell the guest           vCPU:  each time it looks around: drain, then deliver events
 */
import type {LinearMemory} from '../x86/memory.js'
import type {MachineLayout} from './layout.js'
import {field} from './record.js'

const wordsPerSummaryBit = 32
const summaryWords = 32

export class WrittenFrames {
  constructor(
    private readonly memory: LinearMemory,
    private readonly layout: MachineLayout,
  ) {}

  /** Notes a frame; from any thread. */
  mark(mfn: number): void {
    const {int32} = this.memory
    const word = mfn >>> 5
    const summary = Math.floor(word / wordsPerSummaryBit)
    Atomics.or(int32, (this.layout.writtenFrames >>> 2) + word, 1 << (mfn & 31))
    Atomics.or(int32, (field.writtenSummary >> 2) + (summary >>> 5), 1 << (summary & 31))
    Atomics.store(int32, field.written >> 2, 1)
  }

  /** True when there may be frames to drain. */
  get isAny(): boolean {
    return this.memory.int32[field.written >> 2] !== 0
  }

  /** Calls `use` for each frame noted since the last time. */
  drain(use: (mfn: number) => void): void {
    const {int32} = this.memory
    Atomics.store(int32, field.written >> 2, 0)
    for (let index = 0; index < summaryWords; index++) {
      eachBit(Atomics.exchange(int32, (field.writtenSummary >> 2) + index, 0), summaryBit => {
        const first = (index * 32 + summaryBit) * wordsPerSummaryBit
        for (let word = first; word < first + wordsPerSummaryBit && word * 32 < this.layout.ramPages; word++)
          eachBit(Atomics.exchange(int32, (this.layout.writtenFrames >>> 2) + word, 0), bit => use(word * 32 + bit))
      })
    }
  }
}

function eachBit(bits: number, use: (bit: number) => void): void {
  for (let left = bits >>> 0; left !== 0; ) {
    const bit = 31 - Math.clz32(left)
    left = (left & ~(1 << bit)) >>> 0
    use(bit)
  }
}
