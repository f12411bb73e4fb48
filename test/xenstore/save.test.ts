/**
 * A saved xenstore goes on where it was: contents, permissions, watches, bytes under way. The record survives JSON.
 */
import t from 'tap'
import {XsType} from '../../lib/abi/io/xs-wire.js'
import type {DomId} from '../../lib/base/brand.js'
import {Domain0} from '../../lib/xenstore/domain0.js'
import {encodeMessage} from '../../lib/xenstore/message.js'
import {XenstoreServer, type XenstoreState} from '../../lib/xenstore/server.js'
import {decodeMessages, GuestClient} from '../support/xenstore-client.js'

const guest = 5 as DomId
const home = '/local/domain/5'

function copy(server: XenstoreServer): {server: XenstoreServer; client: GuestClient; state: XenstoreState} {
  const state = JSON.parse(JSON.stringify(server.save())) as XenstoreState
  const restored = XenstoreServer.restore(state)
  const connection = restored.connectionOf(guest)
  if (!connection) throw new Error('the connection is gone')
  return {server: restored, client: new GuestClient(connection), state}
}

function host() {
  const server = new XenstoreServer()
  const dom0 = new Domain0(server)
  dom0.mkdir(home, ['n5', 'r0', 'b7'])
  const client = new GuestClient(server.introduce(guest))
  return {server, dom0, client}
}

t.test('the tree', async t => {
  const {server, client} = host()
  client.send(XsType.write, `data/deep/binary\0\0\xff\x80`)
  client.write('data/z', 'first')
  client.write('data/a', 'second')
  client.write(`${Array.from({length: 900}, () => 'd').join('/')}`, 'very deep')
  const restored = copy(server)
  t.equal(restored.state.version, 1)
  t.same(restored.server.save(), server.save())
  t.equal(restored.client.send(XsType.read, 'data/deep/binary\0').payload, '\0\xff\x80')
  t.equal(restored.client.list('data'), 'deep|z|a|', 'in order')
  t.equal(restored.client.ask(XsType.getPermissions, 'data/z|'), 'n5|r0|b7|')
  t.equal(restored.server.store.nodesOwned(guest), server.store.nodesOwned(guest))
  t.equal(
    restored.client.ask(XsType.directoryPart, 'data|0|'),
    client.ask(XsType.directoryPart, 'data|0|'),
    'even a listing in parts can go on',
  )
})

t.test('watches stay, in order, without new first events', async t => {
  const {server, client} = host()
  client.watch('data', 'one')
  client.watch(`${home}`, 'two')
  client.takeEvents()
  const restored = copy(server)
  t.same(restored.client.takeEvents(), [])
  restored.client.write('data/x', '1')
  t.same(restored.client.takeEvents(), ['data/x one', `${home}/data/x two`])
  t.equal(restored.client.watch('data', 'one'), 'EEXIST')
  t.equal(restored.client.unwatch('data', 'one'), 'OK|')
})

t.test('open transactions have to start over', async t => {
  const {server, client} = host()
  const id = client.begin()
  client.write('data/x', '1', id)
  const restored = copy(server)
  t.equal(restored.client.write('data/y', '2', id), 'OK|', 'it is still known')
  t.equal(restored.client.commit(id), 'EAGAIN')
  t.equal(restored.client.read('data/y'), 'ENOENT')
  t.equal(restored.client.begin(), id + 1, 'ids go on')
})

t.test('bytes under way', async t => {
  const {server, client} = host()
  client.watch('data', 'tok')
  client.takeEvents()
  const request = encodeMessage(XsType.write, 42, 0, 'data/x\0value')
  client.connection.receive(request.subarray(0, 16))
  client.connection.receive(request.subarray(16, 20))
  const dom0 = new Domain0(server)
  dom0.write(`${home}/data/a`, '1')
  dom0.write(`${home}/data/b`, '2')
  const first = client.connection.take(10)
  const restored = copy(server)
  restored.client.connection.receive(request.subarray(20))
  const rest = restored.client.connection.take(10_000)
  const {messages, length} = decodeMessages(Uint8Array.from([...first, ...rest]))
  t.equal(length, first.length + rest.length)
  t.same(
    messages.map(({type, requestId, payload}) => [type, requestId, payload]),
    [
      [XsType.watchEvent, 0, 'data/a\0tok\0'],
      [XsType.watchEvent, 0, 'data/b\0tok\0'],
      [XsType.write, 42, 'OK\0'],
      [XsType.watchEvent, 0, 'data/x\0tok\0'],
    ],
  )
})

t.test('a broken connection stays broken', async t => {
  const {server, client} = host()
  const header = encodeMessage(XsType.read, 1, 0, '')
  new DataView(header.buffer).setUint32(12, 0xffffffff, true)
  client.connection.receive(header)
  t.ok(copy(server).client.connection.isBroken)
})
