/**
 * The text comparisons of SSE4.2 on register bytes: every element of the first string with every one of the second, summed up as the
 * control byte says.
 *
 *   bit 0      elements are words, else bytes        bits 5:4  01 inverts the result, 11 only where the second string is valid
 *   bit 1      elements are signed                   bit 6     index: the highest bit set; mask: whole elements, else bits
 *   bits 3:2   0 any of a set, 1 ranges, 2 equal element by element, 3 substring
 *
 * Source: SDM vol. 2B 4.1 (imm8 control byte operation).
 */
const Sum = {any: 0, ranges: 1, each: 2, ordered: 3} as const

/** What a comparison found: one bit per element of the second string, and the status flags. */
export interface Comparison {
  bits: number
  flags: number
}

const found: Comparison = {bits: 0, flags: 0}

/** The elements of both strings, and how many of them are valid: m of the first, n of the second. */
const first = new Int32Array(16)
const second = new Int32Array(16)
let limit = 16
let m = 0
let n = 0

/** Reads the elements at an address; gives how many there are before the end that the length says, or before the first zero. */
function readString(view: DataView, control: number, at: number, length: number, into: Int32Array): number {
  let end = length
  for (let index = 0; index < limit; index++) {
    if (control & 1)
      into[index] = control & 2 ? view.getInt16(at + index * 2, true) : view.getUint16(at + index * 2, true)
    else into[index] = control & 2 ? view.getInt8(at + index) : view.getUint8(at + index)
    if (end < 0 && into[index] === 0) end = index
  }
  return end < 0 || end > limit ? limit : end
}

/** Element j of the second string is one of the first. */
function isAny(j: number): boolean {
  for (let i = 0; i < m; i++) if (first[i] === second[j]) return true
  return false
}

/** It lies in one of the ranges; a last bound without its partner makes none. */
function isInRange(j: number): boolean {
  for (let i = 0; i + 1 < m; i += 2) if (first[i] <= second[j] && second[j] <= first[i + 1]) return true
  return false
}

/** The first string begins there. What of it would lie beyond the register is not compared. */
function begins(j: number): boolean {
  for (let i = 0; i < m && i + j < limit; i++) if (i + j >= n || first[i] !== second[i + j]) return false
  return true
}

function matches(sum: number, j: number): boolean {
  if (sum === Sum.any) return j < n && isAny(j)
  if (sum === Sum.ranges) return j < n && isInRange(j)
  if (sum === Sum.ordered) return begins(j)
  // Beyond both ends elements count as equal.
  return j < m && j < n ? first[j] === second[j] : j >= m && j >= n
}

/**
 * Compares the strings at two addresses. A length is in elements, or negative: the string ends before its first zero. The object given back is
 * reused.
 */
export function compareStrings(
  view: DataView,
  control: number,
  firstAt: number,
  secondAt: number,
  firstLength: number,
  secondLength: number,
): Comparison {
  limit = control & 1 ? 8 : 16
  m = readString(view, control, firstAt, firstLength, first)
  n = readString(view, control, secondAt, secondLength, second)
  let bits = 0
  for (let j = 0; j < limit; j++) if (matches((control >> 2) & 3, j)) bits |= 1 << j
  if (control & 0x10) bits ^= (1 << (control & 0x20 ? n : limit)) - 1
  found.bits = bits
  found.flags = (bits ? 0x01 : 0) | (n < limit ? 0x40 : 0) | (m < limit ? 0x80 : 0) | (bits & 1 ? 0x800 : 0)
  return found
}

/** PCMPxSTRI: flags | index << 16; no bit set gives the number of elements. */
export function compareForIndex(comparison: Comparison, control: number): number {
  const {bits, flags} = comparison
  const none = control & 1 ? 8 : 16
  const index = bits === 0 ? none : 31 - Math.clz32(control & 0x40 ? bits : bits & -bits)
  return flags | (index << 16)
}

/** PCMPxSTRM: writes the mask to 16 bytes; gives the flags. */
export function compareForMask(view: DataView, comparison: Comparison, control: number, target: number): number {
  const {bits, flags} = comparison
  if ((control & 0x40) === 0) {
    view.setUint32(target, bits, true)
    for (let word = 1; word < 4; word++) view.setUint32(target + word * 4, 0, true)
    return flags
  }
  for (let index = 0; index < 16; index++) {
    const bit = control & 1 ? index >> 1 : index
    view.setUint8(target + index, (bits >> bit) & 1 ? 0xff : 0)
  }
  return flags
}
