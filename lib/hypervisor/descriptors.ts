/**
 * The descriptors a selector of the guest can name: Xen's own flat segments, the GDT's frames, the LDT in the kernel's address space; and the checks
 * that the processor makes of CS and SS on the way back to the guest.
 *
 * Source: SDM vol. 2A IRET (return to outer privilege level), vol. 3A 3.4.5; public/arch-x86/xen-x86_64.h (flat selectors);
 * xen/arch/x86/pv/descriptor-tables.c (what a guest's descriptor may be).
 */
import type {Fault} from '../x86/platform.js'
import {Segment, state} from '../x86/state.js'
import type {Vcpu} from '../x86/vcpu.js'
import type {PageTables} from './page-tables.js'
import {field} from './record.js'

/** Bits of a descriptor's high half. */
const Bit = {
  type: 0xf00,
  writable: 1 << 9,
  conforming: 1 << 10,
  code: 1 << 11,
  segment: 1 << 12,
  privilege: 3 << 13,
  present: 1 << 15,
  long: 1 << 21,
  big: 1 << 22,
  granular: 1 << 23,
} as const
const callGate = 0xc00
/** Bits of a 64-bit call gate's high half that must be zero. */
const gateReserved = 0xe0

/** Xen's own segments, all flat and of privilege level 3: index of the selector, high half of the descriptor. */
const flat = {code32: 0xe020, data: 0xe028, code64: 0xe030} as const
const flatHigh = {code32: 0x00cffb00, data: 0x00cff300, code64: 0x00affb00} as const
const flatLow = 0xffff

/** A descriptor's high half as the guest may have it, or undefined for one it may not: no privilege for code and data, no system segments. */
export function checkedDescriptor(low: number, high: number): number | undefined {
  if ((high & Bit.present) === 0) return high
  const checked = high | Bit.privilege
  if ((high & Bit.segment) !== 0 || (high & Bit.type) === 0) return checked
  if ((high & Bit.type) !== callGate || (high & gateReserved) !== 0) return undefined
  // Where a gate leads must be code of the guest: its selector gets the guest's privilege level elsewhere, here it must not be null.
  return low >>> 16 < 4 ? undefined : checked
}

export class Descriptors {
  /** What the last successful `find` found. */
  low = 0
  high = 0

  constructor(
    private readonly vcpu: Vcpu,
    private readonly tables: PageTables,
  ) {}

  /** Looks a selector up. False: beyond its table. */
  find(selector: number): boolean {
    const index = selector >>> 3
    if ((selector & 4) !== 0) return this.findLocal(index)
    switch (index * 8) {
      case flat.code64:
        return this.found(flatLow, flatHigh.code64)
      case flat.data:
        return this.found(flatLow, flatHigh.data)
      case flat.code32:
        return this.found(flatLow, flatHigh.code32)
      default:
    }
    const {uint32} = this.vcpu.memory
    if (index >= uint32[field.gdtEntries >> 2]) return false
    const frame = this.tables.address(uint32[(field.gdtFrames >> 2) + (index >> 9)])
    if (frame < 0) return false
    const at = (frame >>> 2) + (index & 511) * 2
    return this.found(uint32[at], uint32[at + 1])
  }

  /** The LDT lies where the kernel's page tables say, whatever mode runs. */
  private findLocal(index: number): boolean {
    const {uint32} = this.vcpu.memory
    if (index >= uint32[field.ldtEntries >> 2]) return false
    const low = uint32[field.ldtBase >> 2] + index * 8
    const high = uint32[(field.ldtBase >> 2) + 1] + (low >= 2 ** 32 ? 1 : 0)
    const host = this.tables.kernelAddress(low >>> 0, high | 0)
    if (host < 0) return false
    const at = host >>> 2
    const checked = checkedDescriptor(uint32[at], uint32[at + 1])
    return checked !== undefined && this.found(uint32[at], checked)
  }

  private found(low: number, high: number): boolean {
    this.low = low
    this.high = high
    return true
  }

  /** Loads CS and SS as a return to the guest does, selectors with RPL 3. The selectors are in place afterwards even if they are faulty. */
  loadReturn(cs: number, ss: number): Fault | undefined {
    const {vcpu} = this
    vcpu.setSelector(Segment.cs, cs)
    vcpu.setSelector(Segment.ss, ss)
    const codeFault = this.checkCode(cs)
    if (codeFault !== undefined) return codeFault
    vcpu.setU32(state.codeBits, (this.high & Bit.long) !== 0 ? 64 : (this.high & Bit.big) !== 0 ? 32 : 16)
    this.setCache(Segment.cs)
    const stackFault = this.checkStack(ss)
    if (stackFault === undefined) this.setCache(Segment.ss)
    return stackFault
  }

  private checkCode(selector: number): Fault | undefined {
    const errorCode = selector & 0xfffc
    if (errorCode === 0 || !this.find(selector)) return {vector: 13, errorCode}
    const {high} = this
    if ((high & (Bit.segment | Bit.code)) !== (Bit.segment | Bit.code)) return {vector: 13, errorCode}
    if ((high & Bit.conforming) === 0 && (high & Bit.privilege) !== Bit.privilege) return {vector: 13, errorCode}
    if ((high & Bit.long) !== 0 && (high & Bit.big) !== 0) return {vector: 13, errorCode}
    return (high & Bit.present) === 0 ? {vector: 11, errorCode} : undefined
  }

  private checkStack(selector: number): Fault | undefined {
    const errorCode = selector & 0xfffc
    if (errorCode === 0 || !this.find(selector)) return {vector: 13, errorCode}
    const {high} = this
    if ((high & (Bit.segment | Bit.code | Bit.writable)) !== (Bit.segment | Bit.writable))
      return {vector: 13, errorCode}
    if ((high & Bit.privilege) !== Bit.privilege) return {vector: 13, errorCode}
    return (high & Bit.present) === 0 ? {vector: 12, errorCode} : undefined
  }

  private setCache(segment: number): void {
    const {low, high, vcpu} = this
    const {uint32} = vcpu.memory
    const base = ((vcpu.base + state.segmentBase) >> 2) + segment * 2
    uint32[base] = (low >>> 16) | ((high & 0xff) << 16) | (high & 0xff000000)
    uint32[base + 1] = 0
    const limit = (low & 0xffff) | (high & 0xf0000)
    uint32[((vcpu.base + state.segmentLimit) >> 2) + segment] =
      (high & Bit.granular) !== 0 ? limit * 4096 + 4095 : limit
    uint32[((vcpu.base + state.segmentAttributes) >> 2) + segment] = (high >>> 8) & 0xf0ff
  }
}
