/**
 * What goes between a domain's main thread and its vCPU's (vcpu-worker.ts), beside the words of the machine record:
 *
 *   main thread ─ GuestMachine, SumOrder …, GuestEntry ─► vCPU's thread ─ WorkerMessage … ─► main thread
 */
import type {MessagePort} from 'node:worker_threads'
import type {MachineLayout} from '../hypervisor/layout.js'

/** What the main thread hands over first. */
export interface GuestMachine {
  readonly memory: WebAssembly.Memory
  readonly layout: MachineLayout
  /** Executions of a block before it is translated. */
  readonly translateAfter: number
  /** Leads to the translator's thread. */
  readonly translator: MessagePort
}

/** What it hands over when the guest is built. */
export interface BootEntry {
  readonly rip: bigint
  readonly rsp: bigint
  readonly rsi: bigint
  readonly level4: number
}

/** What it hands over when machine and vCPU are as they were when they were saved. */
export interface ResumeEntry {
  /** Guest time, in nanoseconds: it goes on where it stood. */
  readonly resumeAtNs: number
  /** The guest will be asked to suspend, and sees the wall clock's step then. */
  readonly stepsAtSuspend: boolean
}
export type GuestEntry = BootEntry | ResumeEntry

/** Before that: sums for it to work out (stream/page-sums.ts). */
export interface SumOrder {
  readonly sums: SharedArrayBuffer
}

/**
 * What the thread says. `memory`: the domain holds more or fewer frames. `quiet`: the guest has worked, and does so no longer. `parked`: the
 * vCPU's state is complete in memory until the control word changes.
 */
export type WorkerMessage =
  | {kind: 'event'; port: number}
  | {kind: 'parked'; number: number}
  | {kind: 'harvested'}
  | {kind: 'memory'}
  | {kind: 'quiet'}
  | {kind: 'shutdown'; reason: number; guest: string}
  | {kind: 'console'; bytes: Uint8Array}
  | {kind: 'log'; line: string}
