/**
 * Watches: who hears what, when and under which name.
 */
import t from 'tap'
import {XsType} from '../../lib/abi/io/xs-wire.js'
import type {DomId} from '../../lib/base/brand.js'
import {eventLimit} from '../../lib/xenstore/connection.js'
import {Domain0} from '../../lib/xenstore/domain0.js'
import {XenstoreServer} from '../../lib/xenstore/server.js'
import {GuestClient} from '../support/xenstore-client.js'

const home = '/local/domain/5'

function host() {
  const server = new XenstoreServer()
  const dom0 = new Domain0(server)
  dom0.mkdir(home, ['n5'])
  dom0.write(`${home}/dir/a/x`, '1')
  dom0.write(`${home}/dir/b`, '2')
  return {server, dom0, client: new GuestClient(server.introduce(5 as DomId))}
}

t.test('the first event comes with the registration, exists or not', async t => {
  const {client} = host()
  client.watch('dir', '0xffff8880')
  client.watch('/nowhere/at/all', 'tok')
  t.same(client.takeEvents(), ['dir 0xffff8880', '/nowhere/at/all tok'])
})

t.test('a path is reported as it was registered', async t => {
  const {client, dom0} = host()
  client.watch('dir', 'relative')
  client.watch(`${home}/dir`, 'absolute')
  t.equal(client.watch('dir', 'absolute'), 'EEXIST', 'both are the same path')
  client.takeEvents()
  dom0.write(`${home}/dir/b`, '3')
  t.same(client.takeEvents(), ['dir/b relative', `${home}/dir/b absolute`])
})

/** Rows of [what happens, events of a watch on dir/a]. */
const rows: [string, (client: GuestClient) => void, string[]][] = [
  ['the node is written', c => c.write('dir/a', 'v'), ['dir/a']],
  ['with the same value', c => c.write('dir/a', ''), ['dir/a']],
  ['a descendant is written', c => c.write('dir/a/x', 'v'), ['dir/a/x']],
  ['a descendant is made, with what lies between', c => c.write('dir/a/p/q/r', 'v'), ['dir/a/p/q/r']],
  ['a descendant is made by mkdir', c => c.mkdir('dir/a/new'), ['dir/a/new']],
  ['mkdir of what is there', c => c.mkdir('dir/a'), []],
  ['a descendant is removed', c => c.remove('dir/a/x'), ['dir/a/x']],
  ['the node is removed', c => c.remove('dir/a'), ['dir/a']],
  ['an ancestor is removed', c => c.remove('dir'), ['dir/a']],
  ['nothing is removed', c => c.remove('dir/a/none'), []],
  ['permissions are set', c => c.ask(XsType.setPermissions, 'dir/a|n5|r1|'), ['dir/a']],
  ['a sibling is written', c => c.write('dir/b', 'v'), []],
  ['a node with a longer name is written', c => c.write('dir/ab', 'v'), []],
  ['the parent is written', c => c.write('dir', 'v'), []],
  ['a refused write', c => c.write('/local/x', 'v'), []],
  ['a read', c => c.read('dir/a'), []],
]

t.test('what a watch hears', async t => {
  for (const [what, action, expected] of rows) {
    const {client} = host()
    client.watch('dir/a', 'tok')
    client.takeEvents()
    action(client)
    t.same(
      client.takeEvents(),
      expected.map(path => `${path} tok`),
      what,
    )
  }
})

t.test('order: changes first, then registration', async t => {
  const {client, dom0} = host()
  client.watch('dir', 'one')
  client.watch('/', 'two')
  client.watch('dir/b', 'three')
  client.takeEvents()
  dom0.write(`${home}/dir/b`, '3')
  dom0.remove(`${home}/dir`)
  t.same(client.takeEvents(), [
    'dir/b one',
    `${home}/dir/b two`,
    'dir/b three',
    'dir one',
    `${home}/dir two`,
    // 'dir/b three' again, but the first one still waited: it is not sent twice.
  ])
})

t.test('an event that still waits is not queued twice', async t => {
  const {client, dom0} = host()
  client.watch('dir', 'tok')
  client.takeEvents()
  for (let count = 0; count < 1000; count++) dom0.write(`${home}/dir/b`, `${count}`)
  t.same(client.takeEvents(), ['dir/b tok'])
  dom0.write(`${home}/dir/b`, 'again')
  client.connection.take(5)
  dom0.write(`${home}/dir/b`, 'while the first is on its way')
  t.ok(client.connection.pendingBytes > 30, 'a second one waits')
})

t.test('a guest that does not read makes events lose detail, not memory', async t => {
  const {client, dom0} = host()
  client.watch('dir', 'one')
  client.watch('dir/many', 'two')
  client.takeEvents()
  const long = 'n'.repeat(1000)
  for (let count = 0; count < 200; count++) dom0.write(`${home}/dir/many/${long}${count}`, 'x')
  t.ok(client.connection.pendingBytes < eventLimit + 1200, `${client.connection.pendingBytes} bytes`)
  const events = client.takeEvents()
  t.same(events.slice(-2).sort(), ['dir one', 'dir/many two'], 'the watches themselves stand for the rest')
})

t.test('an event that would not fit names the watch', async t => {
  const {client} = host()
  const token = 't'.repeat(2500)
  client.watch('dir', token)
  client.takeEvents()
  client.write(`dir/${'n'.repeat(1800)}`, 'v')
  t.same(client.takeEvents(), [`dir ${token}`])
})

t.test('a guest hears only of what it may know', async t => {
  const {client, dom0} = host()
  client.watch('/', 'all')
  client.takeEvents()
  dom0.write('/secret/key', 'v')
  t.same(client.takeEvents(), [])
  dom0.setPermissions('/secret/key', ['n0', 'r5'])
  t.same(client.takeEvents(), ['/secret/key all'], 'readable now')
  dom0.write('/secret/key', 'w')
  t.same(client.takeEvents(), ['/secret/key all'])
  dom0.setPermissions('/secret/key', ['n0'])
  t.same(client.takeEvents(), ['/secret/key all'], 'told that it lost access')
  dom0.write('/secret/key', 'x')
  t.same(client.takeEvents(), [])
  dom0.setPermissions('/secret', ['n0', 'r5'])
  client.takeEvents()
  dom0.remove('/secret/key')
  t.same(client.takeEvents(), ['/secret/key all'], 'it could have seen the name')
})

t.test('unwatch and reset', async t => {
  const {client, dom0} = host()
  client.watch('dir', 'one')
  client.watch('dir', 'two')
  client.watch('dir', 'three')
  client.takeEvents()
  t.equal(client.unwatch(`${home}/dir`, 'two'), 'OK|', 'under either name')
  t.equal(client.unwatch('dir', 'two'), 'ENOENT')
  dom0.write(`${home}/dir/b`, 'x')
  t.same(client.takeEvents(), ['dir/b one', 'dir/b three'])
  client.ask(XsType.resetWatches, '|')
  dom0.write(`${home}/dir/b`, 'y')
  t.same(client.takeEvents(), [])
  t.equal(client.watch('dir', 'one'), 'OK|', 'registered anew')
})

t.test('the toolstack watches', async t => {
  const {client, dom0} = host()
  const seen: string[] = []
  const stop = dom0.watch(`${home}/dir`, path => seen.push(path))
  t.same(seen, [], 'no event for the registration')
  client.write('dir/b', '1')
  t.same(seen, [`${home}/dir/b`], 'before the write is even answered to the guest')
  client.remove('dir/a')
  t.same(seen.splice(0), [`${home}/dir/b`, `${home}/dir/a`])
  stop()
  client.write('dir/b', '2')
  t.same(seen, [])
})

t.test('a callback may use the store, and end its own watch', async t => {
  const {client, dom0} = host()
  const seen: string[] = []
  const stop = dom0.watch(`${home}/dir/b`, path => {
    seen.push(path)
    if (dom0.read(path) === 'request') dom0.write(path, 'answer')
    else stop()
  })
  client.watch('dir/b', 'tok')
  client.takeEvents()
  client.write('dir/b', 'request')
  t.equal(client.read('dir/b'), 'answer')
  t.same(seen, [`${home}/dir/b`, `${home}/dir/b`])
  client.write('dir/b', 'more')
  t.equal(seen.length, 2)
})

t.test('a callback that throws does not stop later events', async t => {
  const {dom0} = host()
  const seen: string[] = []
  const stop = dom0.watch(`${home}/dir`, () => {
    throw new Error('our own mistake')
  })
  t.throws(() => dom0.write(`${home}/dir/b`, 'x'), /our own mistake/)
  stop()
  dom0.watch(`${home}/dir`, path => seen.push(path))
  dom0.write(`${home}/dir/b`, 'y')
  t.same(seen, [`${home}/dir/b`])
})
