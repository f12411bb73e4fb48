/**
 * What a backend is handed, for tests: a few pages of shared memory, a notifier that counts, and a scheduler whose time
 * moves only when told to.
 */
import type {EventPort, GrantRef, Mfn} from '../../lib/base/brand.js'
import type {BackendEnvironment, GuestMemory} from '../../lib/pv/environment.js'

/** Where frame 0 starts: not at 0, so that a forgotten base address shows. */
const base = 0x3000

/** See the file's head. */
export class TestEnvironment implements BackendEnvironment {
  readonly memory: GuestMemory
  readonly notified: EventPort[] = []
  /** Work that is to run in the next turn. */
  readonly turns: (() => void)[] = []
  private timers: {due: number; work: () => void}[] = []
  private nowMs = 0

  constructor(readonly pages = 4) {
    const buffer = new SharedArrayBuffer(base + pages * 4096)
    this.memory = {
      bytes: new Uint8Array(buffer),
      view: new DataView(buffer),
      int32: new Int32Array(buffer),
      addressOfFrame: (mfn: Mfn) => (mfn < pages ? base + mfn * 4096 : undefined),
    }
  }

  readonly notifier = {notify: (port: EventPort) => void this.notified.push(port)}

  /** Grant reference = frame; the uses that have not ended. */
  readonly uses = new Set<number>()
  readonly grants = {
    use: (ref: GrantRef) => {
      if (ref >= this.pages) return undefined
      this.uses.add(ref)
      return {address: base + ref * 4096, end: () => void this.uses.delete(ref)}
    },
  }

  readonly scheduler = {
    soon: (work: () => void) => void this.turns.push(work),
    after: (delayMs: number, work: () => void) => {
      const timer = {due: this.nowMs + delayMs, work}
      this.timers.push(timer)
      return () => {
        this.timers = this.timers.filter(other => other !== timer)
      }
    },
  }

  /** Runs what is waiting, and what that brings, until nothing is left, or `limit` turns if given. */
  run(limit = Number.POSITIVE_INFINITY): void {
    for (let turn = 0; this.turns.length > 0 && turn < limit; turn++) {
      if (turn > 10_000) throw new Error('the backend never rests')
      this.turns.shift()?.()
    }
  }

  /** Moves the time on and runs what is due. */
  pass(ms: number): void {
    this.nowMs += ms
    const due = this.timers.filter(timer => timer.due <= this.nowMs)
    this.timers = this.timers.filter(timer => timer.due > this.nowMs)
    for (const {work} of due) work()
    this.run()
  }

  /** Timers that have not gone off. */
  get timersSet(): number {
    return this.timers.length
  }

  /** Returns how many events have been sent since the last call. */
  takeNotifications(): number {
    return this.notified.splice(0).length
  }
}

/** Random numbers from a seed (mulberry32): a function that returns integers from 0 up to, not including, `below`. */
export function seeded(seed: number): (below: number) => number {
  let state = seed >>> 0
  return below => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}
