/**
 * Where each register of a vCPU lives in linear memory: the only offsets in the project. A vCPU area is `vcpuAreaBytes` long and
 * starts at a 64 KiB boundary; every number below is a byte offset from that start. Generated code reaches it through the
 * immutable global `cpu`.
 *
 *   0x00000  registers, segment caches, control registers, flags, fault record   (the vCPU's state: saved)
 *   0x00400  scratch: store operands and page-crossing accesses                   (never saved)
 *   0x00c00  list of hot regions                                             (cache: never saved)
 *   0x02000  log of TLB entries filled since the last flush                      (cache: never saved)
 *   0x04000  constant tables of CRC32 and AES                                    (never saved)
 *   0x08000  TLBs: supervisor read, write, fetch, then the same for user mode    (caches: never saved)
 *   0x20000  jump cache: place of RIP in linear memory → decoded code            (cache: never saved)
 *
 * Status flags are lazy: `flagKind` says how CF PF AF ZF SF OF follow from flagA, flagB and flagR (see flags.ts);
 * the other bits of RFLAGS live in `rflags`, where the status bits are always zero.
 */

/** Byte size of one vCPU area. */
export const vcpuAreaBytes = 0x120000

export const state = {
  gpr: 0, //              16 × u64 in the manual's order: RAX RCX RDX RBX RSP RBP RSI RDI R8 … R15
  rip: 128, //            u64
  zero: 136, //           u64, always 0: stands for an absent base, index or segment
  segmentBase: 144, //    6 × u64: ES CS SS DS FS GS
  inactiveGsBase: 192, // u64, the GS base that SWAPGS or a mode toggle brings in
  rflags: 200, //         u64, all bits but the six status flags; bit 1 always set
  flagKind: 208, //       u32, FlagKind
  codeBits: 212, //       u32, 64, 32 or 16: the size of the current code segment
  flagA: 216, //          i64
  flagB: 224, //          i64
  flagR: 232, //          i64
  selector: 240, //       6 × u16: ES CS SS DS FS GS
  cpl: 252, //            u32, architectural privilege level
  segmentLimit: 256, //   6 × u32, in bytes, granularity applied
  segmentAttributes: 280, // 6 × u32, descriptor bits 40–47 and 52–55 as bits 0–7 and 12–15
  mmuMode: 304, //        u32, 0 supervisor, 1 user: which TLB, jump cache and page-table root are in use
  cr0: 312, //            u64
  cr2: 320, //            u64
  cr3: 328, //            u64, byte address of the root table in use
  cr4: 336, //            u64
  efer: 344, //           u64
  xcr0: 352, //           u64
  dr: 360, //             8 × u64
  mxcsr: 424, //          u32
  tscAux: 428, //         u32
  faultVector: 432, //    u32, Fault: vector (exitReason fault)
  faultHasError: 436, //  u32, 1 when an error code belongs to it
  faultErrorCode: 440, // u32
  exitReason: 444, //     u32, ExitReason, why generated code returned
  faultAddress: 448, //   u64, linear address of a page fault
  exitDetail: 456, //     u32, meaning depends on exitReason
  currentPage: 460, //    u32, frame number of the page whose code runs, to notice self-modification
  budget: 464, //         i32, block transitions left before generated code returns to the run loop
  pending: 468, //        i32, atomic: nonzero asks the run loop to look for work (events, pause, stop)
  wake: 472, //           i32, atomic: a blocked vCPU waits on it
  instructionLength: 476, // u32, length of the instruction a slow path was called for
  gdtBase: 480, //        u64
  ldtBase: 488, //        u64
  gdtLimit: 496, //       u32
  ldtLimit: 500, //       u32
  root: 504, //           2 × u32, machine frame of the level-4 table of supervisor and user mode, 0xffffffff none
  xmm: 512, //            16 × 16 bytes
  x87: 768, //            x87 unit, 192 bytes, laid out in float/x87-unit.ts
  starBase: 960, //       8 × u64: STAR LSTAR CSTAR SFMASK SYSENTER_CS SYSENTER_ESP SYSENTER_EIP TSC_OFFSET
  scratch: 1024, //       64 bytes
  crossing: 1088, //      64 bytes: copy of an operand that spans two pages
  record: 1152, //        u32, address of the decoded record being executed
  image: 2048, //         1024 bytes: FXSAVE, XSAVE and x87 environment images on their way
  frameBase: 1184, //     u32, byte offset of machine frame 0 in linear memory
  frameCount: 1188, //    u32, machine frames a page table may name
  codePages: 1192, //     u32, byte offset of a table with one byte per page of linear memory: 1 = holds decoded code
  dirtyFrames: 1208, //   u32, byte offset of a table with one byte per machine frame: 1 = written to
  tlbFilled: 1196, //     u32, entries in the log of filled TLB entries
  callDepth: 1200, //     u32, dispatchers that run inside the outermost one
  linkCell: 1212, //      u32, the cell that wants to know where the dispatcher goes next (links.ts), 0 none
  codeEpoch: 1204, //     u32, counts how often decoded code has been dropped
  linkEpoch: 1216, //     u32, counts that, and flushes of the TLB: links have to be looked at again
} as const

/** Why generated code returned to the run loop (in `exitReason`). */
export const ExitReason = {
  none: 0,
  lookup: 1, //     no code known for RIP
  fault: 2, //      faultVector … hold an exception; RIP is at the instruction
  preempt: 3, //    budget used up or `pending` set
  hot: 4, //        a block asks for translation
  smc: 5, //        the instruction at RIP is about to write to the page it runs from
  system: 6, //     a slow-path instruction asks to return; RIP is already right
} as const

/** Index of a segment register in segmentBase, selector, segmentLimit, segmentAttributes. */
export const Segment = {es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5} as const

/**
 * TLB geometry: six direct-mapped tables, by mode (supervisor, user) and kind of access (read, write, fetch); entry = u64 tag (page
 * address), u32 addend (linear memory minus low half of the address), u32 unused.
 */
export const tlb = {
  entries: 1024,
  entryBytes: 16,
  tableBytes: 0x4000,
  kinds: 3,
  start: 0x8000,
} as const

/** Kinds of access: the order of a mode's tables. */
export const AccessKind = {read: 0, write: 1, fetch: 2} as const

/** The log of filled TLB entries: u32 byte offsets. A full one means that a flush clears whole tables. */
export const tlbLog = {start: 0x2000, entries: 2048} as const

/** Counters of regions that have become hot: u32 how many, then their byte offsets. `again` is what such a counter counts down from next. */
export const hotList = {count: 0xc00, start: 0xc04, entries: 64, again: 4096} as const

/** Constant tables, filled by tables.ts: what they hold is said there. */
export const tables = {
  crc32: 0x4000, //           8 × 256 × u32
  aesEncrypt: 0x6000, //      256 × u32
  aesDecrypt: 0x6400, //      256 × u32
  aesBox: 0x6800, //          256 × u8
  aesInverseBox: 0x6900, //   256 × u8
} as const

/**
 * Jump cache geometry: a set for each 32 bytes of code, so that neighbours share a line of the host's cache; way = u32 place (byte offset in
 * linear memory of a block's first instruction, 0 none), u32 byte offset of the block's head. Keyed by place, it outlives
 * address-space switches.
 */
export const jumpCache = {
  ways: 4,
  wayBytes: 8,
  setBytes: 32,
  sets: 32_768,
  start: 0x20000,
} as const
