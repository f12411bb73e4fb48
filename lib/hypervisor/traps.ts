/**
 * How an exception, an event or a system call enters the guest kernel: the bounce frame, and the way back (HYPERVISOR_iret). Guest kernel and
 * user mode both run at CPL 3; a toggle between them swaps the GS bases and the page-table root.
 *
 *   frame, ascending:  rcx  r11  [error code]  rip  cs | mask << 32  rflags  rsp  ss
 *
 * Source: xen/arch/x86/pv/traps.c; public/arch-x86/xen-x86_64.h (iret_context).
 */
import {Rflags} from '../x86/registers.js'
import {Segment} from '../x86/state.js'
import type {Vcpu} from '../x86/vcpu.js'
import type {Handler, MachineRecord} from './record.js'

const flatKernelCs = 0xe033
const flatKernelSs = 0xe02b

/** What the frame shows instead of the registers, for system calls. */
export interface Shown {
  readonly rcx?: bigint
  readonly r11?: bigint
  readonly cs?: number
  readonly rip?: bigint
}

/** Changes between guest kernel and guest user mode. */
export function toggleMode(vcpu: Vcpu, record: MachineRecord): void {
  const kernel = record.u32('kernelMode') === 0
  record.setU32('kernelMode', kernel ? 1 : 0)
  const gs = vcpu.segmentBase(Segment.gs)
  vcpu.setSegmentBase(Segment.gs, vcpu.u64('inactiveGsBase'))
  vcpu.setU64('inactiveGsBase', gs)
  vcpu.setMmuMode(kernel ? 0 : 1)
}

/** Enters the guest kernel at a handler. False: the frame could not be written, the domain cannot go on. */
export function bounce(
  vcpu: Vcpu,
  record: MachineRecord,
  handler: Handler,
  masks: boolean,
  errorCode?: number,
  shown: Shown = {},
): boolean {
  const fromUser = record.u32('kernelMode') === 0
  const {bytes, view} = vcpu.memory
  const info = record.u32('vcpuInfo')
  const mask = bytes[info + 1]
  const rsp = vcpu.gpr(4)
  const rflags = (vcpu.rflags & ~BigInt(Rflags.if | Rflags.iopl)) | (mask === 0 ? BigInt(Rflags.if) : 0n)
  const selector = shown.cs ?? vcpu.selector(Segment.cs)
  const cs = fromUser ? selector | 3 : selector & ~3
  if (fromUser) toggleMode(vcpu, record)
  const top = (fromUser ? record.u64('kernelSp') : rsp) & ~15n
  const words = [shown.rcx ?? vcpu.gpr(1), shown.r11 ?? vcpu.gpr(11)]
  if (errorCode !== undefined) words.push(BigInt(errorCode))
  words.push(shown.rip ?? vcpu.rip, BigInt(cs) | (BigInt(mask) << 32n), rflags, rsp, BigInt(vcpu.selector(Segment.ss)))
  const start = BigInt.asUintN(64, top - BigInt(words.length * 8))
  const low = Number(start & 0xffffffffn)
  const host =
    (low & 0xfff) + words.length * 8 <= 4096
      ? vcpu.hostAddress(low, Number(BigInt.asIntN(32, start >> 32n)), 'write')
      : -1
  if (host >= 0 && !vcpu.code.hasCode((host & ~0xfff) >>> 0)) {
    for (const [index, word] of words.entries()) view.setBigUint64(host + index * 8, word, true)
  } else {
    const frame = new Uint8Array(words.length * 8)
    const frameView = new DataView(frame.buffer)
    for (const [index, word] of words.entries()) frameView.setBigUint64(index * 8, word, true)
    if (!vcpu.writeBytes(start, frame)) return false
  }
  vcpu.setGpr(4, start)
  vcpu.rip = handler.address
  vcpu.setCodeSegment(flatKernelCs, 64)
  vcpu.setSelector(Segment.ss, flatKernelSs)
  vcpu.setU64('rflags', vcpu.u64('rflags') & ~BigInt(Rflags.tf | Rflags.nt | Rflags.rf | Rflags.vm | Rflags.ac))
  if (masks) bytes[info + 1] = 1
  return true
}

/** HYPERVISOR_iret: the frame at RSP is rax r11 rcx flags rip cs rflags rsp ss. False: it cannot be read or used. */
export function returnToGuest(vcpu: Vcpu, record: MachineRecord): boolean {
  const frame = vcpu.readBytes(vcpu.gpr(4), 72)
  if (frame === undefined) return false
  const view = new DataView(frame.buffer)
  const word = (index: number) => view.getBigUint64(index * 8, true)
  vcpu.setGpr(0, word(0))
  vcpu.setGpr(11, word(1))
  vcpu.setGpr(1, word(2))
  const cs = Number(word(5) & 0xffffn)
  const rflags = word(6)
  if ((cs & 3) === 3) {
    if (record.f64('userRoot') < 0) return false
    toggleMode(vcpu, record)
  }
  vcpu.rip = word(4)
  vcpu.setGpr(4, word(7))
  vcpu.setSelector(Segment.ss, Number(word(8) & 0xffffn) | 3)
  vcpu.setCodeSegment(cs | 3, codeBits(vcpu, cs | 3))
  vcpu.rflags = (rflags & ~BigInt(Rflags.iopl | Rflags.vm)) | BigInt(Rflags.if | Rflags.fixed)
  vcpu.memory.bytes[record.u32('vcpuInfo') + 1] = rflags & BigInt(Rflags.if) ? 0 : 1
  return true
}

/** 64 or 32: what a code selector's descriptor says; unknown selectors count as 64-bit. */
function codeBits(vcpu: Vcpu, selector: number): 64 | 32 {
  const descriptor = vcpu.platform.descriptor(vcpu, selector)
  return descriptor !== undefined && (descriptor[1] & (1 << 21)) === 0 ? 32 : 64
}
