/**
 * What every hypercall family works with: the calling vCPU, the parts of the hypervisor, and guest memory by value. Arguments are copied in
 * once, checked, acted on, and copied out; a bad guest pointer is -EFAULT, never a fault of the guest.
 */
import type {LinearMemory} from '../../x86/memory.js'
import {state} from '../../x86/state.js'
import type {Vcpu} from '../../x86/vcpu.js'
import type {EventChannels} from '../event-channels.js'
import type {FreeFrames} from '../free-frames.js'
import type {GrantTable} from '../grant-table.js'
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
  /** Empties a range of whole pages of linear memory, which the guest does not have any more, and returns them to the host if it can. */
  giveBack(offset: number, bytes: number): void
  /** The domain holds more or fewer frames than before. */
  onMemoryChange(): void
  log(line: string): void
  cpuFeatures(leaf: number, subleaf: number): [number, number, number, number]
}

export interface Context {
  readonly vcpu: Vcpu
  readonly record: MachineRecord
  readonly layout: MachineLayout
  readonly events: EventChannels
  readonly tables: PageTables
  readonly free: FreeFrames
  readonly grants: GrantTable
  readonly domid: number
  readonly work: Work
  readonly host: Host
  /** Ends the domain with SHUTDOWN_crash. */
  crash(reason: string): void
  /** Ends the domain with a SHUTDOWN_* reason; only the first end counts. */
  shutDown(reason: number): void
}

/** General registers that hold arguments 0 to 5: RDI RSI RDX R10 R8 R9. */
const argumentRegisters = [7, 6, 2, 10, 8, 9]

/** Arguments 0 to 5, as 32-bit halves for the busy paths and as bigints for the others. */
export class Arguments {
  private readonly words = new Uint32Array(12)
  private readonly quads = new BigUint64Array(this.words.buffer)

  low(index: number): number {
    return this.words[index * 2]
  }
  /** The upper half; signed, as addresses have it. */
  high(index: number): number {
    return this.words[index * 2 + 1] | 0
  }
  u64(index: number): bigint {
    return this.quads[index]
  }
  /** The argument as a number; beyond 2^53 only its size is right. */
  number(index: number): number {
    return this.words[index * 2 + 1] * 2 ** 32 + this.words[index * 2]
  }
  set(index: number, value: number): void {
    this.words[index * 2] = value
    this.words[index * 2 + 1] = Math.floor(value / 2 ** 32)
  }
  setU64(index: number, value: bigint): void {
    this.quads[index] = value
  }
  /** Moves a pointer on, over the edge of its low half too. */
  advance(index: number, bytes: number): void {
    const moved = this.words[index * 2] + bytes
    this.words[index * 2] = moved
    this.words[index * 2 + 1] += Math.floor(moved / 2 ** 32)
  }
  fromRegisters(vcpu: Vcpu): this {
    for (let index = 0; index < 6; index++) {
      this.words[index * 2] = vcpu.gprLow(argumentRegisters[index])
      this.words[index * 2 + 1] = vcpu.gprHigh(argumentRegisters[index])
    }
    return this
  }
  toRegisters(vcpu: Vcpu): void {
    for (let index = 0; index < 6; index++) vcpu.setGpr(argumentRegisters[index], this.quads[index])
  }
  /** `at`: word offset in linear memory. */
  fromMemory(memory: LinearMemory, at: number): this {
    for (let index = 0; index < 12; index++) this.words[index] = memory.uint32[at + index]
    return this
  }
  bytes(): Uint8Array {
    return new Uint8Array(this.words.buffer)
  }
}

/**
 * A handler's answer: 0, a count, a negative errno, or `again`: it has done a part, its arguments now say what is left, and the guest makes the
 * same call once more as soon as events, timers and the toolstack had their turn.
 */
export type HypercallHandler = (context: Context, args: Arguments) => number | bigint

/** See HypercallHandler. Xen calls it -ERESTART and does not show it either. */
export const again = -85

/** How much a call may do before others get their turn, all the calls of a multicall together. The unit is an entry of a list. */
export class Work {
  private left = 0

  begin(): void {
    this.left = 2048
  }

  /** Accounts for work that is about to be done. True: there has been enough; but each call does at least its first piece. */
  isEnough(cost = 1): boolean {
    this.left -= cost
    return this.left < 0
  }
}

/** Makes generated code return to the run loop. */
export function lookAround({vcpu}: Context): void {
  Atomics.store(vcpu.memory.int32, (vcpu.base + state.pending) >> 2, 1)
}

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

/** False when any of the bytes is in Xen's own part of the address space or at no address at all. */
export function isGuestRange(address: bigint, length: number): boolean {
  const end = address + BigInt(Math.max(length, 1) - 1)
  const isGuests = (at: bigint) => isCanonical(at) && (at < 0xffff800000000000n || at > 0xffff87ffffffffffn)
  return end < 2n ** 64n && isGuests(address) && isGuests(end)
}

export const isCanonical = (value: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, value)) === value
