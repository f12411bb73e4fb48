/**
 * Xen as one PV guest sees it: the Platform of its vCPU. Joins traps, hypercalls, page tables, event channels and time over the domain's
 * linear memory; it runs on the vCPU's thread.
 *
 * Source: the public headers; xen/arch/x86/pv.
 */
import {Hypercall} from '../abi/xen.js'
import {bug} from '../base/errors.js'
import type {Breakpoint} from '../x86/breakpoints.js'
import {materialiseFlags} from '../x86/flags.js'
import type {LinearMemory} from '../x86/memory.js'
import type {Fault, Outcome, Platform, PrivilegedInstruction} from '../x86/platform.js'
import {Gpr, Rflags} from '../x86/registers.js'
import {Segment, state} from '../x86/state.js'
import type {Vcpu} from '../x86/vcpu.js'
import {enabledBreakpoints, noteDebug, resetDebug} from './debug-registers.js'
import {Descriptors} from './descriptors.js'
import {EventChannels} from './event-channels.js'
import {FreeFrames} from './free-frames.js'
import {GrantTable} from './grant-table.js'
import {Arguments, again, type Context, type Host, Work} from './hypercall/call.js'
import {flushConsoleLine} from './hypercall/console.js'
import {hypercall} from './hypercall/table.js'
import type {MachineLayout} from './layout.js'
import {PageTables} from './page-tables.js'
import {emulate, guestCpuid} from './privileged-ops.js'
import {field, handlerAt, handlerFlags, MachineRecord} from './record.js'
import {enterRunstate, Runstate} from './runstate.js'
import {endPoll, fireTimers, nextDeadline, refreshTimeArea} from './time.js'
import {bounce, Entry, returnToGuest} from './traps.js'
import {WrittenFrames} from './written-frames.js'

/** Callback types. Source: public/callback.h. */
const Callback = {event: 0, failsafe: 1, syscall: 2, sysenter: 5, syscall32: 7} as const
/** Why a domain shut down. Source: public/sched.h SHUTDOWN_*. */
const Shutdown = {crash: 3, watchdog: 4} as const
const masksEvents = {trap: 4, callback: 1}

const nmi = 2
const pageFault = 14
/** Byte offsets in vcpu_info. */
const VcpuInfo = {cr2: 16} as const
const syscallBytes = 2n

export class Hypervisor implements Platform {
  readonly record: MachineRecord
  readonly events: EventChannels
  readonly tables: PageTables
  private readonly written: WrittenFrames
  private readonly args = new Arguments()
  private context: Context | undefined
  private descriptors: Descriptors | undefined

  constructor(
    private readonly memory: LinearMemory,
    private readonly layout: MachineLayout,
    private readonly host: Host,
  ) {
    this.record = new MachineRecord(memory)
    this.events = new EventChannels(memory, layout)
    this.written = new WrittenFrames(memory, layout)
    this.tables = new PageTables(memory, layout, this.record)
  }

  private contextOf(vcpu: Vcpu): Context {
    this.context ??= {
      vcpu,
      record: this.record,
      layout: this.layout,
      events: this.events,
      tables: this.tables,
      free: new FreeFrames(this.memory, this.layout, this.tables, this.host),
      grants: new GrantTable(this.memory, this.layout),
      domid: this.record.u32(field.domid),
      work: new Work(),
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
    // The code that the guest set beforehand is what counts.
    const code = this.record.u32(field.shutdownCode)
    const final = code === 0 ? reason : code - 1
    this.record.setU32(field.stopped, 1 + final)
    Atomics.store(this.memory.int32, (vcpu.base + state.pending) >> 2, 1)
    flushConsoleLine(this.record, this.host)
    this.host.onShutdown(final)
  }

  isStopped(): boolean {
    return this.memory.uint32[field.stopped >> 2] !== 0
  }
  isBlocked(): boolean {
    return this.memory.uint32[field.blocked >> 2] !== 0
  }

  private descriptorsOf(vcpu: Vcpu): Descriptors {
    this.descriptors ??= new Descriptors(vcpu, this.tables)
    return this.descriptors
  }

  syscall(vcpu: Vcpu): Outcome {
    const {memory} = this
    if (memory.uint32[field.kernelMode >> 2] === 0) {
      const isLong = vcpu.u32(state.codeBits) === 64
      const handler = handlerAt(memory, 'callbacks', isLong ? Callback.syscall : Callback.syscall32)
      if (handler < 0) return {vector: 6}
      const masks = (handlerFlags(memory, handler) & masksEvents.callback) !== 0
      if (!bounce(vcpu, handler, masks, -1, isLong ? Entry.syscall64 : Entry.syscall32))
        this.crash(vcpu, 'bad kernel stack at a system call')
      return undefined
    }
    const number = vcpu.gprLow(0)
    if (number === Hypercall.iret) {
      memory.uint32[field.nmiMasked >> 2] = 0
      const result = returnToGuest(vcpu, this.descriptorsOf(vcpu))
      if (typeof result === 'string') this.crash(vcpu, result)
      else if (result !== undefined) this.exception(vcpu, result)
      // Timers are the run loop's: it looks at the clock often enough.
      this.deliverEvents(vcpu)
      return undefined
    }
    const context = this.contextOf(vcpu)
    context.work.begin()
    const result = hypercall(context, number, this.args.fromRegisters(vcpu))
    if (result === again) {
      this.args.toRegisters(vcpu)
      vcpu.rip = BigInt.asUintN(64, vcpu.rip - syscallBytes)
    } else this.answer(vcpu, result)
    this.deliverPending(vcpu)
    return undefined
  }

  /** Registers after a hypercall: the answer, and what SYSRET leaves. */
  private answer(vcpu: Vcpu, result: number | bigint): void {
    const {uint32} = this.memory
    const registers = vcpu.base >> 2
    if (typeof result === 'bigint') vcpu.setGpr(Gpr.rax, result)
    else {
      uint32[registers + Gpr.rax * 2] = result
      uint32[registers + Gpr.rax * 2 + 1] = Math.floor(result / 2 ** 32)
    }
    const rip = (vcpu.base + state.rip) >> 2
    uint32[registers + Gpr.rcx * 2] = uint32[rip]
    uint32[registers + Gpr.rcx * 2 + 1] = uint32[rip + 1]
    const flags = uint32[(vcpu.base + state.rflags) >> 2] | materialiseFlags(this.memory, vcpu.base)
    vcpu.setGprLow(Gpr.r11, flags)
  }

  sysenter(vcpu: Vcpu): Outcome {
    const handler = handlerAt(this.memory, 'callbacks', Callback.sysenter)
    if (handler < 0 || this.record.u32(field.kernelMode) !== 0) return {vector: 13, errorCode: 0}
    const masks = (handlerFlags(this.memory, handler) & masksEvents.callback) !== 0
    if (!bounce(vcpu, handler, masks, -1, Entry.sysenter)) this.crash(vcpu, 'bad kernel stack at SYSENTER')
    return undefined
  }

  softwareInterrupt(vcpu: Vcpu, vector: number): Outcome {
    const handler = handlerAt(this.memory, 'traps', vector)
    const needed = this.record.u32(field.kernelMode) !== 0 ? 1 : 3
    const isOpen = handler >= 0 && (vector === 3 || vector === 4 || (handlerFlags(this.memory, handler) & 3) >= needed)
    if (!isOpen) return {vector: 13, errorCode: vector * 8 + 2}
    this.enter(vcpu, vector, -1)
    return undefined
  }

  exception(vcpu: Vcpu, fault: Fault): void {
    if (fault.vector === pageFault) {
      const {uint32} = this.memory
      const cr2 = (uint32[field.vcpuInfo >> 2] + VcpuInfo.cr2) >>> 2
      uint32[cr2] = uint32[(vcpu.base + state.cr2) >> 2]
      uint32[cr2 + 1] = uint32[(vcpu.base + state.cr2 + 4) >> 2]
    }
    if (fault.debugStatus !== undefined) noteDebug(this.memory, fault.debugStatus)
    this.enter(vcpu, fault.vector, fault.errorCode ?? -1)
  }

  private enter(vcpu: Vcpu, vector: number, errorCode: number): void {
    const handler = handlerAt(this.memory, 'traps', vector)
    const what = () => `exception ${vector} (error code ${errorCode < 0 ? 'none' : errorCode}) at ${hex(vcpu.rip)}`
    if (handler < 0) return this.crash(vcpu, `${what()} without a handler`)
    const masks = (handlerFlags(this.memory, handler) & masksEvents.trap) !== 0
    if (!bounce(vcpu, handler, masks, errorCode)) this.crash(vcpu, `${what()} found no stack`)
  }

  breakpoints(): readonly Breakpoint[] {
    return enabledBreakpoints(this.memory)
  }

  privileged(vcpu: Vcpu, instruction: PrivilegedInstruction): Outcome {
    return emulate(vcpu, this.record, this.tables, instruction)
  }

  cpuid(_vcpu: Vcpu, leaf: number, subleaf: number, forced: boolean): readonly [number, number, number, number] {
    return guestCpuid(this.record, this.host.cpuFeatures, leaf, subleaf, forced)
  }

  descriptor(vcpu: Vcpu, selector: number): readonly [number, number] | undefined {
    const descriptors = this.descriptorsOf(vcpu)
    return descriptors.find(selector) ? [descriptors.low, descriptors.high] : undefined
  }

  storeToReadOnly(_vcpu: Vcpu, machineAddress: number, data: number, size: number, linearHigh: number): boolean {
    // Writable page tables: stores of the kernel, through its own half of the address space, to level-1 tables.
    if (linearHigh >= 0 || (machineAddress & (size - 1)) !== 0 || size > 8) return false
    const {tables} = this
    if (!tables.isLevel1(Math.floor(machineAddress / 4096))) return false
    const {bytes, uint32} = this.memory
    const entry = tables.entryPlace(machineAddress)
    let low = uint32[entry]
    let high = uint32[entry + 1]
    for (let index = 0; index < size; index++) {
      const at = (machineAddress & 7) + index
      const shift = (at & 3) * 8
      const value = bytes[data + index] << shift
      if (at < 4) low = (low & ~(0xff << shift)) | value
      else high = (high & ~(0xff << shift)) | value
    }
    return tables.update(machineAddress - (machineAddress & 7), low >>> 0, high >>> 0) === 0
  }

  deliverPending(vcpu: Vcpu): void {
    const {record, events} = this
    const {uint32} = this.memory
    this.noteWrittenFrames(vcpu)
    if (fireTimers(record, events, this.host.now())) this.shutDown(vcpu, Shutdown.watchdog)
    // A polled port wakes its vCPU even while events are masked.
    if (uint32[field.pollCount >> 2] > 0 && events.polledPortIsPending()) endPoll(record)
    if (uint32[field.blocked >> 2] === 0) this.resume(vcpu)
    this.deliverEvents(vcpu)
  }

  /** Enters the NMI or the event handler, if there is reason to. */
  private deliverEvents(vcpu: Vcpu): void {
    const {uint32} = this.memory
    if (uint32[field.stopped >> 2] !== 0) return
    if (uint32[field.nmiPending >> 2] !== 0 && this.deliverNmi(vcpu)) return
    if (!this.events.deliverable()) return
    const handler = handlerAt(this.memory, 'callbacks', Callback.event)
    if (handler < 0) return
    this.resume(vcpu)
    if (!bounce(vcpu, handler, true)) this.crash(vcpu, 'bad kernel stack at an event')
  }

  /** The vCPU runs again, if it slept. */
  private resume(vcpu: Vcpu): void {
    if (this.memory.uint32[field.runstate >> 2] === Runstate.running) return
    endPoll(this.record)
    enterRunstate(vcpu, this.record, Runstate.running, this.host.now())
  }

  /** Enters the NMI handler, if there is one and none is at work. */
  private deliverNmi(vcpu: Vcpu): boolean {
    const {record} = this
    const handler = handlerAt(this.memory, 'traps', nmi)
    if (handler < 0 || record.u32(field.nmiMasked) !== 0) return false
    record.setU32(field.nmiPending, 0)
    record.setU32(field.nmiMasked, 1)
    this.resume(vcpu)
    this.enter(vcpu, nmi, -1)
    return true
  }

  timestamp(): number {
    return this.host.now()
  }

  nextDeadline(): number {
    return nextDeadline(this.record)
  }

  /** Takes up a vCPU whose state, as the domain's, is in place already. */
  attach(vcpu: Vcpu): void {
    this.tables.types.denyStores = page => vcpu.tlb.denyStores(page)
  }

  /** What backends wrote to is dirty, and code of it goes. */
  noteWrittenFrames(vcpu: Vcpu): void {
    if (this.written.isAny) this.written.drain(mfn => vcpu.frameWritten(mfn))
  }

  /** The state of vCPU 0 and of the domain before its first instruction. */
  start(vcpu: Vcpu, entry: {rip: bigint; rsp: bigint; rsi: bigint; level4: number}): void {
    const {record} = this
    vcpu.reset()
    this.attach(vcpu)
    vcpu.setU64(state.cr4, 0x660n)
    vcpu.setU32(state.cpl, 3)
    vcpu.setSelector(Segment.cs, 0xe033)
    vcpu.setSelector(Segment.ss, 0xe02b)
    vcpu.rflags = BigInt(Rflags.if)
    vcpu.rip = entry.rip
    vcpu.setGpr(4, entry.rsp)
    vcpu.setGpr(6, entry.rsi)
    resetDebug(this.memory)
    record.setU32(field.kernelMode, 1)
    record.setU64(field.kernelSp, entry.rsp)
    record.setF64(field.kernelRoot, -1)
    record.setF64(field.userRoot, -1)
    record.setF64(field.runstateEntry, this.host.now())
    record.setF64(field.timer, Number.POSITIVE_INFINITY)
    record.setF64(field.pollLimit, Number.POSITIVE_INFINITY)
    record.setF64(field.periodNs, 10_000_000)
    record.setF64(field.nextPeriod, this.host.now() + 10_000_000)
    if (this.tables.pin(entry.level4, 4) < 0 || !this.tables.setRoot('kernelRoot', entry.level4))
      bug('the builder made page tables that break the rules')
    refreshTimeArea(vcpu, record)
  }
}

const hex = (value: bigint) => `0x${value.toString(16)}`
