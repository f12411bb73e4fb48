/**
 * vcpu_op and sched_op in detail: records at addresses of the guest, runstates, timers, watchdogs, polls; event channels of the guest with itself.
 */
import t from 'tap'
import {Errno, Hypercall} from '../../lib/abi/xen.js'
import {consolePort} from '../../lib/hypervisor/create.js'
import {field} from '../../lib/hypervisor/record.js'
import {domid, pvMachine, scratchFrame, tables} from '../support/pv-machine.js'

const domidSelf = 0x7ff0
const areaFrame = 20

/** A guest that writes argument records of 32-bit words (or bigints, 64 bits) to its scratch page. */
function guestWithRecords() {
  const guest = pvMachine()
  const view = new DataView(guest.memory.wasm.buffer)
  const at = guest.linear(scratchFrame)
  const put = (fields: readonly (number | bigint)[]) => {
    let offset = guest.host(scratchFrame)
    for (const value of fields) {
      if (typeof value === 'bigint') view.setBigUint64(offset, value, true)
      else view.setUint32(offset, value, true)
      offset += typeof value === 'bigint' ? 8 : 4
    }
  }
  return {
    ...guest,
    at,
    word: (offset: number) => view.getUint32(guest.host(scratchFrame) + offset, true),
    area: (offset: number) => view.getBigUint64(guest.host(areaFrame) + offset, true),
    vcpu_: (command: number, ...fields: (number | bigint)[]) => {
      put(fields)
      return guest.call(Hypercall.vcpuOp, command, 0, at)
    },
    sched: (command: number, ...fields: (number | bigint)[]) => {
      put(fields)
      return guest.call(Hypercall.schedOp, command, at)
    },
    event: (command: number, ...fields: (number | bigint)[]) => {
      put(fields)
      return guest.call(Hypercall.eventChannelOp, command, at)
    },
    pass: (ns: number) => {
      guest.clock.ns += ns
      guest.hypervisor.deliverPending(guest.vcpu)
    },
  }
}

t.test('one vCPU is there, the others are not', async t => {
  const guest = guestWithRecords()
  for (let command = 0; command < 14; command++)
    t.equal(guest.call(Hypercall.vcpuOp, command, 1, guest.at), -Errno.noent)
  t.equal(guest.vcpu_(3), 1)
  t.equal(guest.vcpu_(1), 0)
  t.equal(guest.vcpu_(0), -Errno.exist)
  t.equal(guest.call(Hypercall.vcpuOp, 0, 0, 0x1000), -Errno.fault)
  t.equal(guest.vcpu_(12), -Errno.inval)
  t.equal(guest.vcpu_(14), -Errno.nosys)
  t.equal(guest.vcpu_(2), 0)
  t.same(guest.shutdowns, [0], 'the last one goes down')
})

t.test('runstate: running and blocked add up', async t => {
  const guest = guestWithRecords()
  guest.call(Hypercall.vmAssist, 0, 5)
  t.equal(guest.vcpu_(5, guest.linear(areaFrame)), 0)
  t.equal(guest.vcpu_(5, 0xffff800000000000n), -Errno.fault)
  t.equal(guest.area(0) & 0xffffffffn, 0n)
  t.equal(guest.area(8), 1000n, 'since it was started')
  guest.clock.ns = 5000
  t.equal(guest.sched(1), 0)
  t.same([guest.area(0) & 0xffffffffn, guest.area(8), guest.area(16), guest.area(32)], [2n, 5000n, 4000n, 0n])
  guest.clock.ns = 12_000
  const handler = guest.linear(30)
  new DataView(guest.memory.wasm.buffer).setBigUint64(guest.host(scratchFrame) + 8, handler, true)
  guest.memory.uint32[guest.host(scratchFrame) >> 2] = 0
  t.equal(guest.call(Hypercall.callbackOp, 0, guest.at), 0)
  guest.hypervisor.events.raise(consolePort)
  guest.hypervisor.deliverPending(guest.vcpu)
  t.equal(guest.vcpu.rip, handler)
  t.same([guest.area(0) & 0xffffffffn, guest.area(8), guest.area(16), guest.area(32)], [0n, 12_000n, 4000n, 7000n])
  guest.clock.ns = 15_000
  t.equal(guest.call(Hypercall.vcpuOp, 4, 0, guest.linear(areaFrame, 64)), 0)
  t.same([guest.area(64 + 16), guest.area(64 + 32)], [7000n, 7000n], 'the present state counts up to now')
  t.equal(guest.call(Hypercall.vcpuOp, 4, 0, guest.linear(tables.level1)), -Errno.fault)
})

t.test('vcpu_info moves once, to a page of the guest', async t => {
  const guest = guestWithRecords()
  t.equal(guest.vcpu_(10, BigInt(areaFrame), 4), -Errno.nxio, 'not aligned')
  t.equal(guest.vcpu_(10, BigInt(areaFrame), 4040), -Errno.nxio, 'over the edge')
  t.equal(guest.vcpu_(10, BigInt(guest.layout.frames), 0), -Errno.inval)
  t.equal(guest.vcpu_(10, (1n << 40n) | BigInt(areaFrame), 0), -Errno.inval)
  t.equal(guest.vcpu_(10, BigInt(tables.level1), 0), -Errno.acces)
  t.equal(guest.vcpu_(10, BigInt(areaFrame), 64), 0)
  t.equal(guest.vcpu_(10, BigInt(areaFrame), 128), -Errno.busy)
  t.equal(guest.area(64) & 0xffn, 1n, 'pending')
  t.equal(guest.area(72), 0xffffffffffffffffn)
  t.equal(guest.vcpu_(13, guest.linear(areaFrame, 512)), 0)
  t.equal(guest.area(512 + 24) & 0xffffffffn, 0x80000000n, 'the time record')
})

t.test('timers', async t => {
  const guest = guestWithRecords()
  t.equal(guest.event(1, 0, 0), 0)
  const port = guest.word(8)
  const fired = () => {
    const was = guest.hypervisor.events.isPending(port)
    guest.memory.int32[(guest.host(guest.layout.sharedInfo) + 2048 + (port >> 5) * 4) >> 2] &= ~(1 << (port & 31))
    return was
  }
  guest.vcpu_(7)
  fired()
  t.equal(guest.vcpu_(6, 999_999n), -Errno.inval)
  t.equal(guest.vcpu_(6, 1n << 62n), -Errno.inval)
  t.equal(guest.vcpu_(6, 1_000_000n), 0)
  guest.pass(999_999)
  t.notOk(fired())
  guest.pass(1)
  t.ok(fired())
  guest.pass(1_000_000)
  t.ok(fired(), 'again and again')
  t.equal(guest.vcpu_(7), 0)
  guest.pass(10_000_000)
  t.notOk(fired())
  t.equal(guest.vcpu_(8, 5n, 1, 0), -Errno.time, 'only in the future')
  t.equal(guest.vcpu_(8, 5n, 0, 0), 0)
  t.ok(fired(), 'in the past is at once')
  t.equal(guest.vcpu_(8, BigInt(guest.clock.ns + 50), 1, 0), 0)
  t.equal(guest.vcpu_(9), 0)
  guest.pass(100)
  t.notOk(fired(), 'stopped')
  for (const far of [1n << 60n, 0xffffffffffffffffn]) {
    t.equal(guest.call(Hypercall.setTimerOp, far), 0)
    t.notOk(fired())
    guest.pass(100_000_000)
    t.ok(fired(), 'a time that cannot be meant is soon')
  }
})

t.test('a watchdog bites unless it is moved on', async t => {
  const guest = guestWithRecords()
  t.equal(guest.sched(6, 0, 0), -Errno.inval)
  t.equal(guest.sched(6, 1, 5), -Errno.inval, 'not set yet')
  t.equal(guest.sched(6, 3, 5), -Errno.inval)
  t.equal(guest.sched(6, 0, 5), 1)
  t.equal(guest.sched(6, 0, 2), 2)
  t.equal(guest.sched(6, 0, 2), -Errno.nospc)
  t.equal(guest.sched(6, 2, 0), 0, 'stopped')
  guest.pass(4e9)
  t.equal(guest.sched(6, 1, 5), 0, 'moved on')
  guest.pass(4e9)
  t.same(guest.shutdowns, [])
  t.ok(guest.hypervisor.nextDeadline() <= guest.clock.ns + 1e9, 'a sleeping vCPU wakes for it')
  guest.pass(1e9)
  t.same(guest.shutdowns, [4])
})

t.test('shutdown codes, and what only others may do', async t => {
  const guest = guestWithRecords()
  t.equal(guest.sched(4, domid), -Errno.perm)
  t.equal(guest.sched(4, 55), -Errno.srch)
  t.equal(guest.sched(7, 0), -Errno.perm)
  t.equal(guest.sched(99), -Errno.nosys)
  t.equal(guest.sched(5, 1), 0)
  t.equal(guest.sched(5, 0), 0)
  t.same(guest.shutdowns, [])
  t.equal(guest.sched(2, 3), 0)
  t.same(guest.shutdowns, [1], 'the first code counts')
})

t.test('poll: ports in order, time-outs', async t => {
  const guest = guestWithRecords()
  const poll = (timeout: bigint, ...ports: number[]) => {
    for (const [index, port] of ports.entries()) guest.memory.uint32[(guest.host(areaFrame) >> 2) + index] = port
    return guest.sched(3, guest.linear(areaFrame), ports.length, 0, timeout)
  }
  guest.memory.bytes[guest.hypervisor.record.u32(field.vcpuInfo) + 1] = 1
  guest.hypervisor.events.raise(9)
  t.equal(poll(0n, 9, 5000), 0, 'the pending one comes first')
  t.equal(poll(0n, 8, 5000), -Errno.inval)
  t.notOk(guest.hypervisor.isBlocked())
  t.equal(poll(BigInt(guest.clock.ns + 500), 8), 0)
  t.ok(guest.hypervisor.isBlocked())
  t.equal(guest.hypervisor.nextDeadline(), guest.clock.ns + 500)
  guest.pass(500)
  t.notOk(guest.hypervisor.isBlocked())
  t.equal(poll(1n), 0)
  t.notOk(guest.hypervisor.isBlocked(), 'a time in the past')
  t.equal(poll(0xffffffffffffffffn), 0)
  t.notOk(guest.hypervisor.isBlocked(), 'and a negative one')
})

t.test('channels of the guest with itself', async t => {
  const guest = guestWithRecords()
  const {events} = guest.hypervisor
  t.equal(guest.event(6, domidSelf | (domidSelf << 16)), 0)
  const first = guest.word(4)
  t.equal(guest.event(6, domidSelf | (99 << 16)), 0)
  const foreign = guest.word(4)
  t.equal(guest.event(0, domidSelf, foreign), -Errno.inval, 'it waits for somebody else')
  t.equal(guest.event(0, domidSelf, consolePort), -Errno.inval)
  t.equal(guest.event(0, 0, 5), -Errno.inval, 'Domain-0 waits for nobody')
  t.equal(guest.event(0, 99, 5), -Errno.srch)
  t.equal(guest.event(0, domidSelf, first), 0)
  const second = guest.word(8)
  t.ok(events.isPending(second), 'what was sent before is not lost')
  t.equal(guest.event(4, second), 0)
  t.ok(events.isPending(first))
  t.equal(guest.event(5, domidSelf, first), 0)
  t.same([guest.word(8), guest.word(16) & 0xffff, guest.word(20)], [2, domid, second])
  t.equal(guest.event(3, first), 0)
  t.equal(guest.event(5, domid, second), 0)
  t.same([guest.word(8), guest.word(16) & 0xffff], [1, domid], 'unbound again')
  t.equal(guest.event(4, second), 0, 'nobody hears it')
  t.equal(guest.event(5, domidSelf, consolePort), 0)
  t.same([guest.word(8), guest.word(16) & 0xffff], [2, 0])
  t.equal(guest.event(5, 0, 1), -Errno.perm)
  t.equal(guest.event(6, 0), -Errno.perm)
  t.equal(guest.event(6, 98), -Errno.srch)
  t.equal(guest.event(8, 99, 0), -Errno.inval, 'a free port has no vCPU')
  t.equal(guest.event(1, 11, 0), 0, 'VIRQ_ARGO is the domain’s own')
  t.equal(guest.event(8, guest.word(8), 0), 0)
  t.equal(guest.event(1, 16, 0), -Errno.busy, 'machine checks are for Domain-0')
  t.equal(guest.event(1, 2, 1), -Errno.inval)
  t.equal(guest.event(2, 1, 0), -Errno.perm)
  for (const fifo of [11, 12, 13]) t.equal(guest.event(fifo), -Errno.nosys)
  t.equal(guest.event(10, 99), -Errno.srch)
  t.equal(guest.event(10, domidSelf), 0)
  t.equal(guest.event(4, consolePort), -Errno.inval, 'all are closed')
  events.notify(consolePort)
  t.notOk(events.isPending(consolePort), 'and Domain-0 talks to nobody')
  t.equal(guest.event(1, 11, 0), 0, 'VIRQs are free again')
})
