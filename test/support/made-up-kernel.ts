/**
 * Kernels made up by tests: a small ELF file with Xen notes, and a bzImage around anything. By default the ELF file is one that a PV
 * domain builder accepts; each test says what is different. Its contents are the same in every run, because packed copies of it lie
 * in test/domain/fixtures.
 */

/** What a made-up ELF file has. */
export interface MadeUpElf {
  is64?: boolean
  machine?: number
  entry?: bigint
  segments?: Array<{vaddr?: bigint; paddr: number; data: Uint8Array; memoryBytes?: number}>
  /** Xen notes by type: number (8 bytes wide), text or bytes. */
  notes?: Record<number, bigint | string | Uint8Array>
  /** Put notes into a section instead of a segment. */
  notesInSection?: boolean
  /** The text of a section __xen_guest. */
  xenGuest?: string
}

export const virtBase = 0xffffffff80000000n

/** The notes of a Linux kernel of our days. */
export const linuxNotes: Readonly<Record<number, bigint | string | Uint8Array>> = {
  1: virtBase + 0x1000040n, // ENTRY
  3: virtBase, // VIRT_BASE
  4: 0n, // PADDR_OFFSET
  5: 'xen-3.0',
  6: 'linux',
  7: '2.6',
  8: 'generic',
  9: 'yes',
  10: '!writable_page_tables|pae_pgdir_above_4gb',
  14: Uint8Array.of(1, 0, 0, 0), // SUSPEND_CANCEL
  15: 0x8000000000n, // INIT_P2M
  16: Uint8Array.of(1, 0, 0, 0), // MOD_START_PFN
  17: Uint8Array.of(1, 0x88, 0, 0), // SUPPORTED_FEATURES
}

/** The notes of {@link linuxNotes} with some changed; undefined takes one away. */
export function notesWith(
  changes: Record<number, bigint | string | Uint8Array | undefined>,
): Record<number, bigint | string | Uint8Array> {
  const notes: Record<number, bigint | string | Uint8Array> = {...linuxNotes}
  for (const [type, value] of Object.entries(changes)) {
    if (value === undefined) delete notes[Number(type)]
    else notes[Number(type)] = value
  }
  return notes
}

/** Bytes with calls, runs, text that repeats and a stretch that does not: something for each branch of a decompressor. */
export function madeUpContents(length = 200_000): Uint8Array {
  const bytes = new Uint8Array(length)
  let seed = 12345
  const random = () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
    return seed >>> 16
  }
  for (let at = 0; at < length; ) {
    const kind = at > length * 0.6 && at < length * 0.65 ? 4 : random() % 4
    if (kind === 0) {
      const end = Math.min(length, at + 5 + (random() % 600))
      bytes.fill(random() % 3, at, end)
      at = end
    } else if (kind === 1) {
      for (let count = random() % 40; count > 0 && at + 5 < length; count--) {
        bytes[at] = 0xe8 + (random() & 1)
        new DataView(bytes.buffer).setInt32(at + 1, (0x1000 * (random() % 4) - at) | 0, true)
        at += 5 + (random() % 3)
      }
    } else if (kind === 2) {
      for (const letter of `a made-up kernel says ${random() % 100}; `)
        if (at < length) bytes[at++] = letter.charCodeAt(0)
    } else {
      for (let count = 12; count > 0 && at < length; count--) bytes[at++] = random()
    }
  }
  return bytes
}

/** An ELF file. */
export function makeElf(options: MadeUpElf = {}): Uint8Array {
  const {is64 = true, machine = 62, notes = linuxNotes, notesInSection = false, xenGuest} = options
  const segments = options.segments ?? [{paddr: 0x1000000, data: madeUpContents(), memoryBytes: 0x40000}]
  const noteBytes = Buffer.concat(Object.entries(notes).map(([type, value]) => note(Number(type), value)))
  const hasNoteSegment = !notesInSection && noteBytes.length > 0
  const headerCount = segments.length + (hasNoteSegment ? 1 : 0)
  const [headerBytes, entryBytes, sectionBytes] = is64 ? [64, 56, 64] : [52, 32, 40]
  const parts: Buffer[] = [Buffer.alloc(headerBytes + headerCount * entryBytes)]
  let length = parts[0].length
  const append = (data: Uint8Array) => {
    const at = length
    const filled = Buffer.concat([data, new Uint8Array(-data.length & 7)])
    parts.push(filled)
    length += filled.length
    return at
  }
  const header = parts[0]
  const word = (target: Buffer, at: number, value: bigint | number) => {
    if (is64) target.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), at)
    else target.writeUInt32LE(Number(BigInt.asUintN(32, BigInt(value))), at)
  }
  const size = is64 ? 8 : 4
  header.set([0x7f, 0x45, 0x4c, 0x46, is64 ? 2 : 1, 1, 1])
  header.writeUInt16LE(2, 16)
  header.writeUInt16LE(machine, 18)
  header.writeUInt32LE(1, 20)
  word(header, 24, options.entry ?? 0x1000000n)
  word(header, 24 + size, headerBytes)
  header.writeUInt16LE(headerBytes, headerBytes - 12)
  header.writeUInt16LE(entryBytes, headerBytes - 10)
  header.writeUInt16LE(headerCount, headerBytes - 8)
  const programHeader = (
    index: number,
    type: number,
    from: number,
    vaddr: bigint,
    paddr: number,
    sizes: [number, number],
  ) => {
    const at = headerBytes + index * entryBytes
    const first = at + (is64 ? 8 : 4)
    header.writeUInt32LE(type, at)
    for (const [place, value] of [from, vaddr, paddr, ...sizes].entries()) word(header, first + place * size, value)
  }
  segments.forEach(({vaddr, paddr, data, memoryBytes}, index) => {
    programHeader(index, 1, append(data), vaddr ?? virtBase + BigInt(paddr), paddr, [
      data.length,
      memoryBytes ?? data.length,
    ])
  })
  if (hasNoteSegment) programHeader(segments.length, 4, append(noteBytes), 0n, 0, [noteBytes.length, noteBytes.length])

  const sections: Array<{name: string; type: number; data: Uint8Array}> = []
  if (notesInSection) sections.push({name: '.notes', type: 7, data: noteBytes})
  if (xenGuest !== undefined) sections.push({name: '__xen_guest', type: 1, data: Buffer.from(`${xenGuest}\0`)})
  if (sections.length > 0) {
    const names = Buffer.from(`\0${[...sections.map(section => section.name), '.shstrtab'].join('\0')}\0`)
    sections.push({name: '.shstrtab', type: 3, data: names})
    const table = Buffer.alloc((sections.length + 1) * sectionBytes)
    sections.forEach(({name, type, data}, index) => {
      const at = (index + 1) * sectionBytes
      table.writeUInt32LE(names.indexOf(`${name}\0`), at)
      table.writeUInt32LE(type, at + 4)
      word(table, at + 8 + size * 2, append(data))
      word(table, at + 8 + size * 3, data.length)
    })
    word(header, 24 + size * 2, append(table))
    header.writeUInt16LE(sectionBytes, headerBytes - 6)
    header.writeUInt16LE(sections.length + 1, headerBytes - 4)
    header.writeUInt16LE(sections.length, headerBytes - 2)
  }
  return Buffer.concat(parts)
}

function note(type: number, value: bigint | string | Uint8Array): Buffer {
  let description: Uint8Array
  if (typeof value === 'bigint') {
    const number = Buffer.alloc(8)
    number.writeBigUInt64LE(BigInt.asUintN(64, value))
    description = number
  } else {
    // Texts have no NUL, as Linux's FEATURES has none.
    description = typeof value === 'string' ? Buffer.from(value) : value
  }
  const head = Buffer.alloc(12)
  head.writeUInt32LE(4, 0)
  head.writeUInt32LE(description.length, 4)
  head.writeUInt32LE(type, 8)
  return Buffer.concat([head, Buffer.from('Xen\0'), description, new Uint8Array(-description.length & 3)])
}

/** A bzImage of that boot protocol around a payload; `trailer` is the unpacked size that most packings need behind them. */
export function makeBzImage(payload: Uint8Array, options: {protocol?: number; trailer?: number} = {}): Buffer {
  const {protocol = 0x20f, trailer} = options
  const setupSectors = 3
  const payloadOffset = 0x2c
  const setup = Buffer.alloc((setupSectors + 1) * 512 + payloadOffset)
  const tail = Buffer.alloc(trailer === undefined ? 0 : 4)
  if (trailer !== undefined) tail.writeUInt32LE(trailer)
  setup[0x1f1] = setupSectors
  setup.writeUInt16LE(0xaa55, 0x1fe)
  setup.write('HdrS', 0x202, 'latin1')
  setup.writeUInt16LE(protocol, 0x206)
  setup.writeUInt32LE(payloadOffset, 0x248)
  setup.writeUInt32LE(payload.length + tail.length, 0x24c)
  return Buffer.concat([setup, payload, tail, Buffer.alloc(64)])
}
