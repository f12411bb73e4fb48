/**
 * The 4-level page walk with accessed and dirty bits. Entries are read as two 32-bit halves; frame numbers of a domain stay below 2^20,
 * so an entry whose frame has higher bits can only be a reserved-bit fault.
 *
 *   linear address  | 47–39 L4 | 38–30 L3 | 29–21 L2 | 20–12 L1 | 11–0 offset |
 *
 * Source: SDM vol. 3A 4.5 (4-level paging), 4.6 (access rights), 4.7 (page-fault error code).
 */
import type {LinearMemory} from '../memory.js'

/** Bits of a page-table entry's low half. */
export const Pte = {present: 1, writable: 2, user: 4, accessed: 0x20, dirty: 0x40, large: 0x80} as const

/** Bits of the page-fault error code. */
export const PageFault = {protection: 1, write: 2, user: 4, reserved: 8, fetch: 16} as const

export type Access = 'read' | 'write' | 'fetch'

/** What a walk needs to know of the machine. */
export interface WalkContext {
  /** Byte offset of machine frame 0 in linear memory, and how many frames a page table may name. */
  readonly frameBase: number
  readonly frameCount: number
  /** Byte offset of a table with one byte per frame: 1 = written to. */
  readonly dirtyFrames: number
  /** Frame of the level-4 table; one beyond frameCount for none. */
  root: number
  user: boolean
  /** CR0.WP: the supervisor honours read-only pages. */
  writeProtect: boolean
}

/** Result of the last successful walk; reused, not allocated per walk. */
export const walked = {
  /** Byte offset in linear memory of the 4 KiB page. */
  page: 0,
  /** Machine frame of the page. */
  mfn: 0,
  writable: false,
  dirty: false,
}

/**
 * Walks the tables for the page of a canonical linear address. Returns 0 and fills `walked`, or a page-fault error code with
 * bit 31 set. A successful walk sets A on every level, and D on the leaf for a write; frames so written to are marked, the page of a write too.
 */
export function walk(memory: LinearMemory, context: WalkContext, low: number, high: number, access: Access): number {
  const {bytes, uint32} = memory
  const {user} = context
  const base =
    (access === 'write' ? PageFault.write : 0) |
    (user ? PageFault.user : 0) |
    (access === 'fetch' ? PageFault.fetch : 0) |
    0x80000000
  let table = context.root
  let rights = Pte.writable | Pte.user
  let noExecute = 0
  for (let level = 4; ; level--) {
    const shift = 12 + 9 * (level - 1)
    const index =
      shift >= 32
        ? (high >>> (shift - 32)) & 511
        : shift === 30
          ? ((low >>> 30) | (high << 2)) & 511
          : (low >>> shift) & 511
    if (table >= context.frameCount) return level === 4 ? base : base | PageFault.protection | PageFault.reserved
    const at = ((context.frameBase + table * 4096) >>> 2) + index * 2
    const entry = uint32[at]
    const entryHigh = uint32[at + 1]
    if ((entry & Pte.present) === 0) return base
    rights &= entry
    noExecute |= entryHigh >>> 31
    const frame = (entry >>> 12) + (entryHigh & 0xfffff) * 0x100000
    const leaf = level === 1 || ((entry & Pte.large) !== 0 && level < 4)
    if (!leaf) {
      if ((entry & Pte.accessed) === 0) {
        uint32[at] = entry | Pte.accessed
        bytes[context.dirtyFrames + table] = 1
      }
      table = frame
      continue
    }
    if (user && (rights & Pte.user) === 0) return base | PageFault.protection
    if (access === 'fetch' && noExecute) return base | PageFault.protection
    const writable = (rights & Pte.writable) !== 0 || (!user && !context.writeProtect)
    const marks = Pte.accessed | (access === 'write' && writable ? Pte.dirty : 0)
    // A large page's frame field starts at its own size; the low bits come from the address.
    const inside = level === 1 ? 0 : level === 2 ? (low >>> 12) & 0x1ff : (low >>> 12) & 0x3ffff
    walked.mfn =
      level === 1 ? frame : (level === 2 ? Math.floor(frame / 512) * 512 : Math.floor(frame / 262144) * 262144) + inside
    if (walked.mfn >= context.frameCount) return base | PageFault.protection | PageFault.reserved
    walked.page = context.frameBase + walked.mfn * 4096
    walked.writable = writable
    if (access === 'write' && !writable) return base | PageFault.protection
    if ((entry & marks) !== marks) {
      uint32[at] = entry | marks
      bytes[context.dirtyFrames + table] = 1
    }
    if (access === 'write') bytes[context.dirtyFrames + walked.mfn] = 1
    walked.dirty = ((entry | marks) & Pte.dirty) !== 0
    return 0
  }
}
