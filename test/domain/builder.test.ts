/**
 * The domain builder: the places of the reference example, what a page-table walk from CR3 finds, every field of start_info and
 * shared_info, older kernels that want ramdisk and P2M list mapped, and memories that are too small.
 */
import t from 'tap'
import type {EventPort, Mfn} from '../../lib/base/brand.js'
import {OperatorError} from '../../lib/base/errors.js'
import {type BuildRequest, type BuiltDomain, buildDomain} from '../../lib/domain/builder.js'
import {type KernelImage, readKernelImage} from '../../lib/domain/kernel-image.js'
import {layOut} from '../../lib/domain/layout.js'
import {makeElf, notesWith, virtBase} from '../support/made-up-kernel.js'

const page = 4096
/** RAM begins here in the linear memory of these tests; what is before it belongs to others. */
const ramStart = 3 * page
const sharedInfoMfn = 0x100000 as Mfn

/** A kernel of that many bytes of memory at that physical address. */
function kernelOf(bytes: number, notes = notesWith({}), paddr = 0x1000000): Promise<KernelImage> {
  return readKernelImage(
    makeElf({notes, segments: [{paddr, data: new Uint8Array(8).fill(0x90), memoryBytes: bytes}]}),
    'k',
  )
}

/** The kernel of Debian 12's cloud image, as far as the builder cares. */
const debianKernel = () => kernelOf(0x2e00000, notesWith({1: 0xffffffff8304e1c0n}))

/** Places as the reference writes them: PFNs in hexadecimal. */
function places(kernel: KernelImage, ramPages: number, ramdiskBytes: number): Record<string, string> {
  const layout = layOut(kernel, ramPages, ramdiskBytes)
  const range = (value?: {first: number; pages: number}) =>
    value === undefined ? 'none' : `${value.first.toString(16)}+${value.pages.toString(16)}`
  return {
    kernel: range(layout.kernel),
    specials: [layout.startInfo, layout.store, layout.console].map(pfn => pfn.toString(16)).join(' '),
    tables: range(layout.initialTables),
    level4: layout.level4.toString(16),
    level3: range(layout.initial.level3),
    level2: range(layout.initial.level2),
    level1: range(layout.initial.level1),
    bootStack: layout.bootStack.toString(16),
    mappingEnd: layout.initial.to.toString(16),
    ramdisk: range(layout.ramdisk),
    p2mList: range(layout.p2mList),
    p2mTables: [layout.p2m?.level3, layout.p2m?.level2, layout.p2m?.level1].map(range).join(' '),
  }
}

t.test('the worked example: Debian cloud kernel, 512 MiB, ramdisk of 20,971,643 bytes', async t => {
  t.same(places(await debianKernel(), 0x20000, 20_971_643), {
    kernel: '1000+2e00',
    specials: '3e00 3e01 3e02',
    tables: '3e03+23',
    level4: '3e03',
    level3: '3e04+1',
    level2: '3e05+1',
    level1: '3e06+20',
    bootStack: '3e26',
    mappingEnd: 'ffffffff84000000',
    ramdisk: '4000+1401',
    p2mList: '5401+100',
    p2mTables: '5501+1 5502+1 5503+1',
  })
})

t.test('the same with the larger Debian kernel', async t => {
  const found = places(await kernelOf(0x3a00000, notesWith({1: 0xffffffff830791c0n})), 0x20000, 20_971_643)
  t.equal(found.specials, '4a00 4a01 4a02')
  t.equal(found.tables, '4a03+29')
  t.equal(found.bootStack, '4a2c')
  t.equal(found.mappingEnd, 'ffffffff84c00000')
})

t.test('the mapping grows by 4 MiB when less than 512 KiB would be left', async t => {
  const end = async (kernelPages: number) => {
    const layout = layOut(await kernelOf(kernelPages * page), 0x8000, 0)
    return {spare: Number((layout.initial.to - virtBase) / BigInt(page)) - layout.bootStack - 1, to: layout.initial.to}
  }
  // PFN 0x1000 + 0x37b + 3 special pages + 14 tables + stack + 128 pages end just before PFN 0x1400 ... or do not.
  const fits = await end(0x400 - 3 - 13 - 129)
  const grown = await end(0x400 - 3 - 13 - 128)
  t.equal(fits.to, virtBase + 0x1400000n)
  t.equal(fits.spare, 128)
  t.equal(grown.to, virtBase + 0x1800000n)
})

interface Built {
  domain: BuiltDomain
  bytes: Uint8Array
  view: DataView
  /** The MFN and flags that a page walk finds; undefined where nothing is mapped. */
  walk(address: bigint): {mfn: number; flags: number; tableFlags: number[]} | undefined
  /** Bytes at a virtual address, within one page. */
  at(address: bigint): number
}

function build(kernel: KernelImage, ramPages: number, changes: Partial<BuildRequest> = {}): Built {
  // The frame of shared_info follows RAM in the linear memory, whatever its MFN.
  const bytes = new Uint8Array(ramStart + (ramPages + 1) * page)
  bytes.fill(0xee, 0, ramStart)
  bytes.fill(0xdd, ramStart + ramPages * page)
  const addressOf = (mfn: Mfn) => ramStart + (mfn === sharedInfoMfn ? ramPages : mfn) * page
  const domain = buildDomain({
    memory: {bytes, addressOf},
    kernel,
    cmdline: '',
    ramPages,
    sharedInfo: sharedInfoMfn,
    storePort: 1 as EventPort,
    consolePort: 2 as EventPort,
    ...changes,
  })
  const view = new DataView(bytes.buffer)
  const walk = (address: bigint) => {
    let mfn: number = domain.level4
    const tableFlags: number[] = []
    for (const shift of [39n, 30n, 21n, 12n]) {
      const entry = view.getBigUint64(addressOf(mfn as Mfn) + Number((address >> shift) & 511n) * 8, true)
      if ((entry & 1n) === 0n) return undefined
      mfn = Number(entry >> 12n)
      tableFlags.push(Number(entry & 0xfffn))
    }
    return {mfn, flags: tableFlags.pop() ?? 0, tableFlags}
  }
  const at = (address: bigint) => {
    const found = walk(address)
    return found === undefined ? -1 : addressOf(found.mfn as Mfn) + Number(address & 0xfffn)
  }
  return {domain, bytes, view, walk, at}
}

t.test('what the first page tables map', async t => {
  const kernel = await kernelOf(0x300000)
  const {domain, walk} = build(kernel, 8192, {ramdisk: new Uint8Array(10000).fill(7)})
  const tables = new Set<number>(domain.pageTables.map(table => table.mfn))
  const {layout} = domain
  const pages = Number((layout.initial.to - virtBase) / BigInt(page))
  const wrong: string[] = []
  for (let pfn = 0; pfn < pages; pfn++) {
    const found = walk(virtBase + BigInt(pfn * page))
    const flags = tables.has(pfn) ? 0x21 : 0x23
    if (found?.mfn !== pfn || found.flags !== flags || found.tableFlags.some(flags => flags !== 0x67)) {
      wrong.push(`${pfn}: ${JSON.stringify(found)}`)
    }
  }
  t.same(wrong, [], 'every page of the initial mapping, tables read-only')
  t.equal(walk(layout.initial.to), undefined, 'nothing behind it')
  t.equal(walk(virtBase - 4096n), undefined, 'nor before it')
  t.equal(walk(0x8000000000n)?.mfn, layout.p2mList.first, 'the P2M list at INIT_P2M')
  t.equal(walk(0x8000000000n)?.flags, 0x23)
  t.equal(
    walk(0x8000000000n + BigInt((layout.p2mList.pages - 1) * page))?.mfn,
    layout.p2mList.first + layout.p2mList.pages - 1,
  )
  t.equal(walk(0x8000000000n + BigInt(layout.p2mList.pages * page)), undefined, 'and nothing behind it')
  t.same(
    domain.pageTables.map(table => table.level),
    [4, 3, 2, ...new Array(layout.initial.level1.pages).fill(1), 3, 2, 1],
  )
})

t.test('start_info, shared_info and the first registers', async t => {
  const kernel = await kernelOf(0x300000)
  const ramPages = 8192
  const {domain, view, bytes, at} = build(kernel, ramPages, {
    ramdisk: new Uint8Array(10000).fill(7),
    cmdline: 'console=hvc0 ü',
    storePort: 5 as EventPort,
    consolePort: 6 as EventPort,
  })
  const {layout} = domain
  t.equal(domain.rip, virtBase + 0x1000040n)
  t.equal(domain.rsi, virtBase + BigInt(layout.startInfo * page))
  t.equal(domain.rsp, virtBase + BigInt((layout.bootStack + 1) * page))
  const start = at(domain.rsi)
  const u64 = (offset: number) => view.getBigUint64(start + offset, true)
  const text = (offset: number, length: number) =>
    Buffer.from(bytes.slice(start + offset, start + offset + length))
      .toString()
      .replace(/\0+$/, '')
  t.equal(text(0, 32), 'xen-3.0-x86_64')
  t.same(
    {
      nrPages: u64(32),
      sharedInfo: u64(40),
      flags: view.getUint32(start + 48, true),
      storeMfn: u64(56),
      storePort: view.getUint32(start + 64, true),
      consoleMfn: u64(72),
      consolePort: view.getUint32(start + 80, true),
      ptBase: u64(88),
      nrPtFrames: u64(96),
      mfnList: u64(104),
      modStart: u64(112),
      modLen: u64(120),
      cmdLine: text(128, 1024),
      firstP2mPfn: u64(1152),
      nrP2mFrames: u64(1160),
    },
    {
      nrPages: BigInt(ramPages),
      sharedInfo: BigInt(sharedInfoMfn) * 4096n,
      flags: 8,
      storeMfn: BigInt(domain.store),
      storePort: 5,
      consoleMfn: BigInt(domain.console),
      consolePort: 6,
      ptBase: virtBase + BigInt(domain.level4 * page),
      nrPtFrames: BigInt(3 + layout.initial.level1.pages),
      mfnList: 0x8000000000n,
      modStart: BigInt(layout.ramdisk?.first ?? -1),
      modLen: 12288n,
      cmdLine: 'console=hvc0 ü',
      firstP2mPfn: BigInt(layout.p2mList.first),
      nrP2mFrames: BigInt(16 + 3),
    },
  )
  t.equal(at(virtBase + BigInt(layout.console * page)), ramStart + domain.console * page)
  t.equal(bytes[ramStart + domain.console * page + 3088], 1, 'the console is disconnected')
  const shared = bytes.subarray(ramStart + ramPages * page)
  t.same(
    [...shared.entries()].filter(([, byte]) => byte !== 0).map(([offset, byte]) => [offset, byte]),
    Array.from({length: 32}, (_, vcpu) => [vcpu * 64 + 1, 1]),
    'shared_info has all upcalls masked and nothing else',
  )
  t.ok(
    bytes.subarray(0, ramStart).every(byte => byte === 0xee),
    'nothing outside of RAM is written',
  )
})

t.test('kernel, ramdisk and P2M list lie where they should', async t => {
  const data = Uint8Array.from({length: 5000}, (_, index) => index)
  const elf = makeElf({
    notes: notesWith({1: virtBase + 0x1000000n}),
    segments: [
      {paddr: 0x1000000, data, memoryBytes: 0x6000},
      // The per-CPU segment of Linux has the virtual address 0; only the physical one counts.
      {paddr: 0x1008000, vaddr: 0n, data: Uint8Array.of(1, 2, 3)},
    ],
  })
  const ramdisk = Uint8Array.from({length: 9000}, (_, index) => index * 7)
  const {domain, bytes, view, at} = build(await readKernelImage(elf, 'k'), 8192, {ramdisk})
  const piece = (address: number, length: number) => Buffer.from(bytes.buffer, address, length)
  t.ok(piece(at(virtBase + 0x1000000n), 4096).equals(data.subarray(0, 4096)))
  t.same([...piece(at(virtBase + 0x1008000n), 4)], [1, 2, 3, 0])
  t.same([...piece(at(virtBase + 0x1001388n), 4)], [0, 0, 0, 0], 'zero behind the file part')
  t.ok(piece(ramStart + (domain.layout.ramdisk?.first ?? 0) * page, 9000).equals(ramdisk))
  const wrong = Array.from({length: 8192}, (_, pfn) => pfn).filter(pfn => {
    return view.getBigUint64(ramStart + domain.layout.p2mList.first * page + pfn * 8, true) !== BigInt(pfn)
  })
  t.same(wrong, [])
})

t.test('an older kernel: ramdisk and P2M list are mapped, the hypercall page is filled', async t => {
  const notes = notesWith({2: virtBase + 0x1001000n, 15: undefined, 16: undefined})
  const {domain, view, bytes, at} = build(await kernelOf(0x10000, notes), 8192, {ramdisk: new Uint8Array(5000).fill(9)})
  const {layout} = domain
  const start = at(domain.rsi)
  t.equal(layout.ramdisk?.first, 0x1010, 'right behind the kernel')
  t.equal(view.getUint32(start + 48, true), 0, 'no flag')
  t.equal(view.getBigUint64(start + 112, true), virtBase + 0x1010000n)
  t.equal(bytes[at(virtBase + 0x1010000n) + 4999], 9)
  t.equal(layout.p2mList.first, 0x1012)
  t.equal(view.getBigUint64(start + 104, true), virtBase + 0x1012000n)
  t.equal(view.getBigUint64(at(virtBase + 0x1012008n), true), 1n)
  t.equal(view.getBigUint64(start + 1152, true), 0n)
  t.equal(view.getBigUint64(start + 1160, true), 0n)
  t.equal(layout.p2m, undefined)
  const stub = (number: number) =>
    Buffer.from(bytes.buffer, at(virtBase + 0x1001000n) + number * 32, 16).toString('hex')
  t.equal(stub(0), '514153b8000000000f05415b59c3cccc')
  t.equal(stub(29), '514153b81d0000000f05415b59c3cccc')
  t.equal(stub(23), '51415350b8170000000f05cccccccccc', 'iret does not return')
})

t.test('without a ramdisk', async t => {
  const {domain, view, at} = build(await kernelOf(0x10000), 8192)
  const start = at(domain.rsi)
  t.equal(domain.layout.ramdisk, undefined)
  t.equal(view.getUint32(start + 48, true), 0)
  t.equal(view.getBigUint64(start + 112, true), 0n)
  t.equal(view.getBigUint64(start + 120, true), 0n)
})

t.test('a P2M list of more than one table', async t => {
  const layout = layOut(await debianKernel(), 0x100000, 0)
  t.equal(layout.p2mList.pages, 2048, '4 GiB: 8 MiB of list')
  t.equal(layout.p2m?.level1.pages, 4)
})

t.test('too little memory', async t => {
  const kernel = await debianKernel()
  const refusal = (ramPages: number, ramdiskBytes: number): OperatorError => {
    try {
      layOut(kernel, ramPages, ramdiskBytes)
    } catch (error) {
      if (error instanceof OperatorError) return error
      throw error
    }
    throw new Error('it fitted')
  }
  const small = refusal(256, 0)
  t.equal(
    small.message,
    'memory of 1 MiB does not hold kernel "k" of 46 MiB loaded at 16 MiB and the first page tables',
  )
  t.equal(small.hint, 'they fit in memory = 65 or more; the kernel needs some more to run')
  const initrd = refusal(0x8000, 200_000_000)
  t.match(
    initrd.message,
    'memory of 128 MiB does not hold kernel "k" of 46 MiB loaded at 16 MiB, a ramdisk of 191 MiB and',
  )
  t.match(initrd.hint, 'memory = 256 or more')
  t.throws(() => layOut(kernel, 0, 0), {name: 'OperatorError'})

  for (const ramdiskBytes of [0, 1, 200_000_000]) {
    const least = Number(/memory = (\d+)/.exec(refusal(256, ramdiskBytes).hint ?? '')?.[1])
    t.ok(layOut(kernel, least * 256, ramdiskBytes), `${least} MiB really are enough`)
    t.throws(() => layOut(kernel, (least - 1) * 256, ramdiskBytes), {name: 'OperatorError'}, 'one less is not')
  }
  t.throws(() => build(kernel, 1024), {name: 'OperatorError'}, 'nothing is written then')
})

t.test('a kernel larger than any memory', async t => {
  const huge = makeElf({segments: [{paddr: 0x1000000, data: new Uint8Array(8), memoryBytes: 0x7e000000}]})
  const kernel = await readKernelImage(huge, 'k')
  t.throws(() => layOut(kernel, 0x10000, 0), {message: /memory of 256 MiB does not hold kernel "k" of 2016 MiB/})
})

t.test('the command line', async t => {
  const kernel = await kernelOf(0x10000)
  const {domain, bytes, at} = build(kernel, 8192, {cmdline: 'x'.repeat(1023)})
  const end = at(domain.rsi) + 128 + 1023
  t.same([bytes[end - 1], bytes[end]], [0x78, 0])
  t.throws(() => build(kernel, 8192, {cmdline: 'x'.repeat(1024)}), {message: /has 1024 bytes; a PV guest takes 1023/})
  t.throws(() => build(kernel, 8192, {cmdline: 'ü'.repeat(512)}), {message: /has 1024 bytes/}, 'bytes count')
})
