/** The ELF reader on its own: both classes, notes from segments before sections, sections by name. */
import t from 'tap'
import {isElf, readElf} from '../../lib/domain/elf.js'
import {makeElf, virtBase} from '../support/made-up-kernel.js'

t.test('a 64-bit file', t => {
  const data = Uint8Array.of(1, 2, 3)
  const elf = readElf(makeElf({entry: 0xffffffff81000123n, segments: [{paddr: 0x2000, data, memoryBytes: 0x1000}]}))
  t.equal(elf.is64, true)
  t.equal(elf.machine, 62)
  t.equal(elf.entry, 0xffffffff81000123n, 'all 64 bits')
  t.equal(elf.segments.length, 1)
  t.equal(elf.segments[0].virtualAddress, virtBase + 0x2000n)
  t.equal(elf.segments[0].physicalAddress, 0x2000)
  t.equal(elf.segments[0].memoryBytes, 0x1000)
  t.same([...elf.segments[0].data], [1, 2, 3])
  t.equal(elf.notes.length, 13)
  t.equal(elf.notes[0].owner, 'Xen')
  t.end()
})

t.test('a 32-bit file', t => {
  const elf = readElf(
    makeElf({is64: false, machine: 3, segments: [{paddr: 0x100000, data: new Uint8Array(9)}], notes: {5: 'xen-3.0'}}),
  )
  t.equal(elf.is64, false)
  t.equal(elf.machine, 3)
  t.equal(elf.segments[0].physicalAddress, 0x100000)
  t.equal(elf.segments[0].data.length, 9)
  t.same(
    elf.notes.map(note => [note.owner, note.type, Buffer.from(note.description).toString()]),
    [['Xen', 5, 'xen-3.0']],
  )
  t.end()
})

t.test('sections', t => {
  const elf = readElf(makeElf({notesInSection: true, xenGuest: 'GUEST_OS=x'}))
  t.equal(Buffer.from(elf.section('__xen_guest') ?? []).toString(), 'GUEST_OS=x\0')
  t.equal(elf.section('.nothing'), undefined)
  t.equal(elf.notes.length, 13, 'notes of a note section')
  t.equal(readElf(makeElf()).section('.notes'), undefined, 'no sections at all')
  t.end()
})

t.test('what is no ELF file', t => {
  t.equal(isElf(Uint8Array.of(0x7f, 0x45, 0x4c)), false)
  t.throws(() => readElf(new Uint8Array(100)), {name: 'ElfError'})
  const unknownClass = makeElf()
  unknownClass[4] = 3
  t.throws(() => readElf(unknownClass), {message: /unknown ELF class, 3/})
  t.end()
})
