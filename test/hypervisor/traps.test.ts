/**
 * Entering the guest kernel and leaving it: the frame on its stack word by word, the event mask, the change between kernel and user mode.
 */
import t from 'tap'
import {Hypercall} from '../../lib/abi/xen.js'
import {consolePort} from '../../lib/hypervisor/create.js'
import {field} from '../../lib/hypervisor/record.js'
import {Segment, state} from '../../lib/x86/state.js'
import {type PvMachine, pvMachine, scratchFrame, tables} from '../support/pv-machine.js'

const userRoot = 36
const handlerAt = (guest: PvMachine) => guest.linear(20)
const maskEvents = 4

/** GDT indexes and descriptors: flat code and data, and what is wrong with the others. */
const gdtFrame = 50
const ldtFrame = 52
const gdt: Readonly<Record<number, bigint>> = {
  4: 0x00cffb000000ffffn, // 0x23 compatibility code
  5: 0x00cff3000000ffffn, // 0x2b data
  6: 0x00affb000000ffffn, // 0x33 64-bit code
  7: 0x00af7b000000ffffn, // 0x3b code, not present
  8: 0x00cf73000000ffffn, // 0x43 data, not present
  9: 0x00cff1000000ffffn, // 0x4b data, read-only
  10: 0x00effb000000ffffn, // 0x53 code that is both of 64 and of 32 bits
}

/** A guest with a GDT, an LDT, handlers for #PF (masking), #UD (not), selector faults, NMI, events and SYSCALL, and a user root. */
function guestWithHandlers(): PvMachine {
  const guest = pvMachine()
  const view = new DataView(guest.memory.wasm.buffer, guest.host(scratchFrame), 4096)
  for (const [index, [vector, flags]] of [
    [14, maskEvents],
    [6, 0],
    [0x80, 3],
    [11, maskEvents],
    [12, maskEvents],
    [13, maskEvents],
  ].entries()) {
    view.setUint8(index * 16, vector)
    view.setUint8(index * 16 + 1, flags)
    view.setBigUint64(index * 16 + 8, handlerAt(guest) + BigInt(vector), true)
  }
  t.equal(guest.call(Hypercall.setTrapTable, guest.linear(scratchFrame)), 0)
  for (const type of [0, 2]) {
    view.setUint16(0, type, true)
    view.setUint16(2, 1, true)
    view.setBigUint64(8, handlerAt(guest) + 0x100n + BigInt(type), true)
    t.equal(guest.call(Hypercall.callbackOp, 0, guest.linear(scratchFrame)), 0)
  }
  for (const [index, value] of Object.entries(gdt))
    guest.memory.view.setBigUint64(guest.host(gdtFrame) + Number(index) * 8, value, true)
  guest.memory.view.setBigUint64(guest.host(ldtFrame) + 8, gdt[6], true)
  for (const frame of [gdtFrame, ldtFrame])
    t.equal(guest.call(Hypercall.updateVaMapping, guest.linear(frame), BigInt(frame * 4096 + 0x65), 2), 0)
  view.setBigUint64(0, BigInt(gdtFrame), true)
  t.equal(guest.call(Hypercall.setGdt, guest.linear(scratchFrame), 16), 0)
  view.setUint32(0, 13, true)
  view.setBigUint64(8, guest.linear(ldtFrame), true)
  view.setBigUint64(16, 2n, true)
  t.equal(guest.call(Hypercall.mmuextOp, guest.linear(scratchFrame), 1, 0, 0x7ff0), 0)
  t.equal(guest.call(Hypercall.updateVaMapping, guest.linear(userRoot), BigInt(userRoot * 4096 + 0x65), 2), 0)
  guest.memory.view.setBigUint64(guest.host(userRoot) + 272 * 8, BigInt(tables.level3 * 4096 + 0x67), true)
  view.setUint32(0, 15, true)
  view.setBigUint64(8, BigInt(userRoot), true)
  t.equal(guest.call(Hypercall.mmuextOp, guest.linear(scratchFrame), 1, 0, 0x7ff0), 0)
  t.equal(guest.call(Hypercall.stackSwitch, 0xe02b, guest.linear(5)), 0)
  return guest
}

/** Words from RSP on. */
function frame(guest: PvMachine, words: number): bigint[] {
  const bytes = guest.vcpu.readBytes(guest.vcpu.gpr(4), words * 8)
  if (bytes === undefined) throw new Error('no stack')
  const view = new DataView(bytes.buffer)
  return Array.from({length: words}, (_, index) => view.getBigUint64(index * 8, true))
}

const mask = (guest: PvMachine) => guest.memory.bytes[guest.hypervisor.record.u32(field.vcpuInfo) + 1]
const setMask = (guest: PvMachine, value: number) => {
  guest.memory.bytes[guest.hypervisor.record.u32(field.vcpuInfo) + 1] = value
}

/** HYPERVISOR_iret to a place in user or kernel mode. */
function leave(guest: PvMachine, cs: number, rip: bigint, rflags: bigint, rsp: bigint, ss = 0x2b, flags = 0n): void {
  const words = [0x11n, 0x22n, 0x33n, flags, rip, BigInt(cs), rflags, rsp, BigInt(ss)]
  guest.vcpu.setGpr(4, guest.linear(4, 0x100))
  for (const [index, word] of words.entries())
    guest.memory.view.setBigUint64(guest.host(4) + 0x100 + index * 8, word, true)
  guest.vcpu.setGpr(0, BigInt(Hypercall.iret))
  guest.hypervisor.syscall(guest.vcpu)
}

t.test('a page fault of the kernel', async t => {
  const guest = guestWithHandlers()
  const {vcpu} = guest
  setMask(guest, 0)
  vcpu.rip = 0xffff880000001234n
  vcpu.setGpr(4, guest.linear(3, 0x7f9))
  vcpu.setGpr(1, 0x11n)
  vcpu.setGpr(11, 0x22n)
  vcpu.rflags = 0x10246n
  vcpu.setU64(state.cr2, 0xdeadb000n)
  guest.hypervisor.exception(vcpu, {vector: 14, errorCode: 2})
  t.same(frame(guest, 8), [0x11n, 0x22n, 2n, 0xffff880000001234n, 0xe030n, 0x10246n, guest.linear(3, 0x7f9), 0xe02bn])
  t.equal(vcpu.gpr(4), guest.linear(3, 0x7f0 - 64), 'the stack is aligned to 16 first')
  t.equal(vcpu.rip, handlerAt(guest) + 14n)
  t.equal(vcpu.rflags & 0x10000n, 0n, 'RF is clear in the handler')
  t.equal(mask(guest), 1, 'the handler asked for masked events')
  t.equal(guest.memory.view.getBigUint64(guest.hypervisor.record.u32(field.vcpuInfo) + 16, true), 0xdeadb000n, 'CR2')
})

t.test('the saved mask is in the frame, and IF says the opposite', async t => {
  const guest = guestWithHandlers()
  setMask(guest, 1)
  guest.vcpu.setGpr(4, guest.linear(3, 0x800))
  guest.hypervisor.exception(guest.vcpu, {vector: 6})
  const [, , , cs, rflags] = frame(guest, 7)
  t.equal(cs >> 32n, 1n)
  t.equal(rflags & 0x200n, 0n)
  setMask(guest, 0)
  guest.hypervisor.exception(guest.vcpu, {vector: 6})
  t.equal(frame(guest, 7)[4] & 0x200n, 0x200n)
  t.equal(mask(guest), 0, 'this handler did not ask for masked events')
})

t.test('to user mode and back by SYSCALL', async t => {
  const guest = guestWithHandlers()
  const {vcpu, hypervisor} = guest
  vcpu.setSegmentBase(Segment.gs, 0x1000n)
  vcpu.setU64(state.inactiveGsBase, 0x2000n)
  leave(guest, 0x33, 0x400000n, 0x246n, 0x7fff0000n)
  t.equal(hypervisor.record.u32(field.kernelMode), 0)
  t.equal(vcpu.u32(state.mmuMode), 1)
  t.same([vcpu.gpr(0), vcpu.gpr(11), vcpu.gpr(1)], [0x11n, 0x22n, 0x33n])
  t.same([vcpu.rip, vcpu.gpr(4), vcpu.selector(Segment.cs)], [0x400000n, 0x7fff0000n, 0x33])
  t.equal(vcpu.segmentBase(Segment.gs), 0x2000n, 'the user GS base')
  t.equal(mask(guest), 0)
  vcpu.rip = 0x400002n
  hypervisor.syscall(vcpu)
  t.equal(hypervisor.record.u32(field.kernelMode), 1)
  t.equal(vcpu.segmentBase(Segment.gs), 0x1000n)
  t.equal(vcpu.rip, handlerAt(guest) + 0x102n)
  t.same(frame(guest, 7), [0x400002n, 0x246n, 0x400002n, 0xe033n, 0x246n, 0x7fff0000n, 0xe02bn])
  t.equal(vcpu.gpr(4), guest.linear(5) - 56n, 'on the kernel stack')
  t.equal(mask(guest), 1)
})

t.test('an event waits for the mask and enters when it falls', async t => {
  const guest = guestWithHandlers()
  const {vcpu, hypervisor} = guest
  setMask(guest, 1)
  hypervisor.events.raise(consolePort)
  const rip = vcpu.rip
  hypervisor.deliverPending(vcpu)
  t.equal(vcpu.rip, rip)
  leave(guest, 0xe030, guest.linear(21), 0x246n, guest.linear(3, 0x400))
  t.equal(vcpu.rip, handlerAt(guest) + 0x100n, 'straight from iret into the event handler')
  t.equal(frame(guest, 7)[2], guest.linear(21))
  t.equal(mask(guest), 1)
})

t.test('INT n from user mode needs privilege level 3 in the trap table', async t => {
  const guest = guestWithHandlers()
  leave(guest, 0x33, 0x400000n, 0x246n, 0x7fff0000n)
  t.same(guest.hypervisor.softwareInterrupt(guest.vcpu, 14), {vector: 13, errorCode: 14 * 8 + 2})
  t.equal(guest.hypervisor.softwareInterrupt(guest.vcpu, 0x80), undefined)
  t.equal(guest.vcpu.rip, handlerAt(guest) + 0x80n)
})

t.test('iret to selectors that cannot be: the fault is raised there', async t => {
  for (const [what, cs, ss, vector, errorCode] of [
    ['a null CS', 0x3, 0x2b, 13, 0],
    ['a CS beyond the table', 0x1f3, 0x2b, 13, 0x1f0],
    ['data as CS', 0x2b, 0x2b, 13, 0x28],
    ['a CS that is not present', 0x3b, 0x2b, 11, 0x38],
    ['code of two sizes', 0x53, 0x2b, 13, 0x50],
    ['a null SS', 0x33, 0, 13, 0],
    ['code as SS', 0x33, 0x33, 13, 0x30],
    ['a read-only SS', 0x33, 0x4b, 13, 0x48],
    ['an SS that is not present', 0x33, 0x43, 12, 0x40],
    ['an SS beyond the LDT', 0x33, 0x17, 13, 0x14],
  ] as const) {
    const guest = guestWithHandlers()
    leave(guest, cs, 0x400000n, 0x246n, 0x7fff0000n, ss)
    t.equal(guest.vcpu.rip, handlerAt(guest) + BigInt(vector), what)
    t.equal(guest.hypervisor.record.u32(field.kernelMode), 1)
    t.same(frame(guest, 8).slice(2), [BigInt(errorCode), 0x400000n, BigInt(cs), 0x246n, 0x7fff0000n, BigInt(ss | 3)])
    t.equal(guest.vcpu.gpr(4), guest.linear(5) - 64n, 'on the kernel stack')
    t.same(guest.shutdowns, [])
  }
  const guest = guestWithHandlers()
  leave(guest, 0x33, 0x800000000000n, 0x246n, 0x7fff0000n)
  t.equal(guest.vcpu.rip, handlerAt(guest) + 13n, 'an address that is not canonical')
  t.same(frame(guest, 4).slice(2), [0n, 0x800000000000n])
})

t.test('iret to code of other sizes, through the LDT, and by SYSRET', async t => {
  const compat = guestWithHandlers()
  leave(compat, 0x23, 0x1_2345_6789n, 0x246n, 0x7_7fff_0000n)
  t.equal(compat.vcpu.u32(state.codeBits), 32)
  t.same([compat.vcpu.rip, compat.vcpu.gpr(4)], [0x23456789n, 0x7fff0000n])
  compat.hypervisor.syscall(compat.vcpu)
  t.same(compat.shutdowns, [])
  const local = guestWithHandlers()
  leave(local, 0xf, 0x400000n, 0x246n, 0x7fff0000n)
  t.same([local.vcpu.rip, local.vcpu.u32(state.codeBits)], [0x400000n, 64])
  t.ok(local.vcpu.loadSegment(Segment.ds, 0x17), 'beyond the LDT, also in user mode')
  t.equal(local.vcpu.loadSegment(Segment.ds, 0xf), undefined)
  const fast = guestWithHandlers()
  leave(fast, 0x33, 0x400000n, 0x33246n, 0x7fff0000n, 0x2b, 0x100n)
  t.same([fast.vcpu.gpr(1), fast.vcpu.gpr(11)], [0x400000n, 0x10246n])
  t.equal(fast.vcpu.rflags, 0x10246n, 'neither IOPL nor VM')
})

t.test('a frame across two pages', async t => {
  const guest = guestWithHandlers()
  guest.vcpu.setGpr(4, guest.linear(60, 0x10))
  guest.vcpu.setGpr(1, 0x77n)
  guest.vcpu.setGpr(11, 0n)
  guest.hypervisor.exception(guest.vcpu, {vector: 13, errorCode: 8})
  t.equal(guest.vcpu.gpr(4), guest.linear(60, 0x10) - 64n)
  t.same(frame(guest, 3), [0x77n, 0n, 8n])
  t.equal(frame(guest, 8)[7], 0xe02bn)
  guest.vcpu.setGpr(4, guest.linear(0, 0x10))
  guest.hypervisor.exception(guest.vcpu, {vector: 13, errorCode: 8})
  t.same(guest.shutdowns, [3], 'half of it is on no page')
})

t.test('an NMI comes once, and again only after iret', async t => {
  const guest = guestWithHandlers()
  const {vcpu, hypervisor} = guest
  const view = new DataView(guest.memory.wasm.buffer, guest.host(scratchFrame), 4096)
  const sendNmi = () => guest.call(Hypercall.vcpuOp, 11, 0, 0)
  setMask(guest, 1)
  t.equal(sendNmi(), 0)
  t.not(vcpu.rip, handlerAt(guest) + 2n, 'no handler yet')
  view.setUint16(0, 4, true)
  view.setBigUint64(8, handlerAt(guest) + 2n, true)
  t.equal(guest.call(Hypercall.callbackOp, 0, guest.linear(scratchFrame)), 0)
  t.equal(vcpu.rip, handlerAt(guest) + 2n, 'even while events are masked')
  vcpu.rip = guest.linear(1)
  t.equal(sendNmi(), 0)
  t.equal(vcpu.rip, guest.linear(1), 'the first one is being handled')
  leave(guest, 0xe030, guest.linear(21), 0x246n, guest.linear(3, 0x400), 0xe02b)
  t.equal(vcpu.rip, handlerAt(guest) + 2n)
  hypervisor.record.setU32(field.nmiMasked, 0)
  view.setUint16(0, 4, true)
  t.equal(guest.call(Hypercall.callbackOp, 1, guest.linear(scratchFrame)), 0, 'unregistered')
  vcpu.rip = guest.linear(1)
  t.equal(sendNmi(), 0)
  t.equal(vcpu.rip, guest.linear(1))
})

t.test('what leaves no way on ends the domain, and only the domain', async t => {
  const noStack = guestWithHandlers()
  noStack.vcpu.setGpr(4, 0x1000n)
  noStack.hypervisor.exception(noStack.vcpu, {vector: 14, errorCode: 0})
  t.same(noStack.shutdowns, [3], 'no stack')
  const noHandler = guestWithHandlers()
  noHandler.hypervisor.exception(noHandler.vcpu, {vector: 17, errorCode: 0})
  t.same(noHandler.shutdowns, [3], 'no handler')
  const noFrame = guestWithHandlers()
  noFrame.vcpu.setGpr(4, 0x1000n)
  noFrame.vcpu.setGpr(0, BigInt(Hypercall.iret))
  noFrame.hypervisor.syscall(noFrame.vcpu)
  t.same(noFrame.shutdowns, [3], 'no frame for iret')
})
