/**
 * Kernel files: what is read of good ones, in every wrapping, and what an operator is told of others.
 */
import {readFileSync} from 'node:fs'
import {gzipSync} from 'node:zlib'
import t from 'tap'
import {OperatorError} from '../../lib/base/errors.js'
import {readKernelImage} from '../../lib/domain/kernel-image.js'
import {linuxNotes, type MadeUpElf, makeBzImage, makeElf, notesWith, virtBase} from '../support/made-up-kernel.js'

const elf = makeElf()
const fixture = (name: string) => readFileSync(new URL(`../../../test/domain/fixtures/${name}`, import.meta.url))

t.test('a kernel in every wrapping', async t => {
  const wrapped: Record<string, Uint8Array> = {
    'ELF file': elf,
    "gzip'd ELF file": gzipSync(elf),
    'ELF payload': makeBzImage(elf),
    gzip: makeBzImage(gzipSync(elf)),
    bzip2: makeBzImage(fixture('made-up-kernel.bz2')),
    xz: makeBzImage(fixture('made-up-kernel.xz'), {trailer: elf.length}),
    lzma: makeBzImage(fixture('made-up-kernel.lzma'), {trailer: elf.length}),
    lz4: makeBzImage(fixture('made-up-kernel.lz4'), {trailer: elf.length}),
    zstd: makeBzImage(fixture('made-up-kernel.zst'), {trailer: elf.length}),
    "gzip'd bzImage": gzipSync(makeBzImage(gzipSync(elf))),
  }
  const expected = await readKernelImage(elf, 'k')
  for (const [name, file] of Object.entries(wrapped)) {
    const {segments, ...rest} = await readKernelImage(file, 'k')
    t.ok(Buffer.from(expected.segments[0].data).equals(segments[0].data), name)
    t.same({...rest, segments: 0, notes: 0}, {...expected, segments: 0, notes: 0}, name)
  }
})

t.test('what the notes of a Linux kernel say', async t => {
  const image = await readKernelImage(elf, '/boot/vmlinuz')
  t.equal(image.name, '/boot/vmlinuz')
  t.equal(image.entry, virtBase + 0x1000040n)
  t.equal(image.virtBase, virtBase)
  t.equal(image.paddrOffset, 0n)
  t.equal(image.start, virtBase + 0x1000000n)
  t.equal(image.end, virtBase + 0x1040000n)
  t.equal(image.initP2M, 0x8000000000n)
  t.equal(image.modStartPfn, true)
  t.equal(image.hypercallPage, undefined)
  t.equal(image.suspendCancel, true)
  t.equal(image.guestOs, 'linux')
  t.equal(image.guestVersion, '2.6')
  t.same(image.features, {
    supported: ['writable_page_tables', 'pae_pgdir_above_4gb', 'dom0', 'linux_rsdp_unrestricted'],
    required: ['writable_page_tables'],
  })
  t.equal(image.segments.length, 1)
  t.equal(image.segments[0].memoryBytes, 0x40000)
})

t.test('what is assumed when notes are silent', async t => {
  const image = await readKernelImage(makeElf({entry: 0x1000010n, notes: {5: 'xen-3.0'}}), 'k')
  t.equal(image.entry, 0x1000010n, "the file's own entry point")
  t.equal(image.virtBase, 0n)
  t.equal(image.start, 0x1000000n)
  t.equal(image.initP2M, undefined)
  t.equal(image.modStartPfn, false)
  const above = await readKernelImage(makeElf({notes: notesWith({15: virtBase + 0x40000000n})}), 'k')
  t.equal(above.initP2M, undefined, 'a P2M address above VIRT_BASE is not used')
  const odd = await readKernelImage(makeElf({notes: notesWith({15: 0x8000000001n})}), 'k')
  t.equal(odd.initP2M, undefined, 'nor one that is not the start of a page')
})

t.test('notes in a section, and the old __xen_guest text', async t => {
  const expected = await readKernelImage(elf, 'k')
  t.same((await readKernelImage(makeElf({notesInSection: true}), 'k')).notes, expected.notes)
  const legacy = makeElf({
    notes: {},
    segments: [{paddr: 0x400000, data: new Uint8Array(0x3000)}],
    xenGuest:
      'GUEST_OS=linux,GUEST_VER=2.6,XEN_VER=xen-3.0,VIRT_BASE=0x100000,VIRT_ENTRY=0x400010,HYPERCALL_PAGE=0x301,LOADER=generic',
  })
  const image = await readKernelImage(legacy, 'k')
  t.equal(image.entry, 0x400010n)
  t.equal(image.virtBase, 0x100000n)
  t.equal(image.paddrOffset, 0x100000n, 'addresses in such a file are virtual')
  t.equal(image.start, 0x400000n)
  t.equal(image.hypercallPage, 0x401000n)
  t.equal(image.guestOs, 'linux')
})

const refused: ReadonlyArray<[name: string, file: Uint8Array, message: RegExp]> = [
  ['empty', new Uint8Array(0), /is empty/],
  ['one byte', Uint8Array.of(7), /neither a bzImage nor an ELF file; it starts with 07/],
  [
    'random',
    Buffer.from('this is no kernel at all '.repeat(100)),
    /neither a bzImage nor an ELF file; it starts with 74 68 69 73/,
  ],
  [
    'a ramdisk',
    gzipSync(Buffer.from('070701000002D1')),
    /neither a bzImage nor an ELF file; it starts with 30 37 30 37/,
  ],
  ['an xz file', fixture('made-up-kernel.xz'), /perhaps a ramdisk/],
  ['an ARM kernel', arm64Image(), /64-bit ARM/],
  [
    'a bzImage cut in two',
    makeBzImage(gzipSync(elf)).subarray(0, 20000),
    /is cut off: as a bzImage it has \d+ bytes or more, the file has 20000/,
  ],
  ['a bzImage cut behind its setup', makeBzImage(gzipSync(elf)).subarray(0, 0x260), /is cut off/],
  ['an old bzImage', makeBzImage(gzipSync(elf), {protocol: 0x202}), /boot protocol 2\.02; 2\.08/],
  ['unknown packing', makeBzImage(Buffer.alloc(5000, 0xaa)), /packed in no way we know/],
  ['wrong size behind the payload', makeBzImage(fixture('made-up-kernel.xz'), {trailer: 12}), /kernel "k" .*unpack/],
  ['a payload that is no ELF file', makeBzImage(gzipSync(Buffer.alloc(100))), /is not an ELF file/],
  ['broken gzip', makeBzImage(broken(gzipSync(elf))), /broken gzip data/],
  ['ELF cut in its header', elf.subarray(0, 40), /ends inside its ELF header, after 40 bytes/],
  ['ELF cut in its program headers', elf.subarray(0, 100), /ends before its program headers/],
  ['ELF cut in a segment', elf.subarray(0, 5000), /is cut off: a segment goes to byte \d+, the file has 5000/],
  ['32-bit x86', makeElf({is64: false, machine: 3}), /is a 32-bit x86 kernel; only 64-bit PV guests/],
  ['another machine', makeElf({machine: 183}), /is a kernel for 64-bit ARM, not for x86-64/],
  ['an unheard-of machine', makeElf({machine: 9999}), /machine number 9999/],
  ['big-endian', bigEndian(), /big-endian/],
  ['no Xen notes', makeElf({notes: {}}), /is not a Xen PV kernel: it has no Xen ELF notes/],
  ['PVH only', makeElf({notes: {6: 'linux', 18: 0x1000850n}}), /PVH guest but not as a PV guest/],
  ['another Xen', makeElf({notes: notesWith({5: 'xen-2.0'})}), /was built for the Xen interface "xen-2.0"/],
  [
    'a feature we lack',
    makeElf({notes: notesWith({10: '!auto_translated_physmap|!writable_page_tables'})}),
    /does not get here: auto_translated_physmap$/,
  ],
  [
    'entry outside',
    makeElf({notes: notesWith({1: virtBase})}),
    /has its entry point at 0xffffffff80000000, outside of itself/,
  ],
  [
    'hypercall page outside',
    makeElf({notes: notesWith({2: virtBase})}),
    /wants the hypercall page at 0xffffffff80000000/,
  ],
  ['a number of three bytes', makeElf({notes: notesWith({3: Uint8Array.of(1, 2, 3)})}), /number is 3 bytes wide/],
  [
    'VIRT_BASE off a page',
    makeElf({notes: notesWith({1: virtBase + 0x1000041n, 3: virtBase + 1n})}),
    /VIRT_BASE that is not a page's/,
  ],
  ['below its VIRT_BASE', makeElf({notes: notesWith({4: 0x2000000n})}), /VIRT_BASE 0xffffffff80000000 does not allow/],
  [
    'beyond all addresses',
    makeElf({segments: [{paddr: 0x7ffff000, data: new Uint8Array(10), memoryBytes: 0x10000}]}),
    /does not allow/,
  ],
  ['no segments', makeElf({segments: []}), /has no segment to load/],
  [
    'file larger than memory',
    makeElf({segments: [{paddr: 0x1000000, data: new Uint8Array(100), memoryBytes: 50}]}),
    /larger in the file than in memory/,
  ],
]

for (const [name, file, message] of refused) {
  t.test(`refused: ${name}`, async t => {
    const error = await readKernelImage(file, 'k').then(
      () => undefined,
      error => error,
    )
    t.type(error, OperatorError)
    t.match(error?.message, message)
    t.match(error?.message, /^kernel "k" /, 'it names the file')
    t.match(error?.hint, /x86-64 Linux kernel built with CONFIG_XEN_PV/, 'it says what would be right')
  })
}

t.test('cut off anywhere, or with any byte of its headers changed, a kernel is read or refused', async t => {
  const small: MadeUpElf = {segments: [{paddr: 0x1000000, data: new Uint8Array(256)}], notesInSection: true}
  const file = makeElf({...small, notes: {...linuxNotes, 1: virtBase + 0x1000010n}})
  const outcome = async (bytes: Uint8Array) => {
    try {
      await readKernelImage(bytes, 'k')
      return 'read'
    } catch (error) {
      return error instanceof OperatorError ? 'refused' : `threw ${error}`
    }
  }
  const outcomes = new Map<string, number>()
  const count = (result: string) => outcomes.set(result, (outcomes.get(result) ?? 0) + 1)
  for (let length = 0; length < file.length; length += 3) count(await outcome(file.subarray(0, length)))
  for (let at = 0; at < file.length; at++) {
    for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
      const changed = Uint8Array.from(file)
      changed[at] = value
      count(await outcome(changed))
    }
  }
  t.same([...outcomes.keys()].sort(), ['read', 'refused'])
})

function arm64Image(): Uint8Array {
  const image = Buffer.alloc(4096)
  image.write('ARMd', 0x38, 'latin1')
  return image
}

function bigEndian(): Uint8Array {
  const file = Uint8Array.from(elf)
  file[5] = 2
  return file
}

function broken(file: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(file)
  changed.fill(0xff, 1000, 1100)
  return changed
}
