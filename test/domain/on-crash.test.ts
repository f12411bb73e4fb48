/** What becomes of a real domain whose guest has crashed: on_crash, and destroying it at a bad moment. */
import {existsSync, readFileSync, statSync} from 'node:fs'
import t from 'tap'
import {Shutdown, TinyGuest} from '../support/tiny-guest.js'
import {realXl, TestHost, until} from '../support/xl.js'

t.setTimeout(280_000)

/** The kernel of a guest that speaks and shuts down; the next one takes its place in the same file. */
function speaking(host: TestHost, word: string, reason: number): string {
  return host.file('tiny', new TinyGuest().print(`${word}\r\n`).shutDown(reason).kernel())
}

/** A configuration of a guest that speaks and crashes. */
function crashing(host: TestHost, onCrash: string): string {
  const kernel = speaking(host, 'it runs', Shutdown.crash)
  return host.file('bad.cfg', `name = "bad"\nkernel = "${kernel}"\nmemory = 8\non_crash = "${onCrash}"\n`)
}

t.test('preserve: it stays, crashed, to be looked at', async t => {
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  t.match(await host.xl(['create', '-q', crashing(host, 'preserve')]), {status: 0, stdout: '', stderr: ''})
  await until(async () => / ---sc- /.test((await host.xl(['list', 'bad'])).stdout))
  t.match((await host.xl(['list', '-v', 'bad'])).stdout, / ---sc- .* 3 /, 'with its reason')
  t.match(readFileSync(host.directory.logPath('bad'), 'utf8'), /end of its console:\nit runs/)
  t.match(await host.xl(['console', '-e', '^X', 'bad'], '\x18'), {status: 0, stdout: 'it runs\r\n'}, 'what it said')
  t.match(await host.xl(['pause', 'bad']), {status: 0})
  t.match(await host.xl(['unpause', 'bad']), {status: 0})
  t.match(await host.xl(['shutdown', 'bad']), {status: 1})
  t.match(await host.xl(['destroy', 'bad']), {status: 0, stderr: ''})
  t.strictSame(host.directory.list(), [])
})

t.test('restart: again and again, under new domids, until it is destroyed', async t => {
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  t.match(await host.xl(['create', '-q', crashing(host, 'restart')]), {status: 0, stdout: '', stderr: ''})
  const [{owner}] = host.directory.list()
  await until(() => (host.directory.find({name: 'bad'})?.domid ?? 0) > 4)
  t.match(host.directory.list(), [{name: 'bad', owner}], 'one domain, in one process')
  t.match(await host.xl(['destroy', 'bad']), {status: 0, stderr: ''})
  t.strictSame(host.directory.list(), [])
  const log = readFileSync(host.directory.logPath('bad'), 'utf8')
  t.match(log, /^Domain 4 has shut down, reason code 3 0x3$/m)
  t.match(log, /\nDone\. Exiting now\n$/, 'and it ended in good order')
  t.notMatch(log, /cannot be built|^\s+at .*\(/m)
})

t.test('destroyed at any moment of a restart', async t => {
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  const config = crashing(host, 'restart')
  for (let domid = 2; domid <= 4; domid++) {
    await host.xl(['create', '-q', config])
    const first = host.directory.find({name: 'bad'})!.domid
    await until(() => (host.directory.find({name: 'bad'})?.domid ?? 0) > first)
    t.match(await host.xl(['destroy', 'bad']), {status: 0, stderr: ''})
    t.strictSame(host.directory.list(), [])
    t.match(readFileSync(host.directory.logPath('bad'), 'utf8'), /\nDone\. Exiting now\n$/)
  }
})

t.test('rename-restart: it stays, under another name, and a new one takes its place', async t => {
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  const uuid = '0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0'
  t.match(await host.xl(['create', '-q', crashing(host, 'rename-restart'), `uuid="${uuid}"`]), {status: 0, stderr: ''})
  // Each crashes, until one does so in the same minute as the one before.
  const log = () => readFileSync(host.directory.logPath('bad'), 'utf8')
  await until(() => log().includes('domain bad is not started again: Domain with name "bad-'))
  const rows = (await host.xl(['list'])).stdout.split('\n').filter(line => line.startsWith('bad'))
  for (const row of rows) t.match(row, / ---sc- /, 'all are crashed and there')
  const [old, ...others] = host.directory.list()
  const last = others.at(-1)
  t.match(old, {domid: 1, name: /^bad-\d{8}T\d{4}Z$/})
  t.match(last, {name: 'bad', uuid}, 'name and uuid are the new one’s')
  t.not(last?.owner.pid, old.owner.pid, 'which has a process of its own')
  t.not(old.uuid, uuid)
  t.match((await host.xl(['list', '-v', old.name])).stdout, old.uuid)
  t.match((await host.xl(['console', '-e', '^X', old.name], '\x18')).stdout, 'it runs\r\n', 'what the old one said')
  for (const {name} of host.directory.list()) t.match(await host.xl(['destroy', name]), {status: 0, stderr: ''})
  t.strictSame(host.directory.list(), [])
})

t.test('create -F stays with the domain that takes the place of one that crashed, until its end', async t => {
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  const xl = host.xl(['create', '-F', '-p', '-q', crashing(host, 'rename-restart')])
  const log = host.directory.logPath('bad')
  await until(() => existsSync(log) && readFileSync(log, 'utf8').includes('Waiting for domain bad'))
  // The first is built.
  speaking(host, 'the second runs', Shutdown.poweroff)
  t.match(await host.xl(['unpause', 'bad']), {status: 0, stderr: ''})
  t.match(await xl, {status: 0, stdout: '', stderr: ''})
  t.match(host.directory.list(), [{domid: 1, name: /^bad-/}], 'the first is kept, the second is gone')
  t.match(host.printed('bad'), 'the second runs\r\n')
})

t.test('create -F of a domain whose place cannot be taken, and of one that is kept', async t => {
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  host.directory.prepare()
  host.file('host/host.cfg', 'memory = 12\n')
  t.match(await host.xl(['create', '-F', '-q', crashing(host, 'rename-restart')]), {
    status: 3,
    stdout: '',
    stderr: 'xl: create: domain bad is not started again: failed to free memory for the domain\n',
  })
  const [{name}] = host.directory.list()
  await host.xl(['destroy', name])
  t.match(await host.xl(['create', '-F', '-q', crashing(host, 'preserve')]), {status: 0, stdout: '', stderr: ''})
  t.match((await host.xl(['list', 'bad'])).stdout, / ---sc- /)
})

t.test('rename-restart on a host without room for both', async t => {
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  host.directory.prepare()
  host.file('host/host.cfg', 'memory = 12\n')
  await host.xl(['create', '-q', crashing(host, 'rename-restart')])
  const log = () => readFileSync(host.directory.logPath('bad'), 'utf8')
  await until(() => log().includes('domain bad is not started again: failed to free memory for the domain'))
  const [{name}, ...others] = host.directory.list()
  t.match(name, /^bad-/, 'the crashed one is there to be looked at')
  t.strictSame(others, [])
  t.match(await host.xl(['destroy', name]), {status: 0, stderr: ''})
})

t.test('a log has an end, and a disk that is full does not end a domain', async t => {
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  const kernel = host.file('tiny', new TinyGuest().print('x'.repeat(2000)).shutDown(Shutdown.crash).kernel())
  const config = host.file('bad.cfg', `name = "bad"\nkernel = "${kernel}"\nmemory = 8\non_crash = "restart"\n`)
  // No file may grow beyond 8 KiB: as on a full disk, but for this process and its children only.
  t.match(await host.xlLimited(8, ['create', '-q', config]), {status: 0, stdout: '', stderr: ''})
  const owner = host.directory.list()[0].owner
  await until(() => (host.directory.find({name: 'bad'})?.domid ?? 0) > 8)
  t.match(host.directory.list(), [{owner}], 'it goes on')
  for (const path of [host.directory.logPath('bad'), host.directory.consoleLogPath('bad')])
    t.ok(statSync(path).size <= 8192, path)
  t.match(await host.xl(['destroy', 'bad']), {status: 0, stderr: ''})
})
