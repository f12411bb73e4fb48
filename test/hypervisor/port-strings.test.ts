/** INS and OUTS of a guest without ports: what IN and OUT do, once for each element, and memory faults in the middle. */
import t from 'tap'
import {Hypercall} from '../../lib/abi/xen.js'
import {state} from '../../lib/x86/state.js'
import {assembled} from '../support/assembler.js'
import {direct, type PvMachine, pvMachine, scratchFrame, tables} from '../support/pv-machine.js'

const codeFrame = 30
const dataFrame = 40
const stackFrame = 5
const Gpr = {rax: 0, rcx: 1, rdx: 2, rsp: 4, rsi: 6, rdi: 7} as const
const setIopl = 6
const [insByte, insDouble] = ['ins BYTE PTR es:[rdi],dx', 'ins DWORD PTR es:[rdi],dx']
const [outsByte, outsDouble] = ['outs dx,BYTE PTR ds:[rsi]', 'outs dx,DWORD PTR ds:[rsi]']

/** A guest whose kernel has that I/O privilege level, with handlers for #GP and #PF, before one instruction. */
function guestWith(iopl: number, code: string, registers: Record<number, bigint>): PvMachine {
  const guest = pvMachine()
  const {vcpu, memory} = guest
  const scratch = guest.linear(scratchFrame)
  for (const [index, vector] of [13, 14].entries()) {
    const at = guest.host(scratchFrame) + index * 16
    memory.bytes[at] = vector
    memory.view.setBigUint64(at + 8, handler(guest, vector), true)
  }
  guest.call(Hypercall.setTrapTable, scratch)
  memory.view.setUint32(guest.host(scratchFrame), iopl, true)
  guest.call(Hypercall.physdevOp, setIopl, scratch)
  // The page behind the data is not there.
  memory.view.setBigUint64(guest.host(tables.level1) + (dataFrame + 1) * 8, 0n, true)
  vcpu.flushTlb()
  memory.bytes.set(assembled(code), guest.host(codeFrame))
  memory.bytes.fill(0x55, guest.host(dataFrame), guest.host(dataFrame) + 4096)
  vcpu.setGpr(Gpr.rax, 0x1122334455667788n)
  vcpu.setGpr(Gpr.rdx, 0x70n)
  vcpu.setGpr(Gpr.rsp, guest.linear(stackFrame, 2048))
  for (const [register, value] of Object.entries(registers)) vcpu.setGpr(Number(register), value)
  vcpu.rip = guest.linear(codeFrame)
  vcpu.step()
  return guest
}

const handler = (guest: PvMachine, vector: number) => guest.linear(31, vector * 64)
const data = (guest: PvMachine, offset: number, length: number) =>
  Buffer.from(guest.memory.bytes.subarray(guest.host(dataFrame) + offset, guest.host(dataFrame) + offset + length))
const at = (offset: number) => direct + BigInt(dataFrame * 4096 + offset)

t.test('a kernel that may try reads ones, and what it writes is dropped', async t => {
  const insb = guestWith(1, insByte, {[Gpr.rdi]: at(8), [Gpr.rcx]: 5n})
  t.equal(insb.vcpu.rip, insb.linear(codeFrame, 1))
  t.equal(data(insb, 7, 3).toString('hex'), '55ff55')
  t.equal(insb.vcpu.gpr(Gpr.rdi), at(9))
  t.equal(insb.vcpu.gpr(Gpr.rcx), 5n, 'RCX counts only with REP')
  t.equal(insb.vcpu.gpr(Gpr.rax), 0x1122334455667788n, 'RAX has no part in it')

  const insw = guestWith(1, 'rep ins WORD PTR es:[rdi],dx', {[Gpr.rdi]: at(8), [Gpr.rcx]: 3n})
  t.equal(insw.vcpu.rip, insw.linear(codeFrame, 3))
  t.equal(data(insw, 7, 8).toString('hex'), '55ffffffffffff55')
  t.equal(insw.vcpu.gpr(Gpr.rdi), at(14))
  t.equal(insw.vcpu.gpr(Gpr.rcx), 0n)

  const outsl = guestWith(1, `rep ${outsDouble}`, {[Gpr.rsi]: at(4096 - 12), [Gpr.rcx]: 3n, [Gpr.rdx]: 0xcf8n})
  t.equal(outsl.vcpu.gpr(Gpr.rsi), at(4096))
  t.equal(outsl.vcpu.gpr(Gpr.rcx), 0n)
  outsl.hypervisor.privileged(outsl.vcpu, {name: 'in', length: 1, size: 4})
  t.equal(outsl.vcpu.gpr(Gpr.rax), 0x55555555n, 'the last of them is in the PCI address register')

  const none = guestWith(0, `rep ${insByte}`, {[Gpr.rdi]: at(8), [Gpr.rcx]: 0n})
  t.equal(none.vcpu.rip, none.linear(codeFrame, 2), 'no element needs no right')
})

t.test('one that may not gets #GP, and nothing is changed', async t => {
  for (const code of [insByte, `rep ${insDouble}`, outsByte, `rep ${outsDouble}`]) {
    t.equal(guestWith(0, code, {[Gpr.rcx]: 1n}).vcpu.rip, handler(pvMachine(), 13), 'whatever the address is')
    const guest = guestWith(0, code, {[Gpr.rdi]: at(8), [Gpr.rsi]: at(8), [Gpr.rcx]: 5n})
    t.equal(guest.vcpu.rip, handler(guest, 13))
    t.equal(data(guest, 8, 4).toString('hex'), '55555555')
    t.strictSame(
      [guest.vcpu.gpr(Gpr.rdi), guest.vcpu.gpr(Gpr.rsi), guest.vcpu.gpr(Gpr.rax)],
      [at(8), at(8), 0x1122334455667788n],
    )
  }
})

t.test('a page fault in the middle finds the registers where they stand', async t => {
  const insb = guestWith(1, `rep ${insByte}`, {[Gpr.rdi]: at(4096 - 3), [Gpr.rcx]: 9n})
  t.equal(insb.vcpu.rip, handler(insb, 14))
  t.equal(insb.vcpu.u64(state.cr2), at(4096))
  t.equal(insb.vcpu.gpr(Gpr.rdi), at(4096))
  t.equal(data(insb, 4092, 4).toString('hex'), '55ffffff')
  const outsb = guestWith(1, `rep ${outsByte}`, {[Gpr.rsi]: at(4096 - 3), [Gpr.rcx]: 9n})
  t.equal(outsb.vcpu.rip, handler(outsb, 14))
  t.equal(outsb.vcpu.gpr(Gpr.rsi), at(4096))
  t.equal(outsb.vcpu.gpr(Gpr.rax), 0x1122334455667788n)
})
