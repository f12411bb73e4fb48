/**
 * What every hypercall family works with: the calling vCPU, the parts of the hypervisor, and guest memory by value. Arguments are copied in
 * once, checked, acted on, and copied out; a bad guest pointer is -EFAULT, never a fault of the guest.
 */
import type {Vcpu} from '../../x86/vcpu.js'
import type {EventChannels} from '../event-channels.js'
import type {MachineLayout} from '../layout.js'
import type {PageTables} from '../page-tables.js'
import type {MachineRecord} from '../record.js'

/** What the outside world gives the hypervisor. */
export interface Host {
  /** Guest time in nanoseconds. */
  now(): number
  /** The guest sent an event to a port bound to the host's side; not again before the host has called `takeSent`. */
  notifyHost(port: number): void
  /** The guest shut down. */
  onShutdown(reason: number): void
  /** A line of console_io, before the guest has a console. */
  emergencyConsole(bytes: Uint8Array): void
  log(line: string): void
  cpuFeatures(leaf: number, subleaf: number): [number, number, number, number]
}

export interface Context {
  readonly vcpu: Vcpu
  readonly record: MachineRecord
  readonly layout: MachineLayout
  readonly events: EventChannels
  readonly tables: PageTables
  readonly host: Host
  /** Ends the domain with SHUTDOWN_crash. */
  crash(reason: string): void
  /** Ends the domain with a SHUTDOWN_* reason; only the first end counts. */
  shutDown(reason: number): void
}

/** Arguments 0 to 5 as the registers hold them. */
export type Arguments = readonly bigint[]

/** A handler's answer: 0, a count, or a negative errno. */
export type HypercallHandler = (context: Context, args: Arguments) => number

/** A copy of `length` bytes of guest memory as a view, or undefined. */
export function copyIn(context: Context, address: bigint, length: number): DataView | undefined {
  const bytes = context.vcpu.readBytes(BigInt.asUintN(64, address), length)
  return bytes === undefined ? undefined : new DataView(bytes.buffer, bytes.byteOffset, length)
}

/** Writes a view's bytes to guest memory. */
export function copyOut(context: Context, address: bigint, view: DataView): boolean {
  return context.vcpu.writeBytes(
    BigInt.asUintN(64, address),
    new Uint8Array(view.buffer, view.byteOffset, view.byteLength),
  )
}

/** A view over `length` fresh bytes. */
export function fresh(length: number): DataView {
  return new DataView(new ArrayBuffer(length))
}

/** The low 32 bits of an argument. */
export const low = (value: bigint): number => Number(value & 0xffffffffn)

export const isCanonical = (value: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, value)) === value
