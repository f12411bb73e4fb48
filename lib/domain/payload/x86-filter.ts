/**
 * Undoes the x86 "BCJ" filter of xz: the packer replaced the relative targets of CALL and JMP (e8, e9) by absolute ones, because
 * those repeat. It could not know which e8 and e9 bytes are opcodes, so it converted only operands that look like a near target
 * (top byte 00 or ff), and looked back: `history` has bit n set when an opcode byte stood n + 1 bytes before and was left alone,
 * because then this one may be part of that one's operand.
 * Source: The .xz File Format 1.2.1, 5.3.2; the rules are those of xz-embedded's decoder.
 */

const neverConverts = -1
/** By history: which byte of the operand, counted from its top, must not look like a top byte; 0: none of them. */
const decidingByte = [0, 1, 2, neverConverts, 3, neverConverts, neverConverts, neverConverts] as const

const targetBits = 0x01ffffff
const targetSign = 0x01000000

/** Converts in place; `bytes` is the whole of one block, whose first byte has the address 0. */
export function undoX86Filter(bytes: Uint8Array): void {
  const end = bytes.length - 4
  let last = -1
  let history = 0
  for (let at = 0; at < end; at++) {
    if ((bytes[at] & 0xfe) !== 0xe8) continue
    const gap = at - last
    history = gap > 3 ? 0 : (history << (gap - 1)) & 7
    last = at
    const deciding = decidingByte[history]
    const excluded = deciding === neverConverts || (deciding > 0 && isTop(bytes[at + 4 - deciding]))
    if (excluded || !isTop(bytes[at + 4])) {
      history = (history << 1) | 1
      continue
    }
    const packed = bytes[at + 1] | (bytes[at + 2] << 8) | (bytes[at + 3] << 16) | (bytes[at + 4] << 24)
    let target = relative(packed, at + 5, deciding) & targetBits
    if (target & targetSign) target |= ~targetBits
    bytes[at + 1] = target
    bytes[at + 2] = target >> 8
    bytes[at + 3] = target >> 16
    bytes[at + 4] = target >> 24
    at += 4
  }
}

function isTop(byte: number): boolean {
  return byte === 0 || byte === 0xff
}

/** The relative target behind an absolute one. What the packer would have left alone it flipped and converted again. */
function relative(absolute: number, next: number, deciding: number): number {
  for (let value = absolute; ; ) {
    const target = (value - next) | 0
    if (deciding === 0 || !isTop((target >>> (24 - deciding * 8)) & 0xff)) return target
    value = target ^ (2 ** (32 - deciding * 8) - 1)
  }
}
