/**
 * The register stack while one instruction executes: control, status and tags are read from the area by `open`, kept in
 * fields for speed, and written back by `close`. Reports exceptions as the status word shows them:
 * - `raise` merges flags and answers whether the instruction may complete. An unmasked invalid, denormal or zero-divide
 *   exception is found before anything is computed: nothing is written, nothing popped, and no flag of the result is
 *   shown.
 * - a stack fault is an invalid exception with SF set; C1 tells overflow (1) from underflow (0).
 * Source: SDM vol. 1, 8.1 and 8.5; vol. 3A 22.18 for the order of exceptions.
 */
import {readExtended, writeExtended} from './formats.js'
import {Exception, Kind, Real} from './real.js'
import type {RoundingContext} from './round.js'
import {Status, summarise, x87State} from './x87-state.js'

const {offset} = x87State
const beforeComputing = Exception.invalid | Exception.denormal | Exception.zeroDivide

/** See the file's head. */
export class X87Registers {
  control = 0
  status = 0
  tags = 0
  top = 0
  readonly context: RoundingContext = {rounding: 0, precision: 64, masked: 0x3f, flushToZero: false}
  /** Scratch operands of the instruction. */
  readonly a = new Real()
  readonly b = new Real()
  readonly result = new Real()

  constructor(
    readonly view: DataView,
    readonly base: number,
  ) {}

  open(): void {
    this.control = this.view.getUint16(this.base + offset.control, true)
    this.status = this.view.getUint16(this.base + offset.status, true)
    this.tags = this.view.getUint8(this.base + offset.tags)
    this.top = (this.status >> 11) & 7
    this.context.rounding = (this.control >> 10) & 3
    this.context.masked = this.control & 0x3f
    this.context.precision = 64
  }

  close(): void {
    const status = (this.status & ~Status.top) | (this.top << 11)
    this.view.setUint16(this.base + offset.status, summarise(status, this.control), true)
    this.view.setUint8(this.base + offset.tags, this.tags)
  }

  /** Precision control as significand bits. */
  get precision(): number {
    const field = (this.control >> 8) & 3
    return field === 0 ? 24 : field === 2 ? 53 : 64
  }

  /** Address of ST(index). */
  address(index: number): number {
    return this.base + ((this.top + index) & 7) * 16
  }

  isEmpty(index: number): boolean {
    return ((this.tags >> ((this.top + index) & 7)) & 1) === 0
  }

  read(index: number, real: Real): void {
    readExtended(this.view, this.address(index), real)
  }

  write(index: number, real: Real): void {
    writeExtended(this.view, this.address(index), real)
    this.tags |= 1 << ((this.top + index) & 7)
  }

  push(real: Real): void {
    this.top = (this.top + 7) & 7
    this.write(0, real)
  }

  pop(): void {
    this.tags &= ~(1 << this.top)
    this.top = (this.top + 1) & 7
  }

  /** Sets C1 to what `flags` say of the rounding. */
  setC1(flags: number): void {
    this.status = (this.status & ~Status.c1) | (flags & Status.c1)
  }

  /** Sets C3, C2 and C0. */
  setConditions(c3c2c0: number): void {
    this.status = (this.status & ~(Status.c3 | Status.c2 | Status.c0)) | c3c2c0
  }

  /** See the file's head; also sets C1. */
  raise(flags: number): boolean {
    const early = flags & beforeComputing
    if (early & ~this.control) {
      this.setC1(0)
      this.status |= early
      return false
    }
    this.setC1(flags)
    this.status |= flags & 0x3f
    return true
  }

  /** Stack underflow; true when it is masked. */
  underflow(): boolean {
    this.setC1(0)
    this.status |= Exception.invalid | Status.stackFault
    return (this.control & Exception.invalid) !== 0
  }

  /** Stack overflow; true when it is masked. */
  overflow(): boolean {
    this.status |= Exception.invalid | Status.stackFault | Status.c1
    return (this.control & Exception.invalid) !== 0
  }

  /**
   * Whether a push would overflow; if it does and the exception is masked, pushes the indefinite in place of the value.
   */
  pushFaults(): boolean {
    if (this.isEmpty(7)) return false
    if (this.overflow()) {
      this.result.setIndefinite()
      this.push(this.result)
    }
    return true
  }

  /**
   * Puts the NaN that survives of two operands, one of them a NaN or unsupported, in `result`; returns its exceptions.
   */
  chooseNaN(a: Real, b: Real): number {
    const {result} = this
    if (a.kind === Kind.unsupported || b.kind === Kind.unsupported) {
      result.setIndefinite()
      return Exception.invalid
    }
    const signalling = a.kind === Kind.signallingNaN || b.kind === Kind.signallingNaN
    result.copy(survivingNaN(a, b))
    result.kind = Kind.quietNaN
    result.hi = (result.hi | 0xc0000000) >>> 0
    return signalling ? Exception.invalid : 0
  }
}

/** The larger significand wins, but a quiet NaN wins over a signalling one; equals: the positive one. */
function survivingNaN(a: Real, b: Real): Real {
  if (a.kind < Kind.quietNaN) return b
  if (b.kind < Kind.quietNaN) return a
  if (a.kind !== b.kind) return a.kind === Kind.quietNaN ? a : b
  const order = a.hi - b.hi || a.lo - b.lo
  if (order !== 0) return order > 0 ? a : b
  return a.sign <= b.sign ? a : b
}
