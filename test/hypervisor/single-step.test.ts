/**
 * Single-stepping: with RFLAGS.TF set, whether by iret, POPF or IRET, each instruction ends in #DB; the handler itself runs without.
 */
import t from 'tap'
import {Hypercall} from '../../lib/abi/xen.js'
import {assembled} from '../support/assembler.js'
import {type PvMachine, pvMachine, scratchFrame} from '../support/pv-machine.js'

const codeFrame = 30
const trapFlag = 0x100n
const dr6 = 6

/** A guest with a #DB handler and code at the start of the code frame. */
function stepper(code: string): PvMachine & {readonly start: bigint; readonly handler: bigint} {
  const guest = pvMachine()
  const handler = guest.linear(31)
  const view = new DataView(guest.memory.wasm.buffer, guest.host(scratchFrame), 4096)
  view.setUint8(0, 1)
  view.setUint8(1, 4)
  view.setBigUint64(8, handler, true)
  guest.call(Hypercall.setTrapTable, guest.linear(scratchFrame))
  guest.memory.bytes.set(assembled(code), guest.host(codeFrame))
  guest.memory.bytes.set(assembled('jmp 0'), guest.host(31))
  guest.vcpu.setGpr(4, guest.linear(5, 2048))
  guest.vcpu.setGpr(0, 0n)
  guest.vcpu.rip = guest.linear(codeFrame)
  return {...guest, start: guest.linear(codeFrame), handler}
}

/** RIP in the frame on the guest's stack. */
function trappedAt({vcpu}: PvMachine): bigint {
  const bytes = vcpu.readBytes(vcpu.gpr(4) + 16n, 8)
  if (bytes === undefined) throw new Error('no stack')
  return new DataView(bytes.buffer).getBigUint64(0, true)
}

t.test('an instruction at a time', async t => {
  const guest = stepper('inc eax; inc eax')
  guest.vcpu.rflags = 0x202n | trapFlag
  guest.vcpu.run()
  t.equal(guest.vcpu.rip, guest.handler)
  t.equal(guest.vcpu.gpr(0), 1n)
  t.equal(trappedAt(guest), guest.start + 2n)
  t.equal(guest.vcpu.rflags & trapFlag, 0n, 'not in the handler')
  guest.call(Hypercall.getDebugreg, dr6)
  t.equal(guest.vcpu.gpr(0), 0xffff4ff0n)
})

t.test('POPF begins it after itself', async t => {
  const guest = stepper('popf; inc eax; inc eax')
  guest.memory.view.setBigUint64(guest.host(5) + 2048, 0x202n | trapFlag, true)
  for (let turn = 0; turn < 2; turn++) guest.vcpu.run()
  t.equal(guest.vcpu.rip, guest.handler)
  t.equal(guest.vcpu.gpr(0), 1n)
  t.equal(trappedAt(guest), guest.start + 3n)
})

t.test('HYPERVISOR_iret begins it', async t => {
  const guest = stepper('inc eax; inc eax')
  const frame = [0n, 0n, 0n, 0n, guest.start + 2n, 0xe030n, 0x202n | trapFlag, guest.linear(5, 2048), 0xe02bn]
  guest.vcpu.setGpr(4, guest.linear(4))
  for (const [index, word] of frame.entries()) guest.memory.view.setBigUint64(guest.host(4) + index * 8, word, true)
  // SYSCALL as generated code: the way back leads to the run loop, not into the next block.
  guest.memory.bytes.set(assembled('syscall'), guest.host(32))
  guest.vcpu.rip = guest.linear(32)
  guest.vcpu.setGpr(0, BigInt(Hypercall.iret))
  for (let turn = 0; turn < 2; turn++) guest.vcpu.run()
  t.equal(guest.vcpu.rip, guest.handler)
  t.equal(trappedAt(guest), guest.start + 4n)
})
