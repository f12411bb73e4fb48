/** The life of domains as xl shows it, each a process of its own (without a CPU). */
import {readdirSync, readFileSync} from 'node:fs'
import {join, relative} from 'node:path'
import t from 'tap'
import {TestHost, until, xlInside} from '../support/xl.js'

const header = 'Name                                        ID   Mem VCPUs\tState\tTime(s)\n'

async function rows(host: TestHost): Promise<string[][]> {
  const {stdout} = await host.xl(['list'])
  return stdout
    .trimEnd()
    .split('\n')
    .slice(2)
    .map(line => line.split(/\s+/))
}

t.test('create, list, look, destroy', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  t.match(await host.xl(['create', host.config('web1')]), {
    status: 0,
    stdout: '',
    stderr: /^Parsing config from .*web1\.cfg\n$/,
  })
  t.match(await host.xl(['create', '-q', '-p', host.config('db1', 'dhcp="x"')]), {status: 0, stdout: '', stderr: ''})
  const {stdout} = await host.xl(['list'])
  t.ok(stdout.startsWith(header))
  const lines = stdout.trimEnd().split('\n')
  for (const line of lines.slice(1)) t.equal(line.split(/\s+/).length, 6, `six words: ${line}`)
  t.match(lines[1], /^Domain-0 +0 +\d+ +\d+ {5}r----- +[\d.]+$/)
  t.equal(lines[2], 'web1                                         1    64     1     -b----       1.5')
  t.equal(lines[3], 'db1                                          2    64     1     --p---       0.0')
  t.strictSame(await host.xl(['list', 'web1']), {status: 0, stdout: `${header}${lines[2]}\n`, stderr: ''})
  t.strictSame(await host.xl(['list', '2']), {status: 0, stdout: `${header}${lines[3]}\n`, stderr: ''})

  const [{owner}] = host.directory.list()
  const cmdline = readFileSync(`/proc/${owner.pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
  t.equal(cmdline, 'gastwirt: domain 1 web1', 'ps shows which process is which domain')

  const long = JSON.parse((await host.xl(['list', '-l'])).stdout)
  t.strictSame(
    long.map((record: {domid: number}) => record.domid),
    [0, 1, 2],
  )
  t.match(long[1].config, {c_info: {name: 'web1', type: 'pv'}, b_info: {target_memkb: 65536}})
  t.match(await host.xl(['list', '-v', 'web1']), {stdout: new RegExp(` ${long[1].config.c_info.uuid} +- +-\n$`)})

  t.match(await host.xl(['domid', 'db1']), {status: 0, stdout: '2\n'})
  t.match(await host.xl(['domname', '1']), {status: 0, stdout: 'web1\n'})
  t.match(await host.xl(['uptime', 'web1']), {stdout: /^Name +ID Uptime\nweb1 {30} +1 +0:00:\d\d\n$/})
  t.match(await host.xl(['uptime', '-s', 'web1']), {stdout: /^ \d\d:\d\d:\d\d up +0:00, web1 \(1\)\n$/})
  t.match(await host.xl(['vcpu-list', 'web1']), {
    stdout:
      'Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\n' +
      'web1                                 1     0    0   -b-       1.5  all / all\n',
  })
  t.match((await host.xl(['vm-list'])).stdout.split('\n')[1], new RegExp(`^${long[1].config.c_info.uuid}  1    web1 `))
  t.match(await host.xl(['dmesg', '-c']), {stdout: /^\(d1\) Gastwirt \(fake\) boots\n\(d1\) second line\n\(d2\)/})
  t.match(await host.xl(['dmesg']), {status: 0, stdout: ''})

  await host.xl(['pause', 'web1'])
  t.match((await host.xl(['vcpu-list', 'web1'])).stdout, /^web1 +1 +0 +0 +--- /m)
  await host.xl(['unpause', '2'])
  t.strictSame(
    (await rows(host)).map(row => row[4]),
    ['--p---', '-b----'],
  )

  t.match(await host.xl(['rename', 'web1', 'web2']), {status: 0, stderr: ''})
  t.match(await host.xl(['rename', 'web2', 'db1']), {
    status: 1,
    stderr: /^xl: rename: Domain with name "db1" already exists\.\nhint: .*\nCan't rename domain 'web2'\.\n$/,
  })
  t.match(await host.xl(['rename', 'web2', 'a b']), {status: 1, stderr: /"a b" cannot be the name/})
  t.match(await host.xl(['rename', 'web2', 'Domain-0']), {
    status: 1,
    stderr: /^xl: rename: "Domain-0" cannot be the name of a domain\nhint: names are .* other than "Domain-0"\n/,
  })
  t.strictSame(
    (await rows(host)).map(row => row[0]),
    ['web2', 'db1'],
  )

  t.match(await host.xl(['destroy', 'web2']), {status: 0, stdout: '', stderr: ''})
  t.match(await host.xl(['destroy', '2']), {status: 0, stdout: '', stderr: ''})
  t.strictSame(await rows(host), [])
  t.strictSame(readdirSync(join(host.path, 'domains')), [], 'no record and no socket is left')
})

t.test('shutdown and reboot', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  await host.xl(['create', host.config('a')])
  await host.xl(['create', host.config('b', 'on_poweroff="preserve"')])
  t.match(await host.xl(['reboot', 'a']), {status: 0, stderr: 'Rebooting domain 1\n'})
  await until(async () => (await rows(host)).some(([name, domid]) => name === 'a' && domid === '3'))
  const owner = host.directory.find({name: 'a'})!.owner
  t.equal(readFileSync(`/proc/${owner.pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim(), 'gastwirt: domain 3 a')
  t.match(await host.xl(['shutdown', '-w', 'a']), {
    status: 0,
    stderr: 'Shutting down domain 3\nWaiting for 1 domains\nDomain 3 has been shut down, reason code 0\n',
  })
  t.match(await host.xl(['shutdown', '-a', '--wait']), {
    status: 0,
    stderr: /Domain 2 has been shut down, reason code 0\n$/,
  })
  t.strictSame(
    (await rows(host)).map(row => [row[0], row[4]]),
    [['b', '---s--']],
    'a preserved domain stays listed',
  )
  t.match((await host.xl(['vcpu-list', 'b'])).stdout, /^b +2 +0 +0 +--- /m, 'its vCPU does nothing')
  await host.xl(['destroy', 'b'])
  await host.xl(['create', host.config('c')])
  t.match(await host.xl(['shutdown', '-ww', 'c']), {stderr: /Domain 4 has been destroyed\n$/})
  await host.xl(['create', host.config('d', 'extra="deaf"')])
  t.match(await host.xl(['shutdown', 'd']), {
    status: 1,
    stderr:
      'Shutting down domain 5\nPV control interface not available: external graceful shutdown not possible.\n' +
      'Use "-F" to fallback to ACPI power event.\nshutdown failed (rc=-10)\n',
  })
})

t.test('what create refuses', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  const config = host.config('web1')
  const rows: [words: string[], status: number, stderr: RegExp][] = [
    [['memory=0'], 1, /^command line:1:8: "memory" must be at least 1 MiB, not 0\n/],
    [['memory=-5'], 1, /"memory" must be at least 1 MiB, not -5/],
    [['memory=99999999'], 1, /"memory" must be at most/],
    [['memory=9999999'], 3, /^xl: create: failed to free memory for the domain\nhint: "web1" wants 9999999 MiB/],
    [['kernel="/nonexistent"'], 3, /^xl: create: cannot read the kernel "\/nonexistent": no such file\n/],
    [['kernel="/"'], 3, /cannot read the kernel "\/": it is not a file/],
    [['ramdisk="/nonexistent"'], 3, /cannot read the ramdisk "\/nonexistent": no such file/],
    [['disk=["/x,,xvda"]'], 1, /"disk" is not available in this version/],
    [['vcpus=2'], 1, /2 vCPUs cannot be given/],
    [['type="hvm"'], 1, /guests of type "hvm" cannot run/],
    [
      ['extra="fail=the_kernel_is_no_PV_kernel"'],
      3,
      /^xl: create: the_kernel_is_no_PV_kernel\nhint: this is a test\n$/,
    ],
    [['extra="die"'], 3, /^xl: create: the process of domain "web1" ended before the domain ran\nhint: its log is /],
  ]
  for (const [words, status, stderr] of rows) {
    t.match(await host.xl(['create', '-q', config, ...words]), {status, stdout: '', stderr}, words.join(' '))
  }
  t.match(await host.xl(['create', '/nonexistent.cfg']), {
    status: 3,
    stderr: /Failed to read config file: \/nonexistent\.cfg: No such file or directory\n$/,
  })
  t.match(await host.xl(['create']), {status: 6, stderr: /^Config file not specified\n/})
  t.match(await host.xl(['create', '-q', host.file('bad.cfg', 'name = web1\n')]), {
    status: 1,
    stderr: /bad\.cfg:1:8: .*\n {5}1 \| name = web1\n {7}\| {8}\^\^\^\^\nhint: quote it: "web1"\n$/,
  })
  t.strictSame(host.directory.list(), [], 'nothing is left of any of them')
  t.strictSame(readdirSync(join(host.path, 'domains')), [])

  await host.xl(['create', '-q', config])
  t.match(await host.xl(['create', '-q', config]), {status: 3, stderr: /Domain with name "web1" already exists\./})
})

t.test('dry run', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  const config = host.config('web1', 'disk=["/x,,xvda"]\ndhcp="dhcp"')
  for (const words of [
    ['create', '--quiet', '--dryrun', '--defconfig', config],
    ['-N', 'create', '-q', config],
  ]) {
    const {status, stdout, stderr} = await host.xl(words)
    t.strictSame([status, stderr], [0, ''])
    t.match(JSON.parse(stdout), {c_info: {name: 'web1'}, disks: [{vdev: 'xvda'}]})
    t.match(stdout, /^ +"name": "web1",$/m, 'as xendomains greps it')
  }
  t.match(await host.xl(['create', '-n', config]), {
    status: 0,
    stderr:
      /^Parsing config from .*\nnotice: .*web1\.cfg:5:1: "dhcp" is not a key .*\nnotice: .*"disk" is not available/,
  })
  t.strictSame(host.directory.list(), [])
})

t.test('a host directory by a relative path', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  host.environment.GASTWIRT_HOST = relative('.', host.path)
  t.match(await host.xl(['create', '-q', host.config('web1')]), {status: 0, stderr: ''})
  t.strictSame(
    host.directory.list().map(({name}) => name),
    ['web1'],
  )
  t.match(await host.xl(['destroy', 'web1']), {status: 0, stderr: ''})
})

t.test('bad host directories', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  const config = host.config('web1')
  for (const path of [join(host.folder, 'kernel', 'host'), '/proc/gastwirt', '/sys/gastwirt']) {
    const {status, stdout, stderr} = await xlInside(['create', '-q', config], {GASTWIRT_HOST: path})
    t.match({status, stdout}, {status: 3, stdout: ''})
    t.match(stderr, /^xl: create: cannot use the host directory ".*": .*\nhint: .*GASTWIRT_HOST\n$/, path)
  }
  t.match(await xlInside(['list'], {GASTWIRT_HOST: '/proc/gastwirt'}), {status: 0})
})
