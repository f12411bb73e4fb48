/**
 * A domain's core as Xen writes it: an ELF file of type ET_CORE with sections instead of segments, which crash(8) reads.
 *
 *   .note.Xen         four notes, owner "Xen": none, header, Xen's version, the format's version
 *   .xen_prstatus     a vcpu_guest_context for each vCPU
 *   .xen_shared_info  that page
 *   .xen_p2m          {u64 pfn, u64 mfn} for each page, by pfn
 *   .xen_pages        the pages, in that order
 *
 * Source: docs/misc/dump-core-format.txt; public/elfnote.h; public/arch-x86/xen.h (vcpu_guest_context, x86-64).
 */
import {struct, u64} from '../base/struct.js'

/** Types of the notes. */
export const CoreNote = {
  none: 0x2000000, // XEN_ELFNOTE_DUMPCORE_NONE
  header: 0x2000001,
  xenVersion: 0x2000002,
  formatVersion: 0x2000003,
} as const

/** XC_CORE_MAGIC, of a PV domain. */
export const coreMagic = 0xf00febedn
/** Major 0, minor 1. */
export const coreFormatVersion = 1n

export const CoreHeader = struct({magic: u64, vcpus: u64, pages: u64, pageBytes: u64})

/** xen_dumpcore_elfnote_xen_version_desc: what xen_version tells, one after the other. */
export const coreVersionBytes = 1280

/** Byte offsets in vcpu_guest_context. */
export const GuestContext = {
  bytes: 5168,
  flags: 512, //        u64, GuestContextFlag
  generalRegisters: 520, // 15 × u64: r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi
  rip: 648, //          u64
  cs: 656, //           u16
  upcallMask: 660, //   u8
  rflags: 664, //       u64
  rsp: 672, //          u64
  ss: 680, //           u16, then es, ds, fs, gs in steps of 8
  traps: 720, //        256 × {u8 vector, u8 flags, u16 cs, u32, u64 address}
  ldtBase: 4816, //     u64
  ldtEntries: 4824, //  u64
  gdtFrames: 4832, //   16 × u64
  gdtEntries: 4960, //  u64
  kernelSs: 4968, //    u64
  kernelSp: 4976, //    u64
  control: 4984, //     8 × u64: CR0, user CR3, -, kernel CR3, CR4
  debug: 5048, //       8 × u64
  eventCallback: 5112, // u64, then failsafe, syscall
  vmAssist: 5136, //    u64
  fsBase: 5144, //      u64
  kernelGsBase: 5152, // u64
  userGsBase: 5160, //  u64
} as const

/** The registers of `generalRegisters` by their numbers in instructions. */
export const generalRegisterOrder: readonly number[] = [15, 14, 13, 12, 5, 3, 11, 10, 9, 8, 0, 1, 2, 6, 7]

/** VGCF_in_kernel, VGCF_online. */
export const GuestContextFlag = {inKernel: 4n, online: 0x20n} as const
