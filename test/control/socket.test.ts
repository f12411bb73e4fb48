/** The control socket: every request, errors on both sides, consoles, versions, long paths, garbage. */

import {existsSync, mkdirSync, mkdtempSync, rmSync} from 'node:fs'
import {createConnection} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import type {Duplex} from 'node:stream'
import t from 'tap'
import {OperatorError} from '../../lib/base/errors.js'
import type {DomainService, DomainStatus} from '../../lib/control/protocol.js'
import {maximumLineBytes} from '../../lib/control/protocol.js'
import {ControlClient, serveControl} from '../../lib/control/socket.js'
import {noDeparture} from '../support/no-departure.js'

const gone = {message: 'the domain has gone'}
const nobody = {message: /^no domain process answers on/}
const status = {domid: 3, name: 'web1'} as DomainStatus

/** A folder that a plain socket address can hold. */
function shortFolder(test: {teardown(handler: () => void): void}): string {
  const folder = mkdtempSync(join(tmpdir(), 'gastwirt-'))
  test.teardown(() => rmSync(folder, {recursive: true, force: true}))
  return folder
}

/** A service that notes what it is asked. */
function recordingService(calls: unknown[] = []): DomainService & {consoles: Duplex[]} {
  const consoles: Duplex[] = []
  return {
    consoles,
    status: () => status,
    pause: () => void calls.push('pause'),
    unpause: () => void calls.push('unpause'),
    shutdown: request => {
      if (request === 'halt') throw new OperatorError('the guest is deaf', {exitCode: 10, hint: 'shout'})
      calls.push(['shutdown', request])
    },
    destroy: async () => void calls.push('destroy'),
    rename: name => void calls.push(['rename', name]),
    setMemory: () => undefined,
    sharing: () => ({sharedKb: 0, ownKb: 0}),
    sysrq: letter => void calls.push(['sysrq', letter]),
    dmesg: clear => `dmesg ${clear}`,
    dumpCore: () => {},
    debug: () => {
      throw new TypeError('ours')
    },
    wait: until => (until === 'death' ? new Promise(() => {}) : Promise.resolve({domid: 3, reason: 'poweroff'})),
    ...noDeparture,
    attachConsole: stream => void consoles.push(stream),
  }
}

t.test('requests and replies', async t => {
  const path = join(shortFolder(t), 's')
  const calls: unknown[] = []
  const bugs: unknown[] = []
  const server = await serveControl(path, recordingService(calls), error => bugs.push(error))
  const client = await ControlClient.connect(path)
  t.strictSame(await client.request('status', {}), status)
  const waiting = client.request('wait', {until: 'death'})
  for (const op of ['pause', 'unpause', 'destroy'] as const) t.equal(await client.request(op, {}), null)
  await client.request('shutdown', {request: 'poweroff'})
  await client.request('rename', {name: 'web2'})
  await client.request('sysrq', {letter: 'h'})
  t.equal(await client.request('dmesg', {clear: true}), 'dmesg true')
  t.strictSame(await client.request('wait', {until: 'shutdown'}), {domid: 3, reason: 'poweroff'})
  t.strictSame(calls, ['pause', 'unpause', 'destroy', ['shutdown', 'poweroff'], ['rename', 'web2'], ['sysrq', 'h']])
  await t.rejects(client.request('shutdown', {request: 'halt'}), {
    message: 'the guest is deaf',
    exitCode: 10,
    hint: 'shout',
  })
  await t.rejects(client.request('debug', {keys: 'r'}), {
    message: 'internal error in the domain process: ours',
    exitCode: 3,
  })
  t.match(bugs, [TypeError])
  for (const kb of [0, -1, 1.5, Number.NaN, '5'])
    await t.rejects(client.request('setMemory', {limit: 'target', kb: kb as number}), {
      message: 'a domain cannot have so much memory',
    })
  await t.rejects(client.request('fly' as 'pause', {}), {message: 'this domain does not know the request "fly"'})
  await Promise.all([server.close(), t.rejects(waiting, gone, 'the end of the process ends what is under way')])
  await client.closed
  await t.rejects(client.request('status', {}), gone)
  t.notOk(existsSync(path), 'the socket goes away')
  await t.rejects(ControlClient.connect(path), nobody)
})

t.test('a console carries raw bytes both ways, whatever came in the same packet', async t => {
  const path = join(shortFolder(t), 's')
  const service = recordingService()
  const server = await serveControl(path, service)
  const socket = createConnection(path)
  socket.write('{"version":1,"id":1,"op":"console"}\ntyped early')
  const first = await new Promise<Buffer>(resolve => socket.once('data', resolve))
  t.equal(String(first), '{"id":1,"result":null}\n')
  const [guestSide] = service.consoles
  t.equal(String(await new Promise(resolve => guestSide.once('data', resolve).resume())), 'typed early')
  socket.destroy()

  const client = await ControlClient.connect(path)
  const console = await client.console()
  let seen = ''
  console.on('data', bytes => {
    seen += bytes
  })
  console.resume()
  service.consoles[1].write('from the guest, ')
  service.consoles[1].end('last words')
  await client.closed
  t.equal(seen, 'from the guest, last words')
  await server.close()
})

t.test('another version, garbage and endless lines are refused; others are served on', async t => {
  const path = join(shortFolder(t), 's')
  const server = await serveControl(path, recordingService())
  const exchange = (line: string): Promise<string> =>
    new Promise(resolve => {
      let answer = ''
      const socket = createConnection(path, () => socket.write(line))
      socket.on('data', bytes => {
        answer += bytes
      })
      socket.on('error', () => {})
      socket.on('close', () => resolve(answer))
    })
  t.match(
    await exchange('{"version":99,"id":1,"op":"status"}\n'),
    /speaks version 1 of the control protocol, xl speaks 99/,
  )
  t.match(await exchange('hello\n'), /not JSON/)
  t.match(await exchange('null\n'), /no id/)
  t.equal(await exchange('x'.repeat(maximumLineBytes + 2)), '', 'the connection is closed')
  const client = await ControlClient.connect(path)
  t.strictSame(await client.request('status', {}), status)
  client.close()
  await server.close()
})

t.test('a path longer than a socket address may be', async t => {
  const folder = join(t.testdir(), 'a'.repeat(100), 'b'.repeat(100))
  mkdirSync(folder, {recursive: true})
  const path = join(folder, 'control.sock')
  const server = await serveControl(path, recordingService())
  t.ok(existsSync(path))
  const client = await ControlClient.connect(path)
  t.strictSame(await client.request('status', {}), status)
  client.close()
  await server.close()
  t.notOk(existsSync(path))
})

t.test('the socket of a dead process is taken over', async t => {
  const path = join(t.testdir({s: 'left behind'}), 's')
  await t.rejects(ControlClient.connect(path), nobody)
  const server = await serveControl(path, recordingService())
  const client = await ControlClient.connect(path)
  t.strictSame(await client.request('status', {}), status)
  client.close()
  await server.close()
})
