/**
 * Programs that drive Xen's xl, and what they read of ours: their ways of parsing, written anew here, on the output of real domains (of a
 * few instructions each). Shell pipelines are run by a shell, because that is what the programs do.
 *
 * Source: Ganeti hv_xen.py and xen-console-wrapper; the OCF agent heartbeat/Xen; xendomains of Xen and of Debian; xen-tools; xl's bash
 * completion; test runners of Xen's test kernels.
 */
import {execFile} from 'node:child_process'
import {chmodSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import t from 'tap'
import {ConsolePage} from '../../lib/abi/io/console.js'
import {Hypercall} from '../../lib/abi/xen.js'
import {Shutdown, TinyGuest} from '../support/tiny-guest.js'
import {realXl, TestHost, until} from '../support/xl.js'

t.setTimeout(280_000)

const schedBlock = 1
const sleeping = new TinyGuest()
sleeping.forEver(() => sleeping.hypercall(Hypercall.schedOp, schedBlock, 0))

const host = new TestHost(realXl)
t.teardown(() => host.close())

function config(name: string, guest: TinyGuest, text = ''): string {
  const kernel = host.file(`${name}.kernel`, guest.kernel())
  return host.file(`${name}.cfg`, `name = '${name}'\nkernel = '${kernel}'\nmemory = '8'\n${text}\n`)
}

/** What a shell says of a line that calls xl. */
function shell(line: string, ...words: string[]): Promise<{status: number | null; stdout: string}> {
  const path = `${host.folder}:${process.env.PATH}`
  return new Promise(resolve => {
    const child = execFile(
      'bash',
      ['-c', line, 'sh', ...words],
      {env: {...host.environment, PATH: path}},
      (_, stdout) => resolve({status: child.exitCode, stdout}),
    )
  })
}

const stdoutOf = async (line: string, ...words: string[]): Promise<string> => (await shell(line, ...words)).stdout

t.before(async () => {
  writeFileSync(join(host.folder, 'xl'), `#!/bin/sh\nunset NODE_OPTIONS\nexec '${process.execPath}' '${realXl}' "$@"\n`)
  chmodSync(join(host.folder, 'xl'), 0o755)
  await host.xl(['create', config('web1', sleeping)])
  await host.xl(['create', '-p', config('db1', sleeping)])
  await host.xl(['create', config('off1', new TinyGuest().shutDown(Shutdown.poweroff), 'on_poweroff="preserve"')])
  await host.xl(['create', config('boot1', new TinyGuest().shutDown(Shutdown.reboot), 'on_reboot="preserve"')])
  await host.xl(['create', config('bad1', new TinyGuest().shutDown(Shutdown.crash), 'on_crash="preserve"')])
  await until(async () => /^web1 .* -b---- /m.test((await host.xl(['list'])).stdout))
  await until(async () => (await host.xl(['list'])).stdout.match(/ ---s[-rc]- /g)?.length === 3)
})

t.test("Ganeti's instances", async t => {
  /** Rows as Ganeti takes them apart: a row of another shape is an error, a crashed one is dropped. */
  const rows = (await host.xl(['list'])).stdout
    .trimEnd()
    .split('\n')
    .slice(1)
    .map(line => {
      const words = line.split(/\s+/)
      if (words.length !== 6) throw new Error(`cannot parse "${line}"`)
      const [name, domid, memory, vcpus, state, time] = words
      for (const number of [domid, memory, vcpus]) if (!/^\d+$/.test(number)) throw new Error(`cannot parse "${line}"`)
      return {name, memory: Number(memory), kind: kindOf(state), time: Number.parseFloat(time), timeText: time}
    })
  function kindOf(text: string): string {
    const state = text.replaceAll('p', '-')
    if (state.includes('c')) return 'crashed'
    if (/^(r--|rb-|-b-|---)(---|ss-|sr-)$|^-----d$/.test(state)) return 'running'
    if (/^---s-[-d]$/.test(state)) return 'shut down'
    throw new Error(`unknown state "${text}"`)
  }
  t.strictSame(
    rows.map(({name, kind}) => [name, kind]),
    [
      ['Domain-0', 'running'],
      ['web1', 'running'],
      ['db1', 'running'],
      ['off1', 'shut down'],
      ['boot1', 'running'],
      ['bad1', 'crashed'],
    ],
  )
  t.ok(rows.every(({time}) => time >= 0))
  t.equal(rows[2].timeText, '0.0', 'what has never run has no time: a migration target is told by that')

  const info = new Map(
    (await host.xl(['info'])).stdout
      .trimEnd()
      .split('\n')
      .map(line => [line.slice(0, line.indexOf(':')).trim(), line.slice(line.indexOf(':') + 1).trim()]),
  )
  for (const key of ['nr_cpus', 'nr_nodes', 'cores_per_socket', 'threads_per_core', 'xen_major', 'xen_minor'])
    t.match(info.get(key), /^\d+$/, key)
  const used = rows.reduce((sum, {memory}) => sum + memory, 0)
  t.ok(Number(info.get('total_memory')) - Number(info.get('free_memory')) - used >= 0, "the hypervisor's own memory")
  t.match(await host.xl(['help']), {status: 0})
  t.match(await host.xl(['debug', 'R']), {status: 1, stderr: /^xl: debug-keys: .*\ncannot send debug keys: R\n$/})
})

t.test("Ganeti's console: a paused instance is told by the third letter", async t => {
  const letter = `xl list "$1" | tail -n1 | awk '{print $5}' | sed -n 's/..\\(.\\).../\\1/p'`
  t.equal(await stdoutOf(letter, 'db1'), 'p\n')
  t.equal(await stdoutOf(letter, 'web1'), '-\n')
})

t.test("the OCF agent's pipelines", async t => {
  const names = await stdoutOf(`xl list | grep -v -e Name -e Domain-0 | awk '{print $1}'`)
  t.equal(names, 'web1\ndb1\noff1\nboot1\nbad1\n')
  t.equal(await stdoutOf(`xl list web1 | awk 'NR==2 {print $4, $3}'`), '1 8\n')
  const total = await stdoutOf(`xl info | grep ^total_memory | awk '{print $3}'`)
  t.match(total, /^\d+\n$/)
  t.match(await shell('xl list web1 >/dev/null 2>&1'), {status: 0})
  t.match(await shell('xl list gone >/dev/null 2>&1'), {status: 1})
  t.match(await shell(`xl create ${join(host.folder, 'web1.cfg')} name=\\"ocf1\\"`), {status: 0}, 'quotes and all')
  t.match(await shell('xl destroy ocf1'), {status: 0})
})

t.test("Xen's xendomains and Debian's", async t => {
  const file = join(host.folder, 'web1.cfg')
  const name = `xl create --quiet --dryrun --defconfig "$1" | sed -n 's/^.*"name": "\\(.*\\)",$/\\1/p'`
  t.equal(await stdoutOf(name, file), 'web1\n')
  t.equal(
    JSON.parse((await host.xl(['create', '--quiet', '--dryrun', '--defconfig', file])).stdout).c_info.name,
    'web1',
  )

  /** Line by line, as the shell reads them with leading blanks off; a domain is complete once it has a name and an id. */
  const found: string[] = []
  let [domid, domainName] = ['', '']
  for (const line of (await stdoutOf(`xl list -l | grep '^    {$\\|"name":\\|^        "domid":'`)).split('\n')) {
    const text = line.trim()
    if (text === '{') [domid, domainName] = ['', '']
    domid = /^"domid": (.*),$/.exec(text)?.[1] ?? domid
    domainName = /^"name": "(.*)",$/.exec(text)?.[1] ?? domainName
    if (domid !== '' && domainName !== '') found.push(`${domid} ${domainName}`)
  }
  t.strictSame([...new Set(found)], ['0 Domain-0', '1 web1', '2 db1', '3 off1', '4 boot1', '5 bad1'])

  const list = JSON.parse((await host.xl(['list', '-l'])).stdout) as {domid: number; config: {c_info: {name: string}}}[]
  t.strictSame(
    list.slice(1).map(record => [record.domid, record.config.c_info.name]),
    [
      [1, 'web1'],
      [2, 'db1'],
      [3, 'off1'],
      [4, 'boot1'],
      [5, 'bad1'],
    ],
  )
  t.match(await shell('xl domid web1 > /dev/null 2>&1'), {status: 0})
  t.match(await shell('xl domid gone > /dev/null 2>&1'), {status: 1})
  t.match(await shell('xl sysrq 1 s'), {status: 0, stdout: ''})

  const saved = join(host.folder, 'saved')
  t.match(await shell('xl save 1 "$1"', saved), {status: 0, stdout: ''})
  t.equal(await stdoutOf('head -c 16 "$1" | head -n 1', saved), 'Xen saved domain')
  t.match(await shell('xl restore "$1"', saved), {status: 0, stdout: ''})
  t.match(await shell('xl domid web1'), {status: 0, stdout: '7\n'})
})

t.test('xen-tools, scripts of all kinds, completion', async t => {
  t.match((await shell('xl list 2>/dev/null | grep -q web1')).status, 0)
  t.match(
    await shell('xl list other 2>/dev/null | grep other'),
    {status: 1, stdout: ''},
    'no word of what is not there',
  )
  t.equal(await stdoutOf(`xl list | awk 'NR>2 {print $1}' | sort`), 'bad1\nboot1\ndb1\noff1\nweb1\n')
  t.equal(await stdoutOf(`xl list | awk '!/^Domain-0 |^Name / {print $2}' | sort -n | head -1`), '2\n')
  t.match(await stdoutOf('xl list | tail -1'), /^web1 /)
  const words = (await stdoutOf(`xl help | sed '1,4d' | awk '/^ [^ ]/ {print $1}'`)).trimEnd().split('\n')
  for (const word of ['create', 'list', 'vcpu-list', 'migrate-receive']) t.ok(words.includes(word), word)
})

t.test('runners of test kernels', async t => {
  t.match(await stdoutOf('xl info virt_caps'), /^(.* )?pv( .*)?\n$/)
  t.notMatch(await stdoutOf('xl info xen_caps'), /x86_32p/, 'no 32-bit guests')
  const speaking = new TinyGuest().print('first byte\r\n')
  // It goes on when the console is there: when something has been typed.
  speaking.repeatBelow(() => speaking.code(`cmp DWORD PTR [rbx+${ConsolePage.offset.inProd}],1`))
  speaking.print('Test result: SUCCESS\r\n').shutDown(Shutdown.poweroff)
  t.match(await host.xl(['create', '-p', config('test1', speaking)]), {status: 0})
  const console = host.xl(['console', 'test1'], 'x')
  t.match(await host.xl(['unpause', 'test1']), {status: 0})
  t.match(await console, {status: 0, stdout: 'first byte\r\nTest result: SUCCESS\r\n'}, 'from first to last')
  const brief = config('test1', new TinyGuest().shutDown(Shutdown.poweroff))
  t.match(await host.xl(['create', '-F', '-q', brief]), {status: 0, stdout: ''}, 'in the foreground until its end')
  t.match(await host.xl(['list', 'test1']), {status: 1, stdout: ''})
})

t.test('an instance that is preserved is removed by destroy', async t => {
  for (const name of ['off1', 'boot1', 'bad1']) t.match(await host.xl(['destroy', name]), {status: 0, stderr: ''})
  t.notMatch((await host.xl(['list'])).stdout, /^(off1|boot1|bad1) /m)
})
