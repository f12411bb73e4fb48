/**
 * What a receiver makes of streams: one from a sender that says no more than Xen's does, one through a pipe between `xl save` and `xl restore`, one of a
 * host that is not like ours, and some dozens that somebody tampered with. What is refused is refused in words, and nothing of it is left.
 */
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {existsSync, readFileSync} from 'node:fs'
import t from 'tap'
import * as handshake from '../../lib/control/handshake.js'
import {readSaveHead} from '../../lib/control/save-file.js'
import {RecordHead, RecordType} from '../../lib/domain/stream/record.js'
import {checkingGuest, isUnbroken} from '../support/checking-guest.js'
import {MigrationHosts} from '../support/migration-hosts.js'
import {recordsOf, type StreamRecord, streamOf} from '../support/saved-machine.js'
import {realXl, TestHost, until} from '../support/xl.js'
import {Random} from '../vectors/random.js'

t.setTimeout(280_000)

const tampered = Number(process.env.GASTWIRT_STREAMS ?? 36)
const [here, there] = [new TestHost(realXl), new TestHost(realXl)]
t.teardown(() => Promise.all([here.close(), there.close()]))
const kernel = here.file('tiny', checkingGuest({pages: 16, sleepMs: 20}))
const config = here.file('tiny.cfg', `name = "tiny"\nkernel = "${kernel}"\nmemory = 8\non_crash = "preserve"\n`)
const saved = `${here.folder}/tiny.save`

const letters = (host: TestHost) => {
  const path = host.directory.consoleLogPath('tiny')
  return existsSync(path) ? readFileSync(path, 'latin1') : ''
}
/** Waits until the domain prints. */
const runsOn = async (host: TestHost) => {
  const before = letters(host).length
  await until(() => letters(host).length > before + 2)
}

/** Gives a stream to `xl migrate-receive`, and permission if it wants it; `end`: nothing follows the stream. */
async function receive(host: TestHost, stream: Uint8Array, end: boolean) {
  const xl = host.spawn(['migrate-receive'])
  const heard = {said: '', stderr: ''}
  xl.stdin!.on('error', () => {})
  xl.stdout!.setEncoding('latin1').on('data', (text: string) => {
    heard.said += text
    if (heard.said.endsWith(handshake.received)) xl.stdin!.end(handshake.permission)
  })
  xl.stderr!.setEncoding('utf8').on('data', (text: string) => {
    heard.stderr += text
  })
  if (end) xl.stdin!.end(stream)
  else xl.stdin!.write(stream)
  const [status] = await once(xl, 'close')
  return {status, ...heard}
}

t.test('cold migration: xl save and xl restore with a pipe between them', async t => {
  t.equal((await here.xl(['create', '-q', config])).status, 0)
  await runsOn(here)
  const pipe = (restoring: string) =>
    once(
      spawn(
        'bash',
        [
          '-c',
          `unset NODE_OPTIONS; set -o pipefail; "$0" "$1" save tiny - | GASTWIRT_HOST=${there.path} "$0" "$1" restore ${restoring}`,
        ].concat(process.execPath, realXl),
        {env: here.environment, stdio: 'ignore'},
      ),
      'close',
    )
  t.not((await pipe('/nowhere -'))[0], 0)
  await runsOn(here)
  t.pass('a restore that fails at once leaves the domain here')
  t.strictSame(await pipe('-'), [0, null])
  await runsOn(there)
  await until(() => here.directory.list().length === 0)
  t.ok(isUnbroken(letters(here) + letters(there)))
  t.equal((await there.xl(['save', 'tiny', saved])).status, 0)
})

t.test("a sender that says what Xen's does", async t => {
  const {status, said, stderr} = await receive(there, readFileSync(saved), false)
  t.equal(status, 0, stderr)
  t.equal(said, `${handshake.banner}${handshake.received}${handshake.report}\0`, 'hears what it would hear from Xen')
  const texts = [
    'migration target: Ready to receive domain.',
    'Loading new save file <incoming migration stream> (new xl fmt info 0x3/0x0/LENGTH)',
    ' Savefile contains xl domain config in JSON format',
    'Parsing config from <saved>',
    'migration target: Transfer complete, requesting permission to start domain.',
    'migration target: Got permission, starting domain.',
    'migration target: Domain started successfully.',
  ]
  t.equal(stderr.replace(/\d+\)/, 'LENGTH)'), `${texts.join('\n')}\n`)
  await runsOn(there)
  t.equal((await there.xl(['destroy', 'tiny'])).status, 0)
})

t.test('a sender that goes away, or does not give permission', async t => {
  const bytes = readFileSync(saved)
  const cut = await receive(there, bytes.subarray(0, 200_000), true)
  t.match(cut, {
    status: 3,
    said: handshake.banner,
    stderr: /the saved domain ends at offset 200000, before it is whole\n$/,
  })
  for (const nothing of ['', 'Xen saved domain, xl format\n', 'GET / HTTP/1.0\r\n'.padEnd(300)]) {
    t.match(await receive(there, Buffer.from(nothing), true), {status: 1, stderr: /File has wrong magic number/})
  }
  const {status, said, stderr} = await receive(there, bytes, true)
  t.equal(status, 1)
  t.equal(said, `${handshake.banner}${handshake.received}${handshake.report}\x01${handshake.permission}`)
  t.match(stderr, /migration target: Failure, destroying our copy\.\nmigration target: Cleanup OK, granting/)
  t.strictSame(there.directory.list(), [])
})

t.test('a host that is not like the other is found before the domain stops', async t => {
  const hosts = new MigrationHosts('tiny', {pages: 16, sleepMs: 20})
  t.teardown(() => hosts.close())
  await hosts.start()
  const changes: [string, (start: Record<string, unknown>) => void, RegExp][] = [
    ['version', start => Object.assign(start, {stream: 3}), /version 3, which this xl does not know/],
    ['processor', start => Object.assign(start, {cpu: [-1 >>> 0, -1 >>> 0, -1 >>> 0]}), /processor features/],
    ['memory', start => Object.assign(start, {m2p: 9}), /m2p/],
  ]
  for (const [what, change] of changes) {
    let sent = Buffer.alloc(0)
    let isChanged = false
    hosts.link.expect()
    hosts.link.onStream = chunk => {
      sent = Buffer.concat([sent, chunk])
      if (isChanged) return chunk
      const place = startPlace(sent)
      if (place === undefined) return Buffer.alloc(0)
      isChanged = true
      const [record] = recordsOf(sent.subarray(place.from, place.end))
      const start = JSON.parse(record.payload.toString())
      change(start)
      const changed = streamOf([{...record, payload: Buffer.from(JSON.stringify(start))}])
      return Buffer.concat([sent.subarray(0, place.from), changed, sent.subarray(place.end)])
    }
    const {status, stderr} = await hosts.source.xl(['migrate', '-s', hosts.link.command, 'tiny', 'there'])
    t.equal(status, 1, what)
    t.match(stderr, /Migration failed, resuming at sender\.\n$/)
    t.ok(isChanged)
    const kinds = headsOf(sent.subarray(startPlace(sent)?.from))
    t.ok(kinds.includes(RecordType.pages), 'its pages were on their way')
    t.notOk(kinds.includes(RecordType.block), 'and the guest had not been stopped for its registers')
    await hosts.goesOn()
  }
})

/** Where the first record of a stream lies behind its head, once it is there. */
function startPlace(sent: Buffer): {from: number; end: number} | undefined {
  if (sent.length < 48) return undefined
  const from = 48 + sent.readUInt32LE(44)
  if (sent.length < from + RecordHead.size) return undefined
  const end = from + RecordHead.size + Math.ceil(sent.readUInt32LE(from + 8) / 8) * 8
  return sent.length < end ? undefined : {from, end}
}

/** Types of the records in a stream that may be cut. */
function headsOf(stream: Buffer): number[] {
  const types: number[] = []
  for (let at = 0; at + RecordHead.size <= stream.length; ) {
    types.push(stream.readUInt32LE(at))
    at += RecordHead.size + Math.ceil(stream.readUInt32LE(at + 8) / 8) * 8
  }
  return types
}

/** One stream that somebody tampered with, with right checksums where `kind` says so. */
function tamper(random: Random, head: Buffer, stream: Buffer): {what: string; bytes: Buffer; isCut: boolean} {
  const whole = Buffer.concat([head, stream])
  const kind = random.below(6)
  if (kind === 0) {
    const bytes = Buffer.from(whole)
    const at = random.below(bytes.length)
    bytes[at] ^= 1 << random.below(8)
    return {what: `a flipped bit at ${at}`, bytes, isCut: true}
  }
  if (kind === 1) {
    const bytes = whole.subarray(0, random.below(whole.length))
    return {what: `cut at ${bytes.length}`, bytes, isCut: true}
  }
  const records = recordsOf(stream)
  const pick = (type: number): StreamRecord => {
    const fitting = records.filter(record => record.type === type)
    return fitting[random.below(fitting.length)]
  }
  const {payload} = pick(kind === 2 ? RecordType.pages : RecordType.block)
  // Behind the list of runs, and behind the number of the block: what a guest holds, and registers.
  const from = kind === 2 ? 4096 : 8
  const words = 1 + random.below(64)
  for (let count = 0; count < words; count++) {
    const at = from + (random.below(Math.max(1, payload.length - from - 4)) & ~3)
    payload.writeInt32LE(random.next(), Math.min(at, payload.length - 4))
  }
  const bytes = Buffer.concat([head, streamOf(records, head.length)])
  return {what: `${words} odd words in ${kind === 2 ? 'pages' : 'a block'}`, bytes, isCut: false}
}

t.test(`${tampered} streams that somebody tampered with`, async t => {
  const bytes = readFileSync(saved)
  let read = 0
  const {bytes: headBytes} = await readSaveHead(async count => {
    const part = bytes.subarray(read, read + count)
    read += count
    return part
  })
  const random = new Random(Number(process.env.GASTWIRT_SEED ?? 7))
  let left = tampered
  const lane = async (host: TestHost) => {
    while (left-- > 0) {
      const {what, bytes: stream, isCut} = tamper(random, bytes.subarray(0, headBytes), bytes.subarray(headBytes))
      const {status, stderr} = await receive(host, stream, isCut)
      if (status !== 0) t.match(stderr, /\n(xl: migrate-receive: |File has |Savefile ).+\n(hint: .+\n)?$/, what)
      t.notMatch(stderr, /internal error|\bbug\b|^ +at .*\(/m, what)
      for (const {name} of host.directory.list()) await host.xl(['destroy', name])
      t.notMatch(readFileSync(host.directory.logPath('tiny'), 'utf8'), /\bbug\b|^ +at .*\(|node:internal/m, what)
      await until(() => host.directory.list().length === 0)
    }
  }
  await Promise.all([lane(here), lane(there)])
})
