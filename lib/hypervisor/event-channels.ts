/**
 * Event channels, 2-level ABI: the port table, and how a port is raised. Bits in shared_info and vcpu_info are set with Atomics, because backends
 * on the main thread raise ports while the guest runs on its own. The order is the ABI's: pending, then selector, then upcall pending.
 *
 * Source: public/event_channel.h, public/xen.h (shared_info, vcpu_info).
 */
import type {LinearMemory} from '../x86/memory.js'
import {state} from '../x86/state.js'
import type {MachineLayout} from './layout.js'
import {field} from './record.js'

/** What a port is; the numbers are those of EVTCHNOP_status, but for `loopback`: both ends are the guest's. `interdomain`: bound to Domain-0. */
export const PortKind = {free: 0, unbound: 1, interdomain: 2, virq: 4, ipi: 5, loopback: 6} as const
export const portCount = 4096

const pendingOffset = 2048
const maskOffset = 2560

export class EventChannels {
  private readonly shared: number

  constructor(
    private readonly memory: LinearMemory,
    private readonly layout: MachineLayout,
  ) {
    this.shared = layout.ramBase + layout.sharedInfo * 4096
  }

  kind(port: number): number {
    return this.memory.bytes[field.ports + port * 4]
  }
  virqOf(port: number): number {
    return this.memory.bytes[field.ports + port * 4 + 1]
  }
  remoteOf(port: number): number {
    return this.memory.view.getUint16(field.ports + port * 4 + 2, true)
  }

  /** Takes the lowest free port, or 0 when there is none. */
  allocate(kind: number, virq = 0, remote = 0): number {
    for (let port = 1; port < portCount; port++) {
      if (this.kind(port) !== PortKind.free) continue
      this.bind(port, kind, virq, remote)
      return port
    }
    return 0
  }

  bind(port: number, kind: number, virq = 0, remote = 0): void {
    const at = field.ports + port * 4
    const {bytes} = this.memory
    if (bytes[at] === PortKind.virq) this.setVirqPort(bytes[at + 1], 0)
    bytes[at] = kind
    bytes[at + 1] = virq
    if (kind === PortKind.virq) this.setVirqPort(virq, port)
    this.memory.view.setUint16(at + 2, remote, true)
  }

  close(port: number): void {
    this.bind(port, PortKind.free)
    Atomics.and(this.memory.int32, (this.shared + pendingOffset + (port >> 5) * 4) >>> 2, ~(1 << (port & 31)))
  }

  /** The port a VIRQ is bound to, or 0. */
  portOfVirq(virq: number): number {
    return this.memory.view.getUint16(field.virqPorts + virq * 2, true)
  }

  private setVirqPort(virq: number, port: number): void {
    this.memory.view.setUint16(field.virqPorts + virq * 2, port, true)
  }

  /** The domain's number. */
  get domid(): number {
    return this.memory.uint32[field.domid >> 2]
  }

  /** Domain-0 sends to a port; if the guest has closed it, to nobody. */
  notify(port: number): void {
    if (this.kind(port) === PortKind.interdomain) this.raise(port)
  }

  isPending(port: number): boolean {
    return ((this.memory.int32[(this.shared + pendingOffset + (port >> 5) * 4) >>> 2] >>> (port & 31)) & 1) !== 0
  }

  /** True when one of the ports that sched_op poll waits for is pending. */
  polledPortIsPending(): boolean {
    const count = this.memory.uint32[field.pollCount >> 2]
    for (let index = 0; index < count; index++) {
      if (this.isPending(this.memory.view.getUint16(field.pollPorts + index * 2, true))) return true
    }
    return false
  }

  /** Raises a port of the guest: sets it pending and, unless it is masked or was pending, asks for an upcall. */
  raise(port: number): void {
    const {int32} = this.memory
    const bit = 1 << (port & 31)
    const word = (port >> 5) * 4
    if (Atomics.or(int32, (this.shared + pendingOffset + word) >>> 2, bit) & bit) return
    if ((Atomics.load(int32, (this.shared + maskOffset + word) >>> 2) & bit) === 0) this.select(port)
    this.wake()
  }

  /** Notes that the guest sent to a port of the host's side. True: the host must be told; false: it has not looked since it was told. */
  markSent(port: number): boolean {
    const bit = 1 << (port & 31)
    return (Atomics.or(this.memory.int32, (field.sentPorts >> 2) + (port >> 5), bit) & bit) === 0
  }

  /** The host's side is about to look at what the port stands for: a send from now on tells it anew. */
  takeSent(port: number): void {
    Atomics.and(this.memory.int32, (field.sentPorts >> 2) + (port >> 5), ~(1 << (port & 31)))
  }

  /** Clears a port's mask; an event that waited behind it is delivered. */
  unmask(port: number): void {
    const {int32} = this.memory
    const bit = 1 << (port & 31)
    const word = (port >> 5) * 4
    Atomics.and(int32, (this.shared + maskOffset + word) >>> 2, ~bit)
    if (Atomics.load(int32, (this.shared + pendingOffset + word) >>> 2) & bit) this.select(port)
  }

  private select(port: number): void {
    const {int32} = this.memory
    const info = Atomics.load(int32, field.vcpuInfo >> 2) >>> 0
    const selector = port >> 6
    Atomics.or(int32, (info + 8 + (selector >> 5) * 4) >>> 2, 1 << (selector & 31))
    // Byte 0 of vcpu_info is upcall_pending; the mask is byte 1 of the same word.
    Atomics.or(int32, info >>> 2, 1)
    Atomics.store(int32, (this.layout.vcpuBase + state.pending) >> 2, 1)
  }

  /** Makes a sleeping vCPU look around. */
  wake(): void {
    const at = (this.layout.vcpuBase + state.wake) >> 2
    Atomics.add(this.memory.int32, at, 1)
    Atomics.notify(this.memory.int32, at)
  }

  /** An upcall is pending and events are not masked. */
  deliverable(): boolean {
    const info = this.memory.uint32[field.vcpuInfo >> 2]
    return this.memory.bytes[info] !== 0 && this.memory.bytes[info + 1] === 0
  }
}
