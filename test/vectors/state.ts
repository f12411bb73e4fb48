/**
 * The processor state of one test vector as a flat block of bytes, the same layout in native.c, in the stored files and here.
 *
 *      0  16 × u64  RAX RCX RDX RBX RSP RBP RSI RDI R8 … R15
 *    128  u64 RIP, u64 RFLAGS, u64 FS base, u64 GS base
 *    160  u32 fault (0 none, else 0x100 + vector), u32 error code, u64 CR2 of a page fault
 *    176  6 × u16 selectors ES CS SS DS FS GS
 *    192  512 bytes, FXSAVE64 image: x87, MXCSR, XMM0–15
 *    704  640 bytes, the data window (its address is the group's)
 *   1344  512 bytes, the stack window at `stackWindow`
 *
 * In 32-bit code only the low halves of the first eight registers count; the rest is zero.
 * Source: SDM vol. 1 10.5.1 (FXSAVE image).
 */

/** Byte offsets of the parts of a state. */
export const offset = {
  gpr: 0,
  rip: 128,
  rflags: 136,
  fsBase: 144,
  gsBase: 152,
  fault: 160,
  errorCode: 164,
  cr2: 168,
  selectors: 176,
  fx: 192,
  fcw: 192,
  fsw: 194,
  ftw: 196,
  mxcsr: 216,
  st: 224,
  xmm: 352,
  data: 704,
  stack: 1344,
} as const

export const stateBytes = 1856
export const stateWords = stateBytes / 4
/** Bytes of the data window: an XSAVE area fits. */
export const dataBytes = 640
export const stackBytes = 512

/** Addresses that every vector uses; see native.c for the whole map. */
export const address = {
  /** Data window for 16-bit addresses; its centre, 0x9000, is a page boundary. */
  lowWindow: 0x8f00,
  /** Data window; its centre, 0x10001000, is a page boundary. */
  dataWindow: 0x10000f00,
  /** Data window whose end is the end of the data pages. */
  edgeWindow: 0x10001d80,
  /** The first byte after the data pages: not mapped. */
  unmapped: 0x10002000,
  /** A page of zeros that may not be written. */
  readOnly: 0x10004000,
  /** Two pages filled with INT3. */
  code: 0x10010000,
  stackWindow: 0x10020e80,
  /** Where RSP points when an instruction uses the stack: 384 bytes below, 128 above. */
  stackTop: 0x10021000,
} as const

/** The addresses a data window may have. */
export const dataWindows: readonly number[] = [address.dataWindow, address.lowWindow, address.edgeWindow]

/** Pages that exist, for whoever builds the same machine: address, pages, rights. */
export const memoryMap = [
  {address: 0x8000, pages: 2, write: true, execute: false},
  {address: 0x10000000, pages: 2, write: true, execute: false},
  {address: 0x10004000, pages: 1, write: false, execute: false},
  {address: 0x10010000, pages: 2, write: true, execute: true},
  {address: 0x10020000, pages: 2, write: true, execute: false},
] as const

/** One state, with views on its parts. The block is reused from case to case: copy what must stay. */
export class VectorState {
  readonly bytes: Uint8Array
  readonly words: Uint32Array
  readonly view: DataView
  readonly gpr: BigUint64Array
  readonly selectors: Uint16Array
  readonly fxsave: Uint8Array
  readonly data: Uint8Array
  readonly stack: Uint8Array
  private readonly longs: BigUint64Array

  constructor(buffer: ArrayBuffer = new ArrayBuffer(stateBytes), start = 0) {
    this.bytes = new Uint8Array(buffer, start, stateBytes)
    this.words = new Uint32Array(buffer, start, stateWords)
    this.view = new DataView(buffer, start, stateBytes)
    this.longs = new BigUint64Array(buffer, start, stateBytes / 8)
    this.gpr = this.longs.subarray(0, 16)
    this.selectors = new Uint16Array(buffer, start + offset.selectors, 6)
    this.fxsave = this.bytes.subarray(offset.fx, offset.fx + 512)
    this.data = this.bytes.subarray(offset.data, offset.data + dataBytes)
    this.stack = this.bytes.subarray(offset.stack, offset.stack + stackBytes)
  }

  get rip(): bigint {
    return this.longs[offset.rip >> 3]
  }
  set rip(value: bigint) {
    this.longs[offset.rip >> 3] = value
  }
  get rflags(): number {
    return this.words[offset.rflags >> 2]
  }
  set rflags(value: number) {
    this.words[offset.rflags >> 2] = value
  }
  get fsBase(): bigint {
    return this.longs[offset.fsBase >> 3]
  }
  set fsBase(value: bigint) {
    this.longs[offset.fsBase >> 3] = value
  }
  get gsBase(): bigint {
    return this.longs[offset.gsBase >> 3]
  }
  set gsBase(value: bigint) {
    this.longs[offset.gsBase >> 3] = value
  }
  /** Exception vector, or -1 when the code ran to its end. */
  get vector(): number {
    return this.words[offset.fault >> 2] - 0x100 < 0 ? -1 : this.words[offset.fault >> 2] - 0x100
  }
  set vector(value: number) {
    this.words[offset.fault >> 2] = value < 0 ? 0 : value + 0x100
  }
  get errorCode(): number {
    return this.words[offset.errorCode >> 2]
  }
  set errorCode(value: number) {
    this.words[offset.errorCode >> 2] = value
  }
  get cr2(): bigint {
    return this.longs[offset.cr2 >> 3]
  }
  set cr2(value: bigint) {
    this.longs[offset.cr2 >> 3] = value
  }
  get mxcsr(): number {
    return this.words[offset.mxcsr >> 2]
  }
  set mxcsr(value: number) {
    this.words[offset.mxcsr >> 2] = value
  }
}
