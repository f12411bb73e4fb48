/** xl save and restore on real domains, with a guest that checks its own memory: what is said, what is written, and that the guest goes on. */
import {spawn} from 'node:child_process'
import {createHash} from 'node:crypto'
import {once} from 'node:events'
import {mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import t from 'tap'
import {catalogue} from '../../lib/toolstack/images/catalogue.js'
import {isUnbroken} from '../support/checking-guest.js'
import {leftovers, TinyHost} from '../support/tiny-host.js'
import {realXl, until} from '../support/xl.js'

t.setTimeout(280_000)

t.test('save and restore', async t => {
  const host = new TinyHost(t)
  await host.start('web', {words: ['uuid="5f0a9a5c-1d0e-4a0f-8f0e-0123456789ab"']})
  const file = join(host.folder, 'web.save')
  const saved = await host.xl(['save', 'web', file])
  t.match(saved, {status: 0, stdout: '', stderr: /^Saving to .*web\.save new xl format \(info 0x3\/0x0\/\d+\)\n$/})
  t.equal(await host.state('web'), undefined, 'its name is free as soon as xl has ended')
  t.strictSame(readdirSync(join(host.path, 'domains')), [])
  t.equal(statSync(file).mode & 0o777, 0o600, 'nobody else reads the memory of the guest')
  t.strictSame(leftovers(file), [])

  const bytes = readFileSync(file)
  t.equal(bytes.toString('latin1', 0, 32), 'Xen saved domain, xl format\n \0 \r')
  const [order, mandatory, optional, length, configLength] = [0, 1, 2, 3, 4].map(word =>
    bytes.readUInt32LE(32 + word * 4),
  )
  t.strictSame([order, mandatory, optional, length], [0x01020304, 3, 0, configLength + 4])
  t.equal(bytes[52 + configLength - 1], 0, 'the configuration ends with a NUL')
  const config = JSON.parse(bytes.toString('utf8', 52, 52 + configLength - 1))
  t.match(config, {name: 'web', memoryKb: 5120, uuid: '5f0a9a5c-1d0e-4a0f-8f0e-0123456789ab'})
  t.match(saved.stderr, new RegExp(`/0x0/${length}\\)`))

  const restored = await host.xl(['restore', file])
  t.strictSame(restored, {
    status: 0,
    stdout: '',
    stderr:
      `Loading new save file ${file} (new xl fmt info 0x3/0x0/${length})\n` +
      ' Savefile contains xl domain config in JSON format\nParsing config from <saved>\n',
  })
  await host.says('web')
  const {owner, domid, uuid} = host.directory.find({name: 'web'})!
  t.equal(domid, 2)
  t.equal(uuid, config.uuid)
  const open = readdirSync(`/proc/${owner.pid}/fd`).map(fd => readlinkSync(`/proc/${owner.pid}/fd/${fd}`))
  t.notOk(open.includes(file), 'the file is not held open')

  t.match(await host.xl(['restore', file]), {
    status: 1,
    stderr: /\nxl: restore: Domain with name "web" already exists\.\nhint: /,
  })
  t.match(await host.xl(['list', 'web']), {status: 0, stdout: /^web +2 +5 +1 /m})
  await host.says('web')

  await host.xl(['destroy', 'web'])
  const told = host.printed('web').length
  t.match(await host.xl(['restore', '-p', file]), {status: 0})
  t.equal(await host.state('web'), '--p---')
  t.equal(host.printed('web').length, told)
  writeFileSync(host.directory.consoleLogPath('web'), '')
  await host.xl(['unpause', 'web'])
  await host.says('web')
  await host.xl(['destroy', 'web'])

  const console = host.spawn(['restore', '-d', '-c', file])
  let seen = ''
  console.stdout!.on('data', text => {
    seen += text
  })
  const ended = once(console, 'exit')
  await until(() => seen.length > 30)
  await host.xl(['destroy', 'web'])
  t.strictSame(await ended, [0, null])
  t.ok(isUnbroken(seen), 'with its console from the first letter on')
})

t.test('save -c, -p, -D; over an existing file', async t => {
  const host = new TinyHost(t)
  await host.start('web')
  const file = join(host.folder, 'web.save')
  t.match(await host.xl(['save', '-c', 'web', file]), {status: 0, stdout: ''})
  await host.says('web')
  t.match(host.directory.list(), [{name: 'web', domid: 1}])
  const first = statSync(file)
  t.match(await host.xl(['save', '-p', 'web', file]), {status: 0, stdout: ''})
  t.equal(await host.state('web'), '--p---')
  t.not(statSync(file).ino, first.ino, 'another file has taken the name')
  await host.xl(['unpause', 'web'])
  await host.says('web')
  t.match(await host.xl(['save', '-c', '-p', 'web', file]), {status: 0, stdout: ''})
  t.equal(await host.state('web'), '--p---', 'with both it is paused, as by Xen')
  await host.xl(['unpause', 'web'])
  await host.says('web')

  await host.xl(['pause', 'web'])
  t.match(await host.xl(['save', '-c', 'web', file]), {status: 0})
  t.equal(await host.state('web'), '--p---', 'a paused domain stays paused')
  await host.xl(['unpause', 'web'])

  t.match(await host.xl(['save', '-D', 'web', file]), {status: 0})
  await host.start('other')
  t.match(await host.xl(['restore', file]), {status: 0})
  t.equal(host.directory.find({name: 'web'})!.domid, 1, 'it has its domid again')
  await host.says('web')
  t.match(await host.xl(['fork', 'web']), {status: 0}, 'which its children need not have')
  t.match(await host.xl(['destroy', 'web-1']), {status: 0})
  t.match(await host.xl(['save', 'web', file]), {status: 0})
  t.match(await host.xl(['restore', file]), {status: 0})
  t.not(host.directory.find({name: 'web'})!.domid, 1, 'without -D it has a new one')
  await host.says('web')
  t.strictSame(leftovers(file), [])
})

t.test('a domain that is saved again before it has run', async t => {
  const host = new TinyHost(t)
  const file = join(host.folder, 'web.save')
  const savedAtNs = () => Number(/"timeNs":(-?\d+)/.exec(readFileSync(file, 'latin1'))![1])
  await host.start('web')
  t.match(await host.xl(['save', 'web', file]), {status: 0})
  for (let turn = 0; turn < 2; turn++) {
    const before = savedAtNs()
    t.match(await host.xl(['restore', '-p', file]), {status: 0})
    t.match(await host.xl(['save', 'web', file]), {status: 0})
    t.ok(savedAtNs() >= before && savedAtNs() < before + 60e9, 'its time has not moved')
  }
  t.match(await host.xl(['restore', file]), {status: 0})
  await host.says('web')
  t.match(await host.xl(['create', '-q', '-p', ...host.settings('new')]), {status: 0})
  t.match(await host.xl(['save', 'new', file]), {status: 0})
  t.match(await host.xl(['restore', file]), {status: 0})
  await host.says('new')
})

t.test('under another configuration, and as a configuration', async t => {
  const host = new TinyHost(t)
  await host.start('web')
  const file = join(host.folder, 'web.save')
  const config = (name: string, memory = 5) => host.file(`${name}.cfg`, host.settings(name, {memory}).join('\n'))
  t.match(await host.xl(['save', 'web', file, config('large', 6)]), {
    status: 1,
    stderr:
      /^xl: save: ".*large\.cfg" is for a domain of 6 MiB\nhint: domain 1 was built for 5 MiB: .*\nFailed to save domain, resuming domain\n$/,
  })
  await host.says('web')
  t.match(await host.xl(['save', 'web', file, config('second')]), {status: 0})
  t.match(await host.xl(['restore', file]), {status: 0})
  await host.says('second')
  await host.xl(['destroy', 'second'])
  t.match(await host.xl(['restore', config('third'), file]), {
    status: 0,
    stderr: /\nParsing config from .*third\.cfg\n$/,
  })
  await host.says('third')
  await host.xl(['destroy', 'third'])
  t.match(await host.xl(['restore', config('large', 6), file]), {
    status: 1,
    stderr:
      /xl: restore: the saved domain was built for 5 MiB of memory, its configuration is for 6 MiB\nhint: .*"maxmem"/,
  })
  t.match(await host.xl(['restore', '/nonexistent.cfg', file]), {
    status: 1,
    stderr: /\nFailed to read config file: \/nonexistent\.cfg: No such file or directory\n$/,
  })
  t.strictSame(host.directory.list(), [])

  t.match(JSON.parse((await host.xl(['create', '-q', '-n', file])).stdout), {c_info: {name: 'second'}})
  t.match(await host.xl(['create', '-q', file, 'memory=6']), {
    status: 2,
    stderr: 'xl: create: "memory=6" cannot be given beside a saved domain\n',
  })
  writeFileSync(host.directory.consoleLogPath('second'), '')
  t.match(await host.xl(['create', '-q', file]), {status: 0, stdout: '', stderr: ''})
  await host.says('second')
  t.match(host.printed('second'), /^abc/, 'it boots anew')
})

t.test('a configuration that names an image, and one for more than there is', async t => {
  const host = new TinyHost(t)
  host.environment.XDG_CACHE_HOME = join(host.folder, 'cache')
  const image = join(host.folder, 'cache', 'gastwirt', 'images', 'debian')
  mkdirSync(image, {recursive: true})
  const recipe = createHash('sha256').update(catalogue[0].version).digest('hex').slice(0, 16)
  writeFileSync(join(image, 'image.json'), JSON.stringify({packages: {}, release: 'made-up', cmdline: 'quiet', recipe}))
  for (const file of ['vmlinuz', 'initrd.gz']) writeFileSync(join(image, file), 'not looked into')
  const file = join(host.folder, 'web.save')
  const imaged = host.file('imaged.cfg', 'name = "web"\nimage = "debian"\nmemory = 5\n')
  const kernel = async () => JSON.parse((await host.xl(['list', '-l', 'web'])).stdout)[0].config.b_info.kernel
  await host.start('first')
  t.match(await host.xl(['save', 'first', file]), {status: 0})
  t.match(await host.xl(['restore', imaged, file]), {status: 0})
  t.equal(await kernel(), join(image, 'vmlinuz'), 'what a reboot would start')
  await host.xl(['destroy', 'web'])
  await host.start('second')
  t.match(await host.xl(['save', 'second', file, imaged]), {status: 0})
  t.match(await host.xl(['restore', file]), {status: 0})
  t.equal(await kernel(), join(image, 'vmlinuz'))

  const disked = host.file('disked.cfg', `${host.settings('web').join('\n')}\ndisk = ["/img,raw,xvda,w"]\n`)
  const refused = {status: 1, stderr: /disked\.cfg:4:\d+: .*disk/}
  t.match(await host.xl(['save', 'web', file, disked]), refused)
  t.match(await host.xl(['migrate', '-C', disked, '-s', 'false', 'web', 'there']), {...refused, status: Number})
  t.equal((await host.xl(['destroy', 'web'])).status, 0, 'it is still there')
  t.match(await host.xl(['restore', disked, file]), refused)
  t.strictSame(host.directory.list(), [])
})

t.test('through a pipe to another host', async t => {
  const [here, there] = [new TinyHost(t), new TinyHost(t)]
  await here.start('web')
  const script = 'env -u NODE_OPTIONS "$0" "$1" save web - | GASTWIRT_HOST=$2 env -u NODE_OPTIONS "$0" "$1" restore -'
  const child = spawn('bash', ['-o', 'pipefail', '-c', script, process.execPath, realXl, there.path], {
    env: here.environment,
    stdio: ['ignore', 'inherit', 'ignore'],
  })
  t.strictSame(await once(child, 'close'), [0, null])
  t.equal(await here.state('web'), undefined)
  await there.says('web')
  t.ok(isUnbroken(here.printed('web') + there.printed('web')), 'not a letter twice, none left out')

  const broken = spawn(
    'bash',
    [
      '-o',
      'pipefail',
      '-c',
      'env -u NODE_OPTIONS "$0" "$1" save web - | head -c 100 >/dev/null',
      process.execPath,
      realXl,
    ],
    {env: there.environment, stdio: ['ignore', 'inherit', 'pipe']},
  )
  let said = ''
  broken.stderr!.on('data', text => {
    said += text
  })
  t.strictSame(await once(broken, 'close'), [1, null])
  t.match(said, /\nxl: save: the saved domain cannot be written: .*EPIPE\nFailed to save domain, resuming domain\n$/)
  await there.says('web')
})

t.test('packed with zstd', async t => {
  const host = new TinyHost(t)
  await host.start('web')
  const [plain, packed] = ['plain', 'packed'].map(name => join(host.folder, `${name}.save`))
  const outcome = await host.xl(['save', '-c', '--zstd', 'web', packed])
  if (outcome.status !== 0) {
    t.match(outcome, {
      status: 1,
      stderr: /\nxl: save: this Node\.js cannot compress with zstd\nhint: it takes Node\.js 22\.15/,
    })
    t.strictSame(leftovers(packed), [])
    await host.says('web')
    return
  }
  t.match(await host.xl(['save', 'web', plain]), {status: 0})
  t.ok(statSync(packed).size < statSync(plain).size)
  t.match(await host.xl(['restore', plain]), {status: 0})
  const pipe = spawn(
    'bash',
    ['-c', 'env -u NODE_OPTIONS "$0" "$1" save -z web - > "$2"', process.execPath, realXl, packed],
    {
      env: host.environment,
      stdio: 'ignore',
    },
  )
  t.strictSame(await once(pipe, 'close'), [0, null])
  t.ok(statSync(packed).size < statSync(plain).size, 'into a pipe, too')
  writeFileSync(host.directory.consoleLogPath('web'), '')
  t.match(await host.xl(['restore', packed]), {status: 0})
  await host.says('web')
})

t.test('a domain that was saved over and over', async t => {
  const host = new TinyHost(t)
  await host.start('web')
  const file = join(host.folder, 'web.save')
  for (let turn = 0; turn < 5; turn++) {
    t.match(await host.xl(['save', 'web', file]), {status: 0})
    t.match(await host.xl(['restore', file]), {status: 0})
    await host.says('web', 5)
  }
})
