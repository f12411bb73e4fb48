/**
 * The head of a decoded block: one record's length, in front of its records. The dispatcher reads it, code-cache.ts keeps it.
 *
 *   0   i32  countdown     executions until the block asks for translation; never, when it starts at 0
 *   4   u32  page          byte offset in linear memory of the page it was decoded from
 *   8   u32  translation   table slot | entry number << 16, 0 none
 *   12  u32  secondPage    the page that its last instruction reaches into, 0 none
 *   16  u64  rip
 *   24  u32  mode          code segment size | MMU mode
 *   28  u32  birth         a number that no other block has had; 0 while the head is free
 *   32  u32  nextAlike     head of the next block in the same bucket, or of the next free one
 *   36  u32  nextInPage    head of the next block of `page`
 *   40  u32  nextInSecond  head of the next block of `secondPage`
 *   44  u8   instructions
 *   45  u8   usesFpu       1: it has instructions that CR0.TS guards
 */
export const blockHead = {
  countdown: 0,
  page: 4,
  translation: 8,
  secondPage: 12,
  rip: 16,
  mode: 24,
  birth: 28,
  nextAlike: 32,
  nextInPage: 36,
  nextInSecond: 40,
  instructions: 44,
  usesFpu: 45,
} as const
