/**
 * The records of a domain's stream, as save files, forks and migrations carry it; man page gastwirt-save.5 describes the format for others.
 *
 *   head        u32 type | u32 number, from 0 | u32 payload bytes | u32 CRC-32 of the payload | u32 CRC-32 of these 16 bytes | u32 0
 *   payload     padded to 8 bytes
 *
 *   start       JSON StreamStart
 *   pages       u32 runs | u32 Compression | u64 sum | runs × (u32 frame, u32 count) | zeros | the pages; they begin at a multiple of 4096 bytes
 *               from the stream's first byte, so that a file can be mapped. A frame that comes again replaces what came before. The sum is of
 *               pages that are not packed, which the payload's CRC-32 then leaves out: XXH64 of each run, by the one before's as its seed.
 *   zeros       u32 runs | u32 0 | runs × (u32 frame, u32 count): these pages are zero; so are all that never come
 *   block       u32 Block | u32 version | bytes: one part of the machine as it lies in memory
 *   state       JSON StreamState: what is kept as values
 *   end         nothing: the domain is whole
 *
 * Version 1 has no sum: the CRC-32 covers all of the payload.
 */
import {struct, u32} from '../../base/struct.js'
import type {XenstoreState} from '../../xenstore/server.js'

export const RecordType = {start: 1, pages: 2, zeros: 3, block: 4, state: 5, end: 6} as const
export const RecordHead = struct({
  type: u32,
  number: u32,
  length: u32,
  payloadCrc: u32,
  headCrc: u32,
  padding: u32,
})
/** Bytes of the head that its own checksum covers. */
export const checkedHeadBytes = 16
export const recordAlign = 8
export const pageBytes = 4096
/** Pages in one record, at most. */
export const mostPages = 256
/** Longest payload a reader accepts. */
export const mostPayload = 16 << 20

/** Bytes before the runs of a pages record, by the stream's version, and of a zeros record. */
export const pagesHeadBytes = (version: number): number => (version === 1 ? 8 : 16)
export const zerosHeadBytes = 8
/** Where the pages of a record begin in a stream that has its payload at an offset. */
export function pagesAt(payloadAt: number, headBytes: number, runCount: number): number {
  return Math.ceil((payloadAt + headBytes + runCount * 8) / pageBytes) * pageBytes
}
/** Where the sum is in the head of a pages record. */
export const pagesSumAt = 8

/** How the pages of a record are packed. */
export const Compression = {none: 0, zstd: 1} as const

/** Parts of the machine that are carried as they lie in memory. */
export const Block = {record: 1, vcpu: 2, grants: 3} as const
/** Raised when the bytes of a block change their meaning. */
export const blockVersion = 1

/** Raised when records change their meaning. */
export const streamVersion = 2

/** What a reader must know before anything else. Frame numbers are the guest's own, so they cannot move. */
export interface StreamStart {
  readonly stream: number
  /** CRC-32 of the save file's head, which has none of its own. */
  readonly head: number
  readonly ramPages: number
  readonly sharedInfo: number
  readonly grantFrames: number
  readonly m2p: number
  readonly frames: number
  /** Leaf 1 ECX and EDX, leaf 7 EBX of CPUID as the guest has seen them. */
  readonly cpu: readonly number[]
  /** Of a migration (control/migration-tokens.ts): the copy must take it before it runs. */
  readonly token?: string
}

/** Runs of frames, with what they are. */
export type FrameRuns = readonly (readonly [frame: number, count: number])[]

/** What is carried as values. */
export interface StreamState {
  readonly domid: number
  /** Guest time when it stopped. */
  readonly timeNs: number
  readonly storePage: number
  readonly consolePage: number
  /** Frames the domain has given back. */
  readonly absent: FrameRuns
  /** Pinned page tables: frame, level. */
  readonly pins: readonly (readonly [frame: number, level: number])[]
  /** Where vcpu_info lies, from frame 0 on. */
  readonly vcpuInfo: number
  readonly xenstore: XenstoreState
}

/** What a stream says beyond the pages. */
export interface StreamContents {
  readonly start: StreamStart
  readonly state: StreamState
  /** The blocks' bytes, by Block. */
  readonly blocks: ReadonlyMap<number, {version: number; bytes: Uint8Array}>
}
