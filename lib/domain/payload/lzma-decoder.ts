/**
 * The LZMA decoder that both the lzma and the xz format stand on. The output array is also the dictionary: all of it is in memory.
 *
 *   literal          0, then eight bits, under a context of position and the byte before
 *   match            1 0, length, distance
 *   repeat           1 1, one of the last four distances, length (or one byte at the last distance)
 *
 * Each bit has a probability of its own (11 bits wide) that moves by 1/32 of the way towards what came.
 * Rule of use: setProperties, then for each stretch of packed input startInput and decodeUntil. The range coder's state is in
 * fields, but each long stretch of decisions is one method, which the JavaScript engine keeps in registers.
 * Source: LZMA SDK lzma-specification.txt.
 */
import {PayloadError} from './payload-error.js'

const halfProbability = 1024
/** Signed numbers compare like unsigned ones once this is flipped in both. */
const signBit = 0x80000000 | 0
const states = 12
const positionStatesMax = 16
/** Probabilities of one length decoder: two choices, then low, middle and high trees. */
const lengthChoice = 0
const lengthLow = 2
const lengthMiddle = lengthLow + positionStatesMax * 8
const lengthHigh = lengthMiddle + positionStatesMax * 8
const lengthProbabilities = lengthHigh + 256

/** Where each group of probabilities starts. */
const isMatch = 0
const isRepeat = isMatch + states * positionStatesMax
const isRepeat0 = isRepeat + states
const isRepeat1 = isRepeat0 + states
const isRepeat2 = isRepeat1 + states
const isRepeat0Long = isRepeat2 + states
const distanceSlot = isRepeat0Long + states * positionStatesMax
const distanceSpecial = distanceSlot + 4 * 64
const distanceAlign = distanceSpecial + 128
const matchLength = distanceAlign + 16
const repeatLength = matchLength + lengthProbabilities
const literals = repeatLength + lengthProbabilities

/** Decodes into `output` from its start on. */
export class LzmaDecoder {
  /** How much of the output is there. */
  position = 0
  /** Set when the packed data ended with a mark of its own. */
  ended = false
  private probabilities = new Uint16Array(0)
  private literalContextBits = 0
  private literalPositionMask = 0
  private positionMask = 0
  private state = 0
  /** The last four distances, less one; the latest first. */
  private distance0 = 0
  private distance1 = 0
  private distance2 = 0
  private distance3 = 0
  /** Where the dictionary begins: distances do not reach further back. */
  private dictionaryStart = 0
  private range = 0
  private code = 0
  private input: Uint8Array = new Uint8Array(0)
  private from = 0
  private end = 0

  constructor(readonly output: Uint8Array) {}

  /** Takes the properties byte: (pb * 5 + lp) * 9 + lc. Also resets the state. */
  setProperties(byte: number): void {
    if (byte >= 9 * 5 * 5) throw new PayloadError('holds LZMA data with impossible properties')
    const literalPositionBits = Math.floor(byte / 9) % 5
    this.literalContextBits = byte % 9
    this.literalPositionMask = (1 << literalPositionBits) - 1
    this.positionMask = (1 << Math.floor(byte / 45)) - 1
    this.probabilities = new Uint16Array(literals + (0x300 << (this.literalContextBits + literalPositionBits)))
    this.resetState()
  }

  resetState(): void {
    this.probabilities.fill(halfProbability)
    this.state = 0
    this.distance0 = 0
    this.distance1 = 0
    this.distance2 = 0
    this.distance3 = 0
  }

  /** Forgets what was decoded so far. */
  resetDictionary(): void {
    this.dictionaryStart = this.position
  }

  /** Copies bytes that are not packed. */
  copyRaw(bytes: Uint8Array): void {
    if (bytes.length > this.output.length - this.position) throw tooLong()
    this.output.set(bytes, this.position)
    this.position += bytes.length
  }

  /** Begins a stretch of packed input. */
  startInput(input: Uint8Array, from: number, end: number): void {
    if (end > input.length || end - from < 5) throw cutOff()
    if (input[from] !== 0) throw broken()
    this.input = input
    this.end = end
    this.range = -1
    this.code = (input[from + 1] << 24) | (input[from + 2] << 16) | (input[from + 3] << 8) | input[from + 4]
    this.from = from + 5
  }

  /** How far the packed input was read. */
  get inputPosition(): number {
    return this.from
  }

  /** Decodes until the output holds `limit` bytes or the data says that it ends. */
  decodeUntil(limit: number): void {
    if (limit > this.output.length) throw tooLong()
    const {output, positionMask} = this
    while (this.position < limit) {
      const positionState = this.position & positionMask
      if (this.bit(isMatch + this.state * positionStatesMax + positionState) === 0) {
        this.literal()
        continue
      }
      let length: number
      if (this.bit(isRepeat + this.state) === 0) {
        length = this.length(matchLength, positionState)
        this.state = this.state < 7 ? 7 : 10
        const distance = this.distance(length)
        if (distance === 0xffffffff) {
          this.ended = true
          return
        }
        this.distance3 = this.distance2
        this.distance2 = this.distance1
        this.distance1 = this.distance0
        this.distance0 = distance
      } else {
        if (this.position === this.dictionaryStart) throw broken()
        if (this.bit(isRepeat0 + this.state) === 0) {
          if (this.bit(isRepeat0Long + this.state * positionStatesMax + positionState) === 0) {
            this.state = this.state < 7 ? 9 : 11
            const source = this.position - this.distance0 - 1
            if (source < this.dictionaryStart) throw broken()
            output[this.position++] = output[source]
            continue
          }
        } else {
          // The one that is used comes to the front, those before it move back.
          let distance = this.distance1
          if (this.bit(isRepeat1 + this.state) !== 0) {
            distance = this.distance2
            if (this.bit(isRepeat2 + this.state) !== 0) {
              distance = this.distance3
              this.distance3 = this.distance2
            }
            this.distance2 = this.distance1
          }
          this.distance1 = this.distance0
          this.distance0 = distance
        }
        length = this.length(repeatLength, positionState)
        this.state = this.state < 7 ? 8 : 11
      }
      this.copyMatch(length + 2, limit)
    }
    if (this.from > this.end) throw cutOff()
  }

  private copyMatch(length: number, limit: number): void {
    const {output, position} = this
    const source = position - this.distance0 - 1
    if (source < this.dictionaryStart || length > limit - position || this.from > this.end) throw broken()
    for (let index = 0; index < length; index++) output[position + index] = output[source + index]
    this.position = position + length
  }

  private bit(index: number): number {
    const {probabilities, range, code} = this
    const probability = probabilities[index]
    const bound = Math.imul(range >>> 11, probability)
    let bit = 0
    if ((code ^ signBit) < (bound ^ signBit)) {
      this.range = bound
      probabilities[index] = probability + ((2048 - probability) >> 5)
    } else {
      this.range = (range - bound) | 0
      this.code = (code - bound) | 0
      probabilities[index] = probability - (probability >> 5)
      bit = 1
    }
    if ((this.range & 0xff000000) === 0) {
      this.range <<= 8
      this.code = (this.code << 8) | this.input[this.from++]
    }
    return bit
  }

  private literal(): void {
    const {output, position} = this
    const previous = position > this.dictionaryStart ? output[position - 1] : 0
    const context =
      ((position & this.literalPositionMask) << this.literalContextBits) + (previous >> (8 - this.literalContextBits))
    const base = literals + 0x300 * context
    let symbol = 1
    if (this.state >= 7) {
      const source = position - this.distance0 - 1
      if (source < this.dictionaryStart) throw broken()
      let matched = output[source]
      while (symbol < 0x100) {
        const matchBit = (matched >> 7) & 1
        matched <<= 1
        const bit = this.bit(base + ((1 + matchBit) << 8) + symbol)
        symbol = (symbol << 1) | bit
        if (matchBit !== bit) break
      }
    }
    output[this.position++] = this.symbol(base, symbol, 0x100)
    this.state = this.state < 4 ? 0 : this.state < 10 ? this.state - 3 : this.state - 6
  }

  private length(base: number, positionState: number): number {
    if (this.bit(base + lengthChoice) === 0) return this.tree(base + lengthLow + positionState * 8, 3)
    if (this.bit(base + lengthChoice + 1) === 0) return 8 + this.tree(base + lengthMiddle + positionState * 8, 3)
    return 16 + this.tree(base + lengthHigh, 8)
  }

  private distance(length: number): number {
    const slot = this.tree(distanceSlot + Math.min(length, 3) * 64, 6)
    if (slot < 4) return slot
    const directBits = (slot >> 1) - 1
    const start = ((2 | (slot & 1)) << directBits) >>> 0
    if (slot < 14) return start + this.reverseTree(distanceSpecial + start - slot, directBits)
    return (start + this.directBits(directBits - 4) * 16 + this.reverseTree(distanceAlign, 4)) >>> 0
  }

  private tree(base: number, bits: number): number {
    return this.symbol(base, 1, 1 << bits) - (1 << bits)
  }

  /** Decodes bits behind those in `symbol` until it reaches `limit`. Most bits come this way, so it works on locals. */
  private symbol(base: number, symbol: number, limit: number): number {
    const {probabilities, input} = this
    let {range, code, from} = this
    while (symbol < limit) {
      const index = base + symbol
      const probability = probabilities[index]
      const bound = Math.imul(range >>> 11, probability)
      if ((code ^ signBit) < (bound ^ signBit)) {
        range = bound
        probabilities[index] = probability + ((2048 - probability) >> 5)
        symbol <<= 1
      } else {
        range = (range - bound) | 0
        code = (code - bound) | 0
        probabilities[index] = probability - (probability >> 5)
        symbol = (symbol << 1) | 1
      }
      if ((range & 0xff000000) === 0) {
        range <<= 8
        code = (code << 8) | input[from++]
      }
    }
    this.range = range
    this.code = code
    this.from = from
    return symbol
  }

  private reverseTree(base: number, bits: number): number {
    let symbol = 1
    let value = 0
    for (let index = 0; index < bits; index++) {
      const bit = this.bit(base + symbol)
      symbol = (symbol << 1) | bit
      value |= bit << index
    }
    return value
  }

  /** Bits without a probability. */
  private directBits(count: number): number {
    let value = 0
    for (let index = 0; index < count; index++) {
      this.range >>>= 1
      let bit = 0
      if ((this.code ^ signBit) >= (this.range ^ signBit)) {
        this.code = (this.code - this.range) | 0
        bit = 1
      }
      value = value * 2 + bit
      if ((this.range & 0xff000000) === 0) {
        this.range <<= 8
        this.code = (this.code << 8) | this.input[this.from++]
      }
    }
    return value
  }
}

function broken(): PayloadError {
  return new PayloadError('holds broken LZMA data')
}

function cutOff(): PayloadError {
  return new PayloadError('is cut off inside its LZMA data')
}

function tooLong(): PayloadError {
  return new PayloadError('unpacks to more than it says')
}
