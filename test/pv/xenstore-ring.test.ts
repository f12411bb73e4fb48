/**
 * The xenstore page from the guest's side: conversation over small rings, the guest that breaks them, and 24,000 messages of
 * a guest that means no good.
 */
import t from 'tap'
import {XsConnection, XsFeature, XsHeader, XsPage, XsPageError, XsType} from '../../lib/abi/io/xs-wire.js'
import type {DomId, EventPort, Mfn} from '../../lib/base/brand.js'
import {ByteRingReader, ByteRingWriter} from '../../lib/pv/byte-ring.js'
import {loadIndex, pageAddress, storeIndex} from '../../lib/pv/environment.js'
import {XenstoreRing} from '../../lib/pv/xenstore-ring.js'
import {eventLimit, replyLimit} from '../../lib/xenstore/connection.js'
import {Domain0} from '../../lib/xenstore/domain0.js'
import {encodeMessage} from '../../lib/xenstore/message.js'
import {quota} from '../../lib/xenstore/quota.js'
import {XenstoreServer} from '../../lib/xenstore/server.js'
import {seeded, TestEnvironment} from '../support/backend-environment.js'
import {decodeMessages, type Message} from '../support/xenstore-client.js'

const guest = 5 as DomId
const home = '/local/domain/5'
const mfn = 2 as Mfn

function host(start = 0) {
  const environment = new TestEnvironment()
  const {memory} = environment
  const page = pageAddress(memory, mfn)
  const server = new XenstoreServer()
  const dom0 = new Domain0(server)
  dom0.mkdir(home, ['n0', 'r5'])
  dom0.mkdir(`${home}/data`, ['n5'])
  const word = (name: keyof typeof XsPage.offset) => loadIndex(memory, page + XsPage.offset[name])
  const setWord = (name: keyof typeof XsPage.offset, value: number) =>
    storeIndex(memory, page + XsPage.offset[name], value)
  for (const index of ['reqCons', 'reqProd', 'rspCons', 'rspProd'] as const) setWord(index, start)
  const connection = server.introduce(guest)
  const ring = new XenstoreRing(environment, connection, mfn, 3 as EventPort)
  environment.run()
  environment.takeNotifications()
  const {offset} = XsPage
  // The guest's ends: it writes requests and reads replies.
  const place = (data: number, consumer: number, producer: number) => ({
    data: page + data,
    size: 1024,
    consumer: page + consumer,
    producer: page + producer,
  })
  const requests = new ByteRingWriter(memory, place(offset.req, offset.reqCons, offset.reqProd))
  const replies = new ByteRingReader(memory, place(offset.rsp, offset.rspCons, offset.rspProd))
  let stream = new Uint8Array()
  /** Sends bytes as the ring has room, and returns the whole messages that come back. */
  const talk = (bytes: Uint8Array): Message[] => {
    for (let at = 0, stalled = 0; at < bytes.length && stalled < 3; ) {
      const written = requests.write(bytes.subarray(at))
      at += written
      ring.onEvent()
      environment.run()
      fetch()
      stalled = written === 0 ? stalled + 1 : 0
    }
    return decode()
  }
  const fetch = () => {
    for (let piece = replies.read(4096); piece.length > 0; piece = replies.read(4096)) {
      stream = Uint8Array.from([...stream, ...piece])
      ring.onEvent()
      environment.run()
    }
  }
  const decode = () => {
    const {messages, length} = decodeMessages(stream)
    stream = stream.slice(length)
    return messages
  }
  return {
    environment,
    server,
    dom0,
    connection,
    ring,
    page,
    word,
    setWord,
    requests,
    replies,
    talk,
    fetch,
    decode,
    memory,
  }
}

const ask = (type: number, payload: string, id = 1) => encodeMessage(type, id, 0, payload)

t.test('a request, its reply, and one event for both', async t => {
  const {talk, environment, requests, ring, word, replies} = host()
  t.equal(word('serverFeatures'), XsFeature.reconnection | XsFeature.error)
  t.equal(word('connection'), XsConnection.connected)
  requests.write(ask(XsType.directory, `${home}\0`))
  ring.onEvent()
  t.equal(environment.takeNotifications(), 1)
  t.equal(replies.available(), 16 + 5)
  t.equal(talk(ask(XsType.read, 'data\0')).length, 2)
  environment.takeNotifications()
  ring.onEvent()
  t.equal(environment.takeNotifications(), 0, 'no event without news')
})

t.test('messages larger than the ring, at every place in it', async t => {
  for (const start of [0, 1, 1000, 1023, 0xfffffff0]) {
    const {talk, dom0} = host(start)
    const value = 'v'.repeat(2000)
    t.same(
      talk(ask(XsType.write, `data/big\0${value}`)).map(({payload}) => payload),
      ['OK\0'],
    )
    t.equal(dom0.read(`${home}/data/big`), value)
    t.same(
      talk(ask(XsType.read, 'data/big\0')).map(({payload}) => payload),
      [value],
    )
  }
})

t.test('a change by the toolstack reaches a guest that is silent', async t => {
  const {talk, dom0, environment, fetch, decode} = host()
  talk(ask(XsType.watch, 'data\0tok\0'))
  environment.takeNotifications()
  dom0.write(`${home}/data/x`, '1')
  t.equal(environment.takeNotifications(), 1)
  fetch()
  t.same(
    decode().map(({type, payload}) => [type, payload]),
    [[XsType.watchEvent, 'data/x\0tok\0']],
  )
})

t.test('a guest that asks and asks gets turns, not all of them', async t => {
  const {environment, connection, ring, requests, replies} = host()
  const request = ask(XsType.write, 'data/x\0y')
  let sent = 0
  // Stands for the guest's own thread: whenever there is a reply it fetches it, and has asked again.
  const pump = connection.onOutput
  connection.onOutput = () => {
    replies.read(4096)
    while ((requests.room() ?? 0) >= request.length) sent += requests.write(request)
    pump()
  }
  requests.write(request)
  for (let turn = 1; turn <= 5; turn++) {
    if (turn === 1) ring.onEvent()
    else environment.run(1)
    t.equal(environment.turns.length, 1, 'it goes on later')
    t.ok(sent < turn * (16 * 1024 + 1024), `${sent} bytes after turn ${turn}`)
  }
})

t.test('illegal indices', async t => {
  for (const [name, value] of [
    ['reqProd', 1025],
    ['reqCons', 1],
    ['rspCons', 5],
    ['rspProd', 2000],
    ['reqProd', 0xffffffff],
  ] as const) {
    const {setWord, word, ring, environment, dom0} = host()
    setWord(name, value)
    ring.onEvent()
    t.equal(word('error'), XsPageError.ringIndex, name)
    t.equal(environment.takeNotifications(), 1)
    dom0.write(`${home}/data/x`, '1')
    ring.onEvent()
    t.equal(environment.takeNotifications(), 0)
    setWord(name, 0)
    ring.onEvent()
    t.equal(word('error'), XsPageError.none, 'mended by the guest')
  }
})

t.test('a message too long, and a fresh start', async t => {
  const {talk, word, setWord, environment, ring, dom0, server, connection} = host()
  talk(ask(XsType.watch, 'data\0tok\0'))
  talk(ask(XsType.transactionStart, '\0'))
  const header = ask(XsType.read, '')
  new DataView(header.buffer).setUint32(XsHeader.offset.length, 5000, true)
  talk(header)
  t.equal(word('error'), XsPageError.protocol)
  t.same(talk(ask(XsType.read, 'data\0')), [], 'not listened to')
  environment.takeNotifications()
  setWord('connection', XsConnection.reconnect)
  ring.onEvent()
  t.equal(word('connection'), XsConnection.connected)
  t.equal(word('error'), XsPageError.none)
  t.same(
    (['reqCons', 'reqProd', 'rspCons', 'rspProd'] as const).map(name => word(name)),
    [0, 0, 0, 0],
  )
  t.equal(environment.takeNotifications(), 1)
  dom0.write(`${home}/data/x`, '1')
  t.equal(connection.pendingBytes, 0, 'no watch is left')
  t.same(server.save().connections[0].transactions, [])
  t.equal(talk(ask(XsType.read, 'data/x\0'))[0].payload, '1')
})

t.test('a closed ring is left alone', async t => {
  const {ring, environment, requests, replies} = host()
  ring.close()
  requests.write(ask(XsType.read, 'data\0'))
  ring.onEvent()
  environment.run()
  t.equal(replies.available(), 0)
})

t.test('24,000 hostile messages', async t => {
  const {talk, fetch, server, dom0, connection, word, setWord, ring, memory, page} = host()
  const random = seeded(20261123)
  const pick = <T>(list: readonly T[]) => list[random(list.length)]
  const names = [
    'data',
    'data/a',
    'data/a/b',
    'data/c',
    'x',
    '',
    '/',
    '//',
    '@releaseDomain',
    home,
    '/local/domain/0',
    '..',
  ]
  const path = () =>
    pick([
      () => pick(names),
      () => `data/${random(2000)}`,
      () => `data/${Array.from({length: random(900)}, () => 'd').join('/')}`,
      () => `/${'x'.repeat(random(4000))}`,
      () => Array.from({length: random(30)}, () => String.fromCharCode(random(256))).join(''),
    ])()
  const payload = () =>
    pick([
      () => `${path()}\0`,
      () => `${path()}\0${path()}\0`,
      () => `${path()}\0n5\0${pick(['r', 'n', 'b', 'q'])}${random(70_000)}\0`,
      () => `${path()}\0${'v'.repeat(random(2500))}`,
      () => pick(['T\0', 'F\0', '\0', '', '5\0', '99999999\0']),
      () => Array.from({length: random(200)}, () => String.fromCharCode(random(256))).join(''),
    ])().slice(0, 4096)
  dom0.write(`${home}/name`, 'web')
  const before = dom0.list('/local/domain')
  let sent = 0
  let answered = 0
  let restarts = 0
  let broken = 0
  while (sent < 24_000) {
    const batch: number[] = []
    for (let count = random(8) + 1; count > 0; count--) {
      const type = random(10) === 0 ? random(2 ** 32) : random(28)
      batch.push(...encodeMessage(type, random(2 ** 32), random(3) === 0 ? random(12) : 0, payload()))
      sent++
    }
    // The guest may remove even its own data.
    dom0.mkdir(`${home}/data`, ['n5'])
    const mischief = random(60)
    const bytes = Uint8Array.from(batch)
    if (mischief === 0) for (let hit = 0; hit < 5; hit++) bytes[random(bytes.length)] = random(256)
    if (mischief === 1) setWord(pick(['reqProd', 'reqCons', 'rspCons', 'rspProd'] as const), random(2 ** 32))
    if (mischief === 2) memory.bytes[page + random(4096)] = random(256)
    answered += talk(bytes).length
    if (random(4) > 0) fetch()
    t.ok(connection.pendingBytes < eventLimit + replyLimit + 130 * 4112) || t.bailout('memory grows')
    if (word('error') !== XsPageError.none || word('connection') > 1 || random(500) === 0) {
      if (word('error') !== XsPageError.none) broken++
      setWord('connection', XsConnection.reconnect)
      ring.onEvent()
      restarts++
    }
  }
  t.comment(`${sent} sent, ${answered} answers and events, ${restarts} restarts, ${broken} of them after an error`)
  t.ok(answered > 10_000)
  t.ok(broken > 10)
  t.ok(server.store.nodesOwned(guest) <= quota.nodes)
  t.same(dom0.list('/local/domain'), before, 'nothing outside has changed')
  t.same(dom0.list(home).sort(), ['data', 'name'])
  const copy = XenstoreServer.restore(JSON.parse(JSON.stringify(server.save())))
  t.same(copy.save(), server.save(), 'counts and contents agree')
  t.equal(copy.store.nodesOwned(guest), server.store.nodesOwned(guest))
  setWord('connection', XsConnection.reconnect)
  ring.onEvent()
  t.equal(talk(ask(XsType.read, 'name\0')).at(-1)?.payload, 'web', 'and the guest is served as ever')
})
