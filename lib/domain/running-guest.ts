/**
 * A guest as its vCPU's thread runs it. That thread talks to the main thread through the machine record (requests to pause and stop) and by
 * messages (events for backends, shutdown, log lines).
 *
 *   run guest ─► request? ─► deliver events ─► blocked? sleep until an event or a deadline ─► run guest
 */
import {readFileSync} from 'node:fs'
import {receiveMessageOnPort} from 'node:worker_threads'
import {Control, startClocks} from '../hypervisor/create.js'
import {DirtyFrames} from '../hypervisor/dirty-frames.js'
import {Hypervisor} from '../hypervisor/hypervisor.js'
import {field} from '../hypervisor/record.js'
import {showWallClock} from '../hypervisor/time.js'
import {cpuFeatures} from '../x86/cpuid.js'
import type {BuiltModules} from '../x86/engine.js'
import type {Translated} from '../x86/jit/compiler.js'
import {type LinearMemory, linearMemory} from '../x86/memory.js'
import {state} from '../x86/state.js'
import {Vcpu} from '../x86/vcpu.js'
import {describeVcpu} from './crash-report.js'
import {during, guestCode, lazily} from './engine-settings.js'
import {collectGarbage, QuietTime} from './garbage.js'
import {hostMemory} from './host-memory.js'
import type {GuestEntry, GuestMachine, WorkerMessage} from './vcpu-messages.js'

const hostNow = () => performance.now() * 1e6

export class RunningGuest {
  private readonly memory: LinearMemory
  private readonly hypervisor: Hypervisor
  private readonly vcpu: Vcpu
  private readonly dirty: DirtyFrames
  private readonly quiet = new QuietTime()
  /** Words of the machine, as indices of its 32-bit words. */
  private readonly at: Readonly<Record<'pending' | 'wake' | 'control' | 'harvest' | 'parked', number>>
  private parkings = 0
  private busySinceMs = 0

  /** The processor, ready to run. `say` tells the main thread. */
  constructor(
    private readonly machine: GuestMachine,
    private readonly say: (message: WorkerMessage) => void,
  ) {
    const {memory: wasm, layout, translateAfter, translator} = machine
    const memory = linearMemory(wasm)
    this.memory = memory
    this.addToOffset(hostNow())
    this.dirty = new DirtyFrames(memory, layout)
    this.at = {
      pending: (layout.vcpuBase + state.pending) >> 2,
      wake: (layout.vcpuBase + state.wake) >> 2,
      control: field.control >> 2,
      harvest: field.harvest >> 2,
      parked: field.parked >> 2,
    }
    this.hypervisor = new Hypervisor(memory, layout, {
      now: () => this.now(),
      notifyHost: to => say({kind: 'event', port: to}),
      onShutdown: reason => say({kind: 'shutdown', reason, guest: describeVcpu(this.vcpu)}),
      emergencyConsole: bytes => say({kind: 'console', bytes}),
      giveBack: hostMemory(wasm).giveBack,
      onMemoryChange: () => say({kind: 'memory'}),
      log: line => say({kind: 'log', line}),
      cpuFeatures,
    })
    this.vcpu = new Vcpu({
      memory,
      base: layout.vcpuBase,
      id: 0,
      platform: this.hypervisor,
      recordArea: {start: layout.codeStart, end: layout.codeEnd},
      frames: {base: layout.ramBase, count: layout.frames, dirty: layout.dirtyFrames},
      random: bytes => {
        crypto.getRandomValues(bytes)
      },
      translateAfter,
      built: during(guestCode, () => builtModules(layout.vcpuBase)),
      translator: {
        request: jobs => translator.postMessage(jobs),
        receive: () => receiveMessageOnPort(translator)?.message as Translated | undefined,
      },
    })
  }

  /** Guest time and the wall clock begin with the first instruction, however long the domain is paused before it. Returns when the domain stops. */
  run(entry: GuestEntry): void {
    const {hypervisor, vcpu, memory, at} = this
    if ('rip' in entry) hypervisor.start(vcpu, entry)
    else hypervisor.attach(vcpu)
    // One that is saved before its first instruction has the time at which it is to begin.
    this.setTime(entry)
    if (this.obey()) return
    this.startTime(entry)
    this.say({kind: 'log', line: `The guest executes instructions from ${new Date().toISOString()} on`})
    while (!hypervisor.isStopped()) {
      if (this.obey()) break
      // Also after a pause: what slept before it sleeps on.
      if (hypervisor.isBlocked()) {
        this.sleep()
        continue
      }
      this.busySinceMs = performance.now()
      vcpu.run()
      Atomics.store(memory.int32, at.pending, 0)
      hypervisor.deliverPending(vcpu)
      this.account()
    }
  }

  private startTime(entry: GuestEntry): void {
    const {memory} = this
    const {layout} = this.machine
    this.setTime(entry)
    if ('rip' in entry) return startClocks(memory, layout, Date.now())
    const utcMs = Date.now() - entry.resumeAtNs / 1e6
    if (entry.stepsAtSuspend) memory.view.setFloat64(field.wallStepMs, utcMs, true)
    else showWallClock(memory, layout, utcMs)
  }

  /** Makes it the time at which the guest begins, or goes on. */
  private setTime(entry: GuestEntry): void {
    this.addToOffset(this.now() - ('rip' in entry ? 0 : entry.resumeAtNs))
  }

  /** Guest time in nanoseconds. */
  private now(): number {
    return hostNow() - this.memory.view.getFloat64(field.clockOffset, true)
  }

  private addToOffset(ns: number): void {
    const {view} = this.memory
    view.setFloat64(field.clockOffset, view.getFloat64(field.clockOffset, true) + ns, true)
  }

  /** Does what the main thread wants; waits while it wants the domain paused, in which guest time goes on. True: it wants it to stop. */
  private obey(): boolean {
    const {at} = this
    const {int32} = this.memory
    let isParked = false
    for (;;) {
      // Looked at first: what is asked for later changes it.
      const seen = Atomics.load(int32, at.wake)
      if (Atomics.load(int32, at.harvest) !== 0) this.harvest()
      const control = Atomics.load(int32, at.control)
      if (control === Control.stop) return true
      if (control === Control.run) {
        if (!isParked) return false
        // Not parked any more from here on; a pause that came before must be seen.
        Atomics.store(int32, at.parked, 0)
        isParked = false
        continue
      }
      if (!isParked) this.park()
      isParked = true
      Atomics.wait(int32, at.wake, seen)
    }
  }

  /** The main thread asks for a list of dirty frames: what it copies from now on is marked again when it is written to. */
  private harvest(): void {
    this.hypervisor.noteWrittenFrames(this.vcpu)
    this.vcpu.flushTlb()
    this.dirty.harvest()
    Atomics.store(this.memory.int32, this.at.harvest, 0)
    this.say({kind: 'harvested'})
  }

  /** The vCPU's state is complete in memory until it goes on. */
  private park(): void {
    const {memory, vcpu} = this
    this.hypervisor.noteWrittenFrames(vcpu)
    vcpu.settle()
    memory.view.setFloat64(field.parkedNs, this.now(), true)
    Atomics.store(memory.int32, this.at.parked, ++this.parkings)
    this.say({kind: 'parked', number: this.parkings})
  }

  /** Sleeps until an event can be delivered, a timer is due, or the main thread wants something. */
  private sleep(): void {
    const {hypervisor, vcpu, at} = this
    const {int32} = this.memory
    while (hypervisor.isBlocked() && !hypervisor.isStopped()) {
      const seen = Atomics.load(int32, at.wake)
      hypervisor.deliverPending(vcpu)
      if (!hypervisor.isBlocked() || Atomics.load(int32, at.control) !== Control.run) return
      if (Atomics.load(int32, at.harvest) !== 0) return
      this.tidy()
      const now = this.now()
      const ms = Math.min(hypervisor.nextDeadline() - now, this.quiet.untilNext(now, this.busyNs())) / 1e6
      if (ms > 0) Atomics.wait(int32, at.wake, seen, ms)
    }
  }

  /** Gives memory back when the guest has become quiet, and has the others do so: the translator's thread when nothing is asked of it. */
  private tidy(): void {
    if (!this.quiet.hasCome(this.now(), this.busyNs())) return
    // What is made anew is compiled when it is first used.
    during(lazily, () => this.vcpu.engine.compact())
    collectGarbage()
    this.say({kind: 'quiet'})
    this.machine.translator.postMessage([])
  }

  private busyNs(): number {
    return this.memory.view.getFloat64(field.busyNs, true)
  }

  private account(): void {
    const nowMs = performance.now()
    this.memory.view.setFloat64(field.busyNs, this.busyNs() + (nowMs - this.busySinceMs) * 1e6, true)
    this.busySinceMs = nowMs
  }
}

/** The modules that stand beside this file once it is bundled (bin/bundle.mjs). Of the many handlers a guest uses some. */
function builtModules(vcpuBase: number): BuiltModules {
  return {
    core: builtModule(`core-${vcpuBase.toString(16)}`),
    handlers: during(lazily, () => builtModule('handlers')),
  }
}

function builtModule(name: string): WebAssembly.Module | undefined {
  try {
    return new WebAssembly.Module(readFileSync(new URL(`${name}.wasm`, import.meta.url)))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
