/**
 * The console: output to sinks fast, slow and stuck, the backlog for those who come late, input, and a guest that floods.
 */
import t from 'tap'
import {ConsoleConnection, ConsolePage} from '../../../lib/abi/io/console.js'
import type {EventPort, Mfn} from '../../../lib/base/brand.js'
import {fromBytes, toBytes} from '../../../lib/base/byte-string.js'
import {ByteRingReader, ByteRingWriter} from '../../../lib/pv/byte-ring.js'
import {backlogBytes, ConsoleBackend, type ConsoleState, patienceMs} from '../../../lib/pv/console/backend.js'
import {loadIndex, pageAddress, storeIndex} from '../../../lib/pv/environment.js'
import {TestEnvironment} from '../../support/backend-environment.js'

const mfn = 1 as Mfn

/** A sink that keeps what it gets, and takes `appetite` writes before it wants a rest. */
class TestSink {
  text = ''
  lost = 0
  isEnded = false
  constructor(public appetite = Number.POSITIVE_INFINITY) {}
  write(bytes: Uint8Array): boolean {
    this.text += fromBytes(bytes)
    return --this.appetite > 0
  }
  skipped(bytes: number): void {
    this.lost += bytes
  }
  end(): void {
    this.isEnded = true
  }
}

function host(state?: ConsoleState) {
  const environment = new TestEnvironment()
  const {memory} = environment
  const page = pageAddress(memory, mfn)
  const {offset} = ConsolePage
  memory.bytes[page + offset.connection] = ConsoleConnection.disconnected
  const backend = new ConsoleBackend(environment, mfn, 4 as EventPort, state)
  environment.run()
  const place = (data: number, size: number, consumer: number, producer: number) => ({
    data: page + data,
    size,
    consumer: page + consumer,
    producer: page + producer,
  })
  // The guest's ends.
  const output = new ByteRingWriter(memory, place(offset.out, 2048, offset.outCons, offset.outProd))
  const input = new ByteRingReader(memory, place(offset.in, 1024, offset.inCons, offset.inProd))
  /** The guest writes text, waiting for room; returns how much it could write before it had to wait for good. */
  const print = (text: string): number => {
    const bytes = toBytes(text)
    let at = 0
    for (let stalled = 0; at < bytes.length && stalled < 3; ) {
      const length = output.write(bytes.subarray(at))
      at += length
      stalled = length === 0 ? stalled + 1 : 0
      backend.onEvent()
      environment.run()
    }
    return at
  }
  return {environment, memory, page, backend, output, input, print}
}

/** Text in which every place can be told from every other. */
const numbered = (bytes: number, from = 0) => {
  let text = ''
  for (let line = from; text.length < bytes; line++) text += `${line}\n`
  return text.slice(0, bytes)
}

t.test('output reaches every sink, and the guest is told of the room', async t => {
  const {backend, print, environment, memory, page} = host()
  t.equal(memory.bytes[page + ConsolePage.offset.connection], ConsoleConnection.connected)
  const log = new TestSink()
  const screen = new TestSink()
  backend.attach(log, true)
  backend.attach(screen, true)
  environment.takeNotifications()
  print('hello\n')
  t.equal(log.text, 'hello\n')
  t.equal(screen.text, 'hello\n')
  t.equal(environment.takeNotifications(), 1)
  backend.onEvent()
  environment.run()
  t.equal(environment.takeNotifications(), 0, 'no event without news')
})

t.test('what was printed before anybody served or listened is not lost', async t => {
  const {output, environment} = host()
  output.write(toBytes('early '))
  const successor = new ConsoleBackend(environment, mfn, 4 as EventPort)
  environment.run()
  const sink = new TestSink()
  successor.attach(sink, true)
  environment.run()
  t.equal(sink.text, 'early ')
})

t.test('who attaches late sees the boot from the start, or only what follows', async t => {
  const {backend, print, environment} = host()
  const boot = numbered(50_000)
  t.equal(print(boot), boot.length, 'nobody listens, nobody waits')
  const curious = new TestSink()
  const incurious = new TestSink()
  backend.attach(curious, true)
  backend.attach(incurious, false)
  environment.run()
  t.equal(curious.text, boot)
  print('now')
  t.equal(curious.text, `${boot}now`)
  t.equal(incurious.text, 'now')
})

t.test('of more than the backlog holds, the newest is kept', async t => {
  const {backend, print, environment} = host()
  const flood = numbered(3 * backlogBytes + 17)
  print(flood)
  const sink = new TestSink()
  backend.attach(sink, true)
  environment.run()
  t.equal(sink.text, flood.slice(-backlogBytes))
  t.equal(sink.lost, 0, 'it had no claim to the rest')
})

t.test('a slow sink loses nothing: the guest waits for it', async t => {
  const {backend, print, environment} = host()
  const slow = new TestSink(1)
  const fast = new TestSink()
  const attachment = backend.attach(slow, true)
  backend.attach(fast, true)
  const flood = numbered(300_000)
  let at = print(flood)
  t.ok(at < backlogBytes + 2048 + 2048 + 1, `held up after ${at} bytes`)
  t.ok(fast.text.length <= at)
  while (slow.text.length < flood.length) {
    slow.appetite = 1
    attachment.ready()
    environment.run()
    at += print(flood.slice(at))
  }
  t.equal(slow.text, flood)
  t.equal(fast.text, flood)
  t.equal(slow.lost, 0)
  t.equal(environment.timersSet, 0)
})

t.test('a stuck sink does not stop the guest for ever', async t => {
  const {backend, print, environment} = host()
  const stuck = new TestSink(1)
  const log = new TestSink()
  const attachment = backend.attach(stuck, true)
  backend.attach(log, true)
  const flood = numbered(500_000)
  let at = print(flood)
  t.ok(at < flood.length)
  environment.pass(patienceMs - 1)
  at += print(flood.slice(at))
  t.ok(at < flood.length, 'not yet')
  environment.pass(1)
  at += print(flood.slice(at))
  t.equal(at, flood.length, 'the guest goes on without it')
  t.equal(log.text, flood, 'others miss nothing')
  t.equal(environment.timersSet, 0)
  const had = stuck.text.length
  stuck.appetite = Number.POSITIVE_INFINITY
  attachment.ready()
  environment.run()
  t.equal(stuck.lost, flood.length - had - backlogBytes)
  t.equal(stuck.text, flood.slice(0, had) + flood.slice(-backlogBytes), 'it is back, with a gap it knows of')
  stuck.appetite = 1
  at = print(flood)
  t.ok(at < flood.length, 'having caught up it may hold up the guest again')
})

t.test('a sink that leaves holds up nobody', async t => {
  const {backend, print, environment} = host()
  const stuck = new TestSink(1)
  const attachment = backend.attach(stuck, true)
  const flood = numbered(200_000)
  const at = print(flood)
  t.ok(at < flood.length)
  attachment.detach()
  environment.run()
  t.equal(at + print(flood.slice(at)), flood.length)
  t.notOk(stuck.isEnded)
  t.equal(environment.timersSet, 0)
})

t.test('a guest that floods gets turns, not all of them', async t => {
  const {backend, environment, output, page, memory} = host()
  let total = 0
  // Stands for the guest's own thread: each time the log writes, the ring is full again.
  const sink = {
    write: (bytes: Uint8Array) => {
      total += bytes.length
      output.write(new Uint8Array(2048).fill(0x41))
      return true
    },
    skipped: () => t.fail(),
    end: () => {},
  }
  backend.attach(sink, true)
  output.write(new Uint8Array(2048))
  for (let turn = 1; turn <= 50; turn++) {
    environment.run(1)
    t.ok(environment.turns.length <= 1)
    t.ok(total <= turn * 3 * 16 * 1024)
  }
  t.ok(total > 50_000)
  t.ok(backend.save().backlog.kept.length <= backlogBytes)
  t.ok(loadIndex(memory, page + ConsolePage.offset.outCons) >= total)
})

t.test('input', async t => {
  const {backend, input, environment} = host()
  environment.takeNotifications()
  t.equal(backend.feed(toBytes('ls\n')), 3)
  t.equal(environment.takeNotifications(), 1)
  t.equal(fromBytes(input.read(100)), 'ls\n')

  const paste = numbered(3000)
  let at = backend.feed(toBytes(paste))
  t.equal(at, 1024, 'as much as the ring holds')
  t.equal(backend.feed(toBytes('x')), 0)
  environment.takeNotifications()
  t.equal(backend.feed(toBytes('x')), 0)
  t.equal(environment.takeNotifications(), 0)
  const more = () => {
    at += backend.feed(toBytes(paste.slice(at)))
    if (at < paste.length) backend.whenRoom(more)
  }
  backend.whenRoom(more)
  backend.onEvent()
  t.equal(at, 1024, 'an event without room')
  let received = ''
  while (received.length < paste.length) {
    received += fromBytes(input.read(700))
    backend.onEvent()
  }
  t.equal(received, paste)
})

t.test('indices that make no sense: nothing moves, until they do', async t => {
  const {backend, memory, page, print, environment, input} = host()
  const sink = new TestSink()
  backend.attach(sink, true)
  const {offset} = ConsolePage
  storeIndex(memory, page + offset.outProd, 5000)
  storeIndex(memory, page + offset.inCons, 77)
  backend.onEvent()
  environment.run()
  t.equal(sink.text, '')
  t.equal(backend.feed(toBytes('x')), 0)
  t.equal(loadIndex(memory, page + offset.outCons), 0)
  storeIndex(memory, page + offset.outProd, 0)
  storeIndex(memory, page + offset.inCons, 0)
  print('fine')
  t.equal(sink.text, 'fine')
  backend.feed(toBytes('too'))
  t.equal(fromBytes(input.read(10)), 'too')
})

t.test('the end: all of it, then end', async t => {
  const {backend, output, environment, print} = host()
  const log = new TestSink()
  const slow = new TestSink(1)
  const stuck = new TestSink(1)
  backend.attach(log, true)
  const attachment = backend.attach(slow, true)
  backend.attach(stuck, true)
  print('first ')
  output.write(toBytes('last words'))
  backend.close()
  environment.run()
  t.equal(log.text, 'first last words')
  t.ok(log.isEnded)
  t.notOk(slow.isEnded)
  slow.appetite = 2
  attachment.ready()
  environment.run()
  t.equal(slow.text, 'first last words')
  t.ok(slow.isEnded)
  t.notOk(stuck.isEnded)
  environment.pass(patienceMs)
  t.ok(stuck.isEnded, 'the end does not wait for ever either')
  t.equal(environment.timersSet, 0)
})

t.test('the end of a flood with a stuck sink', async t => {
  const {backend, environment, print, output} = host()
  const log = new TestSink()
  const stuck = new TestSink(1)
  backend.attach(log, true)
  backend.attach(stuck, true)
  const flood = numbered(backlogBytes + 10_000)
  const at = print(flood)
  output.write(toBytes(flood.slice(at)))
  backend.close()
  environment.run()
  t.notOk(log.isEnded, 'something is still in the ring')
  environment.pass(patienceMs)
  t.ok(stuck.isEnded)
  t.ok(log.isEnded)
  t.equal(log.text, flood.slice(0, log.text.length))
  t.ok(log.text.length >= at)
})

t.test('saved and restored', async t => {
  const {backend, print} = host()
  const flood = numbered(backlogBytes + 5000)
  print(flood)
  const state = JSON.parse(JSON.stringify(backend.save())) as ConsoleState
  t.equal(state.version, 1)
  const restored = host(state)
  const sink = new TestSink()
  restored.backend.attach(sink, true)
  restored.environment.run()
  restored.print('and on')
  t.equal(sink.text, `${flood.slice(-backlogBytes)}and on`)
  t.same(host(restored.backend.save()).backend.save(), restored.backend.save())
})
