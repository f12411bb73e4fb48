/**
 * Memory that a guest's boot leaves behind. A thread that has been busy and then sleeps never collects by itself: engines collect when
 * a program allocates. So the vCPU's thread looks for the moment when its guest has become quiet, collects, and has the translator's thread
 * do the same and more.
 *
 * Source: node.js `v8.setFlagsFromString`; V8's flag --expose-gc.
 */
import {setFlagsFromString} from 'node:v8'
import {runInNewContext} from 'node:vm'

/** Limits for a domain's threads: a small nursery costs no time here and returns tens of MiB per thread. */
export const threadLimits = {maxYoungGenerationSizeMb: 6}

/** A guest is quiet when it ran for less than this part of a span of time. */
const quietPart = 0.1
const spanNs = 2e9
/** Work after which there is something to collect. */
const worthNs = 5e8

/** Finds the moments when a guest that has worked does so no longer. Times are in nanoseconds. */
export class QuietTime {
  private spanStart = 0
  private busyBefore = 0
  private tidiedAt = 0

  /** How long a sleeping guest need not be looked at; Infinity when there is nothing to collect. */
  untilNext(now: number, busy: number): number {
    return busy - this.tidiedAt < worthNs ? Number.POSITIVE_INFINITY : Math.max(0, this.spanStart + spanNs - now)
  }

  /** True once, when it is quiet after work worth collecting for; `busy` is how long the guest has run in all. */
  hasCome(now: number, busy: number): boolean {
    if (now - this.spanStart < spanNs) return false
    const isQuiet = busy - this.busyBefore < (now - this.spanStart) * quietPart
    this.spanStart = now
    this.busyBefore = busy
    if (!isQuiet || busy - this.tidiedAt < worthNs) return false
    this.tidiedAt = busy
    return true
  }
}

type Collect = (options: {type: 'major'; execution: 'sync'; flavor: 'regular' | 'last-resort'}) => void

let collect: Collect | undefined

/**
 * Returns to the machine what this thread no longer uses; takes some tens of milliseconds. `everything` is for a quiet time: also
 * first versions of compiled code go, of all threads, and are made again if they are needed.
 */
export function collectGarbage(everything = false): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc') as Collect
  }
  collect({type: 'major', execution: 'sync', flavor: everything ? 'last-resort' : 'regular'})
}
