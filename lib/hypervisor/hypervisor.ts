/**
 * Xen as one PV guest sees it: the Platform of its vCPU. Joins traps, hypercalls, page tables, event channels and time over the domain's
 * linear memory; it runs on the vCPU's thread.
 *
 * Source: the public headers; xen/arch/x86/pv.
 */
import {Hypercall} from '../abi/xen.js'
import {bug} from '../base/errors.js'
import type {LinearMemory} from '../x86/memory.js'
import type {Fault, Outcome, Platform, PrivilegedInstruction} from '../x86/platform.js'
import {Rflags} from '../x86/registers.js'
import {Segment, state} from '../x86/state.js'
import type {Vcpu} from '../x86/vcpu.js'
import {EventChannels} from './event-channels.js'
import {FreeFrames} from './free-frames.js'
import {GrantTable} from './grant-table.js'
import {Arguments, again, type Context, type Host} from './hypercall/call.js'
import {flushConsoleLine} from './hypercall/console.js'
import {hypercall} from './hypercall/table.js'
import type {MachineLayout} from './layout.js'
import {PageTables} from './page-tables.js'
import {emulate, guestCpuid} from './privileged-ops.js'
import {field, handlerAt, MachineRecord} from './record.js'
import {endPoll, fireTimers, nextDeadline, refreshTimeArea} from './time.js'
import {bounce, returnToGuest} from './traps.js'

/** Callback types. Source: public/callback.h. */
const Callback = {event: 0, failsafe: 1, syscall: 2, sysenter: 5, syscall32: 7} as const
/** Why a domain shut down. Source: public/sched.h SHUTDOWN_*. */
const Shutdown = {crash: 3} as const
const masksEvents = {trap: 4, callback: 1}

/** Xen's own descriptors, by selector without RPL. Source: public/arch-x86/xen-x86_64.h. */
const reservedDescriptors: Readonly<Record<number, readonly [number, number]>> = {
  57376: [0xffff, 0x00cffb00], // 0xe020 FLAT_RING3_CS32
  57384: [0xffff, 0x00cff300], // 0xe028 FLAT_RING3_DS32
  57392: [0xffff, 0x00affb00], // 0xe030 FLAT_RING3_CS64
}

const syscallBytes = 2n

export class Hypervisor implements Platform {
  readonly record: MachineRecord
  readonly events: EventChannels
  readonly tables: PageTables
  private readonly args = new Arguments()
  private context: Context | undefined

  constructor(
    private readonly memory: LinearMemory,
    private readonly layout: MachineLayout,
    private readonly host: Host,
  ) {
    this.record = new MachineRecord(memory)
    this.events = new EventChannels(memory, layout)
    this.tables = new PageTables(memory, layout, this.record)
  }

  private contextOf(vcpu: Vcpu): Context {
    this.context ??= {
      vcpu,
      record: this.record,
      layout: this.layout,
      events: this.events,
      tables: this.tables,
      free: new FreeFrames(this.memory, this.layout, this.tables),
      grants: new GrantTable(this.memory, this.layout),
      domid: this.record.u32('domid'),
      host: this.host,
      crash: reason => this.crash(vcpu, reason),
      shutDown: reason => this.shutDown(vcpu, reason),
    }
    return this.context
  }

  /** The guest is beyond repair: SHUTDOWN_crash, with the reason in the log. */
  crash(vcpu: Vcpu, reason: string): void {
    if (this.isStopped()) return
    this.host.log(`domain crashed: ${reason}`)
    this.shutDown(vcpu, Shutdown.crash)
  }

  /** Stops the domain, whatever reason it gives; the host hears of the first one only. */
  shutDown(vcpu: Vcpu, reason: number): void {
    if (this.isStopped()) return
    this.record.setU32('stopped', 1 + reason)
    Atomics.store(this.memory.int32, (vcpu.base + state.pending) >> 2, 1)
    flushConsoleLine(this.record, this.host)
    this.host.onShutdown(reason)
  }

  isStopped(): boolean {
    return this.record.u32('stopped') !== 0
  }
  isBlocked(): boolean {
    return this.record.u32('blocked') !== 0
  }

  syscall(vcpu: Vcpu): Outcome {
    const {record} = this
    const rip = vcpu.rip
    if (record.u32('kernelMode') === 0) {
      const handler = handlerAt(
        this.memory,
        'callbacks',
        vcpu.u32('codeBits') === 64 ? Callback.syscall : Callback.syscall32,
      )
      if (handler === undefined) return {vector: 6}
      const cs = vcpu.u32('codeBits') === 64 ? 0xe033 : 0xe023
      const masks = (handler.flags & masksEvents.callback) !== 0
      if (!bounce(vcpu, record, handler, masks, undefined, {rcx: rip, r11: vcpu.rflags, cs, rip}))
        this.crash(vcpu, 'bad kernel stack at a system call')
      vcpu.setU64('rflags', vcpu.u64('rflags') & ~BigInt(Rflags.df))
      return undefined
    }
    const number = vcpu.gprLow(0)
    if (number === Hypercall.iret) {
      if (!returnToGuest(vcpu, record)) this.crash(vcpu, 'bad frame in HYPERVISOR_iret')
      this.deliverPending(vcpu)
      return undefined
    }
    const result = hypercall(this.contextOf(vcpu), number, this.args.fromRegisters(vcpu))
    if (result === again) {
      this.args.toRegisters(vcpu)
      vcpu.rip = BigInt.asUintN(64, rip - syscallBytes)
    } else {
      vcpu.setGpr(0, BigInt.asUintN(64, BigInt(result)))
      vcpu.setGpr(1, rip)
      vcpu.setGpr(11, vcpu.rflags)
    }
    this.deliverPending(vcpu)
    return undefined
  }

  sysenter(vcpu: Vcpu): Outcome {
    const handler = handlerAt(this.memory, 'callbacks', Callback.sysenter)
    if (handler === undefined || this.record.u32('kernelMode') !== 0) return {vector: 13, errorCode: 0}
    const masks = (handler.flags & masksEvents.callback) !== 0
    if (!bounce(vcpu, this.record, handler, masks, undefined, {cs: 3, rip: 0n}))
      this.crash(vcpu, 'bad kernel stack at SYSENTER')
    return undefined
  }

  softwareInterrupt(vcpu: Vcpu, vector: number): Outcome {
    const handler = handlerAt(this.memory, 'traps', vector)
    const needed = this.record.u32('kernelMode') !== 0 ? 1 : 3
    if (handler === undefined || (vector !== 3 && vector !== 4 && (handler.flags & 3) < needed))
      return {vector: 13, errorCode: vector * 8 + 2}
    this.enter(vcpu, vector, undefined)
    return undefined
  }

  exception(vcpu: Vcpu, fault: Fault): void {
    if (fault.vector === 14) this.memory.view.setBigUint64(this.record.u32('vcpuInfo') + 16, vcpu.u64('cr2'), true)
    this.enter(vcpu, fault.vector, fault.errorCode)
  }

  private enter(vcpu: Vcpu, vector: number, errorCode: number | undefined): void {
    const handler = handlerAt(this.memory, 'traps', vector)
    if (handler === undefined)
      return this.crash(
        vcpu,
        `exception ${vector} (error code ${errorCode ?? 'none'}) at ${hex(vcpu.rip)} without a handler`,
      )
    const rip = vcpu.rip
    if (!bounce(vcpu, this.record, handler, (handler.flags & masksEvents.trap) !== 0, errorCode)) {
      this.crash(vcpu, `exception ${vector} at ${hex(rip)} found no stack`)
    }
  }

  privileged(vcpu: Vcpu, instruction: PrivilegedInstruction): Outcome {
    return emulate(vcpu, this.record, instruction, address => {
      if (!this.tables.setRoot('kernelRoot', address / 4096)) return false
      vcpu.flushTlb()
      return true
    })
  }

  cpuid(_vcpu: Vcpu, leaf: number, subleaf: number, forced: boolean): readonly [number, number, number, number] {
    return guestCpuid(this.record, this.host.cpuFeatures, leaf, subleaf, forced)
  }

  descriptor(vcpu: Vcpu, selector: number): readonly [number, number] | undefined {
    const reserved = reservedDescriptors[selector & ~7]
    if (reserved !== undefined) return reserved
    const index = selector >> 3
    const {uint32} = this.memory
    if (selector & 4) {
      if (index >= this.record.u32('ldtEntries')) return undefined
      const entry = vcpu.readBytes(this.record.u64('ldtBase') + BigInt(index * 8), 8)
      if (entry === undefined) return undefined
      const view = new DataView(entry.buffer)
      return [view.getUint32(0, true), view.getUint32(4, true)]
    }
    if (index >= this.record.u32('gdtEntries')) return undefined
    const frame = this.tables.address(uint32[(field.gdtFrames >> 2) + (index >> 9)])
    if (frame < 0) return undefined
    const at = (frame >>> 2) + (index & 511) * 2
    return [uint32[at], uint32[at + 1]]
  }

  storeToReadOnly(_vcpu: Vcpu, machineAddress: number, data: number, size: number, linearHigh: number): boolean {
    // Writable page tables: stores of the kernel, through its own half of the address space, to level-1 tables.
    if (linearHigh >= 0 || (machineAddress & (size - 1)) !== 0 || size > 8) return false
    const mfn = Math.floor(machineAddress / 4096)
    if (!this.tables.isLevel1(mfn)) return false
    const {view, bytes} = this.memory
    const entryAt = this.tables.address(mfn) + ((machineAddress % 4096) & ~7)
    const merged = new DataView(new ArrayBuffer(8))
    merged.setBigUint64(0, view.getBigUint64(entryAt, true), true)
    for (let index = 0; index < size; index++) merged.setUint8((machineAddress & 7) + index, bytes[data + index])
    return (
      this.tables.update(
        mfn * 4096 + ((machineAddress % 4096) & ~7),
        merged.getUint32(0, true),
        merged.getUint32(4, true),
      ) === 0
    )
  }

  deliverPending(vcpu: Vcpu): void {
    const {record, events} = this
    fireTimers(record, events, this.host.now())
    // A polled port wakes its vCPU even while events are masked.
    if (record.u32('pollCount') > 0 && events.polledPortIsPending()) endPoll(record)
    if (this.isStopped() || !events.deliverable()) return
    const handler = handlerAt(this.memory, 'callbacks', Callback.event)
    if (handler === undefined) return
    endPoll(record)
    if (!bounce(vcpu, record, handler, true)) this.crash(vcpu, 'bad kernel stack at an event')
  }

  timestamp(): number {
    return this.host.now()
  }

  nextDeadline(): number {
    return nextDeadline(this.record)
  }

  /** The state of vCPU 0 and of the domain before its first instruction. */
  start(vcpu: Vcpu, entry: {rip: bigint; rsp: bigint; rsi: bigint; level4: number}): void {
    const {record} = this
    vcpu.reset()
    this.tables.types.denyStores = page => vcpu.tlb.denyStores(page)
    vcpu.setU64('cr4', 0x660n)
    vcpu.setU32('cpl', 3)
    vcpu.setSelector(Segment.cs, 0xe033)
    vcpu.setSelector(Segment.ss, 0xe02b)
    vcpu.rflags = BigInt(Rflags.if)
    vcpu.rip = entry.rip
    vcpu.setGpr(4, entry.rsp)
    vcpu.setGpr(6, entry.rsi)
    record.setU32('kernelMode', 1)
    record.setU64('kernelSp', entry.rsp)
    record.setF64('kernelRoot', -1)
    record.setF64('userRoot', -1)
    record.setF64('timer', Number.POSITIVE_INFINITY)
    record.setF64('pollLimit', Number.POSITIVE_INFINITY)
    record.setF64('periodNs', 10_000_000)
    record.setF64('nextPeriod', this.host.now() + 10_000_000)
    if (this.tables.pin(entry.level4, 4) < 0 || !this.tables.setRoot('kernelRoot', entry.level4))
      bug('the builder made page tables that break the rules')
    refreshTimeArea(vcpu, record)
  }
}

const hex = (value: bigint) => `0x${value.toString(16)}`
