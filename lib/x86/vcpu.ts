/**
 * One vCPU: its registers, its MMU, its code, and the run loop. Generated code runs until it needs TypeScript: unknown code, a fault, used-up
 * budget, a hot block. The world around (hypercalls, descriptors, page-table roots, time) is the Platform's.
 *
 *   run() ── dispatcher ──► handlers / translations
 *     ▲                        │ exitReason
 *     └── lookup, fault, preempt, hot, smc ◄─┘
 */
import {atInstruction, type Breakpoint, Watch} from './breakpoints.js'
import {type BuiltModules, Engine} from './engine.js'
import type {TranslationService} from './jit/compiler.js'
import type {LinearMemory} from './memory.js'
import {GuestAccess, nonCanonical} from './mmu/access.js'
import {Tlb} from './mmu/tlb.js'
import type {Fault, Outcome, Platform} from './platform.js'
import {Registers, Rflags} from './registers.js'
import {loadSegment} from './slow/segments.js'
import {ExitReason, Segment, state} from './state.js'
import {writeTables} from './tables.js'

/** Block transitions between two looks at the clock. */
const budgetPerRun = 20_000
/** DR6.BS. */
const singleStep = 0x4000

export interface VcpuOptions {
  readonly memory: LinearMemory
  /** Byte offset of the vCPU area. */
  readonly base: number
  readonly id: number
  readonly platform: Platform
  /** Linear memory for decoded records. */
  readonly recordArea: {readonly start: number; readonly end: number}
  readonly random: (bytes: Uint8Array<ArrayBuffer>) => void
  /** Machine frames that page tables may name: byte offset of frame 0 in linear memory, number, a byte each for those written to. */
  readonly frames: {readonly base: number; readonly count: number; readonly dirty: number}
  /** Executions of a block before it is translated; Infinity interprets for ever. */
  readonly translateAfter?: number
  /** Translations are made in their optimized form at once; for tests of it. */
  readonly optimizesAtOnce?: boolean
  /** A translator on another thread; without one the vCPU's own thread translates. */
  readonly translator?: TranslationService
  readonly built?: BuiltModules
}

export class Vcpu extends Registers {
  readonly id: number
  readonly platform: Platform
  readonly tlb: Tlb
  readonly access: GuestAccess
  readonly engine: Engine
  readonly random: (bytes: Uint8Array<ArrayBuffer>) => void
  private readonly frameCount: number

  constructor(options: VcpuOptions) {
    super(options.memory, options.base)
    this.id = options.id
    this.platform = options.platform
    this.random = options.random
    this.setU32(state.frameBase, options.frames.base)
    this.frameCount = options.frames.count
    this.setU32(state.frameCount, this.frameCount)
    this.setU32(state.dirtyFrames, options.frames.dirty)
    writeTables(options.memory, options.base)
    this.tlb = new Tlb(options.memory, options.base)
    this.access = new GuestAccess(this)
    this.engine = new Engine(
      this,
      options.recordArea,
      options.translateAfter ?? Number.POSITIVE_INFINITY,
      options.optimizesAtOnce ?? false,
      options.translator,
      options.built,
    )
  }

  get code() {
    return this.engine.code
  }

  /** Runs the guest until `pending` work, the budget or a stop asks to look around. The caller loops. */
  run(): void {
    const breakpoints = this.platform.breakpoints()
    if (breakpoints.length > 0) return this.watchedStep(breakpoints)
    if ((this.u32(state.rflags) & Rflags.tf) !== 0) return this.trapStep()
    this.setU32(state.budget, budgetPerRun)
    for (;;) {
      this.engine.dispatch()
      const reason = this.u32(state.exitReason)
      this.setU32(state.exitReason, ExitReason.none)
      switch (reason) {
        case ExitReason.preempt:
          this.engine.translateWaiting()
          return
        case ExitReason.lookup:
          if (!this.engine.enter()) this.deliverFault()
          break
        case ExitReason.hot:
          this.engine.hot(this.u32(state.exitDetail))
          break
        case ExitReason.smc:
          this.recoverRip()
          if (!this.engine.stepAlone()) this.deliverFault()
          break
        case ExitReason.fault:
          this.deliverFault()
          break
        default:
          this.recoverRip()
      }
    }
  }

  /** Runs exactly one instruction (and what it raises); for tests and single-stepping. */
  step(): void {
    this.recoverRip()
    if (!this.engine.stepAlone()) this.deliverFault()
  }

  /** RFLAGS.TF: one instruction, then #DB, unless it led elsewhere (to a fault, to the kernel). */
  private trapStep(): void {
    this.recoverRip()
    if (!this.engine.stepAlone()) this.deliverFault()
    else if ((this.u32(state.rflags) & Rflags.tf) !== 0)
      this.platform.exception(this, {vector: 1, debugStatus: singleStep})
  }

  /** One instruction under the eyes of breakpoints. RFLAGS.RF lets it pass the one at its own address. */
  private watchedStep(breakpoints: readonly Breakpoint[]): void {
    this.recoverRip()
    const flags = this.u32(state.rflags)
    const stop = (flags & Rflags.rf) === 0 ? atInstruction(breakpoints, this.rip) : 0
    if (stop !== 0) return this.platform.exception(this, {vector: 1, debugStatus: stop})
    // Now: an IRET sets it for the instruction that follows.
    this.setU32(state.rflags, flags & ~Rflags.rf)
    const watch = new Watch(breakpoints)
    // With an empty TLB and no frame that WebAssembly could enter into it, all accesses are GuestAccess's.
    this.flushTlb()
    this.setU32(state.frameCount, 0)
    this.access.watch = watch
    const isDone = this.engine.stepAlone()
    this.access.watch = undefined
    this.setU32(state.frameCount, this.frameCount)
    if (!isDone) return this.deliverFault()
    const debugStatus = watch.met | ((this.u32(state.rflags) & Rflags.tf) === 0 ? 0 : singleStep)
    if (debugStatus !== 0) this.platform.exception(this, {vector: 1, debugStatus})
  }

  /** For what may have set RFLAGS.TF: the next instruction is no longer generated code's. */
  noticeTrapFlag(): void {
    if ((this.u32(state.rflags) & Rflags.tf) !== 0)
      Atomics.store(this.memory.int32, (this.base + state.pending) >> 2, 1)
  }

  /** Makes RIP and RFLAGS say where the guest is, between two runs: for whoever reads or saves its registers. */
  settle(): void {
    this.recoverRip()
    const flags = this.rflags
    this.rflags = flags
  }

  /** When an interpreter's handler left inside a block, RIP is in the record it was at. */
  private recoverRip(): void {
    const record = this.u32(state.record)
    if (record === 0) return
    this.rip = this.memory.view.getBigUint64(record + 32, true)
    this.setU32(state.record, 0)
  }

  /** The exception that generated code left in state enters the guest. */
  private deliverFault(): void {
    this.recoverRip()
    if (this.u32(state.faultVector) === nonCanonical)
      this.setU32(state.faultVector, this.engine.usesStackSegment() ? 12 : 13)
    const vector = this.u32(state.faultVector)
    if (vector === 14) this.setU64(state.cr2, this.u64(state.faultAddress))
    this.platform.exception(
      this,
      this.u32(state.faultHasError) ? {vector, errorCode: this.u32(state.faultErrorCode)} : {vector},
    )
  }

  /** Leaves an exception in state, for slow paths that return Status.exit. */
  raise(fault: Fault): void {
    this.access.raise(fault.vector, fault.errorCode ?? -1)
  }

  /** Copies `length` bytes of guest virtual memory, with the rights of the current mode; undefined when any byte is out of reach. */
  readBytes(linear: bigint, length: number): Uint8Array | undefined {
    const out = new Uint8Array(length)
    return this.eachPage(linear, length, 'read', (host, at, bytes) =>
      out.set(this.memory.bytes.subarray(host, host + bytes), at),
    )
      ? out
      : undefined
  }

  /** Writes guest virtual memory; false when any byte may not be written (then nothing was). */
  writeBytes(linear: bigint, bytes: Uint8Array): boolean {
    if (!this.eachPage(linear, bytes.length, 'write', () => {})) return false
    return this.eachPage(linear, bytes.length, 'write', (host, at, count) => {
      this.memory.bytes.set(bytes.subarray(at, at + count), host)
      if (this.code.hasCode(host & ~0xfff)) this.code.invalidatePage((host & ~0xfff) >>> 0)
    })
  }

  private eachPage(
    linear: bigint,
    length: number,
    access: 'read' | 'write',
    use: (host: number, at: number, bytes: number) => void,
  ): boolean {
    let low = Number(linear & 0xffffffffn)
    let high = Number(BigInt.asIntN(32, linear >> 32n))
    for (let at = 0; at < length; ) {
      const bytes = Math.min(length - at, 4096 - (low & 0xfff))
      const host = this.access.probe(low, high, access)
      if (host < 0) return false
      use(host, at, bytes)
      at += bytes
      low += bytes
      if (low >= 2 ** 32) {
        low -= 2 ** 32
        high = (high + 1) | 0
      }
    }
    return true
  }

  /** Byte offset in linear memory of a guest linear address, or -1; the rest of its page follows. */
  hostAddress(low: number, high: number, access: 'read' | 'write'): number {
    return this.access.probe(low, high, access)
  }

  flushTlb(): void {
    this.tlb.flush()
  }

  /** Machine frame of the level-4 table of an MMU mode (0 supervisor, 1 user), 0xffffffff for none. */
  root(mmuMode: number): number {
    return this.memory.uint32[((this.base + state.root) >>> 2) + mmuMode]
  }

  /** Sets the level-4 table of an MMU mode; the caller flushes the TLB. */
  setRoot(mmuMode: 0 | 1, mfn: number): void {
    this.memory.uint32[((this.base + state.root) >>> 2) + mmuMode] = mfn
  }

  flushTlbPage(linear: bigint): void {
    this.tlb.flushPage(Number(linear & 0xffffffffn))
  }

  /** Switches between supervisor (0) and user (1) translations. */
  setMmuMode(mode: 0 | 1): void {
    this.setU32(state.mmuMode, mode)
  }

  /** A machine frame was written behind the CPU's back: it is dirty, and cached code of it goes. */
  frameWritten(mfn: number): void {
    if (mfn >= this.frameCount) return
    this.memory.bytes[this.u32(state.dirtyFrames) + mfn] = 1
    const page = this.u32(state.frameBase) + mfn * 4096
    if (this.code.hasCode(page)) this.code.invalidatePage(page)
  }

  /** Loads a segment register with all checks of the manual. Source: SDM vol. 2B MOV. */
  loadSegment(segment: number, selector: number): Outcome {
    return loadSegment(this, segment, selector)
  }

  /** A flat code segment without looking at any table. */
  setCodeSegment(selector: number, bits: 64 | 32 | 16): void {
    this.setSelector(Segment.cs, selector)
    this.setSegmentBase(Segment.cs, 0n)
    this.setU32(state.codeBits, bits)
  }

  /** Status flags and the rest of RFLAGS as power-up leaves them; all registers zero. */
  reset(): void {
    this.memory.bytes.fill(0, this.base, this.base + state.scratch)
    this.rflags = 2n
    this.setU64(state.cr0, 0x80050033n)
    this.setU64(state.cr4, 0x6a0n)
    this.setU64(state.efer, 0xd01n)
    this.setU64(state.xcr0, 3n)
    this.setU32(state.mxcsr, 0x1f80)
    this.setU32(state.codeBits, 64)
    this.setU64(state.dr, 0n)
    this.setRoot(0, 0xffffffff)
    this.setRoot(1, 0xffffffff)
    this.flushTlb()
    this.tlb.flushJumps()
  }
}
