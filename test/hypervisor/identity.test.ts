/**
 * What the hypervisor says of itself, what it refuses to a domain without privileges, and what a kernel's privileged instructions do.
 */
import t from 'tap'
import {Errno, Hypercall} from '../../lib/abi/xen.js'
import {field} from '../../lib/hypervisor/record.js'
import type {PrivilegedInstruction} from '../../lib/x86/platform.js'
import {pvMachine, scratchFrame} from '../support/pv-machine.js'

const fault = {vector: 13, errorCode: 0}

/** A guest with its scratch page in view. */
function guestWithScratch() {
  const guest = pvMachine()
  const {vcpu, hypervisor} = guest
  const scratch = guest.memory.bytes.subarray(guest.host(scratchFrame), guest.host(scratchFrame) + 4096)
  const view = new DataView(guest.memory.wasm.buffer, guest.host(scratchFrame), 4096)
  const at = guest.linear(scratchFrame)
  return {
    ...guest,
    at,
    view,
    text: (offset: number) => Buffer.from(scratch.subarray(offset, scratch.indexOf(0, offset))).toString('latin1'),
    version: (command: number, address = at) => guest.call(Hypercall.xenVersion, command, address),
    io(name: 'in' | 'out', port: number, size: number, value = 0n) {
      vcpu.setGpr(0, value)
      vcpu.setGpr(2, BigInt(port))
      return hypervisor.privileged(vcpu, {name, length: 1, size})
    },
    msr(name: 'rdmsr' | 'wrmsr', register: number, value = 0n) {
      vcpu.setGpr(1, BigInt(register))
      vcpu.setGpr(0, value & 0xffffffffn)
      vcpu.setGpr(2, value >> 32n)
      return hypervisor.privileged(vcpu, {name, length: 2} as PrivilegedInstruction)
    },
  }
}

t.test('xen_version', async t => {
  const guest = guestWithScratch()
  t.equal(guest.version(0, 0n), 0x40011)
  for (const [command, offset, text] of [
    [1, 0, '.0-gastwirt'],
    [2, 0, 'TypeScript'],
    [2, 64, 'gastwirt'],
    [3, 0, 'xen-3.0-x86_64 '],
    [4, 0, 'unavailable'],
    [9, 0, '<denied>'],
  ] as const) {
    t.equal(guest.version(command), 0)
    t.equal(guest.text(offset), text)
  }
  t.equal(guest.version(5), 0)
  t.equal(guest.view.getBigUint64(0, true), 0xffff800000000000n)
  guest.view.setUint32(0, 0, true)
  t.equal(guest.version(6), 0)
  t.equal(guest.view.getUint32(4, true), 0x100a0)
  t.equal(guest.call(Hypercall.vmAssist, 0, 3), 0)
  t.equal(guest.version(6), 0)
  t.equal(guest.view.getUint32(4, true), 0x100b0, 'page tables above 4 GiB, as asked for')
  guest.view.setUint32(0, 1, true)
  t.equal(guest.version(6), -Errno.inval)
  t.equal(guest.version(7, 0n), 4096)
  t.equal(guest.version(7), -Errno.inval)
  t.equal(guest.version(8), 0)
  t.equal(
    Buffer.from(guest.memory.bytes.subarray(guest.host(scratchFrame), guest.host(scratchFrame) + 16)).toString('hex'),
    '00112233445566778899aabbccddeeff',
  )
  t.equal(guest.version(10), -Errno.perm)
  t.equal(guest.version(11), -Errno.nosys)
})

t.test('what a domain without privileges is refused', async t => {
  const guest = guestWithScratch()
  const answers: Record<number, number> = {
    7: 1,
    22: 1,
    27: 38,
    31: 38,
    34: 38,
    35: 1,
    36: 1,
    37: 38,
    38: 38,
    39: 38,
    40: 95,
    41: 38,
    48: 1,
    49: 38,
  }
  for (const [number, errno] of Object.entries(answers))
    t.equal(guest.call(Number(number), 0, guest.at), -errno, number)
  const physdev = (command: number) => guest.call(Hypercall.physdevOp, command, guest.at)
  for (const command of [8, 9, 13, 14, 24, 30]) t.equal(physdev(command), -Errno.perm)
  for (const command of [17, 28, 99]) t.equal(physdev(command), -Errno.nosys)
  guest.view.setUint32(0, 4, true)
  t.equal(physdev(6), -Errno.inval)
  t.equal(physdev(5), 0)
  for (const type of [0, 1, 2, 3, 4, 5, 32]) t.equal(guest.call(Hypercall.vmAssist, 0, type), 0)
  t.equal(guest.call(Hypercall.vmAssist, 0, 6), -Errno.inval)
  t.equal(guest.call(Hypercall.vmAssist, 2, 0), -Errno.nosys)
  t.equal(guest.call(Hypercall.callbackOp, 0, 0x1000), -Errno.fault)
  guest.view.setUint16(0, 3, true)
  guest.view.setBigUint64(8, 0n, true)
  t.equal(guest.call(Hypercall.callbackOp, 0, guest.at), -Errno.nosys, 'no such callback')
  t.equal(guest.call(Hypercall.callbackOp, 1, guest.at), -Errno.nosys)
  guest.view.setUint16(0, 0, true)
  t.equal(guest.call(Hypercall.callbackOp, 1, guest.at), -Errno.inval, 'not to be taken away')
  guest.view.setBigUint64(8, 0x800000000000n, true)
  t.equal(guest.call(Hypercall.callbackOp, 0, guest.at), -Errno.inval)
  t.equal(guest.call(Hypercall.callbackOp, 2, guest.at), -Errno.nosys)
})

t.test('older forms of calls', async t => {
  const guest = guestWithScratch()
  guest.view.setUint32(0, 7, true)
  guest.view.setUint32(4, 0, true)
  t.equal(guest.call(16, guest.at), 0, 'bind_ipi')
  t.equal(guest.view.getUint32(8, true), 3)
  guest.view.setUint32(0, 10, true)
  t.equal(guest.call(16, guest.at), -Errno.nosys)
  t.equal(guest.call(6, 0), 0)
  t.equal(guest.call(6, 3), -Errno.nosys)
  t.equal(guest.call(6, 2, 1), 0)
  t.same(guest.shutdowns, [1])
})

t.test('ports: all ones where the guest may try', async t => {
  const guest = guestWithScratch()
  const {vcpu} = guest
  t.same(guest.io('in', 0x70, 1), fault)
  guest.view.setUint32(0, 1, true)
  t.equal(guest.call(Hypercall.physdevOp, 6, guest.at), 0)
  t.equal(guest.io('in', 0x70, 1, 0x1234500n), undefined)
  t.equal(vcpu.gpr(0), 0x12345ffn)
  t.equal(guest.io('in', 0x70, 2, 0xa0000n), undefined)
  t.equal(vcpu.gpr(0), 0xaffffn)
  t.equal(guest.io('in', 0x70, 4, 1n << 40n), undefined)
  t.equal(vcpu.gpr(0), 0xffffffffn)
  t.equal(guest.io('out', 0xcf8, 4, 0x80000000n), undefined)
  guest.io('in', 0xcf8, 4)
  t.equal(vcpu.gpr(0), 0x80000000n, 'the PCI address register')
  guest.io('in', 0xcfc, 4)
  t.equal(vcpu.gpr(0), 0xffffffffn, 'and nothing behind it')
  guest.hypervisor.record.setU32(field.kernelMode, 0)
  t.same(guest.io('in', 0x70, 1), fault, 'user mode needs level 3')
  guest.hypervisor.record.setU32(field.kernelMode, 1)
  guest.view.setBigUint64(0, guest.linear(20), true)
  guest.view.setUint32(8, 0x80, true)
  t.equal(guest.call(Hypercall.physdevOp, 7, guest.at), 0)
  guest.memory.bytes[guest.host(20) + 0xe] = 0xfe
  guest.hypervisor.record.setU32(field.kernelMode, 0)
  t.equal(guest.io('in', 0x70, 1), undefined, 'or a bitmap')
  t.same(guest.io('in', 0x70, 2), fault)
  t.same(guest.io('in', 0x80, 1), fault, 'beyond it')
  guest.hypervisor.record.setU32(field.kernelMode, 1)
  guest.view.setUint32(8, 65537, true)
  t.equal(guest.call(Hypercall.physdevOp, 7, guest.at), -Errno.inval)
})

t.test('MSRs', async t => {
  const guest = guestWithScratch()
  t.equal(guest.msr('rdmsr', 0x777), undefined, 'spared while there is no handler')
  t.equal(guest.vcpu.gpr(0), 0n)
  guest.view.setUint8(0, 13)
  guest.view.setBigUint64(8, guest.linear(30), true)
  guest.view.setBigUint64(24, 0n, true)
  t.equal(guest.call(Hypercall.setTrapTable, guest.at), 0)
  t.same(guest.msr('rdmsr', 0x777), fault)
  t.same(guest.msr('wrmsr', 0x777), fault)
  t.same(guest.msr('wrmsr', 0xc0000100, 1n << 47n), fault, 'not canonical')
  t.equal(guest.msr('wrmsr', 0xc0000100, 0x7fffn), undefined)
  t.equal(guest.msr('wrmsr', 0x40000000, 40n << 12n), undefined)
  t.same(
    [...guest.memory.bytes.subarray(guest.host(40) + 32, guest.host(40) + 37)],
    [0x51, 0x41, 0x53, 0xb8, 1],
    'a hypercall page',
  )
  t.same(guest.msr('wrmsr', 0x40000000, (40n << 12n) | 1n), fault)
  t.same(guest.msr('wrmsr', 0x40000000, BigInt(guest.layout.m2p) << 12n), fault)
})
