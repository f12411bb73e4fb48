/**
 * Constant tables in the vCPU area, for instructions that would otherwise need a loop per byte. Generated code reads them with the IR's
 * `lookup`; they are computed, not stored, and never saved.
 *
 *   crc32          row k, entry b: what byte b becomes after k more zero bytes, by the Castagnoli polynomial with bits reversed
 *   aesEncrypt     S-box of b, times 2, 1, 1, 3 from the low byte on: what a byte of row 0 adds to its column
 *   aesDecrypt     inverse S-box of b, times 14, 9, 13, 11
 *   aesBox         S-box; aesInverseBox its inverse
 *
 * Source: FIPS 197, sections 4.2, 5.1.1 and 5.3; SDM vol. 2A CRC32.
 */
import type {LinearMemory} from './memory.js'
import {tables} from './state.js'

/** x^32 + … + 1 of CRC32C, bits reversed, without x^32. */
const castagnoli = 0x82f63b78

/** Fills the tables of the vCPU whose area starts at `base`. */
export function writeTables(memory: LinearMemory, base: number): void {
  writeCrc(memory.uint32.subarray((base + tables.crc32) >>> 2))
  const box = substitutionBox()
  for (const [value, substitute] of box.entries()) {
    memory.bytes[base + tables.aesBox + value] = substitute
    memory.bytes[base + tables.aesInverseBox + substitute] = value
    memory.uint32[((base + tables.aesEncrypt) >>> 2) + value] = column(substitute, [2, 1, 1, 3])
    memory.uint32[((base + tables.aesDecrypt) >>> 2) + substitute] = column(value, [14, 9, 13, 11])
  }
}

function writeCrc(words: Uint32Array): void {
  for (let byte = 0; byte < 256; byte++) {
    let rest = byte
    for (let bit = 0; bit < 8; bit++) rest = (rest >>> 1) ^ (rest & 1 ? castagnoli : 0)
    words[byte] = rest
  }
  for (let entry = 256; entry < 8 * 256; entry++) {
    const before = words[entry - 256]
    words[entry] = (before >>> 8) ^ words[before & 0xff]
  }
}

/** Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. */
function multiply(left: number, right: number): number {
  let product = 0
  for (let bit = 7; bit >= 0; bit--) {
    product = (product << 1) ^ (product & 0x80 ? 0x11b : 0)
    if ((right >> bit) & 1) product ^= left
  }
  return product
}

/** Inverse in GF(2^8) (0 of 0), then the affine transformation. */
function substitutionBox(): number[] {
  // 3 generates the multiplicative group: walking its powers upward and those of its inverse 0xf6 in step gives every inverse.
  const inverse = new Array<number>(256).fill(0)
  for (let step = 0, power = 1, other = 1; step < 255; step++) {
    inverse[power] = other
    power = multiply(power, 3)
    other = multiply(other, 0xf6)
  }
  return inverse.map(value => {
    const twice = value | (value << 8)
    return ((twice ^ (twice >> 4) ^ (twice >> 5) ^ (twice >> 6) ^ (twice >> 7)) & 0xff) ^ 0x63
  })
}

function column(value: number, factors: readonly number[]): number {
  return factors.reduce((word, factor, row) => word | (multiply(value, factor) << (8 * row)), 0) >>> 0
}
