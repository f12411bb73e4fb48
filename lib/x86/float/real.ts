/**
 * One number, taken apart. Every format (single, double, 80-bit extended) unpacks to the same shape, so each operation
 * is written once: a significand of 64 bits with its leading one at bit 63, and below it 32 bits that hold what an
 * operation computed beyond the format ("extra"), the last of which collects everything shifted out ("sticky").
 *
 *   value = (-1)^sign × hi:lo:extra ÷ 2^95 × 2^exponent     (1.xxx… × 2^exponent when normalised)
 *
 * Reals are scratch objects that operations overwrite; none outlives one instruction, so none is machine state.
 * A NaN keeps its payload in hi:lo, left-aligned like a fraction, which makes NaN conversion between formats a
 * truncation.
 * Source: SDM vol. 1, 4.2 and 4.8; IEEE 754-2008 section 3.
 */

/** What a Real holds. From `quietNaN` on there is no value to compute with. */
export const Kind = {zero: 0, finite: 1, infinity: 2, quietNaN: 3, signallingNaN: 4, unsupported: 5} as const

/** Exception flags, at their places in the x87 status word and in MXCSR; the masks follow in the same order. */
export const Exception = {
  invalid: 1,
  denormal: 2,
  zeroDivide: 4,
  overflow: 8,
  underflow: 16,
  precision: 32,
  /** Not an exception: the magnitude was rounded up. At the place of C1 in the x87 status word. */
  roundedUp: 0x200,
} as const

/** Rounding modes, numbered as in the x87 control word and MXCSR. */
export const Rounding = {nearest: 0, down: 1, up: 2, zero: 3} as const

/** See the file's head. */
export class Real {
  kind = 0
  sign = 0
  exponent = 0
  hi = 0
  lo = 0
  extra = 0
  /** 1 when the operand was a denormal as stored. */
  denormal = 0

  copy(from: Real): void {
    this.kind = from.kind
    this.sign = from.sign
    this.exponent = from.exponent
    this.hi = from.hi
    this.lo = from.lo
    this.extra = from.extra
    this.denormal = from.denormal
  }

  setZero(sign: number): void {
    this.kind = Kind.zero
    this.sign = sign
    this.hi = this.lo = this.extra = this.exponent = this.denormal = 0
  }

  setInfinity(sign: number): void {
    this.setZero(sign)
    this.kind = Kind.infinity
    this.hi = 0x80000000
  }

  /** The "real indefinite": the quiet NaN that stands for a masked invalid operation. */
  setIndefinite(): void {
    this.setZero(1)
    this.kind = Kind.quietNaN
    this.hi = 0xc0000000
  }

  /** A finite, nonzero number; the significand need not be normalised. */
  setFinite(sign: number, exponent: number, hi: number, lo: number, extra: number): void {
    this.kind = Kind.finite
    this.sign = sign
    this.exponent = exponent
    this.hi = hi
    this.lo = lo
    this.extra = extra
    this.denormal = 0
  }
}

/** A signalling NaN becomes the quiet NaN of the same payload. */
export function quieten(real: Real): void {
  real.kind = Kind.quietNaN
  real.hi = (real.hi | 0xc0000000) >>> 0
}

/** Moves the leading one to bit 63, or makes an all-zero significand a zero. */
export function normalise(real: Real): void {
  if (real.hi >>> 31) return
  let {hi, lo, extra} = real
  let shift = 0
  if (hi === 0) {
    shift = 32
    hi = lo
    lo = extra
    extra = 0
    if (hi === 0) {
      shift = 64
      hi = lo
      lo = 0
      if (hi === 0) {
        real.setZero(real.sign)
        return
      }
    }
  }
  const left = Math.clz32(hi)
  if (left > 0) {
    hi = ((hi << left) | (lo >>> (32 - left))) >>> 0
    lo = ((lo << left) | (extra >>> (32 - left))) >>> 0
    extra = (extra << left) >>> 0
  }
  real.hi = hi
  real.lo = lo
  real.extra = extra
  real.exponent -= shift + left
}

/** Shifts the significand right, collecting lost bits in the sticky bit; the exponent is left to the caller. */
export function shiftRightSticky(real: Real, count: number): void {
  let {hi, lo, extra} = real
  let lost = 0
  let left = count
  if (left >= 96) {
    lost = hi | lo | extra
    hi = lo = extra = 0
    left = 0
  }
  while (left >= 32) {
    lost |= extra
    extra = lo
    lo = hi
    hi = 0
    left -= 32
  }
  if (left > 0) {
    lost |= extra << (32 - left)
    extra = ((extra >>> left) | (lo << (32 - left))) >>> 0
    lo = ((lo >>> left) | (hi << (32 - left))) >>> 0
    hi >>>= left
  }
  real.hi = hi
  real.lo = lo
  real.extra = lost === 0 ? extra : (extra | 1) >>> 0
}
