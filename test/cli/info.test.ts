/** `xl info` and `xl cpu-check`: what scripts read of the host and of its processor. */
import {writeFileSync} from 'node:fs'
import {join} from 'node:path'
import t from 'tap'
import {xlInside} from '../support/xl.js'

t.test('info', async t => {
  const folder = t.testdir({'host.cfg': '# this host\nmemory = 4096\ncpus = 6\n'})
  const environment = {GASTWIRT_HOST: folder}
  const {stdout, status} = await xlInside(['info'], environment)
  t.equal(status, 0)
  const values = new Map(
    stdout
      .trimEnd()
      .split('\n')
      .map(line => [line.slice(0, 22).trim(), line.slice(25)]),
  )
  for (const line of stdout.trimEnd().split('\n')) t.match(line, /^[a-z_]+ +: /, line)
  t.match(Object.fromEntries(values), {
    nr_cpus: '6',
    max_cpu_id: '5',
    total_memory: '4096',
    free_memory: '3584',
    virt_caps: 'pv gnttab-v1',
    xen_major: '4',
    xen_minor: '17',
    xen_caps: 'xen-3.0-x86_64',
    xen_scheduler: 'credit2',
    xend_config_format: '4',
  })
  for (const key of ['nr_nodes', 'cores_per_socket', 'threads_per_core', 'free_cpus']) t.match(values.get(key), /^\d+$/)
  t.strictSame(await xlInside(['info', 'virt_caps'], environment), {status: 0, stdout: 'pv gnttab-v1\n', stderr: ''})
  t.match(await xlInside(['info', 'xen_ver'], environment), {stdout: '4.17.0-gastwirt\n'})
  t.strictSame(await xlInside(['info', 'nothing'], environment), {status: 0, stdout: '', stderr: ''})
  t.match(await xlInside(['info', '-n'], environment), {
    stdout:
      /cpu: {4}core {4}socket {5}node\n {2}0: {7}0 {8}0 {8}0\n(.*\n)*numa_info {14}:\nnode: {4}memsize {4}memfree {4}distances\n {3}0: {6}4096 {7}3584 {6}10\n/,
  })
  const row = (await xlInside(['list'], environment)).stdout.split('\n')[1].split(/\s+/)
  t.strictSame(row.slice(0, 5), ['Domain-0', '0', '512', '6', 'r-----'])
})

t.test('a host.cfg that says something else is not passed over', async t => {
  const folder = t.testdir({})
  const file = join(folder, 'host.cfg')
  const environment = {GASTWIRT_HOST: folder}
  const wrong = ['memory = lots', 'memory = -5', 'memory = 0', 'overcommit = yes', 'overcommit = 2', 'memroy = 4096']
  for (const line of wrong) {
    writeFileSync(file, `# this host\n${line}  # as it is\ncpus = 2\n`)
    t.strictSame(await xlInside(['info'], environment), {
      status: 1,
      stdout: '',
      stderr:
        `xl: info: ${file}:2: "${line}" is no setting of a host\n` +
        'hint: settings are memory = MEGABYTES, cpus = NUMBER and overcommit = 0 or 1\n',
    })
  }
  writeFileSync(file, 'memory="2048" # quoted\n\n  cpus = \'3\'\novercommit = 0')
  t.match(await xlInside(['info', 'total_memory'], environment), {status: 0, stdout: '2048\n'})
  t.match(await xlInside(['info', 'nr_cpus'], environment), {status: 0, stdout: '3\n'})
})

t.test('cpu-check', async t => {
  const folder = t.testdir({
    intel: 'vendor_id\t: GenuineIntel\nmodel name\t: Core\nflags\t\t: fpu vmx sse\n',
    amd: 'vendor_id\t: AuthenticAMD\nmodel name\t: EPYC\nflags\t\t: fpu svm sse\n',
    guest: 'vendor_id\t: GenuineIntel\nmodel name\t: Xeon\nflags\t\t: fpu sse hypervisor\n',
    lookalike: 'vendor_id\t: GenuineIntel\nflags\t\t: fpu tsc_svm_like vmx_flags\nvmx flags\t: vmx\n',
  })
  const check = (file: string, ...more: string[]) => xlInside(['cpu-check', '--cpuinfo', join(folder, file), ...more])
  t.match(await check('intel'), {status: 0, stdout: /Intel VT-x \(flag vmx\)/})
  t.match(await check('amd'), {status: 0, stdout: /AMD-V \(flag svm\)/})
  t.match(await check('guest'), {status: 1, stdout: /none \(neither vmx nor svm(.|\n)*may hide the feature/})
  t.match(await check('lookalike'), {status: 1}, 'only whole words among the flags count')
  for (const file of ['intel', 'guest']) t.match((await check(file)).stdout, /pv guests +: runs, on the software CPU/)
  const json = await check('amd', '--json')
  t.match(JSON.parse(json.stdout), {supported: true, flag: 'svm', technology: 'AMD-V', vendor: 'AuthenticAMD'})
  t.match(JSON.parse((await check('guest', '--json')).stdout), {supported: false, flag: null, insideHypervisor: true})
  t.match(await check('missing'), {
    status: 2,
    stderr: /^xl: cpu-check: cannot read ".*missing": no such file or directory\nhint: /,
  })
  t.match(await check('.'), {
    status: 2,
    stderr: /^xl: cpu-check: cannot read ".*": illegal operation on a directory\nhint: /,
  })
  writeFileSync(join(folder, 'empty'), '')
  t.match(await check('empty'), {status: 1})
})
