/**
 * How an exception, an event or a system call enters the guest kernel: the bounce frame, and the way back (HYPERVISOR_iret). Guest kernel and
 * user mode both run at CPL 3; a toggle between them swaps the GS bases and the page-table root. Every system call of a user program comes through
 * here twice, so values are 32-bit halves and nothing is allocated.
 *
 *   frame, ascending:  rcx  r11  [error code]  rip  cs | mask << 32  rflags  rsp  ss
 *
 * Source: xen/arch/x86/pv/traps.c, xen/arch/x86/pv/iret.c; public/arch-x86/xen-x86_64.h (iret_context).
 */
import {materialiseFlags} from '../x86/flags.js'
import type {Fault} from '../x86/platform.js'
import {Rflags, statusFlags} from '../x86/registers.js'
import {Segment, state} from '../x86/state.js'
import type {Vcpu} from '../x86/vcpu.js'
import type {Descriptors} from './descriptors.js'
import {peek} from './guest-words.js'
import {VmAssist} from './hypercall/vm-assist.js'
import {field} from './record.js'

const flatKernelCs = 0xe033
const flatKernelSs = 0xe02b
const flatCompatCs = 0xe023

/** How the kernel is entered: what the frame shows of a system call is not what the registers hold. */
export const Entry = {trap: 0, syscall64: 1, syscall32: 2, sysenter: 3} as const

const Gpr = {rax: 0, rcx: 1, rsp: 4, r11: 11} as const
const clearedOnEntry = Rflags.tf | Rflags.nt | Rflags.rf | Rflags.vm | Rflags.ac
/** What a saved RFLAGS may set: all flags but IOPL and VM. */
const restorable = 0x3d4fd5
/** VGCF_in_syscall: leave by SYSRET, so that RCX and R11 are what that leaves in them. */
const inSyscall = 0x100

/** Changes between guest kernel and guest user mode. */
export function toggleMode(vcpu: Vcpu): void {
  const {uint32} = vcpu.memory
  const isKernel = uint32[field.kernelMode >> 2] === 0
  uint32[field.kernelMode >> 2] = isKernel ? 1 : 0
  const active = ((vcpu.base + state.segmentBase) >> 2) + Segment.gs * 2
  const inactive = (vcpu.base + state.inactiveGsBase) >> 2
  for (let half = 0; half < 2; half++) {
    const value = uint32[active + half]
    uint32[active + half] = uint32[inactive + half]
    uint32[inactive + half] = value
  }
  uint32[(vcpu.base + state.mmuMode) >> 2] = isKernel ? 0 : 1
}

/**
 * Enters the guest kernel at a handler, given by its place in the machine record. `errorCode` -1: none. False: the frame could not be written or
 * there is no address to go to; the domain cannot go on.
 */
export function bounce(
  vcpu: Vcpu,
  handler: number,
  masks: boolean,
  errorCode = -1,
  entry: number = Entry.trap,
): boolean {
  const {bytes, uint32} = vcpu.memory
  const registers = vcpu.base >> 2
  const rip = (vcpu.base + state.rip) >> 2
  const info = uint32[field.vcpuInfo >> 2]
  const mask = bytes[info + 1]
  const fromUser = uint32[field.kernelMode >> 2] === 0
  if ((uint32[handler >> 2] | uint32[(handler >> 2) + 1]) === 0) return false
  if (fromUser) toggleMode(vcpu)
  const flagsAt = (vcpu.base + state.rflags) >> 2
  const allFlags = uint32[flagsAt] | materialiseFlags(vcpu.memory, vcpu.base)
  const iopl = hasIopl(uint32) ? uint32[field.iopl >> 2] << ioplShift : 0
  const shownFlags = ((allFlags & ~(Rflags.if | Rflags.iopl)) | iopl | (mask === 0 ? Rflags.if : 0)) >>> 0

  const size = errorCode < 0 ? 56 : 64
  const stack = fromUser ? field.kernelSp >> 2 : registers + Gpr.rsp * 2
  const top = (uint32[stack] & ~15) >>> 0
  const low = (top - size) >>> 0
  const high = (uint32[stack + 1] - (top < size ? 1 : 0)) | 0
  const host = (low & 0xfff) + size <= 4096 ? vcpu.hostAddress(low, high, 'write') : -1
  const isDirect = host >= 0 && !vcpu.code.hasCode((host & ~0xfff) >>> 0)
  let at = (isDirect ? host : field.copied) >>> 2

  const isCall = entry === Entry.syscall64 || entry === Entry.syscall32
  copy(uint32, isCall ? rip : registers + Gpr.rcx * 2, at)
  if (isCall) put(uint32, at + 2, allFlags, 0)
  else copy(uint32, registers + Gpr.r11 * 2, at + 2)
  at += 4
  if (errorCode >= 0) {
    put(uint32, at, errorCode, 0)
    at += 2
  }
  if (entry === Entry.sysenter) put(uint32, at, 0, 0)
  else copy(uint32, rip, at)
  put(uint32, at + 2, shownCs(vcpu, entry, fromUser), mask)
  put(uint32, at + 4, shownFlags, 0)
  if (entry === Entry.sysenter) put(uint32, at + 6, 0, 0)
  else copy(uint32, registers + Gpr.rsp * 2, at + 6)
  put(uint32, at + 8, entry === Entry.trap ? vcpu.selector(Segment.ss) : flatKernelSs, 0)
  if (!isDirect) {
    const place = (BigInt(high >>> 0) << 32n) | BigInt(low)
    if (!vcpu.writeBytes(place, bytes.slice(field.copied, field.copied + size))) return false
  }

  put(uint32, registers + Gpr.rsp * 2, low, high)
  copy(uint32, handler >> 2, rip)
  vcpu.setCodeSegment(flatKernelCs, 64)
  vcpu.setSelector(Segment.ss, flatKernelSs)
  put(uint32, ((vcpu.base + state.segmentBase) >> 2) + Segment.ss * 2, 0, 0)
  uint32[flagsAt] &= ~(isCall ? clearedOnEntry | Rflags.df : clearedOnEntry)
  if (masks) bytes[info + 1] = 1
  return true
}

const ioplShift = 12

/** The guest wants to see its I/O privilege level in RFLAGS. */
function hasIopl(uint32: Uint32Array): boolean {
  return (uint32[field.vmAssist >> 2] & VmAssist.architecturalIopl) !== 0
}

function shownCs(vcpu: Vcpu, entry: number, fromUser: boolean): number {
  if (entry === Entry.syscall64) return flatKernelCs
  if (entry === Entry.syscall32) return flatCompatCs
  if (entry === Entry.sysenter) return 3
  const selector = vcpu.selector(Segment.cs)
  return fromUser ? selector | 3 : selector & ~3
}

function copy(uint32: Uint32Array, from: number, to: number): void {
  uint32[to] = uint32[from]
  uint32[to + 1] = uint32[from + 1]
}

function put(uint32: Uint32Array, at: number, low: number, high: number): void {
  uint32[at] = low
  uint32[at + 1] = high
}

/** What leaves a domain no way on. */
export const noFrame = 'bad frame in HYPERVISOR_iret'
export const noUserTables = 'return to user mode without page tables for it'

/**
 * HYPERVISOR_iret: the frame at RSP is rax r11 rcx flags rip cs rflags rsp ss. Returns a reason to crash, or the fault that the guest gets because
 * of what it wanted to return to: it is raised there, after the change of mode.
 */
export function returnToGuest(vcpu: Vcpu, descriptors: Descriptors): Fault | string | undefined {
  const {bytes, uint32} = vcpu.memory
  const registers = vcpu.base >> 2
  const rip = (vcpu.base + state.rip) >> 2
  const frame = peek(vcpu, vcpu.gprLow(Gpr.rsp), vcpu.gprHigh(Gpr.rsp) | 0, 72)
  if (frame === -1) return noFrame
  const cs = uint32[frame + 10] & 0xffff
  if ((cs & 3) === 3) {
    if (vcpu.root(1) === noRoot) return noUserTables
    toggleMode(vcpu)
  }
  const flags = uint32[frame + 12]
  const bySysret = (uint32[frame + 6] & inSyscall) !== 0
  const ss = uint32[frame + 16] & 0xffff
  copy(uint32, frame, registers + Gpr.rax * 2)
  copy(uint32, frame + 8, rip)
  if (bySysret) {
    copy(uint32, rip, registers + Gpr.rcx * 2)
    put(uint32, registers + Gpr.r11 * 2, (flags & restorable) | Rflags.if | Rflags.fixed, 0)
  } else {
    copy(uint32, frame + 2, registers + Gpr.r11 * 2)
    copy(uint32, frame + 4, registers + Gpr.rcx * 2)
  }
  // Last: the frame may lie in the page of which it is the stack, but RSP is a register.
  copy(uint32, frame + 14, registers + Gpr.rsp * 2)
  const restored = (flags & restorable & ~statusFlags) | Rflags.if | Rflags.fixed
  put(uint32, (vcpu.base + state.rflags) >> 2, restored, 0)
  if (hasIopl(uint32)) uint32[field.iopl >> 2] = (flags & Rflags.iopl) >> ioplShift
  if ((restored & Rflags.tf) !== 0) vcpu.noticeTrapFlag()
  uint32[(vcpu.base + state.flagKind) >> 2] = 0
  put(uint32, (vcpu.base + state.flagA) >> 2, flags & statusFlags, 0)
  bytes[uint32[field.vcpuInfo >> 2] + 1] = (flags & Rflags.if) !== 0 ? 0 : 1
  const fault = descriptors.loadReturn(cs | 3, ss | 3)
  return fault ?? placeFault(vcpu, rip)
}

const noRoot = 0xffffffff

/** #GP(0) for an instruction pointer that cannot be; outside 64-bit code the upper halves go. */
function placeFault(vcpu: Vcpu, rip: number): Fault | undefined {
  const {uint32} = vcpu.memory
  if (uint32[(vcpu.base + state.codeBits) >> 2] === 64) {
    const top = (uint32[rip + 1] | 0) >> 15
    return top === 0 || top === -1 ? undefined : {vector: 13, errorCode: 0}
  }
  uint32[rip + 1] = 0
  uint32[(vcpu.base >> 2) + Gpr.rsp * 2 + 1] = 0
  const limit = uint32[((vcpu.base + state.segmentLimit) >> 2) + Segment.cs]
  return uint32[rip] > limit ? {vector: 13, errorCode: 0} : undefined
}
