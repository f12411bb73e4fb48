/**
 * mmu_update, mmuext_op, update_va_mapping and memory_op in detail: long lists in turns, flags, owners, extents of higher order, exchange.
 */
import t from 'tap'
import {Errno, Hypercall} from '../../lib/abi/xen.js'
import {pvMachine, scratchFrame, tables} from '../support/pv-machine.js'

const domidSelf = 0x7ff0
const listFrame = 16

/** A guest with argument records in its scratch page. */
function guestWithRecords() {
  const guest = pvMachine()
  const view = new DataView(guest.memory.wasm.buffer)
  const at = guest.linear(scratchFrame)
  const scratch = guest.host(scratchFrame)
  return {
    ...guest,
    at,
    u64: (offset: number) => view.getBigUint64(scratch + offset, true),
    put: (offset: number, value: bigint | number) => view.setBigUint64(scratch + offset, BigInt(value), true),
    putIn: (frame: number, offset: number, value: bigint | number) =>
      view.setBigUint64(guest.host(frame) + offset, BigInt(value), true),
    extended(command: number, argument: number | bigint, second: number | bigint = 0n) {
      view.setBigUint64(scratch, BigInt(command), true)
      view.setBigUint64(scratch + 8, BigInt(argument), true)
      view.setBigUint64(scratch + 16, BigInt(second), true)
      return guest.call(Hypercall.mmuextOp, at, 1, 0, domidSelf)
    },
    unmap: (frame: number) => guest.call(Hypercall.updateVaMapping, guest.linear(frame), 0n, 2),
    /** A reservation of frames at the scratch page; the list is at offset 128. */
    reserve(command: number, frames: number[], order = 0, bits = 0, domain = domidSelf) {
      view.setBigUint64(scratch, at + 128n, true)
      view.setBigUint64(scratch + 8, BigInt(frames.length), true)
      view.setUint32(scratch + 16, order, true)
      view.setUint32(scratch + 20, bits, true)
      view.setUint16(scratch + 24, domain, true)
      for (const [index, frame] of frames.entries()) view.setBigUint64(scratch + 128 + index * 8, BigInt(frame), true)
      return guest.call(Hypercall.memoryOp, command, at)
    },
  }
}

t.test('a long list is done in turns, and the count tells of all', async t => {
  const guest = guestWithRecords()
  const entries = 5000
  // The list spans 20 frames from listFrame on; each entry stores its number in a plain frame, the last one is bad.
  for (let index = 0; index < entries; index++) {
    const place = index * 16
    const frame = listFrame + Math.floor(place / 4096)
    guest.putIn(frame, place % 4096, index === entries - 1 ? 0x7fffffffff000n : 100 * 4096 + (index % 512) * 8)
    guest.putIn(frame, (place % 4096) + 8, index)
  }
  t.equal(guest.call(Hypercall.mmuUpdate, guest.linear(listFrame), entries, guest.at, domidSelf), -Errno.inval)
  t.equal(guest.u64(0), BigInt(entries - 1), 'all but the last were done')
  t.equal(
    guest.memory.view.getBigUint64(guest.host(100) + ((entries - 2) % 512) * 8, true),
    BigInt(entries - 2),
    'up to the last good one',
  )
  t.equal(guest.call(Hypercall.mmuUpdate, guest.linear(listFrame), entries - 1, 0, domidSelf), 0)
})

t.test('a long list within a multicall goes on where it was', async t => {
  const guest = guestWithRecords()
  const entries = 4000
  for (let index = 0; index < entries; index++) {
    const place = index * 16
    guest.putIn(listFrame + Math.floor(place / 4096), place % 4096, 100 * 4096 + (index % 512) * 8)
  }
  guest.put(0, Hypercall.xenVersion)
  guest.put(64, Hypercall.mmuUpdate)
  for (const [index, argument] of [guest.linear(listFrame), entries, guest.at + 512n, domidSelf].entries())
    guest.put(64 + 16 + index * 8, argument)
  guest.put(128, Hypercall.xenVersion)
  t.equal(guest.call(Hypercall.multicall, guest.at, 3), 0)
  t.same([guest.u64(8), guest.u64(72), guest.u64(136)], [0x40011n, 0n, 0x40011n])
  t.equal(guest.u64(512) & 0xffffffffn, BigInt(entries))
})

t.test('the calls of a multicall share one turn', async t => {
  const guest = guestWithRecords()
  const {vcpu, hypervisor} = guest
  const entries = 1500
  for (let index = 0; index < entries; index++) {
    const place = index * 16
    guest.putIn(listFrame + Math.floor(place / 4096), place % 4096, 100 * 4096 + (index % 512) * 8)
  }
  for (const at of [0, 64]) {
    guest.put(at, Hypercall.mmuUpdate)
    for (const [index, argument] of [guest.linear(listFrame), entries, 0, domidSelf].entries())
      guest.put(at + 16 + index * 8, argument)
  }
  const {rip} = vcpu
  vcpu.setGpr(0, BigInt(Hypercall.multicall))
  vcpu.setGpr(7, guest.at)
  vcpu.setGpr(6, 2n)
  hypervisor.syscall(vcpu)
  t.equal(vcpu.rip, rip - 2n, 'back to the SYSCALL')
  t.same([vcpu.gpr(0), vcpu.gpr(7), vcpu.gpr(6)], [BigInt(Hypercall.multicall), guest.at + 64n, 1n])
  t.ok(guest.u64(64 + 24) > 0x80000000n, 'the rest of the second list is an entry of its own')
  vcpu.rip = rip
  hypervisor.syscall(vcpu)
  t.same([vcpu.rip, vcpu.gpr(0)], [rip, 0n])
})

t.test('only its own tables and frames', async t => {
  const guest = guestWithRecords()
  t.equal(guest.call(Hypercall.mmuUpdate, guest.at, 0, 0, 5), -Errno.srch)
  t.equal(guest.call(Hypercall.mmuUpdate, guest.at, 0, 0, 0x7ff1), -Errno.perm)
  t.equal(guest.call(Hypercall.mmuextOp, guest.at, 0, 0, 0x10000 | domidSelf), -Errno.srch)
  const machphys = (mfn: number, pfn: number) => {
    guest.put(0, BigInt(mfn) * 4096n + 1n)
    guest.put(8, pfn)
    return guest.call(Hypercall.mmuUpdate, guest.at, 1, 0, domidSelf)
  }
  t.equal(machphys(40, 77), 0)
  t.equal(guest.memory.view.getBigUint64(guest.host(guest.layout.m2p) + 40 * 8, true), 77n)
  t.equal(machphys(guest.layout.m2p, 1), -Errno.inval)
  t.equal(guest.extended(17, 41, 42), 0, 'COPY_PAGE')
  t.equal(guest.extended(17, 41, guest.layout.m2p), -Errno.inval)
  t.equal(guest.extended(16, tables.level1), -Errno.inval, 'CLEAR_PAGE of a table')
  t.equal(guest.extended(0, (1n << 36n) | 41n), -Errno.inval, 'a frame number is all of its bits')
})

t.test('accessed and dirty survive where asked', async t => {
  const guest = guestWithRecords()
  const place = tables.level1 * 4096 + 40 * 8
  const update = (kind: number, value: number) => {
    guest.put(0, place + kind)
    guest.put(8, value)
    return guest.call(Hypercall.mmuUpdate, guest.at, 1, 0, domidSelf)
  }
  t.equal(update(0, 40 * 4096 + 0x67), 0)
  t.equal(update(2, 40 * 4096 + 0x5), 0)
  const entry = () => guest.memory.view.getBigUint64(guest.host(tables.level1) + 40 * 8, true)
  t.equal(entry(), BigInt(40 * 4096 + 0x65))
  t.equal(update(0, 40 * 4096 + 0x5), 0)
  t.equal(entry(), BigInt(40 * 4096 + 0x5))
})

t.test('mmuext_op answers for caches, LDT and bitmaps of vCPUs', async t => {
  const guest = guestWithRecords()
  t.equal(guest.extended(8, 0, guest.at), 0)
  t.equal(guest.extended(8, 0, 0x1000n), -Errno.inval, 'no bitmap there')
  t.equal(guest.extended(9, guest.at, 0x1000n), -Errno.inval)
  t.equal(guest.extended(18, 0), -Errno.acces)
  t.equal(guest.extended(19, 0), -Errno.opnotsupp)
  t.equal(guest.extended(13, guest.linear(20), 8192), 0)
  t.equal(guest.extended(13, guest.linear(20), 8193), -Errno.inval)
  t.equal(guest.extended(13, guest.linear(20, 8), 1), -Errno.inval)
  t.equal(guest.extended(13, 0xffff800000000000n, 1), -Errno.inval, "in Xen's hole")
  t.equal(guest.extended(13, 0x8000000000000000n, 1), -Errno.inval)
  t.equal(guest.call(Hypercall.updateVaMapping, guest.linear(41), BigInt(41 * 4096) | 0x67n, guest.at | 1n), 0)
  t.equal(guest.call(Hypercall.updateVaMapping, guest.linear(41), BigInt(41 * 4096) | 0x67n, 0x1001), -Errno.fault)
})

t.test('extents of higher order', async t => {
  const guest = guestWithRecords()
  for (let frame = 96; frame < 104; frame++) t.equal(guest.unmap(frame), 0)
  t.equal(guest.reserve(1, [96], 2), 1)
  t.equal(guest.reserve(1, [97], 1), 0, 'half of it is gone already')
  t.equal(guest.reserve(1, [102]), 1)
  t.equal(guest.reserve(6, [500], 3), 0, 'there are not so many')
  t.equal(guest.reserve(6, [500], 2, 18), 0, 'not below 256 KiB')
  t.equal(guest.reserve(6, [500], 2), 1)
  t.equal(guest.u64(128), 96n)
  t.equal(guest.memory.view.getBigUint64(guest.host(guest.layout.m2p) + 99 * 8, true), 503n)
  t.equal(guest.reserve(0, [0]), 1, 'increase_reservation')
  t.equal(guest.u64(128), 102n)
  t.equal(guest.memory.view.getBigUint64(guest.host(guest.layout.m2p) + 102 * 8, true), 0xffffffffffffffffn)
  t.equal(guest.reserve(6, [1], 10), 0, 'an order too high')
  t.equal(guest.reserve(1, [103], 0, 0, 3), 0, "another domain's")
  t.equal(guest.call(Hypercall.memoryOp, 1 | (7 << 6), 0x1000), 7, 'a bad pointer is no progress')
})

t.test('a frame given back cannot be had through a page table', async t => {
  const guest = guestWithRecords()
  guest.unmap(60)
  t.equal(guest.reserve(1, [60]), 1)
  for (const flags of [0x65n, 0x67n])
    t.equal(guest.call(Hypercall.updateVaMapping, guest.linear(60), BigInt(60 * 4096) | flags, 2), -Errno.busy)
  t.equal(guest.extended(0, 60), -Errno.inval)
  t.equal(guest.extended(16, 60), -Errno.inval)
  t.equal(guest.extended(17, 61, 60), -Errno.inval)
  guest.put(0, 60 * 4096)
  guest.put(8, 1)
  t.equal(guest.call(Hypercall.mmuUpdate, guest.at, 1, 0, domidSelf), -Errno.inval)
})

t.test('exchange of single frames for a run of them', async t => {
  const guest = guestWithRecords()
  for (const frame of [64, 65, 66, 67]) guest.unmap(frame)
  const request = (givenOrder: number, given: number, wantedOrder: number, wanted: number) => {
    guest.put(0, guest.at + 128n)
    guest.put(8, given)
    guest.put(16, givenOrder)
    guest.put(24, domidSelf)
    guest.put(32, guest.at + 256n)
    guest.put(40, wanted)
    guest.put(48, wantedOrder)
    guest.put(56, domidSelf)
    guest.put(64, 0)
    return guest.call(Hypercall.memoryOp, 11, guest.at)
  }
  for (const [index, frame] of [66, 64, 67, 65].entries()) guest.put(128 + index * 8, frame)
  guest.put(256, 700)
  t.equal(request(0, 4, 1, 1), -Errno.inval, 'not the same amount')
  t.equal(request(0, 4, 10, 1), -Errno.perm)
  t.equal(request(0, 4, 2, 1), 0)
  t.equal(guest.u64(256), 64n)
  t.equal(guest.u64(64), 4n)
  t.equal(guest.memory.view.getBigUint64(guest.host(guest.layout.m2p) + 67 * 8, true), 703n)
  guest.put(128, 64)
  guest.put(136, 64)
  guest.put(256, 700)
  t.equal(request(0, 2, 1, 1), -Errno.inval, 'one frame twice')
  guest.put(128, 68)
  t.equal(request(0, 1, 0, 1), -Errno.inval, 'a frame in use')
})

t.test('what memory there is', async t => {
  const guest = guestWithRecords()
  const {layout} = guest
  const op = (command: number) => guest.call(Hypercall.memoryOp, command, guest.at)
  guest.put(0, domidSelf)
  t.same([op(3), op(4), op(14)], [layout.ramPages, layout.ramPages, -1])
  guest.memory.view.setBigUint64(guest.host(layout.sharedInfo) + 3088, 77n, true)
  t.equal(op(14), 76, 'what the guest said of itself')
  guest.put(0, 3)
  t.equal(op(3), -Errno.srch)
  t.same([op(7), op(10), op(13), op(15), op(26)], [-13, -1, -1, -13, -95])
  guest.put(0, 4)
  guest.put(8, guest.at + 128n)
  t.equal(op(5), 0)
  t.same([guest.u64(16), guest.u64(128)], [1n, BigInt(layout.m2p)])
  guest.put(0, 0)
  t.equal(op(9), 0, 'a memory map without room')
  t.equal(guest.u64(0), 0n)
})
