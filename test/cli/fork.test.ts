/** xl fork on real domains: children of a guest that checks its memory go on where it was, and each for itself. */
import {once} from 'node:events'
import {readdirSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import t from 'tap'
import {isAlive, signalProcess} from '../../lib/control/process-identity.js'
import {TinyHost} from '../support/tiny-host.js'
import {until} from '../support/xl.js'

t.setTimeout(280_000)

const names = (host: TinyHost) => host.directory.list().map(({name}) => name)
const still = (domid: number) => new RegExp(`^Domain ${domid} stood still for \\d+\\.\\d ms\\n$`)

t.test('children', async t => {
  const host = new TinyHost(t)
  await host.start('web')
  t.match(await host.xl(['fork', 'web']), {
    status: 0,
    stdout: 'Forked domain 1 (web) as 2 (web-1)\n',
    stderr: still(1),
  })
  await host.says('web')
  await host.says('web-1')
  t.match(await host.xl(['fork', '-n', '3', '-p', '1', 'db']), {
    status: 0,
    stdout: 'Forked domain 1 (web) as 3 (db-1)\nForked domain 1 (web) as 4 (db-2)\nForked domain 1 (web) as 5 (db-3)\n',
  })
  t.match(await host.xl(['fork', 'web-1']), {stdout: 'Forked domain 2 (web-1) as 6 (web-1-1)\n'}, 'a child of a child')
  t.match(await host.xl(['fork', 'web']), {stdout: 'Forked domain 1 (web) as 7 (web-2)\n'}, 'the next free number')
  const records = host.directory.list()
  t.equal(new Set(records.map(({uuid}) => uuid)).size, 7, 'a uuid for each')
  t.equal(new Set(records.map(({owner}) => owner.pid)).size, 7, 'and a process')
  const long = JSON.parse((await host.xl(['list', '-l', 'db-2'])).stdout)
  t.match(long, [{domid: 4, config: {c_info: {name: 'db-2', uuid: records[3].uuid}}}])

  for (const name of ['db-1', 'db-2', 'db-3']) t.equal(await host.state(name), '--p---')
  t.equal(host.printed('db-1'), '', 'a paused child has not run')
  for (const name of ['web', 'web-1']) t.match(await host.xl(['destroy', name]), {status: 0})
  t.match(await host.xl(['unpause', 'db-2']), {status: 0})
  for (const name of ['db-2', 'web-1-1', 'web-2']) await host.says(name)
  t.match(await host.xl(['sharing', 'db-2']), {status: 0, stdout: /^db-2 +4 +5 +\d+$/m})

  const file = join(host.folder, 'child.save')
  t.match(await host.xl(['save', 'db-2', file]), {status: 0})
  t.match(await host.xl(['restore', file]), {status: 0}, 'a child is saved as others are')
  await host.says('db-2')
})

t.test('a paused parent', async t => {
  const host = new TinyHost(t)
  await host.start('web')
  await host.xl(['pause', 'web'])
  t.match(await host.xl(['fork', 'web', 'copy']), {status: 0, stdout: 'Forked domain 1 (web) as 2 (copy)\n'})
  await host.says('copy')
  t.equal(await host.state('web'), '--p---')
  await host.xl(['unpause', 'web'])
  await host.says('web')
})

t.test('what is refused leaves nothing behind', async t => {
  const host = new TinyHost(t)
  await host.start('web')
  await host.start('db')
  writeFileSync(join(host.path, 'host.cfg'), 'memory = 20\n')
  const room =
    /^xl: fork: failed to free memory for the domain\nhint: "web-2" wants 5 MiB; the host has 3 MiB free of 18 MiB\n$/
  const rows: [words: string[], status: number, said: RegExp][] = [
    [['web', 'db'], 3, /^xl: fork: Domain with name "db" already exists\.\nhint: it is domain 2; /],
    [['web', 'a b'], 1, /^xl: fork: "a b" cannot be the name of a domain\nhint: /],
    [['web', 'n'.repeat(127), '-n', '2'], 1, /^xl: fork: "n+-1" cannot be the name of a domain\n/],
    [['nobody'], 1, /^nobody is an invalid domain identifier \(rc=-6\)\n$/],
    [['99'], 1, /libxl_domain_fork: Domain 99:No such process\n$/],
    [['0'], 1, /Domain 0:Operation not permitted\n$/],
    [['web', '-n', '2'], 3, room],
    ...['0', '-1', '1.5', '1001', 'x', '', '1e1', ' 2'].map((count): [string[], number, RegExp] => [
      ['web', `-n${count}`],
      2,
      /^xl: fork: -n .*: the number of children is 1 to 1000\n$|argument/,
    ]),
  ]
  for (const [words, status, said] of rows) {
    const outcome = await host.xl(['fork', ...words])
    t.match(outcome, {status, stdout: '', stderr: said}, words.join(' ').slice(0, 40))
    t.strictSame(names(host), ['web', 'db'])
  }
  t.strictSame(
    readdirSync(join(host.path, 'domains')).filter(name => name.endsWith('.json')).length,
    2,
    'no record is left either',
  )
  await host.says('web')
  t.match(await host.xl(['fork', 'web']), {status: 0}, 'one there is room for')
  await host.says('web-1')
})

t.test('somebody dies', async t => {
  const host = new TinyHost(t)
  await host.start('web', {pages: 10_000, memory: 64})
  const scratch = () => readdirSync(tmpdir()).filter(name => name.startsWith('gastwirt-fork-'))
  const before = scratch()

  const killed = host.spawn(['fork', '-n', '3', 'web'])
  const ended = once(killed, 'close')
  await until(() => host.directory.list().length === 4)
  killed.kill('SIGKILL')
  await ended
  t.match(await host.xl(['create', '-q', ...host.settings('web-3')]), {status: 0}, 'what xl had reserved is free')
  await host.says('web', 3)
  const children = host.directory.list().filter(({name}) => /^web-[12]$/.test(name))
  await until(() => children.every(({key, owner}) => !isAlive(owner) || host.directory.find({key})?.adopted === true))
  for (const {name} of host.directory.list()) if (name !== 'web') await host.xl(['destroy', name])
  t.strictSame(names(host), ['web'])

  const orphaned = host.spawn(['fork', '-n', '2', 'web'])
  let said = ''
  orphaned.stderr!.on('data', text => {
    said += text
  })
  const end = once(orphaned, 'close')
  await until(() => host.directory.list().length === 3)
  signalProcess(host.directory.find({name: 'web'})!.owner, 'SIGKILL')
  const [status] = await end
  if (status === 0) t.strictSame(names(host), ['web-1', 'web-2'], 'they were made just before')
  else {
    t.match(said, /^xl: fork: the domain has gone\n$/)
    t.strictSame(names(host), [])
  }
  t.strictSame(scratch(), before, 'no file is left')
})
