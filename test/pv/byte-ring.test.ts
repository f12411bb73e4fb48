/**
 * Byte rings: wrapping in place and in number, and indices that make no sense.
 */
import t from 'tap'
import type {Mfn} from '../../lib/base/brand.js'
import {fromBytes, toBytes} from '../../lib/base/byte-string.js'
import {ByteRingReader, ByteRingWriter} from '../../lib/pv/byte-ring.js'
import {loadIndex, pageAddress, storeIndex} from '../../lib/pv/environment.js'
import {seeded, TestEnvironment} from '../support/backend-environment.js'

function ring(start = 0) {
  const {memory} = new TestEnvironment()
  const page = pageAddress(memory, 1 as Mfn)
  const place = {data: page, size: 16, consumer: page + 100, producer: page + 104}
  storeIndex(memory, place.consumer, start)
  storeIndex(memory, place.producer, start)
  return {memory, place, reader: new ByteRingReader(memory, place), writer: new ByteRingWriter(memory, place)}
}

t.test('fills, wraps and empties', async t => {
  const {reader, writer, memory, place} = ring(10)
  t.equal(writer.room(), 16)
  t.equal(writer.write(toBytes('0123456789')), 10)
  t.equal(reader.available(), 10)
  t.equal(writer.write(toBytes('abcdefgh')), 6, 'only what there is room for')
  t.equal(writer.room(), 0)
  t.equal(writer.write(toBytes('x')), 0)
  t.equal(fromBytes(memory.bytes.slice(place.data, place.data + 16)), '6789abcdef012345')
  t.equal(fromBytes(reader.read(7)), '0123456')
  t.equal(fromBytes(reader.read(100)), '789abcdef')
  t.equal(reader.read(100).length, 0)
  t.equal(loadIndex(memory, place.consumer), 26)
})

t.test('indices wrap at 32 bits', async t => {
  const {reader, writer, memory, place} = ring(0xfffffffa)
  writer.write(toBytes('0123456789'))
  t.equal(loadIndex(memory, place.producer), 4)
  t.equal(reader.available(), 10)
  t.equal(writer.room(), 6)
  t.equal(fromBytes(reader.read(10)), '0123456789')
  t.equal(loadIndex(memory, place.consumer), 4)
})

t.test('illegal indices: neither bytes nor room, and nothing is touched', async t => {
  for (const [consumer, producer] of [
    [0, 17],
    [1, 0],
    [0, 0xffffffff],
    [0x80000000, 0],
  ]) {
    const {reader, writer, memory, place} = ring()
    storeIndex(memory, place.consumer, consumer)
    storeIndex(memory, place.producer, producer)
    t.equal(reader.available(), undefined)
    t.equal(writer.room(), undefined)
    t.equal(reader.read(10).length, 0)
    t.equal(writer.write(toBytes('x')), 0)
    t.equal(loadIndex(memory, place.consumer), consumer)
    t.equal(loadIndex(memory, place.producer), producer)
  }
})

t.test('what goes in comes out', async t => {
  const random = seeded(1)
  const {reader, writer} = ring(0xffffff00)
  let sent = ''
  let received = ''
  for (let step = 0; step < 5000; step++) {
    const text = Array.from({length: random(20)}, () => String.fromCharCode(random(256))).join('')
    sent += text.slice(0, writer.write(toBytes(text)))
    received += fromBytes(reader.read(random(20)))
  }
  received += fromBytes(reader.read(16))
  t.ok(sent.length > 10_000)
  t.equal(received, sent)
})

t.test('a page that the domain does not have', async t => {
  t.throws(() => pageAddress(new TestEnvironment().memory, 99 as Mfn), /bug/)
})
