/**
 * The translator's thread: makes WebAssembly of hot guest code while the vCPU goes on interpreting. It reads guest code from linear memory,
 * compiles, posts the module to the vCPU's thread and makes its run loop look.
 */
import {type MessagePort, receiveMessageOnPort, workerData} from 'node:worker_threads'
import type {Translated} from '../x86/jit/compiler.js'
import {RegionTranslator, type TranslationJob} from '../x86/jit/translator.js'
import {linearMemory} from '../x86/memory.js'
import {state} from '../x86/state.js'
import {apply, during, guestCode, type Setting} from './engine-settings.js'
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

/** Regions that go into one module at most. Optimized ones take long, and others wait meanwhile. */
const largestBatch = {first: 32, optimized: 2} as const

type Form = keyof typeof largestBatch

const {memory: wasm, vcpuBase, records, port} = workerData as TranslatorStart
const memory = linearMemory(wasm)
const translator = new RegionTranslator(memory, vcpuBase, records)
const waiting: Record<Form, TranslationJob[]> = {first: [], optimized: []}
// The last of the threads has loaded its program.
apply(guestCode)
port.on('message', (jobs: readonly TranslationJob[]) => {
  // Nothing is asked for: the guest has become quiet.
  if (jobs.length === 0) return giveMemoryBack()
  note(jobs)
  for (let form = nextForm('optimized'); form !== undefined; form = nextForm(form)) {
    make(waiting[form].splice(0, largestBatch[form]), form)
    for (let more = receiveMessageOnPort(port); more !== undefined; more = receiveMessageOnPort(port))
      note(more.message as readonly TranslationJob[])
  }
})

/** Of an epoch that is over nothing is wanted. */
function note(jobs: readonly TranslationJob[]): void {
  for (const job of jobs) {
    const list = waiting[job.optimize ? 'optimized' : 'first']
    if (list[0]?.epoch !== job.epoch) list.length = 0
    list.push(job)
  }
}

/** First forms, until which the guest is interpreted, and optimized ones take turns when both wait. */
function nextForm(former: Form): Form | undefined {
  const order = former === 'first' ? (['optimized', 'first'] as const) : (['first', 'optimized'] as const)
  return order.find(form => waiting[form].length > 0)
}

/**
 * How the engine compiles each form: the first one, which is soon replaced, is never optimized by its counters; the other at once, and loops as they
 * are, because those that are worth it are unrolled already.
 */
const compilers: Record<Form, Setting> = {
  first: {
    set: ['--no-wasm-dynamic-tiering', '--no-wasm-tier-up'],
    reset: ['--wasm-dynamic-tiering', '--wasm-tier-up'],
  },
  optimized: {
    set: ['--no-liftoff', '--no-wasm-loop-peeling', '--no-wasm-loop-unrolling'],
    reset: ['--liftoff', '--wasm-loop-peeling', '--wasm-loop-unrolling'],
  },
}

/** Has jobs for one form translated and compiled. */
function make(jobs: readonly TranslationJob[], form: Form): void {
  const {bytes, ...batch} = translator.translate(jobs)
  const module = during(compilers[form], () => new WebAssembly.Module(bytes))
  port.postMessage({batch, module} satisfies Translated)
  Atomics.store(memory.int32, (vcpuBase + state.pending) >> 2, 1)
}

/** What the boot of a guest, or its latest work, left behind in this process. */
function giveMemoryBack(): void {
  collectGarbage(true)
  releaseUnused()
}
