/**
 * How V8 is to compile guest code. The settings are the process's, for all its threads.
 *
 * Rule of use: for good only when every thread has loaded its program. Node.js carries its own modules compiled, for V8 as it is by default;
 * under other settings a thread compiles them anew while it starts, which takes it 35 ms.
 */
import {setFlagsFromString} from 'node:v8'

/** A setting by the flags that make it and take it back. Engines that do not know one ignore it. */
export interface Setting {
  readonly set: readonly string[]
  readonly reset: readonly string[]
}

/**
 * Translations are compiled where they are made, on the translator's thread, and say which of their branches are seldom taken: misses of the TLB
 * are then out of the way. Nothing is worth inlining, and counting calls for it costs at every one.
 */
export const guestCode: Setting = {
  set: ['--no-wasm-lazy-compilation', '--no-wasm-inlining', '--experimental-wasm-branch-hinting'],
  reset: ['--wasm-lazy-compilation', '--wasm-inlining', '--no-experimental-wasm-branch-hinting'],
}

/** Functions are compiled when they are first called. */
export const lazily: Setting = {set: ['--wasm-lazy-compilation'], reset: ['--no-wasm-lazy-compilation']}

/** Makes a setting for good. */
export function apply({set}: Setting): void {
  for (const flag of set) setFlagsFromString(flag)
}

/** Makes a setting for as long as `work` takes. */
export function during<Result>({set, reset}: Setting, work: () => Result): Result {
  for (const flag of set) setFlagsFromString(flag)
  try {
    return work()
  } finally {
    for (const flag of reset) setFlagsFromString(flag)
  }
}
