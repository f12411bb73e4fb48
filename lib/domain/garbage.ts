/**
 * Memory that a guest's boot leaves behind. A thread that has been busy and then sleeps never collects by itself: engines collect when
 * a program allocates. So the threads of a domain ask for it at the moments they know to be quiet.
 *
 * Source: node.js `v8.setFlagsFromString`; V8's flag --expose-gc.
 */
import {setFlagsFromString} from 'node:v8'
import {runInNewContext} from 'node:vm'

/** Limits for a domain's threads: a small nursery costs no time here and returns tens of MiB per thread. */
export const threadLimits = {maxYoungGenerationSizeMb: 6}

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
