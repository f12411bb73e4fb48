/** Processes that die at the wrong moment, races, full disks: nothing half made stays, and nothing blocks what comes next. */
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {existsSync, readdirSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import t from 'tap'
import {isAlive, signalProcess} from '../../lib/control/process-identity.js'
import {mayMount, realXl, TestHost, until} from '../support/xl.js'

t.setTimeout(120_000)

t.test('kill -9 of a domain process', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  const config = host.config('web1')
  await host.xl(['create', '-q', config])
  const console = host.spawn(['console', 'web1'])
  await once(console.stdout!, 'data')
  const [{owner, key}] = host.directory.list()
  signalProcess(owner, 'SIGKILL')
  t.strictSame(await once(console, 'exit'), [0, null], 'its console ends')
  t.notMatch((await host.xl(['list'])).stdout, /web1/, 'it is not listed')
  t.match(await host.xl(['list', 'web1']), {status: 1, stdout: ''})
  t.match(await host.xl(['domid', 'web1']), {status: 1})
  t.match(await host.xl(['create', '-q', config]), {status: 0, stderr: ''}, 'its name is free')
  t.notOk(existsSync(host.directory.socketPath(key)), 'its socket is gone')
  t.match(host.directory.list(), [{name: 'web1', domid: 2}])
})

t.test('commands on a domain that dies meanwhile', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  const config = host.config('web1', 'extra="dies"')
  const file = join(host.folder, 'file')
  const gone = (name: string) => `xl: ${name}: the domain has gone\n`
  const rows: [words: string[], status: number, stderr: string | RegExp][] = [
    [['list'], 0, ''],
    [['vcpu-list'], 0, ''],
    [['uptime'], 0, ''],
    [['sharing'], 0, ''],
    [['dmesg'], 0, ''],
    [['console', 'web1'], 0, ''],
    [['pause', 'web1'], 3, gone('pause')],
    [['unpause', 'web1'], 3, gone('unpause')],
    [['sysrq', 'web1', 'h'], 3, gone('sysrq')],
    [['rename', 'web1', 'web2'], 1, `${gone('rename')}Can't rename domain 'web1'.\n`],
    [
      ['shutdown', '-w', 'web1'],
      1,
      /^Shutting down domain \d+\nxl: shutdown: the domain has gone\nshutdown failed \(rc=-3\)\n$/,
    ],
    [['reboot', 'web1'], 1, /^Rebooting domain \d+\nxl: reboot: the domain has gone\nreboot failed \(rc=-3\)\n$/],
    [
      ['mem-set', 'web1', '32'],
      1,
      /^xl: mem-set: the domain has gone\ncannot set domid \d+ dynamic max memory to : 32\n$/,
    ],
    [['save', 'web1', file], 1, gone('save')],
    [['fork', 'web1'], 3, gone('fork')],
    [['dump-core', 'web1', file], 1, `${gone('dump-core')}core dump failed (rc=-3)\n`],
    [['migrate', '-s', 'false', 'web1', 'there'], 3, gone('migrate')],
    [['destroy', 'web1'], 0, ''],
  ]
  for (const [words, status, stderr] of rows) {
    t.match(await host.xl(['create', '-q', config]), {status: 0, stderr: ''})
    t.match(await host.xl(words), {status, stderr}, words.join(' '))
    // The kernel closes its sockets before it is gone.
    await until(() => host.directory.list().length === 0)
    t.notOk(existsSync(file))
  }
})

t.test('kill -9 of xl create half way', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  const creating = host.spawn(['create', '-q', host.config('web1', 'extra="hang"')], 'ignore')
  // The domain process has taken the record over and is building the domain.
  await until(() => host.directory.list().some(({adopted}) => adopted))
  const [{owner}] = host.directory.list()
  t.match((await host.xl(['list', 'web1'])).stdout, /\n?web1 +1 +64 +1 +--p--- +0\.0\n/)
  creating.kill('SIGKILL')
  await until(() => !isAlive(owner))
  t.strictSame(readdirSync(join(host.path, 'domains')), [], 'the domain process cleans up')
  t.match(await host.xl(['create', '-q', host.config('web1')]), {status: 0, stderr: ''})
})

t.test('kill -9 of xl create and of the domain process, one after the other', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  const creating = host.spawn(['create', '-q', host.config('web1', 'extra="hang"')], 'ignore')
  await until(() => host.directory.list().some(({adopted}) => adopted))
  const [{owner}] = host.directory.list()
  signalProcess(owner, 'SIGSTOP')
  creating.kill('SIGKILL')
  signalProcess(owner, 'SIGKILL')
  await until(() => !isAlive(owner))
  t.equal(readdirSync(join(host.path, 'domains')).length, 1, 'a record is left')
  t.match(await host.xl(['create', '-q', host.config('web1')]), {status: 0, stderr: ''}, "and is in nobody's way")
  t.equal(readdirSync(join(host.path, 'domains')).filter(name => name.endsWith('.json')).length, 1)
})

t.test('two creates with one name at once', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  const config = host.config('web1')
  const outcomes = await Promise.all([1, 2, 3].map(() => host.xl(['create', '-q', config])))
  t.strictSame(outcomes.map(({status}) => status).sort(), [0, 3, 3])
  for (const {status, stderr} of outcomes) if (status !== 0) t.match(stderr, /Domain with name "web1" already exists\./)
  t.equal(host.directory.list().length, 1)
})

t.test('a domain process that does not obey destroy is killed', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  await host.xl(['create', '-q', host.config('web1', 'extra="stuck"')])
  await host.xl(['create', '-q', host.config('web2')])
  const stopped = host.directory.find({name: 'web2'})!.owner
  signalProcess(stopped, 'SIGSTOP')
  const outcomes = await Promise.all([host.xl(['destroy', 'web1']), host.xl(['destroy', 'web2'])])
  for (const outcome of outcomes) t.match(outcome, {status: 0, stderr: ''})
  t.strictSame(host.directory.list(), [])
})

t.test('output that cannot be written', {skip: !existsSync('/dev/full') && 'needs /dev/full'}, async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  const child = spawn('bash', ['-c', 'unset NODE_OPTIONS; exec "$0" "$@" > /dev/full', realXl, 'list'], {
    env: host.environment,
  })
  let stderr = ''
  child.stderr.on('data', text => {
    stderr += text
  })
  t.strictSame(await once(child, 'close'), [1, null])
  t.equal(stderr, 'xl: cannot write the output: no space left on device\n')
})

t.test('a host directory that has become read-only', {skip: !mayMount() && 'needs mounts of its own'}, async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  await host.xl(['create', '-q', host.config('web1')])
  const refused = ': cannot use the host directory ".*": the file system is read-only\nhint: .*GASTWIRT_HOST\n'
  t.match(await host.xlReadOnly(['create', '-q', host.config('web2')]), {
    status: 3,
    stdout: '',
    stderr: new RegExp(`^xl: create${refused}$`),
  })
  t.strictSame(readdirSync(host.path).sort(), ['domains', 'log', 'next-domid'])
  t.match(await host.xlReadOnly(['list', 'web1']), {status: 0, stdout: /\nweb1 +1 /, stderr: ''})
  t.match(await host.xlReadOnly(['destroy', 'web1']), {status: 0, stderr: ''}, 'its process may still write')
  t.strictSame(readdirSync(join(host.path, 'domains')), [])
})

t.test('a disk without room', {skip: process.platform !== 'linux' && 'needs ulimit -f'}, async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  await host.xl(['create', '-q', host.config('web1')])
  const xl = fileURLToPath(new URL('../support/xl-with-fake-domains.js', import.meta.url))
  // With a file size limit of 0 every write to a file fails, as on a full disk; pipes are not concerned.
  const script = `trap '' XFSZ; ulimit -f 0; exec ${process.execPath} ${xl} "$@"`
  const child = spawn('bash', ['-c', script, 'xl', 'create', '-q', host.config('web2')], {env: host.environment})
  let stderr = ''
  child.stderr.on('data', text => {
    stderr += text
  })
  const [status] = await once(child, 'close')
  t.equal(status, 3)
  t.match(stderr, /^xl: create: cannot use the host directory ".*": (the file size limit is reached|no space left)/)
  t.strictSame(readdirSync(host.path).sort(), ['domains', 'log', 'next-domid'], 'nothing half written is left')
  t.match((await host.xl(['list'])).stdout, /^web1 /m, 'what runs is still there')
  t.match(await host.xl(['create', '-q', host.config('web2')]), {status: 0, stderr: ''}, 'and with room it works')
})
