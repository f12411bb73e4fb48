/**
 * What exists while a guest exists: its machine, its threads, and the backends it talks to. A reboot makes another guest for the same
 * domain; so does a restore, from a stream instead of a kernel.
 *
 *   machine (memory, layout) ── vCPU and translator threads (threads.ts)
 *          └── event channels ── console backend, xenstore ring ── xenstore server ── Domain0
 */
import type {EventPort, Mfn} from '../base/brand.js'
import {OperatorError} from '../base/errors.js'
import type {DomainConfig} from '../control/domain-config.js'
import {Control, consolePort, lookAround, setControl, storePort} from '../hypervisor/create.js'
import {DirtyFrames} from '../hypervisor/dirty-frames.js'
import {EventChannels} from '../hypervisor/event-channels.js'
import {layoutFor, type MachineLayout} from '../hypervisor/layout.js'
import {field, MachineRecord} from '../hypervisor/record.js'
import {ConsoleBackend, type ConsoleState} from '../pv/console/backend.js'
import type {BackendEnvironment} from '../pv/environment.js'
import {XenstoreRing} from '../pv/xenstore-ring.js'
import {type LinearMemory, linearMemory} from '../x86/memory.js'
import type {Connection} from '../xenstore/connection.js'
import {Domain0} from '../xenstore/domain0.js'
import type {XenstoreServer} from '../xenstore/server.js'
import {Domain0Grants} from './grant-mapper.js'
import type {GuestThreads} from './threads.js'

/** A domain's memory and what is where in it. */
export interface Machine {
  readonly memory: LinearMemory
  readonly layout: MachineLayout
}

/** Empty memory for a domain. Errors: OperatorError when the configuration wants more than there can be. */
export function emptyMachine(config: DomainConfig): Machine {
  const layout = layoutFor(Math.floor(config.maxMemoryKb / 4), 1)
  if (layout.totalBytes > 2 ** 32 - 65536) {
    const mostMib = Math.floor((2 ** 32 - layout.totalBytes + config.maxMemoryKb * 1024) / 2 ** 20)
    const asked = `${config.maxMemoryKb > config.memoryKb ? 'maxmem' : 'memory'} = ${config.maxMemoryKb / 1024}`
    throw new OperatorError(`${asked} is more than a domain can have here (${mostMib} MiB)`, {exitCode: 3})
  }
  const pages = layout.totalBytes / 65536
  return {memory: linearMemory(new WebAssembly.Memory({initial: pages, maximum: pages, shared: true})), layout}
}

/** The pages that a guest shares with its backends from the start. */
export interface SharedPages {
  readonly store: Mfn
  readonly console: Mfn
}

/** Xenstore as one domain has it. */
export interface GuestStore {
  readonly server: XenstoreServer
  readonly connection: Connection
}

/** Who wants the vCPU stopped: the operator, whoever takes the guest elsewhere, whoever slows it down for that, and whoever writes a core. */
export type Holder = 'operator' | 'departure' | 'throttle' | 'core'

/** See the file's head. */
export class Guest {
  readonly record: MachineRecord
  readonly dom0: Domain0
  readonly console: ConsoleBackend
  readonly startedMs = Date.now()
  private readonly events: EventChannels
  private readonly ring: XenstoreRing
  private readonly dirty: DirtyFrames
  private readonly settling: (() => void)[] = []
  private readonly holders = new Set<Holder>()
  private isOver = false
  private lastParking = 0

  /** The backends attach to pages that are there already; the threads run on their own. */
  constructor(
    readonly machine: Machine,
    private readonly threads: GuestThreads,
    readonly store: GuestStore,
    readonly pages: SharedPages,
    consoleState?: ConsoleState,
  ) {
    const {memory, layout} = machine
    this.record = new MachineRecord(memory)
    this.events = new EventChannels(memory, layout)
    this.dirty = new DirtyFrames(memory, layout)
    this.dom0 = new Domain0(store.server)
    const environment = this.backendEnvironment()
    this.ring = new XenstoreRing(environment, store.connection, pages.store, storePort as EventPort)
    this.console = new ConsoleBackend(environment, pages.console, consolePort as EventPort, consoleState)
  }

  /** The guest has sent an event to a port of the host's side. */
  onEvent(port: number): void {
    // Before anything is read from a ring: what the guest adds later is told anew.
    this.events.takeSent(port)
    if (port === consolePort) this.console.onEvent()
    else if (port === storePort) this.ring.onEvent()
  }

  /** Stops the vCPU at its next look around; it goes on when nobody holds it any more. */
  hold(holder: Holder): void {
    this.holders.add(holder)
    setControl(this.machine.memory, this.machine.layout, Control.pause)
  }

  release(holder: Holder): void {
    if (!this.holders.delete(holder) || this.holders.size > 0) return
    setControl(this.machine.memory, this.machine.layout, Control.run)
  }

  /**
   * Holds the vCPU, for a departure unless it is for something else; resolves once its state is complete in memory and all that the guest had sent is dealt with.
   * Errors: OperatorError when the guest has shut down.
   */
  async park(holder: Holder = 'departure'): Promise<void> {
    this.hold(holder)
    const {int32} = this.machine.memory
    for (;;) {
      const parking = Atomics.load(int32, field.parked >> 2)
      // What the guest sent before it parked has been dealt with when the message that says so is here.
      if (parking !== 0 && parking === this.lastParking) return
      await this.settled()
    }
  }

  /** The frames written to since the last harvest. Errors: as park. */
  async harvest(): Promise<number[]> {
    const {memory, layout} = this.machine
    Atomics.store(memory.int32, field.harvest >> 2, 1)
    lookAround(memory, layout)
    while (Atomics.load(memory.int32, field.harvest >> 2) !== 0) await this.settled()
    return this.dirty.take()
  }

  /** The vCPU's thread says that it is parked. */
  onParked(parking: number): void {
    this.lastParking = parking
    this.onSettled()
  }

  /** The vCPU's thread has parked or harvested, or the guest is over. */
  onSettled(): void {
    for (const waiter of this.settling.splice(0)) waiter()
  }

  private async settled(): Promise<void> {
    if (this.isOver || this.record.u32(field.stopped) !== 0)
      throw new OperatorError('the guest has shut down', {exitCode: 3})
    await new Promise<void>(resolve => this.settling.push(resolve))
  }

  /** Ends threads and backends. */
  async stop(): Promise<void> {
    this.isOver = true
    await this.threads.stop()
    this.onSettled()
    this.console.close()
    this.ring.close()
  }

  private backendEnvironment(): BackendEnvironment {
    const {memory, layout} = this.machine
    return {
      memory: {
        bytes: memory.bytes,
        view: memory.view,
        int32: memory.int32,
        addressOfFrame: mfn => (mfn < layout.frames ? layout.ramBase + mfn * 4096 : undefined),
      },
      grants: new Domain0Grants(memory, layout),
      notifier: {notify: port => this.events.notify(port)},
      scheduler: {
        soon: work => {
          setImmediate(work)
        },
        after: (ms, work) => {
          const timer = setTimeout(work, ms)
          return () => clearTimeout(timer)
        },
      },
    }
  }
}
