/**
 * `xl migrate` as a person and a receiver see it: options, texts, names, bytes on the wire, and what it refuses. The guest checks its own memory all the
 * while and must go on with the next letter wherever it is.
 */
import {spawn, spawnSync} from 'node:child_process'
import {once} from 'node:events'
import {chmodSync, existsSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import t from 'tap'
import * as handshake from '../../lib/control/handshake.js'
import {saveFileMagic} from '../../lib/control/save-file.js'
import {Host} from '../../lib/toolstack/host.js'
import {MigrationHosts} from '../support/migration-hosts.js'
import type {Connection} from '../support/migration-link.js'
import {realXl, type TestHost, until} from '../support/xl.js'

t.setTimeout(280_000)

const hosts = new MigrationHosts('tiny', {pages: 96, sleepMs: 20})
t.teardown(() => hosts.close())
await hosts.start()

const migrate = (...words: string[]) => hosts.source.xl(['migrate', '-s', hosts.link.command, ...words])
const namesOn = (host: TestHost) => host.directory.list().map(({name}) => name)
const statusOn = (host: TestHost) => new Host(host.path, '').statuses().then(([status]) => status)
/** Nothing is left of a copy. */
const isBack = () => until(() => `${namesOn(hosts.source)}` === 'tiny' && namesOn(hosts.target).length === 0)
const resuming = /\nMigration failed, resuming at sender\.\n$/

/** Something that happens once, and what makes it happen. */
function signal(): [happened: Promise<void>, happen: () => void] {
  let happen = () => {}
  const happened = new Promise<void>(resolve => {
    happen = resolve
  })
  return [happened, happen]
}

/** Migrates while something is looked at, or done, before a byte passes. */
function migrateUntil(part: 'stream' | 'permission' | 'back', at: number, act: (connection: Connection) => unknown) {
  hosts.link.expect({part, at, act})
  return migrate('tiny', 'there')
}

t.test('the talk, byte for byte', async t => {
  let [said, names] = ['', [] as string[][]]
  const first: Buffer[] = []
  hosts.link.onStream = chunk => {
    if (first.length < 3) first.push(chunk)
    return chunk
  }
  const {status, stdout, stderr} = await migrateUntil('permission', 0, connection => {
    names = [namesOn(hosts.source), namesOn(hosts.target)]
    t.equal(connection.said, handshake.banner + handshake.fits + handshake.received)
    connection.receiver.stdout!.on('end', () => {
      said = connection.said
    })
  })
  hosts.link.onStream = undefined
  await hosts.link.idle()
  t.equal(status, 0)
  t.equal(stdout, '')
  t.match(stderr, /^Saving to migration stream new xl format \(info 0x3\/0x0\/\d+\)\n/)
  const texts = [
    'migration sender: Target has acknowledged transfer.',
    'migration sender: Giving target permission to start.',
    'migration sender: Target reports successful startup.',
    'Migration successful.',
  ]
  t.match(
    stderr,
    new RegExp(
      `\n${texts.join('\n').replaceAll('.', '\\.')}\n\\d+ rounds, \\d+ pages, [\\d.]+ MiB, [\\d.]+ s, downtime \\d+ ms\n$`,
    ),
  )
  t.equal(handshake.banner, 'xl migration receiver ready, send binary domain data.\n')
  t.equal(
    said,
    `${handshake.banner}${handshake.fits}domain received, ready to unpause\0my copy unpause results are as follows\0\0`,
  )
  t.equal(handshake.permission, 'domain is yours, you are cleared to unpause\0')
  t.equal(hosts.link.passed.permission, handshake.permission.length)
  t.ok(Buffer.concat(first).subarray(0, 32).equals(saveFileMagic))
  t.strictSame(names, [['tiny--migratedaway'], ['tiny--incoming']])
  t.strictSame([namesOn(hosts.source), namesOn(hosts.target)], [[], ['tiny']])
  await hosts.goesOn('target')
})

t.test('options', async t => {
  const [before] = hosts.source.directory.list()
  const config = hosts.source.file('other.cfg', `${readFileSync(hosts.config, 'utf8')}on_reboot = "destroy"\n`)
  const {status, stderr} = await migrate('-C', config, '-D', '--debug', '--live', '-p', '-e', 'tiny', 'there')
  t.equal(status, 0, stderr)
  t.match(stderr, /\nround 1: \d+ pages, [\d.]+ MiB in \d+ ms \(\d+ MiB\/s\)\nround 2: /)
  const after = await statusOn(hosts.target)
  t.equal(after.domid, before.domid, '-D keeps the id')
  t.equal(after.uuid, before.uuid, 'a configuration without a uuid does not change it')
  t.equal(after.paused, true, '-p leaves it paused')
  t.match(after.config, {onReboot: 'preserve', onPoweroff: 'preserve'}, '-e: nothing is done at its end')
  t.equal((await hosts.target.xl(['unpause', 'tiny'])).status, 0)
  await hosts.goesOn('target')
  await hosts.source.xl(['pause', 'tiny'])
  t.equal((await migrate('tiny', 'there')).status, 0)
  t.equal((await statusOn(hosts.target)).paused, true, 'a paused domain stays paused')
  t.equal((await hosts.target.xl(['unpause', 'tiny'])).status, 0)
  await hosts.goesOn('target')
})

t.test('the command that reaches the receiver', async t => {
  const words = hosts.source.file('words', '')
  const note = hosts.source.file('ssh', `#!/bin/sh\necho "$*" > ${words}\nexit 7\n`)
  chmodSync(note, 0o755)
  const run = async (...options: string[]) => {
    const path = hosts.source.environment.PATH
    hosts.source.environment.PATH = `${hosts.source.folder}:${path}`
    const {status, stderr} = await hosts.source.xl(['migrate', ...options])
    hosts.source.environment.PATH = path
    t.equal(status, 1)
    t.match(
      stderr,
      /^xl: migrate: the receiver is gone \(the transport ended with status 7\)\nhint: it was reached by: /,
    )
    t.match(stderr, resuming)
    return readFileSync(words, 'utf8')
  }
  t.equal(await run('tiny', 'over.there'), 'over.there xl migrate-receive\n', 'ssh, unless something else is asked for')
  t.equal(await run('-e', '-p', '--debug', 'tiny', 'h'), 'h xl migrate-receive -e -d -p\n')
  t.equal(await run('-s', 'ssh -p 22 -i "a b"', 'tiny', 'h'), '-p 22 -i a b h xl migrate-receive\n')
  t.equal(await run('-s', 'ssh - TCP:1.2.3.4:80 #', 'tiny', '1.2.3.4'), '- TCP:1.2.3.4:80\n', 'as Ganeti calls it')
  t.equal(await run('-s', '', 'tiny', `${note} alone`), 'alone\n', 'an empty command: the host is all of it')
  await hosts.goesOn()
})

const noSocat = spawnSync('socat', ['-V']).status !== 0 && 'socat is not installed'

t.test('over socat, as Ganeti calls it', {skip: noSocat}, async t => {
  const path = join(hosts.target.folder, 'socat')
  const receiver = `SYSTEM:'env -u NODE_OPTIONS ${process.execPath} ${realXl} migrate-receive'`
  const listener = spawn('socat', ['-b524288', `UNIX-LISTEN:${path}`, receiver], {env: hosts.target.environment})
  await until(() => existsSync(path))
  const ended = once(listener, 'exit')
  const words = ['-s', `socat -b524288 - UNIX-CONNECT:${path} #`, '-C', hosts.config, 'tiny', '127.0.0.1']
  const {status, stderr} = await hosts.source.xl(['migrate', ...words])
  t.equal(status, 0)
  t.match(stderr, /\nMigration successful\.\n/)
  t.strictSame(await ended, [0, null], 'the listener ends with it')
  await hosts.goesOn('target')
})

t.test('what is refused leaves the domain running', async t => {
  const refused = async (what: string, outcome: ReturnType<typeof migrate>, text: RegExp) => {
    const {status, stdout, stderr} = await outcome
    t.equal(status, 1, what)
    t.equal(stdout, '')
    t.match(stderr, text, what)
    t.match(stderr, resuming, what)
    await isBack()
    await hosts.goesOn()
  }
  const over = (command: string) => hosts.source.xl(['migrate', '-s', command, 'tiny', 'there'])
  // What the receiver says is heard only where nothing lies between.
  const into = ({path}: TestHost) =>
    over(`env -u NODE_OPTIONS GASTWIRT_HOST=${path} ${process.execPath} ${realXl} migrate-receive #`)
  await refused('to itself', into(hosts.source), /\nxl: migrate-receive: Domain with name "tiny" already exists\.\n/)
  const settings = join(hosts.target.path, 'host.cfg')
  writeFileSync(settings, 'memory = 8\n')
  await refused('no room', into(hosts.target), /\nxl: migrate-receive: failed to free memory for the domain\n/)
  rmSync(settings)
  await refused(
    'no such program',
    over('nowhere-at-all'),
    /the receiver is gone \(the transport ended with status 127\)/,
  )
  await refused(
    'a transport that talks nonsense',
    over('echo Welcome to #'),
    /the receiver said "Welcome to\\n" instead of/,
  )
  const cut = () => hosts.link.expect({part: 'stream', at: 100_000, act: connection => connection.cut()})
  cut()
  await refused('a connection that breaks', migrate('tiny', 'there'), /connection|receiver is gone/)
  await hosts.target.directory.reserve({name: 'tiny', uuid: '', maxMemoryKb: 1, vcpus: 1})
  const [taken] = hosts.target.directory.list()
  const {status, stderr} = await into(hosts.target)
  t.equal(status, 1, 'a name that is taken')
  t.match(stderr, /\nxl: migrate-receive: Domain with name "tiny" already exists\.\n/)
  t.match(stderr, resuming)
  hosts.target.directory.release(taken.key)
  await hosts.goesOn()
})

t.test('a name that is taken while the domain is on its way', async t => {
  const {status, stderr} = await migrateUntil('permission', 0, async () => {
    await hosts.target.directory.reserve({name: 'tiny', uuid: '', maxMemoryKb: 1, vcpus: 1})
  })
  t.equal(status, 1)
  t.match(stderr, /\nmigration sender: Target reports startup failure \(status code 1\)\.\n/)
  t.match(stderr, /\nmigration sender: Trying to resume at our end\.\n/)
  t.match(stderr, resuming)
  t.strictSame([namesOn(hosts.source), namesOn(hosts.target)], [['tiny'], ['tiny']], 'the copy is gone')
  hosts.target.directory.release(hosts.target.directory.list()[0].key)
  await hosts.goesOn()
})

t.test('one departure at a time', async t => {
  let second: Awaited<ReturnType<typeof migrate>> | undefined
  let save: Awaited<ReturnType<typeof migrate>> | undefined
  const first = await migrateUntil('stream', 50_000, async () => {
    second = await migrate('tiny', 'there')
    save = await hosts.source.xl(['save', 'tiny', `${hosts.source.folder}/saved`])
  })
  t.equal(first.status, 0, first.stderr)
  const already = /^xl: (migrate|save): the domain is being saved or migrated already\n/m
  t.equal(second?.status, 1)
  t.match(second?.stderr, already)
  t.equal(save?.status, 1)
  t.match(save?.stderr, already)
  await hosts.goesOn('target')
})

t.test("pause and unpause on the way are the person's, not the migration's", async t => {
  const moved = await migrateUntil('permission', 0, async () => {
    const {status, stderr} = await hosts.source.xl(['unpause', 'tiny--migratedaway'])
    t.equal(status, 3)
    t.match(stderr, /the domain is being given to another host/)
    t.equal((await statusOn(hosts.source)).paused, true, 'it does not run here')
  })
  t.equal(moved.status, 0, moved.stderr)
  await hosts.goesOn('target')
})

t.test('a transport that stalls: a signal ends xl, and the domain goes on', async t => {
  for (const [part, at] of [
    ['back', 0],
    ['stream', 80_000],
    ['permission', 0],
  ] as const) {
    const [stalled, stall] = signal()
    const [goOn, release] = signal()
    hosts.link.expect({
      part,
      at,
      act: async on => {
        stall()
        await goOn
        on.cut()
      },
    })
    const xl = hosts.source.spawn(['migrate', '-s', hosts.link.command, 'tiny', 'there'], 'ignore')
    await stalled
    xl.kill('SIGINT')
    t.strictSame(await once(xl, 'exit'), [null, 'SIGINT'])
    if (part !== 'permission') await hosts.goesOn()
    release()
    await hosts.goesOn()
    await hosts.link.idle()
    await isBack()
    t.pass(`stalled in ${part}`)
  }
})

t.test('a target that is lost for good: a person takes the domain back', async t => {
  const [lost, lose] = signal()
  hosts.link.expect({
    part: 'permission',
    at: 0,
    act: connection => {
      connection.cut()
      hosts.link.refuse = true
      lose()
    },
  })
  const migrating = migrate('tiny', 'there')
  await lost
  const {status, stderr} = await migrating
  t.equal(status, 1, 'the command does not wait for ever')
  t.match(
    stderr,
    /\nxl: migrate: whether the domain runs on the other host is not known: .*\nhint: here it stays stopped, .*\n$/,
  )
  const {stdout} = await hosts.source.xl(['list', 'tiny--migratedaway'])
  t.match(stdout, /^tiny--migratedaway +\d+ +8 +1 {5}--p--- /m, 'it stands still')
  let outcome = await hosts.source.xl(['unpause', 'tiny--migratedaway'])
  while (outcome.status === 3) outcome = await hosts.source.xl(['unpause', 'tiny--migratedaway'])
  t.equal(outcome.status, 0, outcome.stderr)
  await hosts.goesOn()
  t.strictSame(namesOn(hosts.source), ['tiny'])
  hosts.link.refuse = false
})

t.test('what cannot be migrated', async t => {
  t.match(await migrate('nobody', 'there'), {status: 1, stderr: /^nobody is an invalid domain identifier \(rc=-6\)\n$/})
  t.match(await migrate('0', 'there'), {status: 1, stderr: /Domain 0:Operation not permitted/})
  t.match(await migrate('tiny'), {status: 2, stderr: /^'xl migrate' requires at least 2 arguments\.\n/})
  t.match(await migrate('-x', 'tiny', 'there'), {status: 2, stderr: /^option `x' not supported\.\n/})
})
