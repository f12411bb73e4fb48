/**
 * Seeded random numbers and the operand values that test vectors are made of: random ones mixed with the edges where
 * arithmetic changes its mind. The sequence is part of the stored format: a change here makes every stored vector wrong,
 * which the checksum in each file shows.
 *
 * Source of the generator: C. Doty-Humphrey, PractRand, "sfc32".
 */

/** A small fast generator of 32-bit numbers, seeded with one 32-bit number. */
export class Random {
  private a = 0
  private b = 0
  private c = 0
  private counter = 1

  constructor(seed: number) {
    this.reseed(seed)
  }

  reseed(seed: number): void {
    this.a = seed | 0
    this.b = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b)
    this.c = 0x2545f491
    this.counter = 1
    for (let round = 0; round < 12; round++) this.next()
  }

  /** Next number, as a signed 32-bit integer. */
  next(): number {
    const sum = (this.a + this.b + this.counter) | 0
    this.counter = (this.counter + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = ((this.c << 21) | (this.c >>> 11)) + sum
    this.c |= 0
    return sum
  }

  /** A number from 0 to `limit` - 1. */
  below(limit: number): number {
    return (this.next() >>> 0) % limit
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]
  }
}

/** Pairs low, high of the 64-bit integers at which something overflows, borrows, or changes sign in some operand size. */
const integerEdges = [
  0n,
  1n,
  2n,
  3n,
  7n,
  8n,
  0xfn,
  0x10n,
  0x1fn,
  0x20n,
  0x3fn,
  0x40n,
  0x7fn,
  0x80n,
  0x81n,
  0xffn,
  0x100n,
  0x7fffn,
  0x8000n,
  0x8001n,
  0xffffn,
  0x10000n,
  0x7fffffffn,
  0x80000000n,
  0x80000001n,
  0xffffffffn,
  0x100000000n,
  0x7fffffffffffffffn,
  0x8000000000000000n,
  0x8000000000000001n,
  0xfffffffffffffffen,
  0xffffffffffffffffn,
  0xffffffff80000000n,
  0xffffffff7fffffffn,
  0xffffffffffff8000n,
  0xffffffffffffff80n,
  0xffffffffffffff7fn,
  0x5555555555555555n,
  0xaaaaaaaaaaaaaaaan,
  0x0123456789abcdefn,
  0x8080808080808080n,
  0x7f7f7f7f7f7f7f7fn,
  0x7fff80007fff8000n,
  0x9999999999999999n,
].flatMap(value => [Number(value & 0xffffffffn) | 0, Number(value >> 32n) | 0])
const byteEdges = [0x00, 0x01, 0x7f, 0x80, 0x81, 0xff, 0xfe, 0x40]
const wordEdges = [0x0000, 0x0001, 0x7fff, 0x8000, 0x8001, 0xffff, 0x00ff, 0x0100]

const singleEdges = [
  0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x3fc00000, 0x40000000, 0x3f000000, 0x7f7fffff, 0xff7fffff,
  0x00800000, 0x007fffff, 0x00000001, 0x80000001, 0x80400000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000,
  0x7f800001, 0xffbfffff, 0x7fc12345, 0x4f000000, 0xcf000000, 0x4effffff, 0x4f800000, 0x5f000000, 0xdf000000,
  0x3effffff, 0x3f7fffff, 0x3f800001, 0xcf000001, 0x4b000000, 0x4b000001, 0x40490fdb,
]
/** High words of interesting doubles; the low word is all zeros, all ones, one, or random. */
const doubleEdges = [
  0x00000000, 0x80000000, 0x3ff00000, 0xbff00000, 0x3ff80000, 0x40000000, 0x3fe00000, 0x7fefffff, 0xffefffff,
  0x00100000, 0x000fffff, 0x00080000, 0x80000000, 0x7ff00000, 0xfff00000, 0x7ff80000, 0xfff80000, 0x7ff7ffff,
  0x7ff00000, 0x41dfffff, 0x41e00000, 0xc1e00000, 0x43e00000, 0xc3e00000, 0x43dfffff, 0x47efffff, 0x47f00000,
  0x38100000, 0x380fffff, 0x36a00000, 0x3fefffff, 0x43300000, 0xc1dfffff, 0x400921fb,
]
/** Sign and exponent words of 80-bit numbers, and their mantissas (low, high): every pair may meet, unsupported ones too. */
const extendedExponents = [
  0x0000, 0x8000, 0x0001, 0x3fff, 0xbfff, 0x4000, 0x3ffe, 0x7ffe, 0x7fff, 0xffff, 0x401e, 0x403e, 0xc03e, 0x403f,
  0x3c01, 0x3bcd, 0x43fe, 0x43ff, 0x3f81, 0x3f6a, 0x407e, 0x407f, 0x400e, 0xc00e,
]
const extendedMantissas = [
  [0, 0],
  [0, 0x80000000],
  [0, 0xc0000000],
  [1, 0x80000000],
  [-1, -1],
  [0, 0x40000000],
  [1, 0],
  [-1, 0x7fffffff],
  [0x800, 0x80000000],
  [0x400, 0x80000000],
  [0xc00, 0xffffff00],
  [0, 0xa0000000],
  [-2048, -1],
  [0, 0xffff0000],
] as const

/** What kind of operands a region of the state is filled with. Stored in the files as these numbers. */
export const Values = {fixed: 0, integer: 1, single: 2, double: 3, extended: 4, text: 5} as const
export type ValueKind = (typeof Values)[keyof typeof Values]

/** Writes operand values of one kind at word positions of a state. */
export class OperandValues {
  private readonly float = new Float64Array(1)
  private readonly floatWords = new Int32Array(this.float.buffer)
  private readonly single = new Float32Array(1)
  private readonly singleWord = new Int32Array(this.single.buffer)

  constructor(
    private readonly random: Random,
    private readonly words: Uint32Array,
  ) {}

  /** Fills `count` words (a multiple of 4 for the 16-byte kinds) from word `at`. */
  fill(kind: ValueKind, at: number, count: number): void {
    const end = at + count
    if (kind === Values.integer) for (; at < end; at += 2) this.integer64(at)
    else if (kind === Values.single) for (; at < end; at++) this.words[at] = this.single32()
    else if (kind === Values.double) for (; at < end; at += 2) this.double64(at)
    else if (kind === Values.text) for (; at < end; at++) this.words[at] = this.text4()
    else if (kind === Values.extended) {
      for (; at < end; at += 4) {
        this.extended80(at)
        this.words[at + 3] = 0
      }
    }
  }

  integer64(at: number): void {
    const {random, words} = this
    const choice = random.next()
    switch (choice & 7) {
      case 0:
      case 1: {
        const edge = ((choice >>> 8) % (integerEdges.length >> 1)) * 2
        words[at] = integerEdges[edge]
        words[at + 1] = integerEdges[edge + 1]
        return
      }
      case 2: {
        const shift = (choice >>> 8) & 31
        const narrow = random.next() >>> shift
        words[at] = choice & 0x10000 ? -narrow : narrow
        words[at + 1] = choice & 0x10000 && narrow !== 0 ? -1 : 0
        return
      }
      case 3: {
        const bytes = random.next()
        words[at] = pack4(byteEdges, choice >>> 8)
        words[at + 1] = pack4(byteEdges, bytes)
        return
      }
      case 4:
        words[at] = wordEdges[(choice >>> 8) & 7] | (wordEdges[(choice >>> 11) & 7] << 16)
        words[at + 1] = wordEdges[(choice >>> 14) & 7] | (wordEdges[(choice >>> 17) & 7] << 16)
        return
      default:
        words[at] = random.next()
        words[at + 1] = random.next()
    }
  }

  /** Four characters of a small alphabet, sometimes an end of string. */
  private text4(): number {
    const bits = this.random.next()
    const letters = 0x61616161 | (bits & 0x03030303)
    return (bits >>> 8) & 7 ? letters : letters & ~(0xff << ((bits >>> 11) & 24))
  }

  private single32(): number {
    const choice = this.random.next()
    const detail = choice >>> 8
    switch (choice & 7) {
      case 0:
      case 1:
        return singleEdges[detail % singleEdges.length]
      case 2:
        this.single[0] = ((detail & 0xff) - 128) / (1 << (detail >>> 20))
        return this.singleWord[0]
      case 3:
        return this.random.next()
      case 4: // few mantissa bits: exact results and ties
        return ((choice & 0x80000000) | ((119 + ((choice >>> 8) & 15)) << 23) | (detail & 0x700000)) >>> 0
      default: {
        const bits = this.random.next()
        return ((bits & 0x80000000) | ((115 + (detail % 30)) << 23) | (bits & 0x7fffff)) >>> 0
      }
    }
  }

  private double64(at: number): void {
    const {random, words} = this
    const choice = random.next()
    const detail = choice >>> 8
    switch (choice & 7) {
      case 0:
      case 1:
        words[at + 1] = doubleEdges[detail % doubleEdges.length]
        words[at] = [0, 0, 1, -1, 0xe0000000, 0xffc00000, 0x20000000, 0x10000000][(choice >>> 3) & 7]
        return
      case 2:
        this.float[0] = ((detail & 0xffff) - 32768) / (1 << (detail >>> 20))
        words[at] = this.floatWords[0]
        words[at + 1] = this.floatWords[1]
        return
      case 3:
        words[at] = random.next()
        words[at + 1] = random.next()
        return
      case 4:
        words[at] = 0
        words[at + 1] = (choice & 0x80000000) | ((1015 + ((choice >>> 8) & 15)) << 20) | (detail & 0xe0000)
        return
      default: {
        const bits = random.next()
        words[at] = random.next()
        words[at + 1] = (bits & 0x80000000) | ((1000 + (detail % 48)) << 20) | (bits & 0xfffff)
      }
    }
  }

  /** An 80-bit number in three words; the upper half of the third is zero. */
  extended80(at: number): void {
    const {random, words} = this
    const choice = random.next()
    const detail = choice >>> 8
    switch (choice & 7) {
      case 0:
      case 1: {
        const exponent = extendedExponents[detail % extendedExponents.length]
        const mantissa = extendedMantissas[(choice >>> 16) % extendedMantissas.length]
        words[at] = mantissa[0]
        words[at + 1] = exponent & 0x7fff ? mantissa[1] | (choice & 8 ? 0 : 0x80000000) : mantissa[1]
        words[at + 2] = exponent
        return
      }
      case 2: // a small number of halves
        words[at] = 0
        words[at + 1] = (0x80000000 | (detail << 16)) & 0xff000000
        words[at + 2] = ((choice >>> 16) & 0x8000) | (0x3ffc + (detail & 15))
        return
      case 3: // exact in 24 or 53 bits
        words[at] = choice & 8 ? 0 : random.next() & 0xfffff800
        words[at + 1] = (random.next() | 0x80000000) & (choice & 8 ? 0xffffff00 : -1)
        words[at + 2] = ((choice >>> 16) & 0x8000) | (0x3fe0 + (detail & 63))
        return
      case 4:
        words[at] = random.next()
        words[at + 1] = random.next() | (choice & 0x100 ? 0 : 0x80000000)
        words[at + 2] = random.next() & 0xffff
        return
      default:
        words[at] = random.next()
        words[at + 1] = random.next() | 0x80000000
        words[at + 2] = ((choice >>> 16) & 0x8000) | (0x3fe8 + (detail & 47))
    }
  }
}

function pack4(table: readonly number[], bits: number): number {
  return (
    table[bits & 7] | (table[(bits >>> 3) & 7] << 8) | (table[(bits >>> 6) & 7] << 16) | (table[(bits >>> 9) & 7] << 24)
  )
}
