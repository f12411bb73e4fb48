/**
 * Reads the parts of an ELF file that a domain builder needs: the header, the loadable segments, the notes, and sections by name.
 * Both classes are read, so that a 32-bit kernel can be refused by name; offsets below are those of each class.
 *
 *   e_ident      7f 45 4c 46, class (1: 32-bit, 2: 64-bit), data (1: little-endian)
 *   note         namesz, descsz, type (u32 each), name, desc; name and desc each padded to four bytes
 *
 * Rule of use: what is wrong in the file comes back as an ElfError whose message continues a sentence such as `kernel "x" ...`.
 * Virtual addresses are bigint; physical addresses and sizes are numbers, refused above 2^53.
 * Source: System V ABI, "Object Files"; ELF-64 Object File Format 1.5.
 */

/** What is wrong with an ELF file; a clause without subject. */
export class ElfError extends Error {
  override readonly name = 'ElfError'
}

/** e_machine values we can name. */
export const machineNames: Readonly<Record<number, string>> = {
  2: 'SPARC',
  3: '32-bit x86',
  8: 'MIPS',
  20: 'PowerPC',
  21: '64-bit PowerPC',
  22: 's390',
  40: '32-bit ARM',
  50: 'Itanium',
  62: 'x86-64',
  183: '64-bit ARM',
  243: 'RISC-V',
  258: 'LoongArch',
}

/** e_machine of 32-bit x86 and of x86-64. Source: elf.h EM_386, EM_X86_64. */
export const ElfMachine = {i386: 3, x86_64: 62} as const

/** A PT_LOAD segment. */
export interface ElfSegment {
  virtualAddress: bigint
  physicalAddress: number
  /** What the file has of it; the rest up to `memoryBytes` is zero. */
  data: Uint8Array
  memoryBytes: number
}

/** One entry of a note segment. */
export interface ElfNote {
  owner: string
  type: number
  description: Uint8Array
}

/** What was read of an ELF file. */
export interface ElfFile {
  is64: boolean
  machine: number
  entry: bigint
  segments: ElfSegment[]
  /** Of the note segments; of the note sections when there is no such segment. */
  notes: ElfNote[]
  /** The bytes of the first section of that name. */
  section(name: string): Uint8Array | undefined
}

const PT_LOAD = 1
const PT_NOTE = 4
const SHT_NOTE = 7
const SHT_NOBITS = 8

/** Offsets of the fields we read; `word` is the size of an address. */
const layouts = {
  32: {
    word: 4,
    header: {
      bytes: 52,
      entry: 24,
      phoff: 28,
      shoff: 32,
      phentsize: 42,
      phnum: 44,
      shentsize: 46,
      shnum: 48,
      shstrndx: 50,
    },
    segment: {bytes: 32, offset: 4, vaddr: 8, paddr: 12, filesz: 16, memsz: 20},
    section: {bytes: 40, name: 0, type: 4, offset: 16, size: 20},
  },
  64: {
    word: 8,
    header: {
      bytes: 64,
      entry: 24,
      phoff: 32,
      shoff: 40,
      phentsize: 54,
      phnum: 56,
      shentsize: 58,
      shnum: 60,
      shstrndx: 62,
    },
    segment: {bytes: 56, offset: 8, vaddr: 16, paddr: 24, filesz: 32, memsz: 40},
    section: {bytes: 64, name: 0, type: 4, offset: 24, size: 32},
  },
} as const

/** Whether the bytes start as an ELF file does. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46
}

/** Reads an ELF file of which `bytes` is the whole. Errors: ElfError. */
export function readElf(bytes: Uint8Array): ElfFile {
  if (!isElf(bytes)) throw new ElfError('is not an ELF file')
  if (bytes.length < 64) throw new ElfError(`ends inside its ELF header, after ${bytes.length} bytes`)
  if (bytes[4] !== 1 && bytes[4] !== 2) throw new ElfError(`has an unknown ELF class, ${bytes[4]}`)
  if (bytes[5] !== 1) throw new ElfError('is an ELF file of a big-endian machine')
  const is64 = bytes[4] === 2
  const layout = is64 ? layouts[64] : layouts[32]
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const address = (at: number) => (is64 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true)))
  const size = (at: number, what: string) => {
    const value = Number(address(at))
    if (!Number.isSafeInteger(value)) throw new ElfError(`has an impossible ${what} in its ELF headers`)
    return value
  }
  const table = (what: string, offset: number, entryBytes: number, count: number, leastBytes: number) => {
    if (count > 0 && entryBytes < leastBytes) throw new ElfError(`has ${what} headers of ${entryBytes} bytes`)
    return Array.from({length: count}, (_, index) => {
      const at = offset + index * entryBytes
      if (at + leastBytes > bytes.length) throw new ElfError(`ends before its ${what} headers`)
      return at
    })
  }
  const piece = (what: string, offset: number, length: number) => {
    if (offset + length <= bytes.length) return bytes.subarray(offset, offset + length)
    throw new ElfError(`is cut off: a ${what} goes to byte ${offset + length}, the file has ${bytes.length}`)
  }

  const {header, segment: ph, section: sh} = layout
  const programHeaders = table(
    'program',
    size(header.phoff, 'program header offset'),
    view.getUint16(header.phentsize, true),
    view.getUint16(header.phnum, true),
    ph.bytes,
  )
  const segments: ElfSegment[] = []
  const notes: ElfNote[] = []
  for (const at of programHeaders) {
    const type = view.getUint32(at, true)
    if (type !== PT_LOAD && type !== PT_NOTE) continue
    const data = piece('segment', size(at + ph.offset, 'segment offset'), size(at + ph.filesz, 'segment size'))
    if (type === PT_NOTE) {
      notes.push(...readNotes(data))
      continue
    }
    const memoryBytes = size(at + ph.memsz, 'segment size')
    if (memoryBytes < data.length) throw new ElfError('has a segment that is larger in the file than in memory')
    if (memoryBytes === 0) continue
    const physicalAddress = size(at + ph.paddr, 'physical address')
    segments.push({virtualAddress: address(at + ph.vaddr), physicalAddress, data, memoryBytes})
  }

  const sectionHeaders = () =>
    table(
      'section',
      size(header.shoff, 'section header offset'),
      view.getUint16(header.shentsize, true),
      view.getUint16(header.shnum, true),
      sh.bytes,
    )
  const contents = (at: number) =>
    view.getUint32(at + sh.type, true) === SHT_NOBITS
      ? new Uint8Array(0)
      : piece('section', size(at + sh.offset, 'section offset'), size(at + sh.size, 'section size'))
  if (notes.length === 0) {
    for (const at of sectionHeaders()) {
      if (view.getUint32(at + sh.type, true) === SHT_NOTE) notes.push(...readNotes(contents(at)))
    }
  }
  return {
    is64,
    machine: view.getUint16(18, true),
    entry: address(header.entry),
    segments,
    notes,
    section(name) {
      const headers = sectionHeaders()
      const nameTable = headers[view.getUint16(header.shstrndx, true)]
      if (nameTable === undefined) return undefined
      const names = contents(nameTable)
      const found = headers.find(at => textAt(names, view.getUint32(at + sh.name, true)) === name)
      return found === undefined ? undefined : contents(found)
    },
  }
}

function readNotes(data: Uint8Array): ElfNote[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const notes: ElfNote[] = []
  for (let at = 0; at + 12 <= data.length; ) {
    const nameBytes = view.getUint32(at, true)
    const descriptionBytes = view.getUint32(at + 4, true)
    const type = view.getUint32(at + 8, true)
    const descriptionAt = at + 12 + padded(nameBytes)
    if (descriptionAt + descriptionBytes > data.length) throw new ElfError('has a note that is cut off')
    notes.push({
      owner: textAt(data.subarray(at + 12, at + 12 + nameBytes), 0),
      type,
      description: data.subarray(descriptionAt, descriptionAt + descriptionBytes),
    })
    at = descriptionAt + padded(descriptionBytes)
  }
  return notes
}

function padded(length: number): number {
  return Math.ceil(length / 4) * 4
}

/** The text from `start` to the next NUL, or to the end. */
export function textAt(bytes: Uint8Array, start: number): string {
  const end = bytes.indexOf(0, start)
  return new TextDecoder('latin1').decode(bytes.slice(start, end < 0 ? bytes.length : end))
}
