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

/**
 * Compares the strings at two addresses. A length is in elements, or negative: the string ends before its first zero. The object given back is
 * reused.
 */
export function compareStrings(
  view: DataView,
  control: number,
  first: number,
  second: number,
  firstLength: number,
  secondLength: number,
): Comparison {
  const words = (control & 1) !== 0
  const signed = (control & 2) !== 0
  const limit = words ? 8 : 16
  const element = (at: number, index: number): number => {
    if (words) return signed ? view.getInt16(at + index * 2, true) : view.getUint16(at + index * 2, true)
    return signed ? view.getInt8(at + index) : view.getUint8(at + index)
  }
  const length = (at: number, given: number): number => {
    if (given >= 0) return Math.min(given, limit)
    let count = 0
    while (count < limit && element(at, count) !== 0) count++
    return count
  }
  const m = length(first, firstLength)
  const n = length(second, secondLength)
  const equal = (i: number, j: number) => element(first, i) === element(second, j)
  const matches: Record<number, (j: number) => boolean> = {
    [Sum.any]: j => {
      for (let i = 0; i < m; i++) if (j < n && equal(i, j)) return true
      return false
    },
    [Sum.ranges]: j => {
      if (j >= n) return false
      const value = element(second, j)
      // A last bound without its partner makes no range.
      for (let i = 0; i + 1 < m; i += 2) {
        if (element(first, i) <= value && value <= element(first, i + 1)) return true
      }
      return false
    },
    // Beyond both ends elements count as equal.
    [Sum.each]: j => (j < m && j < n ? equal(j, j) : j >= m && j >= n),
    // What of the first string would lie beyond the register is not compared.
    [Sum.ordered]: j => {
      for (let i = 0; i < m && i + j < limit; i++) if (i + j >= n || !equal(i, i + j)) return false
      return true
    },
  }
  const match = matches[(control >> 2) & 3]
  let bits = 0
  for (let j = 0; j < limit; j++) if (match(j)) bits |= 1 << j
  const all = 2 ** limit - 1
  if (control & 0x10) bits ^= control & 0x20 ? 2 ** n - 1 : all
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
  view.setBigUint64(target, BigInt(control & 0x40 ? 0 : bits), true)
  view.setBigUint64(target + 8, 0n, true)
  if ((control & 0x40) === 0) return flags
  for (let index = 0; index < 16; index++) {
    const bit = control & 1 ? index >> 1 : index
    view.setUint8(target + index, (bits >> bit) & 1 ? 0xff : 0)
  }
  return flags
}
