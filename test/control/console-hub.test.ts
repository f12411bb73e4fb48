/** One console, many streams: everyone sees the output, input is merged, and nobody can hold the guest up. */
import {once} from 'node:events'
import {Duplex} from 'node:stream'
import t from 'tap'
import {ByteQueue} from '../../lib/control/byte-queue.js'
import {ConsoleHub} from '../../lib/control/console-hub.js'

/** A watcher that keeps what it sees; a stuck one takes nothing until `free` is called. */
class Watcher extends Duplex {
  seen = ''
  private stuck: (() => void) | undefined
  constructor(private isStuck = false) {
    super({highWaterMark: 16})
  }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.seen += chunk
    if (this.isStuck) this.stuck = done
    else done()
  }
  override _read(): void {}
  async type(text: string): Promise<void> {
    const read = once(this, 'data')
    this.push(text)
    await read
  }
  free(): void {
    this.isStuck = false
    this.stuck?.()
  }
}

t.test('output goes to all, also what came before', async t => {
  const hub = new ConsoleHub()
  hub.write(Buffer.from('boot '))
  const [early, late] = [new Watcher(), new Watcher()]
  hub.attach(early)
  hub.write(Buffer.from('login: '))
  hub.attach(late)
  hub.write(Buffer.from('bye'))
  t.equal(hub.size, 2)
  await hub.end()
  hub.write(Buffer.from('too late'))
  t.equal(early.seen, 'boot login: bye')
  t.equal(late.seen, 'boot login: bye')
  t.equal(hub.size, 0)
  const after = new Watcher()
  hub.attach(after)
  await once(after, 'finish')
  t.equal(after.seen, 'boot login: bye', 'who comes after the end sees the end')
  t.equal(String(hub.tail(3)), 'bye')
})

t.test('input is merged and limited', async t => {
  let calls = 0
  const hub = new ConsoleHub(() => calls++, {inputBytes: 8})
  const [a, b] = [new Watcher(), new Watcher()]
  hub.attach(a)
  hub.attach(b)
  await a.type('ls ')
  await b.type('-l\n')
  t.equal(calls, 2)
  t.equal(String(hub.takeInput(4)), 'ls -')
  t.equal(String(hub.takeInput(100)), 'l\n')
  t.equal(hub.takeInput(100).length, 0)
  await a.type('0123456789')
  t.ok(a.isPaused() && b.isPaused(), 'a guest that does not read holds the typists up')
  hub.takeInput(100)
  t.notOk(a.isPaused() || b.isPaused())
  a.destroy()
  await once(a, 'close')
  t.equal(hub.size, 1)
})

t.test('a stuck watcher loses the oldest output and is told; others lose nothing', async t => {
  const hub = new ConsoleHub(undefined, {queueBytes: 100})
  const [stuck, fine] = [new Watcher(true), new Watcher()]
  hub.attach(stuck)
  hub.attach(fine)
  for (let line = 0; line < 1000; line++) {
    hub.write(Buffer.from(`line ${line}\n`))
    await new Promise(setImmediate)
  }
  const ended = hub.end()
  stuck.free()
  await ended
  t.ok(fine.seen.startsWith('line 0\n') && fine.seen.endsWith('line 999\n'))
  t.equal(fine.seen.split('\n').length, 1001)
  t.match(stuck.seen, /\[gastwirt: \d+ bytes of console output dropped\]/)
  t.ok(stuck.seen.endsWith('line 999\n'), 'the last byte always comes')
  const dropped = Number(/: (\d+) bytes/.exec(stuck.seen)![1])
  const note = /\r\n\[.*\]\r\n/.exec(stuck.seen)![0].length
  t.equal(stuck.seen.length - note + dropped, fine.seen.length, 'and the count is exact')
})

t.test('a watcher that never reads does not keep a dead domain', async t => {
  const hub = new ConsoleHub()
  const stuck = new Watcher(true)
  hub.attach(stuck)
  hub.write(Buffer.from('x'.repeat(100)))
  await hub.end(1)
  t.ok(stuck.destroyed)
})

t.test('the backlog is bounded', async t => {
  const hub = new ConsoleHub(undefined, {backlogBytes: 64})
  for (let line = 0; line < 100; line++) hub.write(Buffer.from(`line ${line}\n`))
  const watcher = new Watcher()
  hub.attach(watcher)
  await hub.end()
  t.ok(watcher.seen.length <= 64 && watcher.seen.endsWith('line 99\n'))
})

t.test('a queue of bytes', async t => {
  const queue = new ByteQueue()
  for (let piece = 0; piece < 5000; piece++) queue.push(Buffer.from(String(piece % 10)))
  t.equal(queue.size, 5000)
  t.equal(String(queue.take(12)), '012345678901')
  t.equal(queue.trim(100), 4888)
  t.equal(queue.size, 100)
  queue.push(Buffer.from('abc'))
  queue.take(100)
  t.equal(String(queue.take(2)), 'ab')
  t.equal(String(queue.toBytes()), 'c')
  t.equal(queue.trim(0), 0, 'the last piece stays')
  t.equal(String(queue.take(9)), 'c')
  t.equal(queue.take(9).length, 0)
})
