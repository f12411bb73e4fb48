/**
 * Every request a guest can send, at the level of bytes or of payloads (NUL is written '|').
 */
import t from 'tap'
import {XsType} from '../../lib/abi/io/xs-wire.js'
import type {DomId} from '../../lib/base/brand.js'
import {fromBytes} from '../../lib/base/byte-string.js'
import {Domain0} from '../../lib/xenstore/domain0.js'
import {encodeMessage} from '../../lib/xenstore/message.js'
import {XenstoreServer} from '../../lib/xenstore/server.js'
import {decodeMessages, GuestClient, offer} from '../support/xenstore-client.js'

const guest = 5 as DomId
const home = '/local/domain/5'

function host() {
  const server = new XenstoreServer()
  const dom0 = new Domain0(server)
  dom0.mkdir(home, ['n0', 'r5'])
  dom0.mkdir(`${home}/data`, ['n5'])
  dom0.write('/secret/key', 'hidden')
  const client = new GuestClient(server.introduce(guest))
  return {server, dom0, client}
}

const hex = (bytes: Uint8Array) => [...bytes].map(byte => byte.toString(16).padStart(2, '0')).join('')

t.test('bytes of a request and of its reply', async t => {
  const {server, client, dom0} = host()
  dom0.write(`${home}/name`, 'web')
  const request = encodeMessage(XsType.read, 0x11223344, 0, 'name\0')
  t.equal(hex(request), '02000000 44332211 00000000 05000000 6e616d6500'.replaceAll(' ', ''))
  offer(client.connection, request)
  t.equal(
    hex(client.connection.take(1000)),
    '02000000 44332211 00000000 03000000 776562'.replaceAll(' ', ''),
    'the value has no NUL',
  )
  offer(client.connection, encodeMessage(XsType.write, 7, 0, 'data/x\0v'))
  t.equal(hex(client.connection.take(1000)), '0b000000 07000000 00000000 03000000 4f4b00'.replaceAll(' ', ''))
  offer(client.connection, encodeMessage(XsType.read, 8, 0, 'none\0'))
  t.equal(hex(client.connection.take(1000)), '10000000 08000000 00000000 07000000 454e4f454e5400'.replaceAll(' ', ''))
  offer(client.connection, encodeMessage(XsType.watch, 9, 0, 'data\0t\0'))
  t.equal(
    hex(client.connection.take(1000)),
    `${'04000000 09000000 00000000 03000000 4f4b00'}${'0f000000 00000000 00000000 07000000 64617461007400'}`.replaceAll(
      ' ',
      '',
    ),
    'the event follows the reply, ids 0',
  )
  t.ok(server.isIntroduced(guest))
})

t.test('a request in pieces, and several at once', async t => {
  const {client} = host()
  const stream = new Uint8Array([
    ...encodeMessage(XsType.write, 1, 0, 'data/a\x00one'),
    ...encodeMessage(XsType.write, 2, 0, 'data/b\x00two'),
    ...encodeMessage(XsType.directory, 3, 0, 'data\0'),
  ])
  for (const pieceBytes of [1, 7, 16, 17, stream.length]) {
    for (let at = 0; at < stream.length; at += pieceBytes)
      offer(client.connection, stream.subarray(at, at + pieceBytes))
    const out: number[] = []
    // Taken in odd pieces, too.
    for (let piece = client.connection.take(5); piece.length > 0; piece = client.connection.take(5)) out.push(...piece)
    const {messages, length} = decodeMessages(Uint8Array.from(out))
    t.equal(length, out.length)
    t.same(
      messages.map(({type, requestId, payload}) => [type, requestId, payload]),
      [
        [XsType.write, 1, 'OK\0'],
        [XsType.write, 2, 'OK\0'],
        [XsType.directory, 3, 'a\0b\0'],
      ],
    )
  }
})

/** Rows of [what, request type, payload, expected answer], all against the same fresh tree. */
const rows: [string, number, string, string][] = [
  ['read', XsType.read, 'data/value|', 'v'],
  ['read by absolute path', XsType.read, `${home}/data/value|`, 'v'],
  ['read of an empty value', XsType.read, 'data|', ''],
  ['read of nothing under a readable parent', XsType.read, 'none|', 'ENOENT'],
  ['read of nothing under a readable grandparent', XsType.read, 'none/at/all|', 'ENOENT'],
  ['read of nothing under an unreadable parent', XsType.read, '/secret/none|', 'EACCES'],
  ['read of an unreadable node', XsType.read, '/secret/key|', 'EACCES'],
  ['read of the root', XsType.read, '/|', 'EACCES'],
  ['read without NUL', XsType.read, 'data', 'EINVAL'],
  ['read of two strings', XsType.read, 'data|x|', 'EINVAL'],
  ['read of an empty payload', XsType.read, '', 'EINVAL'],
  ['read of the empty path', XsType.read, '|', 'EINVAL'],
  ['read with a trailing slash', XsType.read, 'data/|', 'EINVAL'],
  ['read with a double slash', XsType.read, `${home}//data|`, 'EINVAL'],
  ['read with a strange character', XsType.read, 'da ta|', 'EINVAL'],
  ['read with a byte above 127', XsType.read, 'd\xe4ta|', 'EINVAL'],
  ['dots are not special, and not allowed', XsType.read, 'data/../name|', 'EINVAL'],
  ['read of a special event', XsType.read, '@releaseDomain|', 'EINVAL'],
  ['longest relative path', XsType.read, `${'a'.repeat(2048)}|`, 'ENOENT'],
  ['too long a relative path', XsType.read, `${'a'.repeat(2049)}|`, 'EINVAL'],
  ['longest absolute path', XsType.read, `/${'a'.repeat(3071)}|`, 'EACCES'],
  ['too long an absolute path', XsType.read, `/${'a'.repeat(3072)}|`, 'EINVAL'],

  ['directory', XsType.directory, 'data|', 'value|list|'],
  ['directory of a leaf', XsType.directory, 'data/value|', ''],
  ['directory of nothing', XsType.directory, 'none|', 'ENOENT'],
  ['directory of an unreadable node', XsType.directory, '/secret|', 'EACCES'],

  ['directory in parts: all', XsType.directoryPart, 'data|0|', '#|value|list||'],
  ['directory in parts: from the second', XsType.directoryPart, 'data|6|', '#|list||'],
  ['directory in parts: behind the end', XsType.directoryPart, 'data|11|', '#||'],
  ['directory in parts: far behind', XsType.directoryPart, 'data|4000000000|', '#||'],
  ['directory in parts: of a leaf', XsType.directoryPart, 'data/value|0|', '#||'],
  ['directory in parts: no offset', XsType.directoryPart, 'data|', 'EINVAL'],
  ['directory in parts: negative', XsType.directoryPart, 'data|-1|', 'EINVAL'],
  ['directory in parts: unterminated', XsType.directoryPart, 'data|1', 'EINVAL'],
  ['directory in parts: unreadable', XsType.directoryPart, '/secret|0|', 'EACCES'],

  ['write', XsType.write, 'data/value|new', 'OK|'],
  ['write of nothing', XsType.write, 'data/value|', 'OK|'],
  ['write with NULs', XsType.write, 'data/value|a|b|', 'OK|'],
  ['write far below', XsType.write, 'data/a/b/c/d|x', 'OK|'],
  ['write without NUL', XsType.write, 'data/value', 'EINVAL'],
  ['write of an empty payload', XsType.write, '', 'EINVAL'],
  ['write to a read-only node', XsType.write, 'name|x', 'EACCES'],
  ['write of a new node in a read-only directory', XsType.write, 'mine|x', 'EACCES'],
  ['write outside', XsType.write, '/secret/key|x', 'EACCES'],
  ['write to the root', XsType.write, '/|x', 'EACCES'],
  ['write to another domain', XsType.write, '/local/domain/6/data|x', 'EACCES'],

  ['mkdir', XsType.mkdir, 'data/new|', 'OK|'],
  ['mkdir of what is there', XsType.mkdir, 'data/value|', 'OK|'],
  ['mkdir without permission', XsType.mkdir, 'new|', 'EACCES'],
  ['mkdir of a bad path', XsType.mkdir, 'data//new|', 'EINVAL'],

  ['rm', XsType.remove, 'data/value|', 'OK|'],
  ['rm of nothing, parent there', XsType.remove, 'data/none|', 'OK|'],
  ['rm of nothing, no parent', XsType.remove, 'data/none/none|', 'ENOENT'],
  ['rm without permission', XsType.remove, 'name|', 'EACCES'],
  ['rm of the root', XsType.remove, '/|', 'EINVAL'],

  ['get permissions', XsType.getPermissions, 'data|', 'n5|'],
  ['get permissions of several', XsType.getPermissions, 'name|', 'n0|r5|'],
  ['get permissions of nothing', XsType.getPermissions, 'none|', 'ENOENT'],
  ['get permissions, unreadable', XsType.getPermissions, '/secret|', 'EACCES'],
  ['set permissions', XsType.setPermissions, 'data|n5|r0|b3|', 'OK|'],
  ['set permissions: gives it away', XsType.setPermissions, 'data|n0|', 'EPERM'],
  ['set permissions: none', XsType.setPermissions, 'data|', 'EINVAL'],
  ['set permissions: bad letter', XsType.setPermissions, 'data|x5|', 'EINVAL'],
  ['set permissions: no number', XsType.setPermissions, 'data|n|', 'EINVAL'],
  ['set permissions: no domain', XsType.setPermissions, 'data|n65536|', 'EINVAL'],
  ['set permissions: too many', XsType.setPermissions, 'data|n5|r0|r1|r2|r3|r4|', 'ENOSPC'],
  ['set permissions without permission', XsType.setPermissions, 'name|n5|', 'EACCES'],
  ['set permissions of nothing', XsType.setPermissions, 'data/none|n5|', 'ENOENT'],

  ['watch', XsType.watch, 'data|tok|', 'OK|'],
  ['watch of nothing', XsType.watch, 'none|tok|', 'OK|'],
  ['watch with an empty token', XsType.watch, 'data||', 'OK|'],
  ['watch of a special event', XsType.watch, '@releaseDomain|tok|', 'OK|'],
  ['watch of an unknown special event', XsType.watch, '@other|tok|', 'EINVAL'],
  ['watch without token', XsType.watch, 'data|', 'EINVAL'],
  ['watch with a token without NUL', XsType.watch, 'data|tok', 'EINVAL'],
  ['watch of a bad path', XsType.watch, 'data/|tok|', 'EINVAL'],
  ['unwatch of nothing', XsType.unwatch, 'data|tok|', 'ENOENT'],
  ['unwatch without token', XsType.unwatch, 'data|', 'EINVAL'],
  ['reset watches', XsType.resetWatches, '|', 'OK|'],

  ['transaction start', XsType.transactionStart, '|', '1|'],
  ['transaction end of none', XsType.transactionEnd, 'T|', 'ENOENT'],
  ['transaction end, bad verdict', XsType.transactionEnd, 'X|', 'EINVAL'],
  ['transaction end, no verdict', XsType.transactionEnd, '', 'EINVAL'],

  ['domain path', XsType.getDomainPath, '5|', '/local/domain/5|'],
  ['domain path of another', XsType.getDomainPath, '17|', '/local/domain/17|'],
  ['domain path of nonsense', XsType.getDomainPath, 'x|', 'EINVAL'],
  ['domain path of no domain', XsType.getDomainPath, '99999|', 'EINVAL'],
  ['is introduced: itself', XsType.isDomainIntroduced, '5|', 'T|'],
  ['is introduced: Domain-0', XsType.isDomainIntroduced, '0|', 'T|'],
  ['is introduced: nobody', XsType.isDomainIntroduced, '6|', 'F|'],
  ['is introduced: nonsense', XsType.isDomainIntroduced, '|', 'EINVAL'],

  ['control', XsType.control, 'print|hello|', 'EACCES'],
  ['introduce', XsType.introduce, '6|1|1|', 'EACCES'],
  ['release', XsType.release, '5|', 'EACCES'],
  ['resume', XsType.resume, '5|', 'EACCES'],
  ['set target', XsType.setTarget, '5|6|', 'EACCES'],
  ['get feature', XsType.getFeature, '|', 'EACCES'],
  ['set feature', XsType.setFeature, '5|1|', 'EACCES'],
  ['get quota', XsType.getQuota, '|', 'EACCES'],
  ['set quota', XsType.setQuota, '5|nodes|9|', 'EACCES'],
  ['watch event as a request', XsType.watchEvent, 'a|b|', 'ENOSYS'],
  ['error as a request', XsType.error, 'EIO|', 'ENOSYS'],
  ['a retired type', 20, '|', 'ENOSYS'],
  ['an unknown type', 27, '|', 'ENOSYS'],
  ['a huge type', 0xffffffff, '|', 'ENOSYS'],
]

t.test('one request, one answer', async t => {
  for (const [what, type, payload, expected] of rows) {
    const {dom0, client} = host()
    dom0.write(`${home}/name`, 'web')
    dom0.write(`${home}/data/value`, 'v')
    dom0.mkdir(`${home}/data/list`)
    const answer = client.ask(type, payload)
    t.equal(type === XsType.directoryPart ? answer.replace(/^\d+/, '#') : answer, expected, what)
  }
})

t.test('what the writes did', async t => {
  const {client, dom0} = host()
  client.write('data/a/b', 'x')
  t.equal(dom0.read(`${home}/data/a`), '')
  t.equal(dom0.read(`${home}/data/a/b`), 'x')
  t.equal(client.ask(XsType.getPermissions, 'data/a/b|'), 'n5|', 'the guest owns what it makes')
  client.write('data/bin', 'a|b|')
  t.equal(dom0.read(`${home}/data/bin`), 'a\0b\0', 'a value keeps its NULs')
  client.mkdir('data/a/b')
  t.equal(client.read('data/a/b'), 'x', 'mkdir leaves the value')
  client.remove('data/a')
  t.equal(client.read('data/a/b'), 'ENOENT')
  t.same(dom0.list(`${home}/data`), ['bin'])
  dom0.write(`${home}/data/bytes`, 'é')
  t.equal(client.read('data/bytes'), '\xc3\xa9', 'text is UTF-8')
  t.equal(dom0.read(`${home}/data/bytes`), 'é')
})

t.test('a directory too large for one message comes in parts', async t => {
  const {client, dom0} = host()
  const names = Array.from({length: 600}, (_, index) => `entry-${index}-${'x'.repeat(index % 20)}`)
  for (const name of names) dom0.mkdir(`${home}/${name}`)
  t.equal(client.list(home), 'E2BIG')
  const collected: string[] = []
  const generations = new Set<string>()
  for (let offset = 0, parts = 0; ; parts++) {
    const reply = client.send(XsType.directoryPart, `${home}\0${offset}\0`)
    t.ok(reply.payload.length <= 4096)
    t.ok(parts < 10)
    const [generation, ...part] = reply.payload.slice(0, -1).split('\0')
    generations.add(generation)
    const isLast = part.at(-1) === ''
    if (isLast) part.pop()
    collected.push(...part)
    offset += part.join('').length + part.length
    if (isLast) break
  }
  t.same(collected, ['data', ...names])
  t.equal(generations.size, 1)
  dom0.mkdir(`${home}/one-more`)
  const [generation] = client.send(XsType.directoryPart, `${home}\x000\0`).payload.split('\0')
  t.notOk(generations.has(generation), 'a change of the list shows')
})

t.test('a message too long ends the conversation', async t => {
  const {client} = host()
  offer(client.connection, encodeMessage(XsType.write, 1, 0, `data/x\0${'v'.repeat(100)}`))
  const header = encodeMessage(XsType.write, 2, 0, '')
  new DataView(header.buffer).setUint32(12, 4097, true)
  offer(client.connection, header)
  t.ok(client.connection.isBroken)
  t.notOk(client.connection.wantsInput)
  t.equal(decodeMessages(client.connection.take(1000)).messages.length, 1, 'what was answered before still goes out')
  client.connection.reset()
  t.equal(client.read('data/x'), 'v'.repeat(100), 'a fresh start')
})

t.test('a release forgets the connection', async t => {
  const {server, dom0, client} = host()
  const seen: string[] = []
  dom0.watch('@releaseDomain', path => seen.push(path))
  dom0.watch('@introduceDomain', path => seen.push(path))
  client.watch('@introduceDomain', 'tok')
  client.watch('data', 'tok')
  client.takeEvents()
  server.introduce(6 as DomId)
  t.same(client.takeEvents(), [], 'guests do not hear of other domains')
  t.equal(client.ask(XsType.isDomainIntroduced, '6|'), 'T|')
  server.release(6 as DomId)
  server.release(6 as DomId)
  t.equal(client.ask(XsType.isDomainIntroduced, '6|'), 'F|')
  server.release(guest)
  dom0.write(`${home}/data/x`, 'y')
  t.equal(client.connection.pendingBytes, 0)
  t.same(seen, ['@introduceDomain', '@releaseDomain', '@releaseDomain'])
  t.throws(() => server.introduce(0 as DomId), /bug/)
  server.introduce(guest)
  t.throws(() => server.introduce(guest), /bug/)
})

t.test('payload bytes pass unchanged', async t => {
  const {client} = host()
  const all = fromBytes(Uint8Array.from({length: 256}, (_, byte) => byte))
  t.equal(client.send(XsType.write, `data/all\0${all}`).payload, 'OK\0')
  t.equal(client.send(XsType.read, 'data/all\0').payload, all)
})
