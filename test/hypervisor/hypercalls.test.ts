/**
 * What each hypercall family answers: success, and Xen's errno for what the ABI forbids.
 */
import t from 'tap'
import {Errno, Hypercall} from '../../lib/abi/xen.js'
import {consolePort, createMachine, storePort} from '../../lib/hypervisor/create.js'
import {PageTables} from '../../lib/hypervisor/page-tables.js'
import {field, MachineRecord} from '../../lib/hypervisor/record.js'
import {direct, pvMachine, scratchFrame, tables} from '../support/pv-machine.js'

const domidSelf = 0x7ff0
const eventOp = {bindVirq: 1, close: 3, send: 4, status: 5, allocUnbound: 6, bindIpi: 7, bindVcpu: 8, unmask: 9}

/** A guest whose arguments are written as 32-bit words to its scratch page. */
function guestWithWords() {
  const guest = pvMachine()
  const at = guest.linear(scratchFrame)
  const view = new DataView(guest.memory.wasm.buffer, guest.host(scratchFrame), 4096)
  return {
    ...guest,
    at,
    view,
    /** Hypercall with a sub-operation and a record of words; answers are read from `view`. */
    op(number: number, command: number, ...words: number[]): number {
      for (const [index, word] of words.entries()) view.setUint32(index * 4, word, true)
      return guest.call(number, command, at)
    },
  }
}

t.test('unknown and privileged hypercalls', async t => {
  const guest = pvMachine()
  t.equal(guest.call(63), -Errno.nosys)
  t.equal(guest.call(0xffffffff), -Errno.nosys)
  t.equal(guest.call(35), -Errno.perm, 'sysctl')
  t.equal(guest.call(36), -Errno.perm, 'domctl')
})

t.test('a pointer that is not mapped is EFAULT, never a fault', async t => {
  const guest = pvMachine()
  for (const bad of [0n, 0x1000n, 0x800000000000n, direct + 0x40000000n]) {
    t.equal(guest.call(Hypercall.xenVersion, 1, bad), -Errno.fault)
    t.equal(guest.call(Hypercall.eventChannelOp, eventOp.send, bad), -Errno.fault)
    t.equal(guest.call(Hypercall.mmuUpdate, bad, 1, 0, domidSelf), -Errno.fault)
  }
  t.equal(guest.call(Hypercall.xenVersion, 1, guest.linear(tables.level1)), -Errno.fault, 'a read-only page')
})

t.test('event channels', async t => {
  const guest = guestWithWords()
  const op = (command: number, ...words: number[]) => guest.op(Hypercall.eventChannelOp, command, ...words)
  t.equal(op(eventOp.send, consolePort), 0)
  t.same(guest.notified, [consolePort])
  t.equal(op(eventOp.send, 0), -Errno.inval)
  t.equal(op(eventOp.send, 77), -Errno.inval, 'a free port')
  t.equal(op(eventOp.send, 4096), -Errno.inval)
  t.equal(op(eventOp.bindVirq, 0, 0), 0)
  const timer = guest.view.getUint32(8, true)
  t.equal(timer, 3, 'the lowest free port')
  t.equal(op(eventOp.bindVirq, 0, 0), -Errno.exist)
  t.equal(op(eventOp.bindVirq, 0, 1), -Errno.noent)
  t.equal(op(eventOp.bindVirq, 2, 0), -Errno.busy, 'a global VIRQ')
  t.equal(op(eventOp.bindVirq, 24, 0), -Errno.inval)
  t.equal(op(eventOp.send, timer), -Errno.inval, 'a VIRQ cannot be sent to')
  t.equal(op(eventOp.bindIpi, 0), 0)
  const ipi = guest.view.getUint32(4, true)
  t.equal(op(eventOp.send, ipi), 0)
  t.ok(guest.hypervisor.events.isPending(ipi))
  t.equal(op(eventOp.bindVcpu, ipi, 0), -Errno.inval)
  t.equal(op(eventOp.bindVcpu, consolePort, 0), 0)
  t.equal(op(eventOp.close, ipi), 0)
  t.notOk(guest.hypervisor.events.isPending(ipi))
  t.equal(op(eventOp.close, ipi), -Errno.inval)
  t.equal(op(eventOp.status, domidSelf, timer), 0)
  t.same([guest.view.getUint32(8, true), guest.view.getUint32(16, true)], [4, 0])
  t.equal(op(eventOp.allocUnbound, domidSelf), 0)
  t.equal(op(11, 0), -Errno.nosys, 'the FIFO ABI is not offered')
})

t.test('a flood of sends is one message until the host looks', async t => {
  const guest = guestWithWords()
  const send = () => guest.op(Hypercall.eventChannelOp, eventOp.send, consolePort)
  for (let turn = 0; turn < 1000; turn++) t.equal(send(), 0)
  t.same(guest.notified, [consolePort])
  guest.hypervisor.events.takeSent(consolePort)
  t.equal(send(), 0)
  t.equal(guest.op(Hypercall.eventChannelOp, eventOp.send, storePort), 0)
  t.same(guest.notified, [consolePort, consolePort, storePort], 'each port is told of by itself')
})

t.test('every port can be taken, and a VIRQ beyond port 255 still fires', async t => {
  const guest = guestWithWords()
  for (let port = 3; port < 300; port++) t.equal(guest.op(Hypercall.eventChannelOp, eventOp.bindIpi, 0), 0)
  t.equal(guest.op(Hypercall.eventChannelOp, eventOp.bindVirq, 0, 0), 0)
  const timer = guest.view.getUint32(8, true)
  t.equal(timer, 300)
  t.equal(guest.op(Hypercall.eventChannelOp, eventOp.bindVirq, 0, 0), -Errno.exist)
  t.equal(guest.call(Hypercall.setTimerOp, 5000), 0)
  t.notOk(guest.hypervisor.events.isPending(timer))
  guest.clock.ns = 5000
  guest.hypervisor.deliverPending(guest.vcpu)
  t.ok(guest.hypervisor.events.isPending(timer))
  let last = 0
  while (last === 0) last = guest.op(Hypercall.eventChannelOp, eventOp.bindIpi, 0)
  t.equal(last, -Errno.nospc)
})

t.test('a restored guest that suspends goes on, however often it is asked to', async t => {
  const guest = guestWithWords()
  const suspend = 2
  guest.memory.view.setFloat64(field.wallStepMs, 1.8e12, true)
  for (let time = 0; time < 3; time++) t.equal(guest.op(Hypercall.schedOp, 2, suspend), 1)
  t.same(guest.shutdowns, [])
  guest.memory.view.setFloat64(field.wallStepMs, 0, true)
  t.equal(guest.op(Hypercall.schedOp, 2, suspend), 0)
  t.same(guest.shutdowns, [suspend], 'another is shut down')
})

t.test('shutdown stops the domain whatever reason is given', async t => {
  for (const [reason, told] of [
    [0, 0],
    [1, 1],
    [3, 3],
    [0xffffffff, 0xff],
  ]) {
    const guest = guestWithWords()
    t.equal(guest.op(Hypercall.schedOp, 2, reason), 0)
    t.ok(guest.hypervisor.isStopped(), `reason ${reason}`)
    t.same(guest.shutdowns, [told])
  }
})

t.test('block sleeps until an event is deliverable; poll until its port is pending', async t => {
  const guest = guestWithWords()
  t.equal(guest.call(Hypercall.schedOp, 1), 0)
  t.ok(guest.hypervisor.isBlocked())
  const polling = guestWithWords()
  polling.view.setUint32(64, consolePort, true)
  polling.view.setBigUint64(0, polling.at + 64n, true)
  polling.view.setUint32(8, 1, true)
  polling.view.setBigUint64(16, 0n, true)
  t.equal(polling.call(Hypercall.schedOp, 3, polling.at), 0)
  t.ok(polling.hypervisor.isBlocked())
  polling.hypervisor.events.raise(consolePort)
  polling.hypervisor.deliverPending(polling.vcpu)
  t.notOk(polling.hypervisor.isBlocked(), 'a polled port wakes even while events are masked')
  t.equal(polling.call(Hypercall.schedOp, 3, polling.at), 0)
  t.notOk(polling.hypervisor.isBlocked(), 'pending already')
  polling.view.setUint32(8, 129, true)
  t.equal(polling.call(Hypercall.schedOp, 3, polling.at), -Errno.inval)
})

t.test('page tables', async t => {
  const guest = guestWithWords()
  const level1 = tables.level1 * 4096
  const update = (address: number, value: bigint) => {
    guest.view.setBigUint64(0, BigInt(address), true)
    guest.view.setBigUint64(8, value, true)
    return guest.call(Hypercall.mmuUpdate, guest.at, 1, guest.at + 32n, domidSelf)
  }
  t.equal(update(level1 + 40 * 8, 0n), 0)
  t.equal(guest.view.getUint32(32, true), 1, 'one was done')
  t.equal(guest.vcpu.readBytes(guest.linear(40), 1), undefined)
  t.equal(update(level1 + 40 * 8, BigInt(40 * 4096) | 0x67n), 0)
  t.ok(guest.vcpu.readBytes(guest.linear(40), 1))
  t.equal(
    update(level1 + 40 * 8, BigInt(guest.layout.frames * 4096) | 0x67n),
    -Errno.perm,
    'a frame beyond the machine',
  )
  t.equal(guest.view.getUint32(32, true), 0)
  t.equal(update(level1 + 40 * 8, (1n << 51n) | 0x67n), -Errno.perm)
  t.equal(update(guest.layout.frames * 4096, 0n), -Errno.inval, 'an entry outside the machine')
  t.equal(update(tables.level4 * 4096 + 256 * 8, 0n), -Errno.inval, "Xen's slot")
  const flush = 2
  t.equal(guest.call(Hypercall.updateVaMapping, guest.linear(41), BigInt(41 * 4096) | 0x65n, flush), 0)
  t.notOk(guest.vcpu.writeBytes(guest.linear(41), new Uint8Array(1)), 'read-only now')
  t.equal(guest.call(Hypercall.updateVaMapping, 0x1000n, 0n, 0), -Errno.inval, 'no level-1 table there')
  const extended = (command: number, argument: number) => {
    guest.view.setUint32(0, command, true)
    guest.view.setBigUint64(8, BigInt(argument), true)
    guest.view.setBigUint64(16, 0n, true)
    return guest.call(Hypercall.mmuextOp, guest.at, 1, 0, domidSelf)
  }
  t.equal(extended(3, tables.level4), -Errno.inval, 'pinned already')
  t.equal(extended(4, 41), -Errno.inval, 'unpin what is not pinned')
  t.equal(extended(0, guest.layout.frames), -Errno.inval)
  t.equal(extended(5, guest.layout.frames), -Errno.inval)
  t.equal(extended(12, 0), -Errno.acces)
  t.equal(extended(99, 0), -Errno.nosys)
})

t.test('a multicall answers entry by entry', async t => {
  const guest = guestWithWords()
  for (const [index, number] of [Hypercall.xenVersion, 63, Hypercall.multicall].entries())
    guest.view.setBigUint64(index * 64, BigInt(number), true)
  t.equal(guest.call(Hypercall.multicall, guest.at, 3), 0)
  t.same(
    [0, 1, 2].map(index => Number(guest.view.getBigInt64(index * 64 + 8, true))),
    [(4 << 16) | 17, -Errno.nosys, -Errno.inval],
  )
})

t.test('descriptors: none of the system kind, none below the guest kernel', async t => {
  const guest = guestWithWords()
  const frame = 50
  const put = (index: number, value: bigint) =>
    guest.memory.view.setBigUint64(guest.host(frame) + index * 8, value, true)
  put(1, 0x00af9b000000ffffn)
  guest.view.setBigUint64(0, BigInt(frame), true)
  t.equal(guest.call(Hypercall.updateVaMapping, guest.linear(frame), BigInt(frame * 4096) | 0x65n, 2), 0)
  t.equal(guest.call(Hypercall.setGdt, guest.at, 16), 0)
  t.same(guest.hypervisor.descriptor(guest.vcpu, 8), [0xffff, 0x00affb00], 'privilege level 3')
  t.equal(guest.call(Hypercall.updateDescriptor, frame * 4096 + 16, 0x0000890000000067n), -Errno.inval, 'a TSS')
  t.equal(guest.call(Hypercall.updateDescriptor, frame * 4096 + 20, 0n), -Errno.inval, 'not aligned')
  t.equal(guest.call(Hypercall.setGdt, guest.at, 7169), -Errno.inval)
  guest.view.setBigUint64(0, BigInt(guest.layout.frames), true)
  t.equal(guest.call(Hypercall.setGdt, guest.at, 16), -Errno.inval)
  t.same(guest.hypervisor.descriptor(guest.vcpu, 8), [0xffff, 0x00affb00], 'a refused table changes nothing')
})

t.test('the balloon gives pages back and takes them again', async t => {
  const guest = guestWithWords()
  const pages = () => {
    guest.view.setUint16(0, domidSelf, true)
    return guest.call(Hypercall.memoryOp, 3, guest.at)
  }
  const reserve = (command: number, ...frames: number[]) => {
    guest.view.setBigUint64(0, guest.at + 64n, true)
    guest.view.setBigUint64(8, BigInt(frames.length), true)
    guest.view.setUint32(16, 0, true)
    guest.view.setUint32(20, 0, true)
    guest.view.setUint16(24, domidSelf, true)
    for (const [index, frame] of frames.entries()) guest.view.setBigUint64(64 + index * 8, BigInt(frame), true)
    return guest.call(Hypercall.memoryOp, command, guest.at)
  }
  const unmap = (frame: number) => guest.call(Hypercall.updateVaMapping, guest.linear(frame), 0n, 2)
  const before = pages()
  unmap(60)
  unmap(61)
  t.equal(reserve(1, 60, 61), 2)
  t.equal(pages(), before - 2)
  t.equal(reserve(1, 60), 0, 'given back already')
  t.equal(reserve(1, guest.layout.frames), 0)
  t.equal(reserve(6, 100), 1)
  t.equal(guest.view.getBigUint64(64, true), 60n)
  t.equal(pages(), before - 1)
  t.equal(reserve(6, 101, 102), 1, 'no more than there are')
})

t.test('the host gets what the balloon gave, in runs and empty', async t => {
  const guest = guestWithWords()
  const reserve = (command: number, order: number, frames: number[]) => {
    guest.view.setBigUint64(0, guest.at + 64n, true)
    guest.view.setBigUint64(8, BigInt(frames.length), true)
    guest.view.setUint32(16, order, true)
    guest.view.setUint32(20, 0, true)
    guest.view.setUint16(24, domidSelf, true)
    for (const [index, frame] of frames.entries()) guest.view.setBigUint64(64 + index * 8, BigInt(frame), true)
    return guest.call(Hypercall.memoryOp, command, guest.at)
  }
  const frames = [65, 60, 62, 61, 80, 81, 82, 83, 63]
  for (const frame of [...frames, 84, 85, 86, 87]) {
    guest.memory.bytes.fill(9, guest.host(frame), guest.host(frame + 1))
    guest.call(Hypercall.updateVaMapping, guest.linear(frame), 0n, 2)
  }
  t.equal(reserve(1, 0, frames), 9)
  t.strictSame(guest.givenBack.splice(0), [
    [60, 4],
    [65, 1],
    [80, 4],
  ])
  t.equal(reserve(1, 2, [84]), 1)
  t.strictSame(guest.givenBack.splice(0), [[84, 4]])
  t.equal(reserve(1, 0, [66]), 0, 'a mapped frame is kept')
  t.strictSame(guest.givenBack, [])
  t.equal(reserve(6, 2, [200]), 1)
  const taken = Number(guest.view.getBigUint64(64, true))
  t.ok(
    guest.memory.bytes.subarray(guest.host(taken), guest.host(taken + 4)).every(byte => byte === 0),
    'what is taken again is empty',
  )
})

t.test('a domain has no more frames than it may', async t => {
  const guest = guestWithWords()
  const memoryOf = (command: number) => {
    guest.view.setUint16(0, domidSelf, true)
    return guest.call(Hypercall.memoryOp, command, guest.at)
  }
  const reserve = (command: number, frames: number[]) => {
    guest.view.setBigUint64(0, guest.at + 64n, true)
    guest.view.setBigUint64(8, BigInt(frames.length), true)
    guest.view.setBigUint64(16, 0n, true)
    guest.view.setUint16(24, domidSelf, true)
    for (const [index, frame] of frames.entries()) guest.view.setBigUint64(64 + index * 8, BigInt(frame), true)
    return guest.call(Hypercall.memoryOp, command, guest.at)
  }
  const mayHave = (pages: number) => guest.hypervisor.record.setU32(field.mostPages, pages)
  const all = guest.layout.ramPages
  t.equal(memoryOf(4), all, 'maximum_reservation')
  for (const frame of [60, 61, 62, 63]) guest.call(Hypercall.updateVaMapping, guest.linear(frame), 0n, 2)
  t.equal(reserve(1, [60, 61, 62, 63]), 4)
  mayHave(all - 3)
  t.equal(memoryOf(4), all - 3)
  t.equal(memoryOf(3), all - 4, 'current_reservation')
  t.equal(reserve(6, [60, 61]), 1, 'one more and no further')
  t.equal(reserve(0, [0]), 0, 'nor without a place')
  mayHave(all - 10)
  t.equal(memoryOf(3), all - 3, 'what it has it keeps')
  t.equal(reserve(6, [61]), 0)
  mayHave(all)
  t.equal(reserve(6, [61, 62, 63]), 3)
})

t.test('memory that a domain may get later is absent at first', async t => {
  const {memory, layout} = pvMachine()
  memory.bytes.fill(0)
  const newDomain = {domid: 7, uuid: '00112233-4455-6677-8899-aabbccddeeff', wallOffsetMs: 0}
  createMachine(memory, layout, {...newDomain, presentPages: 100})
  const record = new MachineRecord(memory)
  const tables = new PageTables(memory, layout, record)
  t.strictSame([record.u32(field.absentPages), record.u32(field.mostPages)], [layout.ramPages - 100, 100])
  t.strictSame(
    [99, 100, layout.ramPages - 1].map(mfn => tables.isOwn(mfn)),
    [true, false, false],
  )
  const pfn = (mfn: number) => memory.uint32[(layout.ramBase + layout.m2p * 4096 + mfn * 8) >>> 2]
  t.strictSame([pfn(99), pfn(100)], [99, 0xffffffff])
})

t.test('an exchange that names a frame twice, or one in use, changes nothing', async t => {
  const guest = guestWithWords()
  const exchange = (given: number[]) => {
    for (const at of [0, 32]) {
      guest.view.setBigUint64(at, guest.at + BigInt(at === 0 ? 128 : 256), true)
      guest.view.setBigUint64(at + 8, BigInt(given.length), true)
      guest.view.setBigUint64(at + 16, 0n, true)
      guest.view.setUint16(at + 24, domidSelf, true)
    }
    guest.view.setUint32(48, 1, true)
    guest.view.setBigUint64(40, BigInt(given.length / 2), true)
    guest.view.setBigUint64(64, 0n, true)
    for (const [index, frame] of given.entries()) guest.view.setBigUint64(128 + index * 8, BigInt(frame), true)
    return guest.call(Hypercall.memoryOp, 11, guest.at)
  }
  for (const frame of [60, 61]) guest.call(Hypercall.updateVaMapping, guest.linear(frame), 0n, 2)
  t.equal(exchange([60, 60]), -Errno.inval, 'twice')
  t.equal(exchange([60, 70]), -Errno.inval, 'in use')
  t.strictSame(guest.givenBack, [])
  t.equal(exchange([60, 61]), 0, 'both are still there')
  t.strictSame(guest.givenBack, [[60, 2]])
})

t.test('console_io prints, but not without end', async t => {
  const guest = guestWithWords()
  const text = 'early words\n'
  guest.vcpu.writeBytes(guest.at, Buffer.from(text))
  t.equal(guest.call(Hypercall.consoleIo, 0, text.length, guest.at), text.length)
  t.same(guest.console, [text])
  t.equal(guest.call(Hypercall.consoleIo, 1, 1, guest.at), -Errno.perm, 'reading')
  t.equal(guest.call(Hypercall.consoleIo, 0, 10, 0), -Errno.fault)
  for (let turn = 0; turn < 1000; turn++) t.equal(guest.call(Hypercall.consoleIo, 0, 4096, guest.at), 4096)
  t.ok(guest.console.join('').length <= 1 << 20)
  const drip = guestWithWords()
  drip.vcpu.writeBytes(drip.at, Buffer.from('x\n'))
  t.equal(drip.call(Hypercall.consoleIo, 0, 1, drip.at), 1)
  t.same(drip.console, [], 'half a line waits')
  t.equal(drip.op(Hypercall.schedOp, 2, 3), 0)
  t.equal(drip.console.length, 1, 'but not beyond the end of the domain')
  t.equal(drip.op(Hypercall.schedOp, 2, 0), 0)
  t.same(drip.shutdowns, [3], 'which comes once')
  const flood = guestWithWords()
  flood.vcpu.writeBytes(flood.at, Buffer.alloc(4096, '\n'))
  for (let turn = 0; turn < 10; turn++) t.equal(flood.call(Hypercall.consoleIo, 0, 4096, flood.at), 4096)
  t.ok(flood.console.length <= (1 << 20) / 64, 'empty lines are not free')
})

t.test('there are eight debug registers', async t => {
  const guest = pvMachine()
  const {vcpu, hypervisor} = guest
  const move = (name: 'mov-to-dr' | 'mov-from-dr', special: number) =>
    hypervisor.privileged(vcpu, {name, length: 3, register: 3, special})
  vcpu.setGpr(3, 0x1234n)
  t.equal(move('mov-to-dr', 7), undefined)
  t.same(move('mov-to-dr', 8), {vector: 6})
  t.same(move('mov-from-dr', 15), {vector: 6})
  vcpu.setGpr(3, 0n)
  t.equal(move('mov-from-dr', 7), undefined)
  t.equal(vcpu.gpr(3), 0x634n, 'reserved bits are as they must be')
  vcpu.setGpr(3, 0x2000n)
  t.same(move('mov-to-dr', 7), {vector: 13, errorCode: 0}, 'general detect')
  t.equal(guest.call(Hypercall.setDebugreg, 7, 0x20000), -Errno.perm, 'an I/O breakpoint')
  t.equal(guest.call(Hypercall.setDebugreg, 0, 0xffff800000000000n), -Errno.perm, "Xen's addresses")
  t.equal(guest.call(Hypercall.setDebugreg, 0, 0xffff888000000001n), 0)
  guest.call(Hypercall.getDebugreg, 0)
  t.equal(vcpu.gpr(0), 0xffff888000000001n, 'all 64 bits')
  t.equal(guest.call(Hypercall.getDebugreg, 6), 0xffff0ff0)
  t.equal(guest.call(Hypercall.setDebugreg, 8, 0), -Errno.inval)
})
