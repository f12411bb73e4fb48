/**
 * The two threads behind a guest: the vCPU, and the translator that makes its hot code faster. They share the domain's memory and a
 * message channel; both end together.
 *
 *   constructed ─ the vCPU's thread loads its program, which takes as long as building a guest does
 *   machine     ─ it makes its processor in the memory it is given
 *   enter       ─ it runs the guest; the translator's thread loads its program while nothing is hot yet
 */
import {MessageChannel, Worker, type WorkerOptions} from 'node:worker_threads'
import type {MachineLayout} from '../hypervisor/layout.js'
import {splitArea} from '../x86/record-area.js'
import {threadLimits} from './garbage.js'
import type {TranslatorStart} from './translator-worker.js'
import type {GuestEntry, GuestMachine, SumOrder, WorkerMessage} from './vcpu-messages.js'

/** Executions of a basic block before it is translated. */
const translateAfter = 150

/** Whoever hears of what happens in the threads. */
export interface ThreadListener {
  /** What the vCPU's thread says. */
  heard(message: WorkerMessage): void
  /** A bug ended one of them. */
  failed(error: Error): void
}

/** A guest's threads; from its construction on the first of them gets ready. */
export class GuestThreads {
  private readonly vcpu = thread('../domain/vcpu-worker.js')
  private translator: Worker | undefined
  private startTranslator = (): void => {}

  /** Says who listens, before `machine`. */
  listen({heard, failed}: ThreadListener): void {
    this.vcpu.on('message', heard)
    this.vcpu.on('error', failed)
    this.failed = failed
  }

  private failed: (error: Error) => void = () => {}

  /** Hands over the memory, of which the machine's own part is filled. */
  machine(memory: WebAssembly.Memory, layout: MachineLayout): void {
    const {port1: vcpuEnd, port2: translatorEnd} = new MessageChannel()
    const machine: GuestMachine = {memory, layout, translateAfter, translator: vcpuEnd}
    this.vcpu.postMessage(machine, [vcpuEnd])
    this.startTranslator = () => {
      const workerData: TranslatorStart = {
        memory,
        vcpuBase: layout.vcpuBase,
        records: splitArea(memory.buffer.byteLength, {start: layout.codeStart, end: layout.codeEnd}).translations,
        port: translatorEnd,
      }
      this.translator = thread('../domain/translator-worker.js', {workerData, transferList: [translatorEnd]})
      this.translator.on('error', this.failed)
    }
  }

  /** Has the vCPU's thread work on a table of sums (stream/page-sums.ts) if it has the machine and time. */
  assist(sums: SharedArrayBuffer): void {
    this.vcpu.postMessage({sums} satisfies SumOrder)
  }

  /** Runs the guest, which is whole now. */
  enter(entry: GuestEntry): void {
    this.vcpu.postMessage(entry)
    this.startTranslator()
  }

  /** Ends both; resolves when they are gone. */
  async stop(): Promise<void> {
    await Promise.all([this.vcpu.terminate(), this.translator?.terminate()])
  }
}

function thread(file: string, options: WorkerOptions = {}): Worker {
  // By way of the folder: bundled, this code is in another one.
  return new Worker(new URL(file, import.meta.url), {...options, resourceLimits: threadLimits})
}
