/**
 * The limits of a guest, each reached and each not applying to Domain-0.
 */
import t from 'tap'
import {XsType} from '../../lib/abi/io/xs-wire.js'
import type {DomId} from '../../lib/base/brand.js'
import {replyLimit} from '../../lib/xenstore/connection.js'
import {Domain0} from '../../lib/xenstore/domain0.js'
import {encodeMessage} from '../../lib/xenstore/message.js'
import {quota} from '../../lib/xenstore/quota.js'
import {XenstoreServer} from '../../lib/xenstore/server.js'
import {GuestClient, offer} from '../support/xenstore-client.js'

const home = '/local/domain/5'

function host() {
  const server = new XenstoreServer()
  const dom0 = new Domain0(server)
  dom0.mkdir(`${home}/data`, ['n5'])
  return {server, dom0, client: new GuestClient(server.introduce(5 as DomId))}
}

/** Makes the guest own all the nodes it may, in directories small enough. */
function fill(client: GuestClient): number {
  for (let made = 1; ; made++) {
    // data is the first node owned; each directory and each leaf is another.
    const answer = client.write(
      made % 20 === 1 ? `data/d${(made - 1) / 20}` : `data/d${Math.floor(made / 20)}/${made}`,
      'x',
    )
    if (answer !== 'OK|') return made
  }
}

t.test('nodes', async t => {
  const {client, dom0, server} = host()
  t.equal(fill(client), quota.nodes, 'one was there before')
  t.equal(client.write('data/d0/more', 'x'), 'ENOSPC')
  t.equal(client.mkdir('data/d0/more'), 'ENOSPC')
  t.equal(client.write('data/d0', 'y'), 'OK|', 'what is there can be changed')
  client.remove('data/d3')
  t.equal(client.write('data/d3/p/q', 'x'), 'OK|', 'what is gone is free again')
  dom0.mkdir(`${home}/data/d0/by-toolstack`)
  t.equal(server.store.nodesOwned(5 as DomId) <= quota.nodes, true)
  dom0.remove(`${home}/data`)
  t.equal(server.store.nodesOwned(5 as DomId), 0)
})

t.test('nodes made by one deep path', async t => {
  const {client, server} = host()
  t.equal(client.write(`data/${Array.from({length: 1000}, () => 'a').join('/')}`, 'x'), 'ENOSPC')
  t.equal(client.list('data'), '', 'all or nothing')
  t.equal(client.write(`data/${Array.from({length: 999}, () => 'a').join('/')}`, 'x'), 'OK|')
  t.equal(server.store.nodesOwned(5 as DomId), 1000)
  client.remove('data/a')
  t.equal(server.store.nodesOwned(5 as DomId), 1)
})

t.test('nodes by way of transactions', async t => {
  const {client, server} = host()
  client.mkdir('data/inside')
  client.mkdir('data/outside')
  const id = client.begin()
  for (let count = 0; count < 30; count++) t.equal(client.write(`data/inside/${count}`, 'x', id), 'OK|')
  t.equal(client.write(`data/inside/${Array.from({length: 968}, () => 'b').join('/')}`, 'x', id), 'ENOSPC')
  t.equal(client.write(`data/outside/${Array.from({length: 968}, () => 'b').join('/')}`, 'x'), 'OK|')
  t.equal(client.commit(id), 'ENOSPC', 'each alone had room, both together have not')
  t.equal(server.store.nodesOwned(5 as DomId), 971)
  t.equal(client.list('data/inside'), '')
})

t.test('size of a node', async t => {
  const {client, dom0} = host()
  const entry = 8
  t.equal(client.write('data/v', 'x'.repeat(quota.nodeBytes - entry)), 'OK|')
  t.equal(client.write('data/v', 'x'.repeat(quota.nodeBytes - entry + 1)), 'ENOSPC')
  t.equal(client.write('data/w', 'x'.repeat(quota.nodeBytes - entry + 1)), 'ENOSPC')
  t.equal(client.ask(XsType.setPermissions, 'data/v|n5|r1|'), 'ENOSPC', 'permissions count')
  dom0.write(`${home}/data/v`, 'x'.repeat(4096))
  t.equal(client.read('data/v').length, 4096)
  t.throws(() => dom0.write(`${home}/data/v`, 'x'.repeat(4097)), /bug: .*E2BIG/, 'no message could carry it')

  const name = 'n'.repeat(99)
  let children = 0
  while (client.mkdir(`data/dir/${name}${children}`) === 'OK|') children++
  t.equal(children, 20, 'names of children count')
  t.equal(client.list('data/dir').split('|').length - 1, children)
})

t.test('watches', async t => {
  const {client, dom0} = host()
  for (let count = 0; count < quota.watches; count++) t.equal(client.watch(`data/${count}`, 't'), 'OK|')
  t.equal(client.watch('data', 't'), 'E2BIG')
  client.unwatch('data/0', 't')
  t.equal(client.watch('data', 't'), 'OK|')
  const heard: string[] = []
  for (let count = 0; count < 2 * quota.watches; count++) dom0.watch(`${home}/data`, path => heard.push(path))
  dom0.write(`${home}/data`, 'x')
  t.equal(heard.length, 2 * quota.watches)
})

t.test('what one transaction looks at and writes', async t => {
  const {client} = host()
  const reader = client.begin()
  let read = 0
  while (client.read(`data/${read}`, reader) === 'ENOENT') read++
  t.equal(client.read('data', reader), 'ENOSPC')
  t.equal(read, quota.transactionNodes, 'and data itself')
  t.equal(client.commit(reader), 'OK|')

  const writer = client.begin()
  let written = 0
  while (client.write('data/v', 'x'.repeat(2000), writer) === 'OK|') written++
  t.ok(written * 2000 < quota.transactionBytes + 4000)
  t.equal(client.abort(writer), 'OK|', 'it can still be ended')
})

t.test('replies that are not fetched', async t => {
  const {client} = host()
  client.write('data/v', 'x'.repeat(1000))
  const request = encodeMessage(XsType.read, 1, 0, 'data/v\0')
  let taken = 0
  while (client.connection.wantsInput) {
    offer(client.connection, request)
    taken++
  }
  t.ok(client.connection.pendingBytes < replyLimit + 1100)
  t.equal(taken, Math.ceil(replyLimit / 1016))
  client.connection.take(2000)
  t.ok(client.connection.wantsInput, 'and on it goes')
})
