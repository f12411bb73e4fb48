/**
 * Guest memory accesses that generated code cannot finish alone: TLB misses, operands that span two pages, stores to pages that hold code
 * or are page tables, faults. Each function is imported by generated code; addresses come as 32-bit halves, data through the vCPU's
 * scratch area. A fault is left in state and reported by the return value; no register has changed then.
 *
 * Source: SDM vol. 3A 4.10 (TLBs), 6.15 (#PF, #GP for non-canonical addresses).
 */
import type {Watch} from '../breakpoints.js'
import {AccessKind, ExitReason, state} from '../state.js'
import type {Vcpu} from '../vcpu.js'
import {PageFault, type WalkContext, walk, walked} from './paging.js'

/** Stands for #GP(0) or #SS(0) until the run loop has seen which segment the instruction used. */
export const nonCanonical = 0xff

export class GuestAccess {
  /** Set while the instruction that writes to its own page runs alone. */
  allowOwnPage = false
  /** Sees all accesses of an instruction. */
  watch: Watch | undefined
  private readonly context: WalkContext
  /** Where a pending read-modify-write through the crossing buffer goes. */
  private pendingLow = 0
  private pendingHigh = 0

  constructor(private readonly vcpu: Vcpu) {
    this.context = {
      frameBase: vcpu.u32(state.frameBase),
      frameCount: vcpu.u32(state.frameCount),
      dirtyFrames: vcpu.u32(state.dirtyFrames),
      root: 0,
      user: false,
      writeProtect: true,
    }
  }

  /** Walks for one page; returns 0 and fills `walked`, or the error code (bit 31 set). */
  private translate(low: number, high: number, access: 'read' | 'write' | 'fetch'): number {
    const {vcpu, context} = this
    const {uint32} = vcpu.memory
    const mode = uint32[(vcpu.base + state.mmuMode) >>> 2]
    context.root = vcpu.root(mode)
    context.user = mode === 1
    context.writeProtect = (uint32[(vcpu.base + state.cr0) >>> 2] & 0x10000) !== 0
    return walk(vcpu.memory, context, low, high, access)
  }

  private canonical(high: number): boolean {
    const top = high >> 15
    if (top === 0 || top === -1) return true
    this.raise(nonCanonical, 0)
    return false
  }

  /** Leaves an exception in state for the run loop. */
  raise(vector: number, errorCode: number): void {
    const {vcpu} = this
    vcpu.setU32(state.faultVector, vector)
    vcpu.setU32(state.faultHasError, errorCode === -1 ? 0 : 1)
    vcpu.setU32(state.faultErrorCode, errorCode)
    vcpu.setU32(state.exitReason, ExitReason.fault)
  }

  private pageFault(low: number, high: number, errorCode: number): void {
    const at = (this.vcpu.base + state.faultAddress) >> 2
    this.vcpu.memory.uint32[at] = low
    this.vcpu.memory.uint32[at + 1] = high
    this.raise(14, errorCode & 0x1f)
  }

  /** Byte offset of the operand for reading (a copy when it spans pages), or 0 after a fault. */
  read(low: number, high: number, bytes: number): number {
    this.watch?.note(low, high, bytes, false)
    if (!this.canonical(high)) return 0
    const inPage = low & 0xfff
    if (inPage + bytes <= 4096) {
      const error = this.translate(low, high, 'read')
      if (error) {
        this.pageFault(low, high, error)
        return 0
      }
      return walked.page + inPage
    }
    return this.gather(low, high, bytes, 'read')
  }

  /** Copies an operand that spans two pages into the crossing buffer and gives its offset, or 0 after a fault. */
  private gather(low: number, high: number, bytes: number, access: 'read' | 'write'): number {
    const {vcpu} = this
    const first = 4096 - (low & 0xfff)
    const nextLow = ((low & ~0xfff) + 4096) >>> 0
    const nextHigh = nextLow === 0 ? (high + 1) | 0 : high
    const error = this.translate(low, high, access)
    if (error && !(access === 'write' && this.mayEmulate(error))) {
      this.pageFault(low, high, error)
      return 0
    }
    const firstPage = walked.page
    if (!this.canonical(nextHigh)) return 0
    const nextError = this.translate(nextLow, nextHigh, access)
    if (nextError && !(access === 'write' && this.mayEmulate(nextError))) {
      this.pageFault(nextLow, nextHigh, nextError)
      return 0
    }
    const buffer = vcpu.base + state.crossing
    vcpu.memory.bytes.copyWithin(buffer, firstPage + (low & 0xfff), firstPage + 4096)
    vcpu.memory.bytes.copyWithin(buffer + first, walked.page, walked.page + bytes - first)
    return buffer
  }

  /** A protection fault of the guest kernel on a present page: the platform may do the store itself. */
  private mayEmulate(error: number): boolean {
    return (error & (PageFault.protection | PageFault.user | PageFault.reserved)) === PageFault.protection
  }

  /** Stores `bytes` bytes of scratch. Returns 0 when done, 1 to leave the instruction. */
  write(low: number, high: number, bytes: number): number {
    this.watch?.note(low, high, bytes, true)
    return this.storeFrom(this.vcpu.base + state.scratch, low, high, bytes)
  }

  private storeFrom(data: number, low: number, high: number, bytes: number): number {
    if (!this.canonical(high)) return 1
    const first = 4096 - (low & 0xfff)
    if (bytes <= first) return this.storePart(data, low, high, bytes)
    const nextLow = ((low & ~0xfff) + 4096) >>> 0
    const nextHigh = nextLow === 0 ? (high + 1) | 0 : high
    // Both pages must take the store before either is changed.
    for (const [partLow, partHigh] of [
      [low, high],
      [nextLow, nextHigh],
    ]) {
      if (!this.canonical(partHigh)) return 1
      const error = this.translate(partLow, partHigh, 'write')
      if (error && !this.mayEmulate(error)) {
        this.pageFault(partLow, partHigh, error)
        return 1
      }
      if (!error && this.isOwnCode(walked.page)) return 1
    }
    return this.storePart(data, low, high, first) || this.storePart(data + first, nextLow, nextHigh, bytes - first)
  }

  private storePart(data: number, low: number, high: number, bytes: number): number {
    const {vcpu} = this
    const error = this.translate(low, high, 'write')
    if (error) {
      if (
        this.mayEmulate(error) &&
        vcpu.platform.storeToReadOnly(vcpu, walked.mfn * 4096 + (low & 0xfff), data, bytes, high)
      )
        return 0
      this.pageFault(low, high, error)
      return 1
    }
    const {page} = walked
    if (vcpu.code.hasCode(page)) {
      if (this.isOwnCode(page)) return 1
      vcpu.code.invalidatePage(page)
    }
    vcpu.memory.bytes.copyWithin(page + (low & 0xfff), data, data + bytes)
    return 0
  }

  /** True (with the exit prepared) when the page holds the code that is running. */
  private isOwnCode(page: number): boolean {
    const {vcpu} = this
    if (this.allowOwnPage || !vcpu.code.hasCode(page) || vcpu.u32(state.currentPage) !== page) return false
    vcpu.setU32(state.exitReason, ExitReason.smc)
    return true
  }

  /** Opens a read-modify-write: byte offset to work on (the crossing buffer when `commit` must follow), or 0 to leave the instruction. */
  modify(low: number, high: number, bytes: number): number {
    this.watch?.note(low, high, bytes, true)
    const {vcpu} = this
    if (!this.canonical(high)) return 0
    const inPage = low & 0xfff
    this.pendingLow = low
    this.pendingHigh = high
    if (inPage + bytes > 4096) return this.gather(low, high, bytes, 'write')
    const error = this.translate(low, high, 'write')
    if (error) {
      if (!this.mayEmulate(error)) {
        this.pageFault(low, high, error)
        return 0
      }
      const buffer = vcpu.base + state.crossing
      vcpu.memory.bytes.copyWithin(buffer, walked.page + inPage, walked.page + inPage + bytes)
      return buffer
    }
    const {page} = walked
    if (vcpu.code.hasCode(page)) {
      if (this.isOwnCode(page)) return 0
      vcpu.code.invalidatePage(page)
    }
    return page + inPage
  }

  /** Completes a read-modify-write that went through the crossing buffer. Returns 0 when done, 1 to leave the instruction. */
  commit(bytes: number): number {
    return this.storeFrom(this.vcpu.base + state.crossing, this.pendingLow, this.pendingHigh, bytes)
  }

  /** Byte offset of the page to fetch from, or -1 after a fault. */
  fetchPage(low: number, high: number): number {
    if (!this.canonical(high)) return -1
    const error = this.translate(low, high, 'fetch')
    if (!error) return walked.page
    // Without NX the fetch bit is not reported; the guest runs with NX on.
    this.pageFault(low, high, error)
    return -1
  }

  /** Byte offset in linear memory of one byte for a copy on behalf of the guest, or -1; leaves no fault behind. */
  probe(low: number, high: number, access: 'read' | 'write'): number {
    const {uint32} = this.vcpu.memory
    const entry = this.vcpu.tlb.entryOf(low, this.vcpu.u32(state.mmuMode), AccessKind[access]) >>> 2
    if (uint32[entry] === (low & ~0xfff) >>> 0 && uint32[entry + 1] === high >>> 0)
      return (uint32[entry + 2] + low) >>> 0
    const top = high >> 15
    if (top !== 0 && top !== -1) return -1
    return this.translate(low, high, access) ? -1 : walked.page + (low & 0xfff)
  }
}
