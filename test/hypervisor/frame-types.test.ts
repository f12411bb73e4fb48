/**
 * The rule of frame types: a page table is never mapped writable, a page mapped writable is never a page table, and no entry names a frame that
 * is not the guest's.
 */
import t from 'tap'
import {Errno, Hypercall} from '../../lib/abi/xen.js'
import {FrameType} from '../../lib/hypervisor/frame-types.js'
import {pvMachine, scratchFrame, tables} from '../support/pv-machine.js'

const domidSelf = 0x7ff0
const pinLevel1 = 0
const pinLevel4 = 3
const unpin = 4
const newBase = 5
const newUserBase = 15
const clearPage = 16

function guestWithTables() {
  const guest = pvMachine()
  const {types} = guest.hypervisor.tables
  const at = guest.linear(scratchFrame)
  const view = new DataView(guest.memory.wasm.buffer, guest.host(scratchFrame), 4096)
  return {
    ...guest,
    types,
    /** Maps a frame at its place in the direct map, with the low bits of the entry. */
    map: (frame: number, flags: number) =>
      guest.call(Hypercall.updateVaMapping, guest.linear(frame), BigInt(frame * 4096) | BigInt(flags), 2),
    /** Writes an entry into a frame as plain data. */
    put: (frame: number, slot: number, value: bigint) =>
      guest.memory.view.setBigUint64(guest.host(frame) + slot * 8, value, true),
    extended(command: number, frame: number): number {
      view.setUint32(0, command, true)
      view.setBigUint64(8, BigInt(frame), true)
      view.setBigUint64(16, 0n, true)
      return guest.call(Hypercall.mmuextOp, at, 1, 0, domidSelf)
    },
    update(frame: number, slot: number, value: bigint): number {
      view.setBigUint64(0, BigInt(frame * 4096 + slot * 8), true)
      view.setBigUint64(8, value, true)
      return guest.call(Hypercall.mmuUpdate, at, 1, 0, domidSelf)
    },
  }
}

const readOnly = 0x65
const writable = 0x67
const entry = (frame: number, flags: number) => BigInt(frame * 4096 + flags)

t.test('the first tables have their types, their frames too', async t => {
  const {types} = guestWithTables()
  t.equal(types.typeOf(tables.level4), 4)
  t.equal(types.typeOf(tables.level3), 3)
  t.equal(types.typeOf(tables.level2), 2)
  t.equal(types.typeOf(tables.level1), 1)
  t.equal(types.typeOf(30), FrameType.writable)
})

t.test('a page table cannot be mapped writable', async t => {
  const guest = guestWithTables()
  for (const frame of Object.values(tables)) t.equal(guest.map(frame, writable), -Errno.busy)
  t.equal(guest.map(tables.level1, readOnly), 0)
})

t.test('a page with a writable mapping cannot be a page table', async t => {
  const guest = guestWithTables()
  t.ok(guest.extended(pinLevel1, 30) < 0)
  t.equal(guest.map(30, readOnly), 0)
  t.equal(guest.types.typeOf(30), FrameType.none)
  const denied: number[] = []
  guest.types.denyStores = page => denied.push(page)
  t.equal(guest.extended(pinLevel1, 30), 0)
  t.same(denied, [guest.host(30)], 'a TLB may still have the writable mapping')
  t.equal(guest.map(30, writable), -Errno.busy)
  t.equal(guest.extended(pinLevel1, 30), -Errno.inval, 'pinned already')
  t.equal(guest.extended(clearPage, 30), -Errno.inval, 'and not to be cleared behind our back')
  t.equal(guest.extended(unpin, 30), 0)
  t.equal(guest.map(30, writable), 0)
  t.equal(guest.extended(clearPage, 30), 0)
})

t.test('a table is refused for one bad entry, and leaves no use behind', async t => {
  const guest = guestWithTables()
  t.equal(guest.map(31, readOnly), 0)
  t.equal(guest.map(32, 0), 0)
  guest.put(31, 0, entry(32, writable))
  guest.put(31, 511, entry(tables.level1, writable))
  t.equal(guest.extended(pinLevel1, 31), -Errno.busy, 'it maps a table writable')
  t.equal(guest.types.typeOf(31), FrameType.none)
  t.equal(guest.types.typeOf(32), FrameType.none)
  guest.put(31, 511, entry(guest.layout.frames, writable))
  t.equal(guest.extended(pinLevel1, 31), -Errno.perm, 'a frame that is not there')
  guest.put(31, 511, entry(guest.layout.m2p, writable))
  t.equal(guest.extended(pinLevel1, 31), -Errno.busy, "Xen's table")
  guest.put(31, 511, entry(guest.layout.sharedInfo, writable))
  t.equal(guest.extended(pinLevel1, 31), 0)
  t.equal(guest.types.typeOf(32), FrameType.writable)
  t.equal(guest.update(31, 0, 0n), 0)
  t.equal(guest.types.typeOf(32), FrameType.none, 'the use ended with the entry')
})

t.test('tables of different levels do not mix; superpages are refused', async t => {
  const guest = guestWithTables()
  t.equal(guest.update(tables.level2, 1, entry(tables.level3, writable)), -Errno.inval)
  t.equal(guest.update(tables.level3, 1, entry(tables.level1, writable)), -Errno.inval)
  t.equal(guest.update(tables.level2, 1, 0xe7n), -Errno.inval, 'a superpage')
  t.equal(guest.update(tables.level2, 1, entry(tables.level1, writable) | 0x100n), -Errno.inval, 'a global table')
  t.equal(guest.update(tables.level1, 40, entry(40, writable) | 0x100n), 0, 'a global page')
  for (const caching of [8n, 0x10n, 0x80n])
    t.equal(guest.update(tables.level1, 40, entry(40, writable) | caching), -Errno.inval, 'only write-back caching')
  t.equal(guest.update(tables.level1, 40, 0xffffffffff001n), -Errno.inval, 'the invalid frame')
  t.equal(guest.update(tables.level4, 300, entry(tables.level4, writable)), -Errno.inval, 'a root that names itself')
  t.equal(guest.update(tables.level2, 1, entry(tables.level1, writable)), 0, 'a table may be used twice')
})

t.test('only a level-4 table becomes a root', async t => {
  const guest = guestWithTables()
  t.equal(guest.extended(newBase, 30), -Errno.inval)
  t.equal(guest.extended(newUserBase, tables.level3), -Errno.inval)
  t.equal(guest.map(33, readOnly), 0)
  t.equal(guest.extended(newUserBase, 33), 0)
  t.equal(guest.types.typeOf(33), 4)
  t.equal(guest.map(33, writable), -Errno.busy)
  t.equal(guest.extended(newUserBase, 0), 0)
  t.equal(guest.types.typeOf(33), FrameType.none)
  t.equal(guest.map(33, writable), 0)
})

t.test('pin, unpin and pin again leave the counts as they were', async t => {
  const guest = guestWithTables()
  const words = () =>
    guest.memory.uint32.slice(guest.layout.frameTypes >> 2, (guest.layout.frameTypes >> 2) + guest.layout.ramPages)
  t.equal(guest.map(34, readOnly), 0)
  guest.put(34, 272, entry(tables.level3, writable))
  const before = words()
  for (let turn = 0; turn < 3; turn++) {
    t.equal(guest.extended(pinLevel4, 34), 0)
    t.equal(guest.extended(newBase, 34), 0)
    t.equal(guest.extended(newBase, tables.level4), 0)
    t.equal(guest.extended(unpin, 34), 0)
  }
  const after = words()
  for (const [frame, word] of before.entries())
    if ((word & 0x1fffffff) !== 0 || (after[frame] & 0x1fffffff) !== 0) t.equal(after[frame], word, `frame ${frame}`)
})

t.test('a GDT is neither writable nor given away', async t => {
  const guest = guestWithTables()
  const list = guest.linear(scratchFrame + 1)
  guest.put(scratchFrame + 1, 0, 35n)
  t.equal(guest.call(Hypercall.setGdt, list, 16), -Errno.inval, 'mapped writable')
  t.equal(guest.map(35, readOnly), 0)
  t.equal(guest.call(Hypercall.setGdt, list, 16), 0)
  t.equal(guest.map(35, writable), -Errno.busy)
  t.equal(guest.update(35, 1, 0n), -Errno.inval)
  t.equal(guest.call(Hypercall.setGdt, 0, 0), 0)
  t.equal(guest.map(35, writable), 0)
})

t.test('the kernel stores to level-1 tables through their read-only mapping, checked', async t => {
  const guest = guestWithTables()
  const {layout, memory} = guest
  const data = layout.vcpuBase + 1024
  const store = (frame: number, slot: number, value: bigint) => {
    memory.view.setBigUint64(data, value, true)
    return guest.hypervisor.storeToReadOnly(guest.vcpu, frame * 4096 + slot * 8, data, 8, -1)
  }
  t.ok(store(tables.level1, 36, 0n))
  t.equal(guest.types.typeOf(36), FrameType.none)
  t.notOk(store(tables.level1, 36, entry(tables.level2, writable)))
  t.notOk(store(tables.level2, 5, 0n), 'level 2 needs the hypercall')
  t.notOk(store(37, 0, 0n), 'an ordinary page faults')
})
