/**
 * From the bytes of a kernel file to what a PV domain builder needs: segments, entry point, and what its Xen ELF notes say.
 *
 *   file      bzImage (setup code, then a packed ELF file) or ELF, either of them possibly gzip'd
 *   bzImage   "HdrS" at 0x202; payload at (setup_sects + 1) * 512 + payload_offset; protocol 2.08 or later
 *   notes     owner "Xen"; numbers are 4 or 8 bytes wide, texts need no NUL. Very old kernels have one text in the section __xen_guest
 *
 * Rule of use: whatever is in the file, the outcome is a kernel that can be started as an x86-64 PV guest or an OperatorError that
 * names the file, what is wrong with it and what would be right.
 * Source: Linux Documentation/arch/x86/boot.rst; xen/include/public/elfnote.h.
 */
import {OperatorError} from '../base/errors.js'
import {ElfError, type ElfFile, ElfMachine, type ElfSegment, isElf, machineNames, readElf, textAt} from './elf.js'
import {PayloadError} from './payload/payload-error.js'
import {packingOf, unpack} from './payload.js'

/** A kernel that can be started as an x86-64 PV guest. */
export interface KernelImage {
  /** The path it was read from; for messages. */
  readonly name: string
  readonly segments: readonly ElfSegment[]
  /** Virtual address of the first instruction. */
  readonly entry: bigint
  /** Virtual address that the guest's PFN 0 has in the initial mapping. */
  readonly virtBase: bigint
  /** A segment lies at its physical address - paddrOffset + virtBase. */
  readonly paddrOffset: bigint
  /** Virtual addresses of the first and behind the last page of the kernel. */
  readonly start: bigint
  readonly end: bigint
  /** Where the kernel wants its P2M list; absent: inside the initial mapping. */
  readonly initP2M?: bigint
  /** Whether the ramdisk may lie outside the initial mapping and is announced by its PFN. */
  readonly modStartPfn: boolean
  /** Virtual address of the page the hypervisor fills with hypercall stubs; absent: the kernel has its own. */
  readonly hypercallPage?: bigint
  /** Names of the features it can use, and of those it cannot do without. */
  readonly features: {readonly supported: readonly string[]; readonly required: readonly string[]}
  /** What it says it is, such as "linux" and "2.6". */
  readonly guestOs: string
  readonly guestVersion: string
  /** Whether it can be suspended, and be told that a suspend was called off. */
  readonly suspendCancel: boolean
  /** All Xen notes by type. */
  readonly notes: ReadonlyMap<number, Uint8Array>
}

/** Types of notes whose owner is "Xen". */
export const XenNote = {
  entry: 1, // XEN_ELFNOTE_ENTRY
  hypercallPage: 2, // XEN_ELFNOTE_HYPERCALL_PAGE
  virtBase: 3, // XEN_ELFNOTE_VIRT_BASE
  paddrOffset: 4, // XEN_ELFNOTE_PADDR_OFFSET
  xenVersion: 5, // XEN_ELFNOTE_XEN_VERSION
  guestOs: 6, // XEN_ELFNOTE_GUEST_OS
  guestVersion: 7, // XEN_ELFNOTE_GUEST_VERSION
  features: 10, // XEN_ELFNOTE_FEATURES
  suspendCancel: 14, // XEN_ELFNOTE_SUSPEND_CANCEL
  initP2M: 15, // XEN_ELFNOTE_INIT_P2M
  modStartPfn: 16, // XEN_ELFNOTE_MOD_START_PFN
  supportedFeatures: 17, // XEN_ELFNOTE_SUPPORTED_FEATURES
  phys32Entry: 18, // XEN_ELFNOTE_PHYS32_ENTRY
} as const

/** The keys of the __xen_guest text, by the note that took their place. */
const legacyKeys: Readonly<Record<string, number>> = {
  GUEST_OS: XenNote.guestOs,
  GUEST_VER: XenNote.guestVersion,
  XEN_VER: XenNote.xenVersion,
  VIRT_BASE: XenNote.virtBase,
  VIRT_ENTRY: XenNote.entry,
  ELF_PADDR_OFFSET: XenNote.paddrOffset,
  FEATURES: XenNote.features,
}
const legacyHypercallPage = 'HYPERCALL_PAGE'

/** Bit numbers of SUPPORTED_FEATURES, which are those of XENVER_get_features. Source: xen/include/public/features.h. */
const featureNames: Readonly<Record<string, number>> = {
  writable_page_tables: 0,
  writable_descriptor_tables: 1,
  auto_translated_physmap: 2,
  supervisor_mode_kernel: 3,
  pae_pgdir_above_4gb: 4,
  mmu_pt_update_preserve_ad: 5,
  gnttab_map_avail_bits: 7,
  hvm_callback_vector: 8,
  hvm_safe_pvclock: 9,
  hvm_pirqs: 10,
  dom0: 11,
  linux_rsdp_unrestricted: 15,
}

/** Features a kernel may insist on: what a PV guest gets here. */
const offeredFeatures = new Set([
  'writable_page_tables',
  'pae_pgdir_above_4gb',
  'mmu_pt_update_preserve_ad',
  'gnttab_map_avail_bits',
])

const wanted = 'give an x86-64 Linux kernel built with CONFIG_XEN_PV: a bzImage (vmlinuz) or an ELF file (vmlinux)'
const pageBytes = 4096n

/** Reads a kernel file. `name` is its path. Errors: OperatorError. */
export async function readKernelImage(file: Uint8Array, name: string): Promise<KernelImage> {
  try {
    const elf = readElf(await unwrap(file))
    checkMachine(elf)
    return describe(elf, name)
  } catch (error) {
    if (!(error instanceof ElfError || error instanceof PayloadError)) throw error
    throw new OperatorError(`kernel "${name}" ${error.message}`, {hint: wanted, exitCode: 3, cause: error})
  }
}

/** The ELF file inside whatever is around it. */
async function unwrap(file: Uint8Array): Promise<Uint8Array> {
  if (file.length === 0) throw new ElfError('is empty')
  if (packingOf(file) === 'gzip') file = await unpack(file, 'gzip')
  if (isElf(file)) return file
  const payload = bzImagePayload(file)
  if (payload === undefined) {
    const start = [...file.subarray(0, 4)].map(byte => byte.toString(16).padStart(2, '0')).join(' ')
    throw new ElfError(`is neither a bzImage nor an ELF file${foreignKind(file)}; it starts with ${start}`)
  }
  if (isElf(payload)) return payload
  const packing = packingOf(payload)
  if (packing === undefined) throw new ElfError('is a bzImage whose contents are packed in no way we know')
  if (packing === 'gzip' || packing === 'bzip2') return unpack(payload, packing)
  const sizeAt = payload.length - 4
  if (sizeAt < 0) throw new PayloadError('is cut off')
  const unpackedBytes = new DataView(payload.buffer, payload.byteOffset + sizeAt, 4).getUint32(0, true)
  return unpack(payload.subarray(0, sizeAt), packing, unpackedBytes)
}

function bzImagePayload(file: Uint8Array): Uint8Array | undefined {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  if (file.length < 0x250 || view.getUint32(0x202, true) !== 0x53726448) return undefined // "HdrS"
  const protocol = view.getUint16(0x206, true)
  if (protocol < 0x208) {
    const version = `${protocol >> 8}.${(protocol & 0xff).toString().padStart(2, '0')}`
    throw new ElfError(`is a bzImage of boot protocol ${version}; 2.08 (Linux 2.6.26) is the oldest that can be read`)
  }
  const start = ((file[0x1f1] || 4) + 1) * 512 + view.getUint32(0x248, true)
  const end = start + view.getUint32(0x24c, true)
  if (end === start) throw new ElfError('is a bzImage without contents')
  if (end > file.length) {
    throw new ElfError(`is cut off: as a bzImage it has ${end} bytes or more, the file has ${file.length}`)
  }
  return file.subarray(start, end)
}

/** What a file that is no kernel of ours seems to be. */
function foreignKind(file: Uint8Array): string {
  if (textAt(file.subarray(0x38, 0x3c), 0) === 'ARMd') return ' (it is a kernel for 64-bit ARM)'
  if (textAt(file.subarray(0x38, 0x3c), 0) === 'RSC\x05') return ' (it is a kernel for RISC-V)'
  if (textAt(file.subarray(4, 8), 0) === 'zimg') return ' (it is an EFI zboot image, which x86 kernels are not)'
  const packing = packingOf(file)
  return packing === undefined ? '' : ` (it is a ${packing} file, perhaps a ramdisk)`
}

function checkMachine({machine, is64}: ElfFile): void {
  if (machine === ElfMachine.x86_64 && is64) return
  if (machine === ElfMachine.i386)
    throw new ElfError('is a 32-bit x86 kernel; only 64-bit PV guests are supported so far')
  throw new ElfError(`is a kernel for ${machineNames[machine] ?? `machine number ${machine}`}, not for x86-64`)
}

function describe(elf: ElfFile, name: string): KernelImage {
  const notes = new Map(elf.notes.filter(note => note.owner === 'Xen').map(note => [note.type, note.description]))
  const legacy = notes.size === 0
  if (legacy) readLegacyText(elf, notes)
  const number = (type: number) => numberOf(notes.get(type))
  const text = (type: number) => textAt(notes.get(type) ?? new Uint8Array(0), 0)
  checkIsPv(notes)
  const version = text(XenNote.xenVersion)
  if (notes.has(XenNote.xenVersion) && version !== 'xen-3.0') {
    throw new ElfError(`was built for the Xen interface "${version}", not for "xen-3.0"`)
  }

  const virtBase = number(XenNote.virtBase) ?? 0n
  // Segments of legacy images carry virtual addresses where others have physical ones.
  const paddrOffset = number(XenNote.paddrOffset) ?? (legacy ? virtBase : 0n)
  const entry = number(XenNote.entry) ?? elf.entry
  if (elf.segments.length === 0) throw new ElfError('has no segment to load')
  let start: bigint | undefined
  let end = 0n
  for (const segment of elf.segments) {
    const from = BigInt(segment.physicalAddress) - paddrOffset + virtBase
    const to = from + BigInt(segment.memoryBytes)
    if (start === undefined || from < start) start = from
    if (to > end) end = to
  }
  start = (start ?? 0n) & -pageBytes
  end = (end + pageBytes - 1n) & -pageBytes
  if (start < virtBase || end > 1n << 64n) {
    throw new ElfError(`lies at ${hex(start)} to ${hex(end)}, which its own VIRT_BASE ${hex(virtBase)} does not allow`)
  }
  if (virtBase % pageBytes !== 0n) throw new ElfError(`has a VIRT_BASE that is not a page's: ${hex(virtBase)}`)
  if (entry < start || entry >= end) {
    throw new ElfError(`has its entry point at ${hex(entry)}, outside of itself (${hex(start)} to ${hex(end)})`)
  }
  const hypercallPage = number(XenNote.hypercallPage)
  if (hypercallPage !== undefined && (hypercallPage < start || hypercallPage > end - pageBytes)) {
    throw new ElfError(`wants the hypercall page at ${hex(hypercallPage)}, outside of itself`)
  }
  const initP2M = number(XenNote.initP2M)
  const usableP2M = initP2M !== undefined && initP2M % pageBytes === 0n && initP2M < virtBase
  return {
    name,
    segments: elf.segments,
    entry,
    virtBase,
    paddrOffset,
    start,
    end,
    ...(usableP2M ? {initP2M} : {}),
    modStartPfn: (number(XenNote.modStartPfn) ?? 0n) !== 0n,
    ...(hypercallPage === undefined ? {} : {hypercallPage}),
    features: featuresOf(text(XenNote.features), number(XenNote.supportedFeatures) ?? 0n),
    guestOs: text(XenNote.guestOs),
    guestVersion: text(XenNote.guestVersion),
    suspendCancel: (number(XenNote.suspendCancel) ?? 0n) !== 0n,
    notes,
  }
}

function checkIsPv(notes: ReadonlyMap<number, Uint8Array>): void {
  if ([XenNote.entry, XenNote.virtBase, XenNote.hypercallPage].some(type => notes.has(type))) return
  if (notes.has(XenNote.phys32Entry)) {
    throw new ElfError('can be started as a PVH guest but not as a PV guest (CONFIG_XEN_PV is not set in it)')
  }
  // Small kernels of the test kind may say no more than this.
  if (notes.has(XenNote.xenVersion)) return
  throw new ElfError('is not a Xen PV kernel: it has no Xen ELF notes')
}

/** The __xen_guest text as notes: "KEY=VALUE,KEY=VALUE". */
function readLegacyText(elf: ElfFile, notes: Map<number, Uint8Array>): void {
  const section = elf.section('__xen_guest')
  if (section === undefined) return
  const encode = (value: string) => new TextEncoder().encode(value)
  const values = new Map<string, string>()
  for (const item of textAt(section, 0).split(',')) {
    const [, key, value] = /^(\w+)(?:=(.*))?$/.exec(item) ?? []
    if (key !== undefined) values.set(key, value ?? '')
  }
  for (const [key, type] of Object.entries(legacyKeys)) {
    const value = values.get(key)
    if (value === undefined) continue
    notes.set(type, /^0x[0-9a-f]{1,16}$/i.test(value) ? numberBytes(BigInt(value)) : encode(value))
  }
  // Here the hypercall page is a page number within the kernel's mapping.
  const page = values.get(legacyHypercallPage)
  if (page !== undefined && /^0x[0-9a-f]{1,8}$/i.test(page)) {
    const virtBase = numberOf(notes.get(XenNote.virtBase)) ?? 0n
    notes.set(XenNote.hypercallPage, numberBytes(virtBase + BigInt(page) * pageBytes))
  }
}

function numberBytes(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value), true)
  return bytes
}

function numberOf(bytes: Uint8Array | undefined): bigint | undefined {
  if (bytes === undefined) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length === 8) return view.getBigUint64(0, true)
  if (bytes.length === 4) return BigInt(view.getUint32(0, true))
  throw new ElfError(`has a Xen note whose number is ${bytes.length} bytes wide`)
}

function featuresOf(text: string, bits: bigint): KernelImage['features'] {
  const supported = new Set<string>()
  const required = new Set<string>()
  for (const word of text.split('|').filter(word => word !== '')) {
    const name = word.replace(/^!/, '')
    supported.add(name)
    if (word !== name) required.add(name)
  }
  for (const [name, bit] of Object.entries(featureNames)) if ((bits >> BigInt(bit)) & 1n) supported.add(name)
  const missing = [...required].filter(name => !offeredFeatures.has(name))
  if (missing.length > 0) throw new ElfError(`needs what a PV guest does not get here: ${missing.join(', ')}`)
  return {supported: [...supported], required: [...required]}
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`
}
