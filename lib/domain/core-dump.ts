/**
 * A guest's core: its memory and registers in a file, for a person with a debugger (abi/core-dump.ts has the format). The guest stands still
 * meanwhile. The file appears under its name when it is whole; pages of zeros are holes in it.
 */
import type {FileHandle} from 'node:fs/promises'
import {
  CoreHeader,
  CoreNote,
  coreFormatVersion,
  coreMagic,
  coreVersionBytes,
  GuestContext,
  GuestContextFlag,
  generalRegisterOrder,
} from '../abi/core-dump.js'
import {OperatorError} from '../base/errors.js'
import {FrameType} from '../hypervisor/frame-types.js'
import {PageTables} from '../hypervisor/page-tables.js'
import {field, MachineRecord} from '../hypervisor/record.js'
import {materialiseFlags} from '../x86/flags.js'
import {Segment, state} from '../x86/state.js'
import {ElfMachine} from './elf.js'
import type {Guest, Machine} from './guest.js'
import {type NoteDraft, writeWhole} from './whole-file.js'

const pageBytes = 4096
const [headerBytes, sectionHeaderBytes] = [64, 64]
const coreFile = 4
/** Pages written in one go. */
const mostAtOnce = 256
const SectionType = {bits: 1, names: 3, notes: 7} as const

interface Section {
  readonly name: string
  readonly type: number
  readonly entryBytes: number
  readonly bytes: Uint8Array
}

/** The cores a domain writes. */
export class CoreDumps {
  private over = new AbortController()
  private writing: Promise<void> = Promise.resolve()

  constructor(private readonly noteDraft: NoteDraft) {}

  /** Writes one; a guest that runs is parked meanwhile. Errors: OperatorError. */
  async write(guest: Guest, runs: boolean, path: string): Promise<void> {
    const {signal} = this.over
    const work = this.writing.then(async () => {
      const fill = (file: FileHandle) => writeContents(guest.machine, file, signal)
      if (!runs) return writeWhole(path, this.noteDraft, signal, fill)
      try {
        await guest.park('core')
        await writeWhole(path, this.noteDraft, signal, fill)
      } finally {
        guest.release('core')
      }
    })
    this.writing = work.catch(() => {})
    return work
  }

  /** The guest is about to end: what is being written is given up. Resolves when nothing of it is left. */
  async abandon(): Promise<void> {
    this.over.abort(new OperatorError('the domain has ended'))
    await this.writing
    this.over = new AbortController()
  }
}

async function writeContents(machine: Machine, file: FileHandle, signal: AbortSignal): Promise<void> {
  const {memory, layout} = machine
  const pages = presentPages(machine)
  const shared = layout.ramBase + layout.sharedInfo * pageBytes
  const sections: Section[] = [
    {name: '.note.Xen', type: SectionType.notes, entryBytes: 0, bytes: notes(pages.length)},
    {name: '.xen_prstatus', type: SectionType.bits, entryBytes: GuestContext.bytes, bytes: guestContext(machine)},
    {
      name: '.xen_shared_info',
      type: SectionType.bits,
      entryBytes: pageBytes,
      bytes: memory.bytes.slice(shared, shared + pageBytes),
    },
    {name: '.xen_p2m', type: SectionType.bits, entryBytes: 16, bytes: new Uint8Array(pages.flat().length * 8)},
  ]
  const p2m = new BigUint64Array(sections[3].bytes.buffer)
  for (const [index, number] of pages.flat().entries()) p2m[index] = BigInt(number)
  const {head, pagesAt} = layOut(sections, pages.length * pageBytes)
  await file.write(head, 0, head.length, 0)
  await file.truncate(pagesAt + pages.length * pageBytes)
  const isEmpty = (mfn: number): boolean => {
    const at = (layout.ramBase + mfn * pageBytes) >>> 2
    return memory.uint32.subarray(at, at + pageBytes / 4).every(word => word === 0)
  }
  for (let first = 0, last = 0; first < pages.length; first = last) {
    signal.throwIfAborted()
    const mfn = pages[first][1]
    last = first + 1
    if (isEmpty(mfn)) continue
    while (last - first < mostAtOnce && pages[last]?.[1] === mfn + last - first && !isEmpty(pages[last][1])) last++
    const at = layout.ramBase + mfn * pageBytes
    const bytes = memory.bytes.slice(at, at + (last - first) * pageBytes)
    await file.write(bytes, 0, bytes.length, pagesAt + first * pageBytes)
  }
}

/** The pages the guest has, by its own numbers: pfn and mfn. */
function presentPages({memory, layout}: Machine): [pfn: number, mfn: number][] {
  const {types} = new PageTables(memory, layout, new MachineRecord(memory))
  const m2p = layout.ramBase + layout.m2p * pageBytes
  const pages: [number, number][] = []
  for (let mfn = 0; mfn < layout.ramPages; mfn++) {
    const pfn = memory.uint32[(m2p >>> 2) + mfn * 2]
    if (types.typeOf(mfn) !== FrameType.absent && pfn < layout.ramPages) pages.push([pfn, mfn])
  }
  return pages.sort(([a], [b]) => a - b)
}

/** Header, section headers and all sections but the pages, which begin at a page of the file. */
function layOut(sections: readonly Section[], pagesBytes: number): {head: Uint8Array; pagesAt: number} {
  const names = Buffer.from(`\0.shstrtab\0${sections.map(({name}) => name).join('\0')}\0.xen_pages\0`)
  const parts = [{name: '.shstrtab', type: SectionType.names, entryBytes: 0, bytes: names}, ...sections]
  const count = parts.length + 2
  const place = (at: number, bytes: number) => at + Math.ceil(bytes / 8) * 8
  const ends = headerBytes + count * sectionHeaderBytes + parts.reduce((sum, {bytes}) => place(sum, bytes.length), 0)
  const pagesAt = Math.ceil(ends / pageBytes) * pageBytes
  const head = Buffer.alloc(pagesAt)
  head.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  head.writeUInt16LE(coreFile, 16)
  head.writeUInt16LE(ElfMachine.x86_64, 18)
  head.writeUInt32LE(1, 20)
  head.writeBigUInt64LE(BigInt(headerBytes), 40)
  head.writeUInt16LE(headerBytes, 52)
  head.writeUInt16LE(sectionHeaderBytes, 58)
  head.writeUInt16LE(count, 60)
  head.writeUInt16LE(1, 62)
  const describe = (index: number, name: string, type: number, at: number, bytes: number, entryBytes: number) => {
    const header = headerBytes + index * sectionHeaderBytes
    head.writeUInt32LE(names.indexOf(`\0${name}\0`) + 1, header)
    head.writeUInt32LE(type, header + 4)
    head.writeBigUInt64LE(BigInt(at), header + 24)
    head.writeBigUInt64LE(BigInt(bytes), header + 32)
    head.writeBigUInt64LE(8n, header + 48)
    head.writeBigUInt64LE(BigInt(entryBytes), header + 56)
  }
  let at = headerBytes + count * sectionHeaderBytes
  for (const [index, {name, type, bytes, entryBytes}] of parts.entries()) {
    describe(index + 1, name, type, at, bytes.length, entryBytes)
    head.set(bytes, at)
    at = place(at, bytes.length)
  }
  describe(count - 1, '.xen_pages', SectionType.bits, pagesAt, pagesBytes, pageBytes)
  return {head, pagesAt}
}

function notes(pages: number): Buffer {
  const header = new Uint8Array(CoreHeader.size)
  const record = {magic: coreMagic, vcpus: 1n, pages: BigInt(pages), pageBytes: BigInt(pageBytes)}
  CoreHeader.write(new DataView(header.buffer), 0, record)
  const version = Buffer.alloc(coreVersionBytes)
  version.writeBigUInt64LE(4n, 0)
  version.writeBigUInt64LE(17n, 8)
  version.write('.0-gastwirt', 16)
  version.write('xen-3.0-x86_64 ', 176)
  version.writeBigUInt64LE(0xffff800000000000n, 1264)
  version.writeBigUInt64LE(BigInt(pageBytes), 1272)
  const format = Buffer.alloc(8)
  format.writeBigUInt64LE(coreFormatVersion)
  return Buffer.concat([
    note(CoreNote.none, new Uint8Array()),
    note(CoreNote.header, header),
    note(CoreNote.xenVersion, version),
    note(CoreNote.formatVersion, format),
  ])
}

function note(type: number, description: Uint8Array): Buffer {
  const head = Buffer.alloc(16)
  head.writeUInt32LE(4, 0)
  head.writeUInt32LE(description.length, 4)
  head.writeUInt32LE(type, 8)
  head.write('Xen\0', 12)
  return Buffer.concat([head, description])
}

/** The vCPU's registers, but for those of its FPU. */
function guestContext({memory, layout}: Machine): Uint8Array {
  const bytes = new Uint8Array(GuestContext.bytes)
  const view = new DataView(bytes.buffer)
  const record = new MachineRecord(memory)
  const cpu = layout.vcpuBase
  const word = (at: number) => memory.view.getBigUint64(cpu + at, true)
  const put = (at: number, value: bigint | number) => view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true)
  const inKernel = record.u32(field.kernelMode) === 1
  put(GuestContext.flags, GuestContextFlag.online | (inKernel ? GuestContextFlag.inKernel : 0n))
  for (const [index, register] of generalRegisterOrder.entries())
    put(GuestContext.generalRegisters + index * 8, word(state.gpr + register * 8))
  put(GuestContext.rip, word(state.rip))
  put(GuestContext.rflags, word(state.rflags) | BigInt(materialiseFlags(memory, cpu)))
  put(GuestContext.rsp, word(state.gpr + 4 * 8))
  bytes[GuestContext.upcallMask] = memory.bytes[record.u32(field.vcpuInfo) + 1]
  const selector = (segment: number) => memory.view.getUint16(cpu + state.selector + segment * 2, true)
  view.setUint16(GuestContext.cs, selector(Segment.cs), true)
  for (const [index, segment] of [Segment.ss, Segment.es, Segment.ds, Segment.fs, Segment.gs].entries())
    view.setUint16(GuestContext.ss + index * 8, selector(segment), true)
  for (let vector = 0; vector < 256; vector++) {
    const at = field.traps + vector * 16
    if (memory.uint32[(at + 12) >> 2] === 0) continue
    bytes[GuestContext.traps + vector * 16] = vector
    bytes[GuestContext.traps + vector * 16 + 1] = memory.bytes[at + 8]
    put(GuestContext.traps + vector * 16 + 8, memory.uint64[at >> 3])
  }
  put(GuestContext.ldtBase, record.u64(field.ldtBase))
  put(GuestContext.ldtEntries, record.u32(field.ldtEntries))
  const gdtEntries = record.u32(field.gdtEntries)
  for (let index = 0; index < Math.ceil(gdtEntries / 512); index++)
    put(GuestContext.gdtFrames + index * 8, memory.uint32[(field.gdtFrames >> 2) + index])
  put(GuestContext.gdtEntries, gdtEntries)
  put(GuestContext.kernelSs, record.u32(field.kernelSs))
  put(GuestContext.kernelSp, record.u64(field.kernelSp))
  put(GuestContext.control, word(state.cr0))
  put(GuestContext.control + 8, Math.max(0, record.f64(field.userRoot)))
  put(GuestContext.control + 24, record.f64(field.kernelRoot))
  put(GuestContext.control + 32, word(state.cr4))
  for (let index = 0; index < 8; index++) put(GuestContext.debug + index * 8, memory.uint64[(field.debug >> 3) + index])
  for (let index = 0; index < 3; index++)
    put(GuestContext.eventCallback + index * 8, memory.uint64[(field.callbacks >> 3) + index * 2])
  put(GuestContext.vmAssist, record.u32(field.vmAssist))
  const [gs, otherGs] = [word(state.segmentBase + Segment.gs * 8), word(state.inactiveGsBase)]
  put(GuestContext.fsBase, word(state.segmentBase + Segment.fs * 8))
  put(GuestContext.kernelGsBase, inKernel ? gs : otherGs)
  put(GuestContext.userGsBase, inKernel ? otherGs : gs)
  return bytes
}
