/**
 * bzip2. The stream is bits, high bit first: "BZh" and a digit (block size in 100,000 bytes), then blocks, then an end mark.
 *
 *   block    48-bit mark 314159265359, CRC, a bit "randomised", 24-bit origin, the symbols in use, two to six prefix-code tables,
 *            which table serves which 50 symbols, the tables, the coded symbols
 *   symbols  run lengths of the front of a move-to-front list, positions in it, end of block
 *
 * Each block is the Burrows-Wheeler transform of its text, in which four equal bytes are followed by a count of more of them.
 * Source: bzip2 1.0.8 manual; J. Tsai, "BZIP2: Format Specification".
 */
import {PayloadError} from './payload-error.js'

const blockMark = [0x314159, 0x265359]
const endMark = [0x177245, 0x385090]
const longestCode = 20
const symbolsPerSelector = 50
const runA = 0
const runB = 1

/** Unpacks bzip2 data to at most `largestBytes`. Errors: PayloadError. */
export function unpackBzip2(input: Uint8Array, largestBytes: number): Uint8Array {
  const bits = new BitReader(input)
  const blocks: Uint8Array[] = []
  let length = 0
  do {
    if (bits.read(24) !== 0x425a68) throw broken() // "BZh"
    const blockBytes = (bits.read(8) - 0x30) * 100_000
    if (blockBytes < 100_000 || blockBytes > 900_000) throw broken()
    const transformed = new Uint32Array(blockBytes)
    for (;;) {
      const mark = [bits.read(24), bits.read(24)]
      bits.read(16) // CRC, in two halves
      bits.read(16)
      if (mark[0] === endMark[0] && mark[1] === endMark[1]) break
      if (mark[0] !== blockMark[0] || mark[1] !== blockMark[1]) throw broken()
      if (bits.read(1) === 1) throw new PayloadError('is packed by a bzip2 older than 0.9.5')
      const block = readBlock(bits, transformed)
      length += block.length
      if (length > largestBytes) throw new PayloadError('unpacks to more than it may')
      blocks.push(block)
    }
    bits.align()
    // Several streams may follow one another; anything else behind the end is left alone.
  } while (bits.startsWith(0x425a68))
  return Buffer.concat(blocks, length)
}

class BitReader {
  private at = 0
  private held = 0
  private heldBits = 0

  constructor(private readonly input: Uint8Array) {}

  /** The next bits, at most 24. */
  read(count: number): number {
    while (this.heldBits < count) {
      if (this.at >= this.input.length) throw new PayloadError('is cut off inside its bzip2 data')
      this.held = ((this.held & 0xffffff) << 8) | this.input[this.at++]
      this.heldBits += 8
    }
    this.heldBits -= count
    return (this.held >>> this.heldBits) & ((1 << count) - 1)
  }

  align(): void {
    this.heldBits -= this.heldBits & 7
  }

  /** Whether the next 24 bits are these; the reader is at a byte. */
  startsWith(mark: number): boolean {
    const from = this.at - this.heldBits / 8
    const [a, b, c] = this.input.subarray(from, from + 3)
    return c !== undefined && ((a << 16) | (b << 8) | c) === mark
  }
}

/** A prefix code: symbols ordered by code, and per length the last code and what to subtract to get the place in that order. */
interface PrefixCode {
  symbols: Uint16Array
  last: Int32Array
  offset: Int32Array
}

function readBlock(bits: BitReader, transformed: Uint32Array): Uint8Array {
  const origin = bits.read(24)
  const front = readSymbolsInUse(bits)
  const symbolCount = front.length + 2
  const tableCount = bits.read(3)
  const selectorCount = bits.read(15)
  if (tableCount < 2 || tableCount > 6 || selectorCount === 0 || front.length === 0) throw broken()
  const selectors = readSelectors(bits, tableCount, selectorCount)
  const tables = Array.from({length: tableCount}, () => readPrefixCode(bits, symbolCount))

  const counts = new Uint32Array(256)
  const endOfBlock = symbolCount - 1
  let length = 0
  let run = 0
  let runBit = 1
  let table = tables[0]
  let left = 0
  let selector = 0
  for (;;) {
    if (left-- === 0) {
      if (selector === selectorCount) throw broken()
      table = tables[selectors[selector++]]
      left = symbolsPerSelector - 1
    }
    const symbol = readSymbol(bits, table)
    if (symbol === runA || symbol === runB) {
      // A run's length is written in digits 1 and 2 of a number to the base two.
      run += runBit << symbol
      runBit <<= 1
      if (run > transformed.length) throw broken()
      continue
    }
    if (run > 0) {
      if (run > transformed.length - length) throw broken()
      transformed.fill(front[0], length, length + run)
      counts[front[0]] += run
      length += run
      run = 0
      runBit = 1
    }
    if (symbol === endOfBlock) break
    if (length === transformed.length) throw broken()
    const byte = front[symbol - 1]
    front.copyWithin(1, 0, symbol - 1)
    front[0] = byte
    transformed[length++] = byte
    counts[byte]++
  }
  if (origin >= length) throw broken()
  return expandRuns(transformed, length, origin, counts)
}

function readSymbolsInUse(bits: BitReader): Uint8Array {
  const groups = bits.read(16)
  const symbols: number[] = []
  for (let group = 0; group < 16; group++) {
    if (((groups >> (15 - group)) & 1) === 0) continue
    const used = bits.read(16)
    for (let index = 0; index < 16; index++) if ((used >> (15 - index)) & 1) symbols.push(group * 16 + index)
  }
  return Uint8Array.from(symbols)
}

/** Which table serves which symbols; itself move-to-front coded. */
function readSelectors(bits: BitReader, tableCount: number, selectorCount: number): Uint8Array {
  const order = Array.from({length: tableCount}, (_, index) => index)
  const selectors = new Uint8Array(selectorCount)
  for (let index = 0; index < selectorCount; index++) {
    let place = 0
    while (bits.read(1) === 1) if (++place === tableCount) throw broken()
    const [table] = order.splice(place, 1)
    order.unshift(table)
    selectors[index] = table
  }
  return selectors
}

function readPrefixCode(bits: BitReader, symbolCount: number): PrefixCode {
  const lengths = new Uint8Array(symbolCount)
  const perLength = new Int32Array(longestCode + 1)
  let length = bits.read(5)
  for (let symbol = 0; symbol < symbolCount; symbol++) {
    for (;;) {
      if (length < 1 || length > longestCode) throw broken()
      if (bits.read(1) === 0) break
      length += bits.read(1) === 0 ? 1 : -1
    }
    lengths[symbol] = length
    perLength[length]++
  }
  const symbols = new Uint16Array(symbolCount)
  const last = new Int32Array(longestCode + 1).fill(-1)
  const offset = new Int32Array(longestCode + 1)
  let code = 0
  let place = 0
  for (let bitCount = 1; bitCount <= longestCode; bitCount++) {
    offset[bitCount] = code - place
    for (let symbol = 0; symbol < symbolCount; symbol++) if (lengths[symbol] === bitCount) symbols[place++] = symbol
    code += perLength[bitCount]
    last[bitCount] = code - 1
    code <<= 1
  }
  return {symbols, last, offset}
}

function readSymbol(bits: BitReader, {symbols, last, offset}: PrefixCode): number {
  let code = 0
  for (let length = 1; length <= longestCode; length++) {
    code = (code << 1) | bits.read(1)
    if (code <= last[length]) {
      const symbol = symbols[code - offset[length]]
      if (symbol === undefined) throw broken()
      return symbol
    }
  }
  throw broken()
}

/** Undoes the Burrows-Wheeler transform, then the runs of the text. */
function expandRuns(transformed: Uint32Array, length: number, origin: number, counts: Uint32Array): Uint8Array {
  // Where the next entry of each byte value goes: behind those of all smaller values.
  const next = new Uint32Array(256)
  for (let byte = 1; byte < 256; byte++) next[byte] = next[byte - 1] + counts[byte - 1]
  // The low byte of each entry is the text, the rest becomes the link to the entry that follows.
  for (let index = 0; index < length; index++) transformed[next[transformed[index] & 0xff]++] |= index << 8
  let output = new Uint8Array(length * 2)
  let to = 0
  let entry = transformed[origin]
  let same = 0
  let previous = -1
  for (let index = 0; index < length; index++) {
    entry = transformed[entry >>> 8]
    const byte = entry & 0xff
    const copies = same === 4 ? byte : 1
    if (to + copies > output.length) {
      const larger = new Uint8Array(output.length * 2 + copies)
      larger.set(output)
      output = larger
    }
    if (same === 4) {
      output.fill(previous, to, to + copies)
      same = 0
      previous = -1
    } else {
      output[to] = byte
      same = byte === previous ? same + 1 : 1
      previous = byte
    }
    to += copies
  }
  return output.subarray(0, to)
}

function broken(): PayloadError {
  return new PayloadError('holds broken bzip2 data')
}
