/**
 * The back end of a request ring against a frontend written out by hand: slots, wrapping, the notify rule, broken indices.
 */
import t from 'tap'
import {RingHeader, ringSlotsOffset} from '../../lib/abi/io/ring.js'
import type {Mfn} from '../../lib/base/brand.js'
import {loadIndex, pageAddress, storeIndex} from '../../lib/pv/environment.js'
import {BackRing} from '../../lib/pv/shared-ring.js'
import {TestEnvironment} from '../support/backend-environment.js'

/** `frames`: the ring's pages; `start`: the value all indices start from. */
function ring(slotBytes: number, frames = [1], start = 0) {
  const {memory} = new TestEnvironment()
  const pages = frames.map(mfn => pageAddress(memory, mfn as Mfn))
  const back = new BackRing(memory, pages, slotBytes, {requestConsumer: start, responseProducer: start})
  const at = (name: keyof typeof RingHeader.offset) => pages[0] + RingHeader.offset[name]
  for (const name of ['reqProd', 'rspProd'] as const) storeIndex(memory, at(name), start)
  for (const name of ['reqEvent', 'rspEvent'] as const) storeIndex(memory, at(name), start + 1)
  const bytes = (index: number) => {
    const offset = ringSlotsOffset + (index & (back.slots - 1)) * slotBytes
    return Array.from(
      {length: slotBytes},
      (_, byte) => pages[Math.floor((offset + byte) / 4096)] + ((offset + byte) % 4096),
    )
  }
  return {
    memory,
    back,
    get: (name: keyof typeof RingHeader.offset) => loadIndex(memory, at(name)),
    set: (name: keyof typeof RingHeader.offset, value: number) => storeIndex(memory, at(name), value),
    put(index: number, fill: number) {
      for (const address of bytes(index)) memory.bytes[address] = fill
      storeIndex(memory, at('reqProd'), index + 1)
    },
    slot: (index: number) => bytes(index).map(address => memory.bytes[address]),
  }
}

t.test('number of slots', async t => {
  t.equal(ring(112).back.slots, 32, 'block')
  t.equal(ring(12).back.slots, 256, 'network, to the backend')
  t.equal(ring(8).back.slots, 256, 'network, from the backend')
  t.equal(ring(112, [0, 1, 2, 3]).back.slots, 128)
})

t.test('requests are copied, responses go into the slots in order', async t => {
  const {back, put, slot, get, memory} = ring(16)
  put(0, 0xaa)
  put(1, 0xbb)
  const first = back.takeRequest()
  const second = back.takeRequest()
  t.equal(back.takeRequest(), undefined)
  memory.bytes.fill(0)
  t.same([...(first ?? [])], Array(16).fill(0xaa), 'the guest can change the slot, not the request')
  t.same([...(second ?? [])], Array(16).fill(0xbb))
  back.respond([Uint8Array.of(1, 2, 3)])
  back.respond([Uint8Array.of(4)])
  t.same(slot(0).slice(0, 4), [1, 2, 3, 0])
  t.same(slot(1).slice(0, 4), [4, 0, 0, 0])
  t.equal(get('rspProd'), 2)
  t.throws(() => back.respond([Uint8Array.of(5)]), /bug/, 'no response without a request')
})

t.test('pages that do not lie side by side, slots across their border', async t => {
  const {back, put, slot} = ring(112, [3, 0])
  t.equal(back.slots, 64)
  for (let index = 0; index < 40; index++) {
    put(index, index + 1)
    t.same([...(back.takeRequest() ?? [])], Array(112).fill(index + 1))
    back.respond([new Uint8Array(112).fill(200 - index)])
    t.same(slot(index), Array(112).fill(200 - index))
  }
})

t.test('indices wrap at 32 bits', async t => {
  const start = 0xfffffffe
  const {back, put, get} = ring(16, [1], start)
  for (let count = 0; count < 6; count++) {
    put(start + count, count)
    t.equal(back.takeRequest()?.[0], count)
    back.respond([new Uint8Array(16)])
  }
  t.equal(get('rspProd'), 4)
  t.same(back.save(), {requestConsumer: 4, responseProducer: 4})
})

t.test('the frontend is notified when it asked for one of the new responses', async t => {
  /** Rows of [responses before, rsp_event, responses now, notify]. */
  for (const [before, event, now, notify] of [
    [0, 1, 1, true],
    [0, 2, 1, false],
    [0, 2, 2, true],
    [0, 2, 5, true],
    [2, 2, 1, false],
    [2, 3, 1, true],
    [0, 1, 0, false],
    [0, 0xfffffff0, 3, false],
  ] as const) {
    const {back, put, set} = ring(16)
    const responses = (count: number) => Array.from({length: count}, () => new Uint8Array(16))
    for (let index = 0; index < before + now; index++) put(index, 1)
    while (back.takeRequest()) {}
    back.respond(responses(before))
    set('rspEvent', event)
    t.equal(back.respond(responses(now)), notify, `${before} + ${now}, event at ${event}`)
  }
})

t.test('asking for the next request', async t => {
  const {back, put, get} = ring(16)
  put(0, 1)
  back.takeRequest()
  t.equal(back.requestNotification(), false)
  t.equal(get('reqEvent'), 2, 'one ahead of what was taken')
  put(1, 1)
  t.equal(back.requestNotification(), true, 'came in between')
})

t.test('a producer that cannot be', async t => {
  const {back, put, set} = ring(16)
  put(0, 1)
  put(1, 1)
  back.takeRequest()
  back.takeRequest()
  for (const producer of [1, 0, 0xffffffff, back.slots + 1, 0x80000000]) {
    set('reqProd', producer)
    t.equal(back.takeRequest(), undefined)
    t.equal(back.requestNotification(), false)
    t.notOk(back.isIntact)
  }
  set('reqProd', back.slots)
  t.ok(back.isIntact, 'a full ring')
  let taken = 0
  while (back.takeRequest()) taken++
  t.equal(taken, back.slots - 2)
})
