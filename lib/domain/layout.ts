/**
 * Where everything of a new PV domain goes: pure arithmetic, no memory. PFNs are handed out from 0 upward in this order:
 *
 *   padding up to the kernel · kernel · ramdisk and P2M list (older kernels only) · start_info · xenstore ring · console ring ·
 *   page tables (L4, L3s, L2s, L1s) · boot stack · rest of the initial mapping · ramdisk · P2M list and its tables
 *
 * The initial mapping starts at the kernel's VIRT_BASE and ends at the least multiple of 4 MiB that leaves 512 KiB free behind the
 * boot stack. A kernel with MOD_START_PFN gets its ramdisk behind that mapping, unmapped; one with INIT_P2M gets the P2M list there
 * too, mapped at the address it asks for by tables of its own under the same L4.
 *
 * Source: tools/libs/guest xg_dom_core.c, xg_dom_x86.c.
 */
import type {Pfn} from '../base/brand.js'
import {OperatorError} from '../base/errors.js'
import type {KernelImage} from './kernel-image.js'

/** Pages that follow one another. */
export interface PageRange {
  readonly first: Pfn
  readonly pages: number
}

/** The tables that map one range of addresses; each level's pages follow one another. */
export interface TableSet {
  /** The range mapped. */
  readonly from: bigint
  readonly to: bigint
  readonly level3: PageRange
  readonly level2: PageRange
  readonly level1: PageRange
}

/** The places of a new domain. */
export interface Layout {
  readonly ramPages: number
  readonly kernel: PageRange
  readonly ramdisk?: PageRange
  readonly startInfo: Pfn
  readonly store: Pfn
  readonly console: Pfn
  readonly level4: Pfn
  readonly initial: TableSet
  /** L4 and the tables of the initial mapping, as start_info counts them. */
  readonly initialTables: PageRange
  readonly bootStack: Pfn
  readonly p2mList: PageRange
  /** Only when the P2M list lies at INIT_P2M. */
  readonly p2m?: TableSet
  /** Pages that all of this takes, from PFN 0 on. */
  readonly usedPages: number
}

const pageBytes = 4096n
const fourMiB = 4n << 20n
/** The boot stack and the 512 KiB that must be free behind it. */
const sparePages = 129

/**
 * The places of a domain of `ramPages` with this kernel and a ramdisk of `ramdiskBytes` (0: none).
 * Errors: OperatorError when the memory does not hold them.
 */
export function layOut(kernel: KernelImage, ramPages: number, ramdiskBytes: number): Layout {
  const layout = place(kernel, ramPages, ramdiskBytes)
  if (layout.usedPages <= ramPages) return layout
  // The P2M list grows with the memory, so the least memory is found by asking again with what was needed.
  let least = 0
  for (let needed = place(kernel, 0, ramdiskBytes).usedPages; needed > least; ) {
    least = needed
    needed = place(kernel, least, ramdiskBytes).usedPages
  }
  const parts = [`kernel "${kernel.name}" of ${mebibytes(layout.kernel.pages)} MiB`]
  if (layout.kernel.first > 0) parts[0] += ` loaded at ${mebibytes(layout.kernel.first)} MiB`
  if (ramdiskBytes > 0) parts.push(`a ramdisk of ${Math.ceil(ramdiskBytes / 2 ** 20)} MiB`)
  parts.push('the first page tables')
  throw new OperatorError(
    `memory of ${Math.floor(ramPages / 256)} MiB does not hold ${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`,
    {hint: `they fit in memory = ${mebibytes(least)} or more; the kernel needs some more to run`, exitCode: 3},
  )
}

function place(kernel: KernelImage, ramPages: number, ramdiskBytes: number): Layout {
  const ramdiskPages = Math.ceil(ramdiskBytes / 4096)
  const p2mPages = Math.ceil(ramPages / 512)
  let next = 0
  const take = (pages: number): PageRange => {
    const first = next as Pfn
    next += pages
    return {first, pages}
  }
  take(Number((kernel.start - kernel.virtBase) / pageBytes))
  const kernelRange = take(Number((kernel.end - kernel.start) / pageBytes))
  let ramdisk: PageRange | undefined
  if (ramdiskPages > 0 && !kernel.modStartPfn) ramdisk = take(ramdiskPages)
  let p2mList: PageRange | undefined
  if (kernel.initP2M === undefined) p2mList = take(p2mPages)
  const startInfo = take(1).first
  const store = take(1).first
  const console = take(1).first

  const from = kernel.virtBase
  let tablePages = 0
  let to = from
  for (let spare = sparePages; ; spare = tablePages + sparePages) {
    const needed = from + BigInt(next + spare) * pageBytes
    to = ((needed + fourMiB - 1n) / fourMiB) * fourMiB
    const grown = countTables(from, to)
    tablePages = 1 + grown.level3 + grown.level2 + grown.level1
    if (from + BigInt(next + tablePages + sparePages) * pageBytes <= to) break
  }
  const firstTable = next as Pfn
  const level4 = take(1).first
  const initial = takeTables(from, to, take)
  const bootStack = take(1).first
  take(Number((to - from) / pageBytes) - next)

  if (ramdiskPages > 0 && kernel.modStartPfn) ramdisk = take(ramdiskPages)
  let p2m: TableSet | undefined
  if (p2mList === undefined) {
    p2mList = take(p2mPages)
    const at = kernel.initP2M ?? 0n
    p2m = takeTables(at, at + BigInt(Math.max(1, p2mPages)) * pageBytes, take)
  }
  return {
    ramPages,
    kernel: kernelRange,
    ...(ramdisk === undefined ? {} : {ramdisk}),
    startInfo,
    store,
    console,
    level4,
    initial,
    initialTables: {first: firstTable, pages: tablePages},
    bootStack,
    p2mList,
    ...(p2m === undefined ? {} : {p2m}),
    usedPages: next,
  }
}

/** How many tables of each level the addresses from `from` up to `to` need. */
function countTables(from: bigint, to: bigint) {
  const touched = (shift: bigint) => Number(((to - 1n) >> shift) - (from >> shift)) + 1
  return {level3: touched(39n), level2: touched(30n), level1: touched(21n)}
}

function takeTables(from: bigint, to: bigint, take: (pages: number) => PageRange): TableSet {
  const count = countTables(from, to)
  return {from, to, level3: take(count.level3), level2: take(count.level2), level1: take(count.level1)}
}

function mebibytes(pages: number): number {
  return Math.ceil(pages / 256)
}
