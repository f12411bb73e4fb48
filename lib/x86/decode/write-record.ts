/**
 * Writes a decoded instruction as a record for the interpreter and the slow paths. See record.ts for the layout, of which this writes word
 * by word: hundreds of thousands of records are written in a boot.
 */
import {state} from '../state.js'
import type {DecodedInstruction} from './instruction-record.js'

/** Writes a 64-bit two's-complement integer as two words. */
export function setSigned64(words: Uint32Array, at: number, value: number | bigint): void {
  if (typeof value === 'bigint') {
    words[at] = Number(BigInt.asUintN(32, value))
    words[at + 1] = Number(BigInt.asUintN(32, value >> 32n))
    return
  }
  words[at] = value
  words[at + 1] = value === (value | 0) ? value >> 31 : Math.floor(value / 2 ** 32)
}

/** What stands for an operand that is not there. */
const noMemory = {
  base: state.zero,
  index: state.zero,
  scale: 0,
  displacement: 0,
  segment: 0xff,
  addsSegmentBase: false,
}

/** `at` is the record's byte offset. */
export function writeRecord(
  words: Uint32Array,
  at: number,
  decoded: DecodedInstruction,
  rip: number,
  handler: number,
): void {
  const {memory = noMemory, slots, variant} = decoded
  const word = at >>> 2
  const segmentBase = memory.addsSegmentBase ? state.segmentBase + memory.segment * 8 : state.zero
  words[word] = handler | (decoded.length << 16) | (memory.segment << 24)
  words[word + 1] = slots[0] | (slots[1] << 16)
  words[word + 2] = slots[2] | (memory.base << 16)
  words[word + 3] = memory.index | (memory.scale << 16) | (variant.codeBits << 24)
  setSigned64(words, word + 4, decoded.immediate)
  setSigned64(words, word + 6, memory.displacement)
  setSigned64(words, word + 8, rip)
  words[word + 10] = segmentBase | (decoded.opcode << 16) | (decoded.modrm << 24)
  words[word + 11] = variant.operandBits | (variant.addressBits << 8) | (decoded.prefixes << 16) | (decoded.map << 24)
}
