/**
 * The decoded instruction: one fixed-size record in linear memory, written by the decoder, read by interpreter handlers and slow
 * paths. A basic block is a row of records; its head record is followed by its instructions in order.
 *
 *   0   u16  handler     table index of the interpreter function
 *   2   u8   length      bytes of the instruction
 *   3   u8   segment     segment register of the memory operand (Segment), 0xff none
 *   4   u16  operand 0   state offset of register operand 0 (RegisterRef slot 0)
 *   6   u16  operand 1
 *   8   u16  operand 2
 *   10  u16  base        state offset of the base register, or state.zero
 *   12  u16  index       state offset of the index register, or state.zero
 *   14  u8   scale       0 to 3
 *   15  u8   codeBits    64, 32 or 16
 *   16  i64  immediate   sign-extended; for relative branches the target's linear address
 *   24  i64  disp        displacement; RIP-relative operands hold the absolute address
 *   32  i64  rip         linear address of the instruction
 *   40  u16  segmentBase state offset of the segment base to add, or state.zero
 *   42  u8   opcode      last opcode byte, for slow paths that serve many
 *   43  u8   modrm
 *   44  u8   operandBits 16, 32, 64
 *   45  u8   addressBits 16, 32, 64
 *   46  u8   prefixes    bit 0 REP/F3, 1 REPNE/F2, 2 LOCK, 3 operand size 66, 4 REX.W
 *   47  u8   map         0 one-byte, 1 0F, 2 0F38, 3 0F3A
 */
export const recordBytes = 48

export const record = {
  handler: 0,
  length: 2,
  segment: 3,
  operands: [4, 6, 8],
  base: 10,
  index: 12,
  scale: 14,
  codeBits: 15,
  immediate: 16,
  displacement: 24,
  rip: 32,
  segmentBase: 40,
  opcode: 42,
  modrm: 43,
  operandBits: 44,
  addressBits: 45,
  prefixes: 46,
  map: 47,
} as const

/** Bits of `record.prefixes`. */
export const RecordPrefix = {rep: 1, repne: 2, lock: 4, operandSize: 8, rexW: 16} as const
