/**
 * The PV domain builder: fills a new domain's memory so that its first vCPU can run the kernel's first instruction. Where things go
 * is layout.ts's; this file writes them: kernel, ramdisk, start_info, rings, page tables, P2M list.
 *
 * RAM is PFN 0 up to the domain's page count, and the MFN of a RAM page is its PFN. shared_info has an MFN of its own outside that
 * range. Page-table entries hold MFNs:
 *
 *   L1            present, writable, accessed (0x23); not writable when the page is one of our tables (0x21)
 *   L2, L3, L4    present, writable, user, accessed, dirty (0x67)
 *
 * Rule of use: RAM must be all zero on entry. The function is pure but for the memory it is given; nothing is kept.
 * Source: xen/include/public/xen.h (start_info, shared_info); tools/libs/guest xg_dom_x86.c.
 */

import type {EventPort, Mfn, Pfn} from '../base/brand.js'
import {bug, OperatorError} from '../base/errors.js'
import {bytes, i32, struct, u8, u16, u32, u53, u64} from '../base/struct.js'
import {fillHypercallPage} from '../hypervisor/hypercall-page.js'
import type {KernelImage} from './kernel-image.js'
import {type Layout, layOut, type PageRange, type TableSet} from './layout.js'

/** A domain's machine memory as the builder sees it. */
export interface MachineMemory {
  /** The whole linear memory that RAM is a part of. */
  readonly bytes: Uint8Array
  /** Where a page lies in `bytes`. RAM pages follow one another. */
  addressOf(mfn: Mfn): number
}

/** What is to be built. */
export interface BuildRequest {
  memory: MachineMemory
  kernel: KernelImage
  ramdisk?: Uint8Array
  cmdline: string
  /** RAM, in pages of 4 KiB. */
  ramPages: number
  /** MFN of the shared_info page, outside of RAM; the builder fills it. */
  sharedInfo: Mfn
  /** The guest's ports to xenstore and console; not 0, which would mean that it has none. */
  storePort: EventPort
  consolePort: EventPort
}

/** A domain that is ready to run. */
export interface BuiltDomain {
  readonly layout: Layout
  readonly startInfo: Mfn
  readonly store: Mfn
  readonly console: Mfn
  readonly sharedInfo: Mfn
  /** What CR3 holds first, as an MFN; the hypervisor pins it as a level-4 table. */
  readonly level4: Mfn
  /** Every page-table page there is, with its level. */
  readonly pageTables: ReadonlyArray<{readonly mfn: Mfn; readonly level: 1 | 2 | 3 | 4}>
  /** First values of vCPU 0; the other general registers are 0. rsi is the address of start_info. */
  readonly rip: bigint
  readonly rsp: bigint
  readonly rsi: bigint
}

/** start_info.cmd_line holds this many characters and a NUL. */
export const longestCmdline = 1023

/** Source: public/xen.h struct start_info, for x86-64. */
export const StartInfo = struct({
  magic: bytes(32),
  nrPages: u53,
  sharedInfo: u53,
  flags: u32,
  storeMfn: u53,
  storePort: u32,
  consoleMfn: u53,
  consolePort: u32,
  ptBase: u64,
  nrPtFrames: u53,
  mfnList: u64,
  modStart: u64,
  modLen: u53,
  cmdLine: bytes(longestCmdline + 1),
  firstP2mPfn: u53,
  nrP2mFrames: u53,
})

/** Bits of start_info.flags. */
export const StartInfoFlag = {
  modStartPfn: 8, // SIF_MOD_START_PFN
} as const

/** What the builder fills of shared_info. Source: public/xen.h struct vcpu_info. */
const VcpuInfo = struct({
  upcallPending: u8,
  upcallMask: u8,
  padding: u16,
  padding2: i32,
  pendingSel: u64,
  arch: bytes(16),
  time: bytes(32),
})
const legacyMaxVcpus = 32 // XEN_LEGACY_MAX_VCPUS
/** xencons_interface.connection, and its value for "nobody is connected". */
const consoleConnection = {offset: 3088, disconnected: 1} // XENCONSOLE_DISCONNECTED

const pageBytes = 4096
const leafEntry = 0x23
const readOnlyLeafEntry = 0x21
const tableEntry = 0x67

/**
 * Builds the domain.
 * Errors: OperatorError when the memory is too small for kernel and ramdisk, or the command line is too long.
 */
export function buildDomain(request: BuildRequest): BuiltDomain {
  const {memory, kernel, ramdisk, ramPages, sharedInfo} = request
  const cmdline = new TextEncoder().encode(request.cmdline)
  if (cmdline.length > longestCmdline) {
    throw new OperatorError(`the kernel command line has ${cmdline.length} bytes; a PV guest takes ${longestCmdline}`, {
      hint: 'shorten "cmdline", "root" or "extra"',
      exitCode: 3,
    })
  }
  if (sharedInfo < ramPages) bug(`shared_info has MFN ${sharedInfo} inside RAM of ${ramPages} pages`)
  const layout = layOut(kernel, ramPages, ramdisk?.length ?? 0)
  const address = (pfn: Pfn) => memory.addressOf(mfnOf(pfn))

  loadKernel(memory.bytes, address(0 as Pfn), kernel)
  if (ramdisk !== undefined && layout.ramdisk !== undefined) memory.bytes.set(ramdisk, address(layout.ramdisk.first))
  const view = new DataView(memory.bytes.buffer, memory.bytes.byteOffset, memory.bytes.byteLength)
  writeP2M(view, address(layout.p2mList.first), ramPages)
  const tables = new TableWriter(view, address, layout)
  tables.map(layout.initial, 0)
  if (layout.p2m !== undefined) tables.map(layout.p2m, layout.p2mList.first)

  memory.bytes.fill(0, address(layout.startInfo), address(layout.startInfo) + pageBytes)
  StartInfo.write(view, address(layout.startInfo), startInfo(request, layout, cmdline))
  view.setUint8(address(layout.console) + consoleConnection.offset, consoleConnection.disconnected)
  const shared = memory.addressOf(sharedInfo)
  memory.bytes.fill(0, shared, shared + pageBytes)
  for (let vcpu = 0; vcpu < legacyMaxVcpus; vcpu++) {
    view.setUint8(shared + vcpu * VcpuInfo.size + VcpuInfo.offset.upcallMask, 1)
  }

  return {
    layout,
    startInfo: mfnOf(layout.startInfo),
    store: mfnOf(layout.store),
    console: mfnOf(layout.console),
    sharedInfo,
    level4: mfnOf(layout.level4),
    pageTables: [...tablePages(layout)],
    rip: kernel.entry,
    rsp: virtualAddress(kernel, layout.bootStack + 1),
    rsi: virtualAddress(kernel, layout.startInfo),
  }
}

/** In a new domain a RAM page's MFN is its PFN. */
function mfnOf(pfn: Pfn): Mfn {
  return pfn as number as Mfn
}

/** Where the initial mapping has that page. */
function virtualAddress(kernel: KernelImage, pfn: number): bigint {
  return kernel.virtBase + BigInt(pfn) * BigInt(pageBytes)
}

function loadKernel(ram: Uint8Array, ramAddress: number, kernel: KernelImage): void {
  for (const {physicalAddress, data} of kernel.segments) {
    ram.set(data, ramAddress + physicalAddress - Number(kernel.paddrOffset))
  }
  if (kernel.hypercallPage !== undefined) {
    const at = ramAddress + Number(kernel.hypercallPage - kernel.virtBase)
    fillHypercallPage(ram.subarray(at, at + pageBytes))
  }
}

function startInfo(request: BuildRequest, layout: Layout, cmdLine: Uint8Array) {
  const {kernel, ramdisk} = request
  const {ramdisk: module, p2m, p2mList} = layout
  return {
    magic: new TextEncoder().encode('xen-3.0-x86_64'),
    nrPages: layout.ramPages,
    sharedInfo: request.sharedInfo * pageBytes,
    flags: module !== undefined && kernel.modStartPfn ? StartInfoFlag.modStartPfn : 0,
    storeMfn: mfnOf(layout.store),
    storePort: request.storePort,
    consoleMfn: mfnOf(layout.console),
    consolePort: request.consolePort,
    ptBase: virtualAddress(kernel, layout.level4),
    nrPtFrames: layout.initialTables.pages,
    mfnList: p2m?.from ?? virtualAddress(kernel, p2mList.first),
    modStart:
      module === undefined ? 0n : kernel.modStartPfn ? BigInt(module.first) : virtualAddress(kernel, module.first),
    modLen: ramdisk === undefined || module === undefined ? 0 : module.pages * pageBytes,
    cmdLine,
    firstP2mPfn: p2m === undefined ? 0 : p2mList.first,
    nrP2mFrames: p2m === undefined ? 0 : p2mList.pages + p2m.level3.pages + p2m.level2.pages + p2m.level1.pages,
  }
}

function writeP2M(view: DataView, at: number, ramPages: number): void {
  for (let pfn = 0; pfn < ramPages; pfn++) view.setUint32(at + pfn * 8, pfn, true)
}

function* tablePages(layout: Layout): Generator<{mfn: Mfn; level: 1 | 2 | 3 | 4}> {
  yield {mfn: mfnOf(layout.level4), level: 4}
  for (const set of [layout.initial, layout.p2m]) {
    if (set === undefined) continue
    for (const [level, range] of [[3, set.level3] as const, [2, set.level2] as const, [1, set.level1] as const]) {
      for (let index = 0; index < range.pages; index++) yield {mfn: mfnOf((range.first + index) as Pfn), level}
    }
  }
}

/** Fills page tables that lie where the layout has them. */
class TableWriter {
  private readonly tables: ReadonlySet<Mfn>

  constructor(
    private readonly view: DataView,
    private readonly address: (pfn: Pfn) => number,
    private readonly layout: Layout,
  ) {
    this.tables = new Set([...tablePages(layout)].map(table => table.mfn))
  }

  /** Maps the set's range, page by page, to the pages from `firstPfn` on. */
  map(set: TableSet, firstPfn: number): void {
    this.link({first: this.layout.level4, pages: 1}, set.level3, set.from, 39n)
    this.link(set.level3, set.level2, set.from, 30n)
    this.link(set.level2, set.level1, set.from, 21n)
    const pages = Number((set.to - set.from) / BigInt(pageBytes))
    // Tables of one level follow one another, so their entries are one long array.
    const start = this.address(set.level1.first) + Number((set.from >> 12n) & 511n) * 8
    for (let index = 0; index < pages; index++) {
      const mfn = mfnOf((firstPfn + index) as Pfn)
      this.writeEntry(start + index * 8, mfn, this.tables.has(mfn) ? readOnlyLeafEntry : leafEntry)
    }
  }

  /** Enters the tables of one level into those of the level above; `shift` is what one entry there covers. */
  private link(above: PageRange, below: PageRange, from: bigint, shift: bigint): void {
    const start = this.address(above.first) + Number((from >> shift) & 511n) * 8
    for (let index = 0; index < below.pages; index++) {
      this.writeEntry(start + index * 8, mfnOf((below.first + index) as Pfn), tableEntry)
    }
  }

  private writeEntry(at: number, mfn: Mfn, flags: number): void {
    this.view.setUint32(at, ((mfn << 12) | flags) >>> 0, true)
    this.view.setUint32(at + 4, mfn >>> 20, true)
  }
}
