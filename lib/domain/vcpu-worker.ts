/**
 * The vCPU's thread: runs guest code and hypercalls until the domain stops. It talks to the main thread through the machine record (requests
 * to pause and stop) and by messages (events for backends, shutdown, log lines).
 *
 *   run guest ─► request? ─► deliver events ─► blocked? sleep until an event or a deadline ─► run guest
 */
import {getRandomValues} from 'node:crypto'
import {on} from 'node:events'
import {readFileSync} from 'node:fs'
import {setFlagsFromString} from 'node:v8'
import {type MessagePort, parentPort, receiveMessageOnPort} from 'node:worker_threads'
import {Control, startClocks} from '../hypervisor/create.js'
import {DirtyFrames} from '../hypervisor/dirty-frames.js'
import {Hypervisor} from '../hypervisor/hypervisor.js'
import type {MachineLayout} from '../hypervisor/layout.js'
import {field} from '../hypervisor/record.js'
import {showWallClock} from '../hypervisor/time.js'
import {cpuFeatures} from '../x86/cpuid.js'
import type {Translated} from '../x86/jit/compiler.js'
import {linearMemory} from '../x86/memory.js'
import {state} from '../x86/state.js'
import {Vcpu} from '../x86/vcpu.js'
import {describeVcpu} from './crash-report.js'
import {collectGarbage, QuietTime} from './garbage.js'
import {hostMemory} from './host-memory.js'

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

const port = parentPort!
const orders = on(port, 'message')
const nextOrder = async () => (await orders.next()).value[0]
const {memory: wasm, layout, translateAfter, translator}: GuestMachine = await nextOrder()
const memory = linearMemory(wasm)
const say = (message: WorkerMessage) => port.postMessage(message)

const hostNow = () => performance.now() * 1e6
const now = () => hostNow() - memory.view.getFloat64(field.clockOffset, true)
const addToOffset = (ns: number) =>
  memory.view.setFloat64(field.clockOffset, memory.view.getFloat64(field.clockOffset, true) + ns, true)
addToOffset(hostNow())

/** A module that stands beside this file once it is bundled (bin/bundle.js). */
function builtModule(name: string): WebAssembly.Module | undefined {
  try {
    return new WebAssembly.Module(readFileSync(new URL(`${name}.wasm`, import.meta.url)))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

const hypervisor = new Hypervisor(memory, layout, {
  now,
  notifyHost: to => say({kind: 'event', port: to}),
  onShutdown: reason => say({kind: 'shutdown', reason, guest: describeVcpu(vcpu)}),
  emergencyConsole: bytes => say({kind: 'console', bytes}),
  giveBack: hostMemory(wasm).giveBack,
  onMemoryChange: () => say({kind: 'memory'}),
  log: line => say({kind: 'log', line}),
  cpuFeatures,
})
const vcpu: Vcpu = new Vcpu({
  memory,
  base: layout.vcpuBase,
  id: 0,
  platform: hypervisor,
  recordArea: {start: layout.codeStart, end: layout.codeEnd},
  frames: {base: layout.ramBase, count: layout.frames, dirty: layout.dirtyFrames},
  random: bytes => {
    getRandomValues(bytes)
  },
  translateAfter,
  built: {core: builtModule(`core-${layout.vcpuBase.toString(16)}`), handlers: builtModule('handlers')},
  translator: {
    request: jobs => translator.postMessage(jobs),
    receive: () => receiveMessageOnPort(translator)?.message as Translated | undefined,
  },
})
const entry: GuestEntry = await nextOrder()
await orders.return?.()
if ('rip' in entry) hypervisor.start(vcpu, entry)
else hypervisor.attach(vcpu)

const pendingAt = (layout.vcpuBase + state.pending) >> 2
const wakeAt = (layout.vcpuBase + state.wake) >> 2
const controlAt = field.control >> 2
const harvestAt = field.harvest >> 2
const parkedAt = field.parked >> 2
let parkings = 0
const dirty = new DirtyFrames(memory, layout)

/** The main thread asks for a list of dirty frames: what it copies from now on is marked again when it is written to. */
function harvest(): void {
  hypervisor.noteWrittenFrames(vcpu)
  vcpu.flushTlb()
  dirty.harvest()
  Atomics.store(memory.int32, harvestAt, 0)
  say({kind: 'harvested'})
}

/** Does what the main thread wants; waits while it wants the domain paused, in which guest time goes on. True: it wants it to stop. */
function obey(): boolean {
  let isParked = false
  for (;;) {
    // Looked at first: what is asked for later changes it.
    const seen = Atomics.load(memory.int32, wakeAt)
    if (Atomics.load(memory.int32, harvestAt) !== 0) harvest()
    const control = Atomics.load(memory.int32, controlAt)
    if (control === Control.stop) return true
    if (control === Control.run) {
      if (!isParked) return false
      // Not parked any more from here on; a pause that came before must be seen.
      Atomics.store(memory.int32, parkedAt, 0)
      isParked = false
      continue
    }
    if (!isParked) park()
    isParked = true
    Atomics.wait(memory.int32, wakeAt, seen)
  }
}

/** The vCPU's state is complete in memory until it goes on. */
function park(): void {
  hypervisor.noteWrittenFrames(vcpu)
  vcpu.settle()
  memory.view.setFloat64(field.parkedNs, now(), true)
  Atomics.store(memory.int32, parkedAt, ++parkings)
  say({kind: 'parked', number: parkings})
}

const quiet = new QuietTime()
const busyNs = () => memory.view.getFloat64(field.busyNs, true)

/** Gives memory back when the guest has become quiet, and has the others do so: the translator's thread when nothing is asked of it. */
function tidy(): void {
  if (!quiet.hasCome(now(), busyNs())) return
  // What is made anew is compiled when it is first used.
  setFlagsFromString('--wasm-lazy-compilation')
  vcpu.engine.compact()
  setFlagsFromString('--no-wasm-lazy-compilation')
  collectGarbage()
  say({kind: 'quiet'})
  translator.postMessage([])
}

/** Sleeps until an event can be delivered, a timer is due, or the main thread wants something. */
function sleep(): void {
  while (hypervisor.isBlocked() && !hypervisor.isStopped()) {
    const seen = Atomics.load(memory.int32, wakeAt)
    hypervisor.deliverPending(vcpu)
    if (!hypervisor.isBlocked() || Atomics.load(memory.int32, controlAt) !== Control.run) return
    if (Atomics.load(memory.int32, harvestAt) !== 0) return
    tidy()
    const at = now()
    const ms = Math.min(hypervisor.nextDeadline() - at, quiet.untilNext(at, busyNs())) / 1e6
    if (ms > 0) Atomics.wait(memory.int32, wakeAt, seen, ms)
  }
}

let busySinceMs = performance.now()
function account(): void {
  const at = performance.now()
  memory.view.setFloat64(field.busyNs, busyNs() + (at - busySinceMs) * 1e6, true)
  busySinceMs = at
}

// Guest time and the wall clock begin with the first instruction, however long the domain was paused before it.
const startsStopped = obey()
if ('rip' in entry) {
  addToOffset(now())
  startClocks(memory, layout, Date.now())
} else {
  addToOffset(now() - entry.resumeAtNs)
  const utcMs = Date.now() - entry.resumeAtNs / 1e6
  if (entry.stepsAtSuspend) memory.view.setFloat64(field.wallStepMs, utcMs, true)
  else showWallClock(memory, layout, utcMs)
}

if (!startsStopped) say({kind: 'log', line: `The guest executes instructions from ${new Date().toISOString()} on`})
while (!startsStopped && !hypervisor.isStopped()) {
  if (obey()) break
  // Also after a pause: what slept before it sleeps on.
  if (hypervisor.isBlocked()) {
    sleep()
    continue
  }
  busySinceMs = performance.now()
  vcpu.run()
  Atomics.store(memory.int32, pendingAt, 0)
  hypervisor.deliverPending(vcpu)
  account()
}
