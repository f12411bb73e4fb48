/**
 * Grant tables: what the guest learns and sets up, copies, maps of its own grants, and the uses that backends of Domain-0 make from their thread.
 */
import t from 'tap'
import {Errno, Hypercall} from '../../lib/abi/xen.js'
import type {GrantRef} from '../../lib/base/brand.js'
import {Domain0Grants} from '../../lib/domain/grant-mapper.js'
import {FrameType} from '../../lib/hypervisor/frame-types.js'
import {domid, pvMachine, scratchFrame, tables} from '../support/pv-machine.js'

const domidSelf = 0x7ff0
const status = {ok: 0, error: -1, domain: -2, gntref: -3, handle: -4, address: -5, denied: -8, page: -9, copy: -10}
const Grant = {permit: 1, readonly: 4, reading: 8, writing: 16}
const HostMap = {device: 1, host: 2, readonly: 4, pte: 16}

/** A guest that writes argument records and grant entries. */
function granter() {
  const guest = pvMachine()
  const view = new DataView(guest.memory.wasm.buffer)
  const at = guest.linear(scratchFrame)
  const scratch = guest.host(scratchFrame)
  const entryAt = (ref: number) => guest.host(guest.layout.grantFrames) + ref * 8
  return {
    ...guest,
    at,
    u16: (offset: number, value: number) => view.setUint16(scratch + offset, value, true),
    u32: (offset: number, value: number) => view.setUint32(scratch + offset, value, true),
    u64: (offset: number, value: bigint | number) => view.setBigUint64(scratch + offset, BigInt(value), true),
    read16: (offset: number) => view.getInt16(scratch + offset, true),
    read32: (offset: number) => view.getUint32(scratch + offset, true),
    read64: (offset: number) => view.getBigUint64(scratch + offset, true),
    op: (command: number, count = 1) => guest.call(Hypercall.grantTableOp, command, at, count),
    grant(ref: number, frame: number, flags: number, to: number) {
      view.setUint32(entryAt(ref) + 4, frame, true)
      view.setUint16(entryAt(ref) + 2, to, true)
      view.setUint16(entryAt(ref), flags, true)
    },
    flags: (ref: number) => view.getUint16(entryAt(ref), true),
    protect: (frame: number, flags: number) =>
      guest.call(Hypercall.updateVaMapping, guest.linear(frame), BigInt(frame * 4096 + flags), 2),
    pin(frame: number) {
      view.setBigUint64(scratch, 0n, true)
      view.setBigUint64(scratch + 8, BigInt(frame), true)
      return guest.call(Hypercall.mmuextOp, at, 1, 0, domidSelf)
    },
  }
}

t.test('setting up: version 1, up to 64 frames', async t => {
  const guest = granter()
  const query = (domain: number) => {
    guest.u16(0, domain)
    t.equal(guest.op(6), 0)
    return guest.read16(12)
  }
  t.equal(query(domidSelf), status.ok)
  t.same([guest.read32(4), guest.read32(8)], [1, 64])
  t.same([query(0), query(99), query(domid)], [status.denied, status.domain, status.ok])
  const setup = (frames: number, list: bigint, domain = domidSelf) => {
    guest.u16(0, domain)
    guest.u32(4, frames)
    guest.u64(16, list)
    const result = guest.op(2)
    return result < 0 ? result : guest.read16(8)
  }
  t.equal(setup(4, guest.at + 64n), status.ok)
  t.equal(guest.read64(64 + 24), BigInt(guest.layout.grantFrames + 3))
  query(domidSelf)
  t.equal(guest.read32(4), 4, 'the table has grown')
  t.equal(setup(65, guest.at + 64n), status.error)
  t.equal(setup(1, 0x1000n), status.address)
  t.equal(setup(1, 0xffff800000000000n), -Errno.fault)
  t.equal(setup(1, guest.at + 64n, 3), status.domain)
  t.equal(guest.op(2, 2), -Errno.inval, 'one at a time')
  guest.u32(0, 2)
  t.equal(guest.op(8), -Errno.nosys, 'version 2 is not offered')
  guest.u32(0, 1)
  t.equal(guest.op(8), 0)
  guest.u32(0, 3)
  t.equal(guest.op(8), -Errno.inval)
  guest.u16(0, domidSelf)
  t.equal(guest.op(10), 0)
  t.equal(guest.read32(4), 1)
  guest.u32(0, 1)
  guest.u16(4, domidSelf)
  t.equal(guest.op(9), 0)
  t.equal(guest.read16(6), status.error, 'version 1 has no status frames')
  t.same([guest.op(3), guest.op(99), guest.op(6, -1), guest.op(0x1002)], [-38, -38, -22, -22])
})

t.test('a backend has what it was granted, and no more', async t => {
  const guest = granter()
  const backend = new Domain0Grants(guest.memory, guest.layout)
  const use = (ref: number, access: 'read' | 'write') => backend.use(ref as GrantRef, access)
  guest.grant(8, 40, Grant.permit, 0)
  guest.grant(9, 41, Grant.permit | Grant.readonly, 0)
  guest.grant(10, 42, Grant.permit, 5)
  guest.grant(11, guest.layout.sharedInfo, Grant.permit, 0)
  guest.grant(12, tables.level1, Grant.permit, 0)
  t.equal(use(7, 'read'), undefined, 'nothing granted')
  t.equal(use(9, 'write'), undefined, 'granted for reading')
  t.equal(use(10, 'read'), undefined, 'granted to somebody else')
  t.equal(use(11, 'read'), undefined, 'no RAM')
  t.equal(use(12, 'write'), undefined, 'a page table')
  t.equal(use(512, 'read'), undefined, 'beyond the table')
  for (const ref of [9, 10, 11, 12]) t.equal(guest.flags(ref) & (Grant.reading | Grant.writing), 0, 'no marks left')
  const first = use(8, 'write')
  const second = use(8, 'read')
  t.equal(first?.address, guest.host(40))
  t.equal(guest.flags(8), Grant.permit | Grant.reading | Grant.writing)
  first?.end()
  t.equal(guest.flags(8), Grant.permit | Grant.reading)
  second?.end()
  t.equal(guest.flags(8), Grant.permit)
})

t.test('what a backend wrote is no code any more', async t => {
  const guest = granter()
  const backend = new Domain0Grants(guest.memory, guest.layout)
  const dropped: number[] = []
  guest.vcpu.frameWritten = mfn => void dropped.push(mfn)
  for (const [ref, frame] of [
    [8, 40],
    [9, 41],
    [10, 255],
    [11, 31],
  ]) {
    guest.grant(ref, frame, Grant.permit, 0)
    backend.use(ref as GrantRef, ref === 9 ? 'read' : 'write')?.end()
  }
  guest.hypervisor.deliverPending(guest.vcpu)
  t.same(
    dropped.toSorted((a, b) => a - b),
    [31, 40, 255],
  )
  guest.hypervisor.deliverPending(guest.vcpu)
  t.equal(dropped.length, 3, 'once')
})

t.test('while a backend may write a frame, it is no page table and not given back', async t => {
  const guest = granter()
  const backend = new Domain0Grants(guest.memory, guest.layout)
  guest.grant(8, 40, Grant.permit, 0)
  guest.protect(40, 0x65)
  guest.memory.bytes.fill(0, guest.host(40), guest.host(41))
  const use = backend.use(8 as GrantRef, 'write')
  t.equal(guest.pin(40), -Errno.inval)
  t.equal(guest.hypervisor.tables.types.typeOf(40), FrameType.none)
  const giveBack = () => {
    guest.u64(0, guest.at + 128n)
    guest.u64(8, 1)
    guest.u64(16, 0)
    guest.u64(24, domidSelf)
    guest.u64(128, 40)
    return guest.call(Hypercall.memoryOp, 1, guest.at)
  }
  t.equal(giveBack(), 0)
  use?.end()
  t.equal(guest.pin(40), 0)
  t.equal(backend.use(8 as GrantRef, 'write'), undefined, 'a page table now')
  t.ok(backend.use(8 as GrantRef, 'read'))
})

t.test('copies', async t => {
  const guest = granter()
  guest.grant(8, 40, Grant.permit, domid)
  guest.grant(9, 41, Grant.permit | Grant.readonly, domid)
  const copy = (
    flags: number,
    source: number,
    target: number,
    length = 4,
    offset = 0,
    from = domidSelf,
    to = domidSelf,
  ) => {
    guest.u64(0, source)
    guest.u16(8, from)
    guest.u16(10, offset)
    guest.u64(16, target)
    guest.u16(24, to)
    guest.u16(26, 8)
    guest.u16(32, length)
    guest.u16(34, flags)
    t.equal(guest.op(5), 0)
    return guest.read16(36)
  }
  guest.memory.bytes.set([1, 2, 3, 4], guest.host(50))
  t.equal(copy(0, 50, 51), status.ok)
  t.same([...guest.memory.bytes.subarray(guest.host(51) + 8, guest.host(51) + 12)], [1, 2, 3, 4])
  t.equal(copy(2, 50, 8, 4, 0, domidSelf, domid), status.ok, 'into an own grant')
  t.equal(guest.memory.bytes[guest.host(40) + 11], 4)
  t.equal(guest.flags(8), Grant.permit, 'no marks left')
  t.equal(copy(2, 50, 9, 4, 0, domidSelf, domid), status.error, 'granted for reading')
  t.equal(copy(1, 9, 51, 4, 0, domid), status.ok)
  t.equal(copy(1, 600, 51, 4, 0, domid), status.gntref)
  t.equal(copy(1, 1, 51, 4, 0, 0), status.gntref, 'Domain-0 grants nothing')
  t.equal(copy(1, 1, 51, 4, 0, 99), status.domain)
  t.equal(copy(0, 50, 51, 4, 0, 0), status.denied, "another domain's frame")
  t.equal(copy(0, 50, 51, 4, 4093), status.copy)
  t.equal(copy(0, 50, tables.level1), status.page)
  t.equal(copy(0, guest.layout.m2p, 51), status.page)
})

t.test('maps of own grants', async t => {
  const guest = granter()
  guest.grant(8, 40, Grant.permit, domid)
  guest.grant(9, 41, Grant.permit | Grant.readonly, domid)
  guest.call(Hypercall.updateVaMapping, guest.linear(60), 0n, 2)
  const map = (ref: number, flags: number, host: bigint | number, domain = domid) => {
    guest.u64(0, host)
    guest.u32(8, flags)
    guest.u32(12, ref)
    guest.u16(16, domain)
    t.equal(guest.op(0), 0)
    return guest.read16(18)
  }
  const unmap = (handle: number, host: bigint | number, device = 0) => {
    guest.u64(0, host)
    guest.u64(8, device)
    guest.u32(16, handle)
    t.equal(guest.op(1), 0)
    return guest.read16(20)
  }
  t.equal(map(8, 0, guest.linear(60)), status.gntref, 'neither host nor device')
  t.equal(map(8, HostMap.host, guest.linear(60), 0), status.gntref)
  t.equal(map(8, HostMap.host, guest.linear(60), 99), status.domain)
  t.equal(map(9, HostMap.host, guest.linear(60)), status.error, 'not for writing')
  t.equal(map(8, HostMap.host, 0x1000n), status.error, 'no table there')
  t.equal(guest.flags(8), Grant.permit)
  t.equal(map(8, HostMap.host | HostMap.device, guest.linear(60)), status.ok)
  const handle = guest.read32(20)
  t.equal(guest.read64(24), 40n * 4096n)
  t.equal(guest.flags(8), Grant.permit | Grant.reading | Grant.writing)
  t.ok(guest.vcpu.writeBytes(guest.linear(60), new Uint8Array([9])))
  t.equal(guest.memory.bytes[guest.host(40)], 9)
  t.equal(unmap(handle + 1, guest.linear(60)), status.handle)
  t.equal(unmap(handle, guest.linear(61)), status.error)
  t.equal(unmap(handle, guest.linear(60)), status.ok)
  t.equal(guest.vcpu.readBytes(guest.linear(60), 1), undefined)
  t.equal(guest.flags(8), Grant.permit | Grant.reading | Grant.writing, 'the device map is left')
  t.equal(unmap(handle, 0, 40 * 4096), status.ok)
  t.equal(guest.flags(8), Grant.permit)
  t.equal(unmap(handle, 0, 40 * 4096), status.handle)
  t.equal(map(9, HostMap.host | HostMap.readonly | HostMap.pte, tables.level1 * 4096 + 60 * 8), status.ok)
  t.notOk(guest.vcpu.writeBytes(guest.linear(60), new Uint8Array([9])))
  guest.u64(0, tables.level1 * 4096 + 60 * 8)
  guest.u64(8, guest.linear(61))
  guest.u32(16, guest.read32(20))
  t.equal(guest.op(7), 0)
  t.equal(guest.read16(20), status.ok, 'unmap_and_replace')
  t.equal(guest.vcpu.readBytes(guest.linear(61), 1), undefined)
  t.ok(guest.vcpu.writeBytes(guest.linear(60), new Uint8Array([7])))
  t.equal(guest.memory.bytes[guest.host(61)], 7)
  const mapTimes = (ref: number, flags: number, times: number) => {
    for (let count = 0; count < times; count++) t.equal(map(ref, flags, 0), status.ok)
  }
  mapTimes(8, HostMap.device, 255)
  t.equal(map(8, HostMap.device, 0), status.error, 'the frame has as many uses as can be counted')
  mapTimes(8, HostMap.device | HostMap.readonly, 255)
  mapTimes(9, HostMap.device | HostMap.readonly, 2)
  t.equal(map(9, HostMap.device | HostMap.readonly, 0), -7, 'all handles are taken')
})

t.test('transfer is refused, swap works on idle entries, caches are coherent', async t => {
  const guest = granter()
  const transfer = (mfn: number, to: number) => {
    guest.u64(0, mfn)
    guest.u16(8, to)
    t.equal(guest.op(4), 0)
    return guest.read16(16)
  }
  guest.call(Hypercall.updateVaMapping, guest.linear(60), 0n, 2)
  t.same([transfer(50, 0), transfer(60, 0), transfer(60, 9)], [status.page, status.denied, status.domain])
  guest.grant(8, 40, Grant.permit, domid)
  guest.grant(9, 41, Grant.permit, 0)
  const swap = (a: number, b: number) => {
    guest.u32(0, a)
    guest.u32(4, b)
    t.equal(guest.op(11), 0)
    return guest.read16(8)
  }
  t.equal(swap(8, 9), status.ok)
  const backend = new Domain0Grants(guest.memory, guest.layout)
  const use = backend.use(8 as GrantRef, 'read')
  t.equal(use?.address, guest.host(41))
  t.equal(swap(8, 9), -12)
  use?.end()
  t.equal(swap(8, 9), status.ok)
  t.equal(swap(8, 512), status.gntref)
  const flush = (address: number, operation: number, length = 64, offset = 0) => {
    guest.u64(0, address)
    guest.u16(8, offset)
    guest.u16(10, length)
    guest.u32(12, operation)
    return guest.op(12)
  }
  t.equal(flush(40 * 4096, 1), 0)
  t.equal(flush(40 * 4096, 2), -Errno.opnotsupp)
  t.equal(flush(40 * 4096, 4), -Errno.inval)
  t.equal(flush(40 * 4096, 1, 64, 4090), -Errno.inval)
  t.equal(flush(guest.layout.frames * 4096, 1), -Errno.inval)
  t.equal(flush(guest.layout.m2p * 4096, 1), -Errno.perm)
})
