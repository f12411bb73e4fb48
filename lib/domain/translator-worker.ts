/**
 * The translator's thread: makes WebAssembly of hot guest code while the vCPU goes on interpreting. It reads guest code from linear memory,
 * compiles, posts the module to the vCPU's thread and makes its run loop look.
 */
import {type MessagePort, workerData} from 'node:worker_threads'
import type {Translated} from '../x86/jit/compiler.js'
import {RegionTranslator, type TranslationJob} from '../x86/jit/translator.js'
import {linearMemory} from '../x86/memory.js'
import {state} from '../x86/state.js'
import {collectGarbage} from './garbage.js'

/** What the thread is given. */
export interface TranslatorStart {
  readonly memory: WebAssembly.Memory
  /** Byte offset of the vCPU's area. */
  readonly vcpuBase: number
  /** Where it may write records. */
  readonly records: {readonly start: number; readonly end: number}
  readonly port: MessagePort
}

/** Without a job for so long, the thread gives memory back. */
const tidyAfterMs = 2000

const {memory: wasm, vcpuBase, records, port} = workerData as TranslatorStart
const memory = linearMemory(wasm)
const tidy = setTimeout(() => collectGarbage(true), tidyAfterMs)
const translator = new RegionTranslator(memory, records)
port.on('message', (jobs: readonly TranslationJob[]) => {
  const {bytes, ...batch} = translator.translate(jobs)
  const made: Translated = {batch, module: new WebAssembly.Module(bytes)}
  port.postMessage(made)
  Atomics.store(memory.int32, (vcpuBase + state.pending) >> 2, 1)
  tidy.refresh()
})
