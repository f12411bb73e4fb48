/** Saves and restores that fail: whatever dies or is full, the domain goes on or the file is whole, and nothing half made is left. */
import {spawnSync} from 'node:child_process'
import {once} from 'node:events'
import {chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import t, {type Test} from 'tap'
import {HostDirectory} from '../../lib/control/host-directory.js'
import {isAlive, signalProcess} from '../../lib/control/process-identity.js'
import {leftovers, TinyHost} from '../support/tiny-host.js'
import {until} from '../support/xl.js'
import {Random} from '../vectors/random.js'

t.setTimeout(280_000)

/** A file system of so few bytes, or undefined where this user may mount none. */
function smallDisk(t: Test, folder: string, options: string): string | undefined {
  const path = join(folder, 'disk')
  mkdirSync(path)
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path]).status !== 0) return undefined
  t.teardown(() => spawnSync('umount', ['-l', path]))
  return path
}

const resuming = 'Failed to save domain, resuming domain\n'

t.test('places where no file can be', async t => {
  const host = new TinyHost(t)
  await host.start('web')
  const nested = join(host.folder, 'kernel', 'web.save')
  const closed = join(host.folder, 'closed')
  mkdirSync(closed, {mode: 0o500})
  symlinkSync('/nonexistent/web.save', join(host.folder, 'astray'))
  const rows: [path: string, said: RegExp][] = [
    [join(host.folder, 'missing', 'web.save'), /cannot write ".*\/missing\/web\.save": no such folder$/],
    [nested, /cannot write ".*": a part of the path is not a folder$/],
    [host.folder, /cannot write ".*": it is a folder$/],
    ['/proc/web.save', /cannot write "\/proc\/web\.save": (no such folder|permission denied|operation not permitted)$/],
    [join(host.folder, 'n'.repeat(300)), /cannot write ".*": the name is too long$/],
    ['', /the name of the file is empty$/],
    ['/dev/full', /the saved domain cannot be written: ENOSPC: no space left on device/],
  ]
  if (process.getuid?.() !== 0) rows.push([join(closed, 'web.save'), /cannot write ".*": permission denied$/])
  for (const [path, said] of rows) {
    const {status, stdout, stderr} = await host.xl(['save', 'web', path])
    const lines = stderr.split('\n')
    t.strictSame([status, stdout, lines.length, `${lines[2]}\n`], [1, '', 4, resuming], path.slice(-30))
    t.match(lines[1], said)
    t.ok(lines[1].startsWith('xl: save: '))
    t.notOk(existsSync(path) && !['/dev/full', host.folder].includes(path), 'no file')
  }
  chmodSync(closed, 0o700)
  t.match(await host.xl(['save', 'web']), {status: 2})
  t.match(await host.xl(['save', 'nobody', join(host.folder, 'x')]), {
    status: 1,
    stderr: 'nobody is an invalid domain identifier (rc=-6)\n',
  })
  t.match(await host.xl(['save', '99', join(host.folder, 'x')]), {status: 1, stderr: /Domain 99:No such process\n$/})
  t.match(host.directory.list(), [{name: 'web', domid: 1}])
  await host.says('web')
  t.strictSame(
    readdirSync(host.folder).filter(name => name.includes('.partial') || name.includes('.save')),
    [],
  )
})

t.test('a full disk', async t => {
  const host = new TinyHost(t)
  const file = join(host.folder, 'limited.save')
  const whole = join(host.folder, 'whole.save')
  await host.start('first')
  t.match(await host.xl(['save', 'first', whole]), {status: 0})
  // What the domain writes, beyond its logs, is no longer than this.
  t.match(await host.xlLimited(128, ['create', '-q', ...host.settings('web')]), {status: 0})
  await host.says('web')
  for (const words of [[], ['-c'], ['-p']]) {
    writeFileSync(file, 'what was there before')
    t.match(await host.xl(['save', ...words, 'web', file]), {
      status: 1,
      stderr:
        /\nxl: save: cannot write ".*limited\.save": the file size limit is reached\nFailed to save domain, resuming domain\n$/,
    })
    t.equal(readFileSync(file, 'utf8'), 'what was there before')
    t.strictSame(leftovers(file), [])
    await host.says('web')
  }
  const disk = smallDisk(t, host.folder, 'size=128k')
  if (disk === undefined) return t.comment('no file system can be mounted here')
  const onDisk = join(disk, 'web.save')
  await host.start('second')
  t.match(await host.xl(['save', 'second', onDisk]), {
    status: 1,
    stderr: /\nxl: save: cannot write ".*": no space left on device\nFailed to save/,
  })
  t.strictSame(readdirSync(disk), [])
  await host.says('second')
  spawnSync('mount', ['-o', 'remount,ro', disk])
  t.match(await host.xl(['save', 'second', onDisk]), {status: 1, stderr: /cannot write ".*": read-only file system\n/})
  await host.says('second')
})

/** A domain of 64 MiB, 40 of them in use: saving it takes a moment. */
async function bigger(t: Test): Promise<{host: TinyHost; file: string}> {
  const host = new TinyHost(t)
  await host.start('web', {pages: 10_000, memory: 64})
  return {host, file: join(host.folder, 'web.save')}
}

t.test('kill -9 of xl while it saves', async t => {
  const {host, file} = await bigger(t)
  let wasAtWork = 0
  for (const words of [[], ['-c'], ['-p'], []]) {
    writeFileSync(file, 'what was there before')
    const saving = host.spawn(['save', ...words, 'web', file])
    const ended = once(saving, 'exit')
    await until(() => leftovers(file).length > 0 || saving.exitCode !== null)
    saving.kill('SIGKILL')
    await ended
    await until(() => leftovers(file).length === 0)
    if (readFileSync(file, 'utf8') === 'what was there before') wasAtWork++
    else if (host.directory.find({name: 'web'}) === undefined) t.match(await host.xl(['restore', file]), {status: 0})
    if ((await host.state('web')) === '--p---') await host.xl(['unpause', 'web'])
    await host.says('web', 3)
  }
  t.ok(wasAtWork > 0, 'and some were given up half way')
  t.match(await host.xl(['save', 'web', file]), {status: 0}, 'none is in the way of the next')
  t.match(await host.xl(['restore', file]), {status: 0})
  await host.says('web', 3)
})

t.test('the domain dies while it is saved', async t => {
  for (const how of ['kill -9', 'destroy']) {
    const {host, file} = await bigger(t)
    const saving = host.spawn(['save', 'web', file])
    let said = ''
    saving.stderr!.on('data', text => {
      said += text
    })
    const ended = once(saving, 'close')
    await until(() => leftovers(file).length > 0)
    const {owner} = host.directory.find({name: 'web'})!
    if (how === 'destroy') await host.xl(['destroy', 'web'])
    else signalProcess(owner, 'SIGKILL')
    const [status] = await ended
    await until(() => !isAlive(owner))
    t.equal(host.directory.find({name: 'web'}), undefined)
    t.strictSame(leftovers(file), [], how)
    if (status === 0) {
      t.ok(existsSync(file), 'it was saved just before')
      continue
    }
    t.match([status, said], [1, /\nxl: save: (the domain has gone|saving was given up)\n/])
    t.notOk(existsSync(file))
    t.match(await host.xl(['save', 'web', file]), {status: 1, stderr: 'web is an invalid domain identifier (rc=-6)\n'})
  }
})

t.test('kill -9 of both while they save', async t => {
  const {host, file} = await bigger(t)
  for (;;) {
    const saving = host.spawn(['save', 'web', file])
    const ended = once(saving, 'exit')
    await until(() => leftovers(file).length > 0 || saving.exitCode !== null)
    const domain = host.directory.find({name: 'web'})
    // Or xl would remove what the domain leaves.
    saving.kill('SIGSTOP')
    if (domain !== undefined) signalProcess(domain.owner, 'SIGKILL')
    saving.kill('SIGKILL')
    await ended
    await until(() => domain === undefined || !isAlive(domain.owner))
    if (leftovers(file).length > 0) break
    // It was done already.
    await host.start('web', {pages: 10_000, memory: 64})
  }
  t.notOk(existsSync(file))
  t.equal(host.directory.find({name: 'web'}), undefined)
  await host.start('other')
  t.strictSame(leftovers(file), [], 'the next domain sweeps')
  t.equal(readdirSync(join(host.path, 'domains')).length, 2)
})

t.test('two at once', async t => {
  const {host, file} = await bigger(t)
  const first = host.spawn(['save', 'web', file])
  const ended = once(first, 'exit')
  await until(() => leftovers(file).length > 0 || first.exitCode !== null)
  const second = await host.xl(['save', 'web', `${file}2`])
  t.equal(second.status, 1)
  t.notOk(existsSync(`${file}2`))
  t.strictSame(await ended, [0, null])
  t.equal(host.directory.find({name: 'web'}), undefined)
  const both = await Promise.all([host.xl(['restore', file]), host.xl(['restore', file])])
  t.strictSame(both.map(({status}) => status).sort(), [0, 1], 'restored twice at once, it is there once')
  t.equal(host.directory.list().length, 1)
  await host.says('web', 3)
})

t.test('files that are no saved domain, or are damaged', async t => {
  const host = new TinyHost(t)
  await host.start('web')
  const file = join(host.folder, 'web.save')
  await host.xl(['save', 'web', file])
  const bytes = readFileSync(file)
  const head = 52 + bytes.readUInt32LE(48)
  const bad = join(host.folder, 'bad.save')
  const refused = async (contents: Uint8Array | string, said: RegExp, what: string) => {
    writeFileSync(bad, contents)
    const {status, stdout, stderr} = await host.xl(['restore', bad])
    t.strictSame([status, stdout], [1, ''], what)
    t.match(stderr.split('\n').at(-2), said)
    t.strictSame(readdirSync(join(host.path, 'domains')), [], 'nothing is made')
  }
  const wrongMagic = /^xl: restore: File has wrong magic number - corrupt or for a different tool\?$/
  await refused('', wrongMagic, 'empty')
  await refused(bytes.subarray(0, 31), wrongMagic, 'less than the magic')
  await refused(host.settings('web').join('\n'), wrongMagic, 'a configuration')
  await refused(readFileSync(process.execPath).subarray(0, 4096), wrongMagic, 'a program')
  await refused(bytes.subarray(0, 60), /^xl: restore: Savefile ends at offset 60, in its head$/, 'cut in the head')
  for (const length of [head, head + 10, head + 5000, bytes.length - 24]) {
    const said = new RegExp(`^xl: restore: the saved domain ends at offset ${length}, before it is whole$`)
    await refused(bytes.subarray(0, length), said, `cut at ${length}`)
  }
  const flipped = (at: number) => {
    const wrong = Buffer.from(bytes)
    wrong[at] ^= 1
    return wrong
  }
  const inHead = bytes.indexOf('"memoryKb":5120') + 11
  await refused(
    flipped(inHead),
    /^xl: restore: the saved domain is damaged at offset 0: the checksum of its head is wrong$/,
    'head',
  )
  const random = new Random(1)
  for (let count = 0; count < 6; count++) {
    const at = head + 8192 + random.below(bytes.length - head - 8400)
    await refused(
      flipped(at),
      /^xl: restore: the saved domain is damaged at offset \d+: the checksum of /,
      `bit at ${at}`,
    )
  }
  const newer = Buffer.from(bytes)
  newer.writeUInt32LE(0x80000103, 36)
  await refused(
    newer,
    /^xl: restore: Savefile has mandatory flag\(s\) 0x80000100 which are not supported; need newer xl$/,
    'newer',
  )
  const noConfig = Buffer.from(bytes)
  noConfig.writeUInt32LE(0, 48)
  await refused(noConfig, /^xl: restore: Config file not specified and none in save file$/, 'no configuration')
  rmSync(bad)
  const missing = await host.xl(['restore', bad])
  t.match(missing, {status: 1, stdout: '', stderr: `Can't open restore file: ${bad}: No such file or directory\n`})
  t.match(await host.xl(['restore', host.folder]), {
    status: 1,
    stderr: /^Can't open restore file: .*: Is a directory\n$/,
  })
  t.match(await host.xl(['restore']), {status: 2})
  t.match(await host.xl(['restore', file]), {status: 0}, 'the file itself is fine')
  await host.says('web')
})

t.test('a host without room', async t => {
  const host = new TinyHost(t)
  await host.start('web')
  const file = join(host.folder, 'web.save')
  await host.xl(['save', 'web', file])
  writeFileSync(join(host.path, 'host.cfg'), 'memory = 4\n')
  t.match(await host.xl(['restore', file]), {
    status: 1,
    stderr:
      /xl: restore: failed to free memory for the domain\nhint: "web" wants 5 MiB; the host has 4 MiB free of 4 MiB\n$/,
  })
  t.strictSame(new HostDirectory(host.path).list(), [])
})
