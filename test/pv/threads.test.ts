/**
 * Console and xenstore page with the guest on another thread: nothing is lost, doubled or torn.
 */
import {once} from 'node:events'
import {Worker} from 'node:worker_threads'
import t from 'tap'
import type {DomId, EventPort, Mfn} from '../../lib/base/brand.js'
import {fromBytes} from '../../lib/base/byte-string.js'
import {ConsoleBackend} from '../../lib/pv/console/backend.js'
import {pageAddress} from '../../lib/pv/environment.js'
import {XenstoreRing} from '../../lib/pv/xenstore-ring.js'
import {Domain0} from '../../lib/xenstore/domain0.js'
import {XenstoreServer} from '../../lib/xenstore/server.js'
import {TestEnvironment} from '../support/backend-environment.js'
import type {Task} from '../support/guest-thread.js'

t.test('a guest on its own thread', async t => {
  const {memory, grants} = new TestEnvironment()
  const environment = {
    memory,
    grants,
    notifier: {notify: () => {}},
    scheduler: {soon: (work: () => void) => void setImmediate(work), after: () => () => {}},
  }
  const server = new XenstoreServer()
  const dom0 = new Domain0(server)
  dom0.mkdir('/local/domain/5/data', ['n5'])
  const store = new XenstoreRing(environment, server.introduce(5 as DomId), 0 as Mfn, 1 as EventPort)
  const console = new ConsoleBackend(environment, 1 as Mfn, 2 as EventPort)
  let printed = ''
  let ended = () => {}
  const end = new Promise<void>(resolve => {
    ended = resolve
  })
  const write = (bytes: Uint8Array) => {
    printed += fromBytes(bytes)
    return true
  }
  console.attach({write, skipped: () => t.fail(), end: ended}, true)

  const task: Task = {
    buffer: memory.bytes.buffer as SharedArrayBuffer,
    storePage: pageAddress(memory, 0 as Mfn),
    consolePage: pageAddress(memory, 1 as Mfn),
    text: Array.from({length: 40_000}, (_, line) => `${line}\n`).join(''),
    values: 600,
  }
  const guest = new Worker(new URL('../support/guest-thread.js', import.meta.url), {workerData: task})
  guest.on('message', (event: 'console' | 'store' | 'done') => {
    if (event === 'console') console.onEvent()
    if (event === 'store') store.onEvent()
    if (event === 'done') console.close()
  })
  await Promise.all([once(guest, 'exit'), end])
  t.equal(printed.length, 2 * task.text.length)
  t.ok(printed === task.text + task.text)
  t.equal(dom0.read('/local/domain/5/data/value'), `${599} `.repeat(299))
})
