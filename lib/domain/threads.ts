/**
 * The two threads behind a guest: the vCPU, and the translator that makes its hot code faster. They share the domain's memory and a
 * message channel; both end together.
 */
import {MessageChannel, Worker} from 'node:worker_threads'
import type {MachineLayout} from '../hypervisor/layout.js'
import {splitArea} from '../x86/engine.js'
import {threadLimits} from './garbage.js'
import type {TranslatorStart} from './translator-worker.js'
import type {WorkerMessage, WorkerStart} from './vcpu-worker.js'

/** Executions of a basic block before it is translated. */
const translateAfter = 300

/** A guest's running threads. */
export interface GuestThreads {
  /** Ends both; resolves when they are gone. */
  stop(): Promise<void>
}

/** Starts them. `heard` gets what the vCPU's thread says, `failed` a bug that ended one of them. */
export function startThreads(
  memory: WebAssembly.Memory,
  layout: MachineLayout,
  entry: WorkerStart['entry'],
  heard: (message: WorkerMessage) => void,
  failed: (error: Error) => void,
): GuestThreads {
  const {port1: vcpuEnd, port2: translatorEnd} = new MessageChannel()
  const area = {start: layout.codeStart, end: layout.codeEnd}
  const translatorStart: TranslatorStart = {
    memory,
    vcpuBase: layout.vcpuBase,
    records: splitArea(memory.buffer.byteLength, area).translations,
    port: translatorEnd,
  }
  const vcpuStart: WorkerStart = {memory, layout, entry, translateAfter, translator: vcpuEnd}
  const translator = new Worker(new URL('./translator-worker.js', import.meta.url), {
    workerData: translatorStart,
    transferList: [translatorEnd],
    resourceLimits: threadLimits,
  })
  const vcpu = new Worker(new URL('./vcpu-worker.js', import.meta.url), {
    workerData: vcpuStart,
    transferList: [vcpuEnd],
    resourceLimits: threadLimits,
  })
  vcpu.on('message', heard)
  for (const thread of [vcpu, translator]) thread.on('error', failed)
  return {
    stop: async () => {
      await Promise.all([vcpu.terminate(), translator.terminate()])
    },
  }
}
