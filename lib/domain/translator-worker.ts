/**
 * The translator's thread: makes WebAssembly of hot guest code while the vCPU goes on interpreting. It reads guest code from linear memory,
 * compiles, posts the module to the vCPU's thread and makes its run loop look.
 */
import {setFlagsFromString} from 'node:v8'
import {type MessagePort, receiveMessageOnPort, workerData} from 'node:worker_threads'
import type {Translated} from '../x86/jit/compiler.js'
import {RegionTranslator, type TranslationJob} from '../x86/jit/translator.js'
import {linearMemory} from '../x86/memory.js'
import {state} from '../x86/state.js'
import {collectGarbage} from './garbage.js'
import {releaseUnused} from './host-memory.js'

/** What the thread is given. */
export interface TranslatorStart {
  readonly memory: WebAssembly.Memory
  /** Byte offset of the vCPU's area. */
  readonly vcpuBase: number
  /** Where it may write records. */
  readonly records: {readonly start: number; readonly end: number}
  readonly port: MessagePort
}

/** Blocks that go into one module at most. */
const largestBatch = 64

const {memory: wasm, vcpuBase, records, port} = workerData as TranslatorStart
const memory = linearMemory(wasm)
const translator = new RegionTranslator(memory, vcpuBase, records)
port.on('message', (first: readonly TranslationJob[]) => {
  // Nothing is asked for: the guest has become quiet.
  if (first.length === 0) return giveMemoryBack()
  // Whatever else waits goes into the same module; of an epoch that is over nothing is wanted.
  let jobs = [...first]
  while (jobs.length < largestBatch) {
    const more = receiveMessageOnPort(port)
    if (more === undefined) break
    jobs.push(...(more.message as readonly TranslationJob[]))
  }
  const {epoch} = jobs.at(-1)!
  jobs = jobs.filter(job => job.epoch === epoch)
  const optimized = jobs.filter(({optimize}) => optimize)
  if (optimized.length < jobs.length)
    make(
      jobs.filter(({optimize}) => !optimize),
      compilers.first,
    )
  if (optimized.length > 0) make(optimized, compilers.optimized)
})

/**
 * How the engine compiles each form: the first one, which is soon replaced, is never optimized by its counters; the other at once, and loops as they
 * are, because those that are worth it are unrolled already.
 */
const compilers = {
  first: {
    during: ['--no-wasm-dynamic-tiering', '--no-wasm-tier-up'],
    after: ['--wasm-dynamic-tiering', '--wasm-tier-up'],
  },
  optimized: {
    during: ['--no-liftoff', '--no-wasm-loop-peeling', '--no-wasm-loop-unrolling'],
    after: ['--liftoff', '--wasm-loop-peeling', '--wasm-loop-unrolling'],
  },
} as const

/** Has jobs for one form translated and compiled. */
function make(jobs: readonly TranslationJob[], {during, after}: (typeof compilers)[keyof typeof compilers]): void {
  const {bytes, ...batch} = translator.translate(jobs)
  for (const flag of during) setFlagsFromString(flag)
  const made: Translated = {batch, module: new WebAssembly.Module(bytes)}
  for (const flag of after) setFlagsFromString(flag)
  port.postMessage(made)
  Atomics.store(memory.int32, (vcpuBase + state.pending) >> 2, 1)
}

/** What the boot of a guest, or its latest work, left behind in this process. */
function giveMemoryBack(): void {
  collectGarbage(true)
  releaseUnused()
}
