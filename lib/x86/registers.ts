/**
 * Register names and numbers, RFLAGS bits, condition codes, and named access to one vCPU's registers in linear memory.
 * Registers read as bigint; control paths that need only 32 bits use the `low` forms.
 *
 * Source: SDM vol. 1 3.4, vol. 2A appendix B.1.4.
 */

import {materialiseFlags} from './flags.js'
import type {LinearMemory} from './memory.js'
import {state} from './state.js'

/** General registers by the manual's number. */
export const Gpr = {
  rax: 0,
  rcx: 1,
  rdx: 2,
  rbx: 3,
  rsp: 4,
  rbp: 5,
  rsi: 6,
  rdi: 7,
  r8: 8,
  r9: 9,
  r10: 10,
  r11: 11,
  r12: 12,
  r13: 13,
  r14: 14,
  r15: 15,
} as const

/** Bits of RFLAGS. */
export const Rflags = {
  cf: 1 << 0,
  fixed: 1 << 1,
  pf: 1 << 2,
  af: 1 << 4,
  zf: 1 << 6,
  sf: 1 << 7,
  tf: 1 << 8,
  if: 1 << 9,
  df: 1 << 10,
  of: 1 << 11,
  iopl: 3 << 12,
  nt: 1 << 14,
  rf: 1 << 16,
  vm: 1 << 17,
  ac: 1 << 18,
  vif: 1 << 19,
  vip: 1 << 20,
  id: 1 << 21,
} as const

/** The six status flags, which are lazy. */
export const statusFlags = Rflags.cf | Rflags.pf | Rflags.af | Rflags.zf | Rflags.sf | Rflags.of

/** Named access to the registers of the vCPU whose area starts at `base`. */
export class Registers {
  private readonly words: BigUint64Array
  constructor(
    readonly memory: LinearMemory,
    readonly base: number,
  ) {
    this.words = new BigUint64Array(memory.wasm.buffer, base, 64)
  }

  gpr(register: number): bigint {
    return this.words[register]
  }
  setGpr(register: number, value: bigint): void {
    this.words[register] = value
  }
  gprLow(register: number): number {
    return this.memory.uint32[(this.base >> 2) + register * 2]
  }
  gprHigh(register: number): number {
    return this.memory.uint32[(this.base >> 2) + register * 2 + 1]
  }
  /** Writes a zero-extended 32-bit value. */
  setGprLow(register: number, value: number): void {
    this.memory.uint32[(this.base >> 2) + register * 2] = value
    this.memory.uint32[(this.base >> 2) + register * 2 + 1] = 0
  }

  get rip(): bigint {
    return this.words[state.rip >> 3]
  }
  set rip(value: bigint) {
    this.words[state.rip >> 3] = value
  }

  /** All of RFLAGS, status flags included. */
  get rflags(): bigint {
    return this.words[state.rflags >> 3] | BigInt(materialiseFlags(this.memory, this.base))
  }
  set rflags(value: bigint) {
    this.words[state.rflags >> 3] = (value & ~BigInt(statusFlags)) | 2n
    this.setU32(state.flagKind, 0)
    this.setU64(state.flagA, value & BigInt(statusFlags))
  }

  /** Changes the bits of RFLAGS in a mask, all below bit 32, to those of a value. */
  changeFlags(mask: number, value: number): void {
    const {memory, base} = this
    const {uint32} = memory
    const all = uint32[(base + state.rflags) >>> 2] | materialiseFlags(memory, base)
    const changed = (all & ~mask) | (value & mask)
    uint32[(base + state.rflags) >>> 2] = (changed & ~statusFlags) | 2
    uint32[(base + state.flagKind) >>> 2] = 0
    uint32[(base + state.flagA) >>> 2] = changed & statusFlags
    uint32[(base + state.flagA + 4) >>> 2] = 0
  }

  u32(field: number): number {
    return this.memory.uint32[(this.base + field) >> 2]
  }
  setU32(field: number, value: number): void {
    this.memory.uint32[(this.base + field) >> 2] = value
  }
  u64(field: number): bigint {
    return this.words[field >> 3]
  }
  setU64(field: number, value: bigint): void {
    this.words[field >> 3] = value
  }

  selector(segment: number): number {
    return this.memory.view.getUint16(this.base + state.selector + segment * 2, true)
  }
  setSelector(segment: number, value: number): void {
    this.memory.view.setUint16(this.base + state.selector + segment * 2, value, true)
  }
  segmentBase(segment: number): bigint {
    return this.words[(state.segmentBase >> 3) + segment]
  }
  setSegmentBase(segment: number, value: bigint): void {
    this.words[(state.segmentBase >> 3) + segment] = value
  }
}
