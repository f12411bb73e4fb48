/** `image =` and `npm start`, with an image that is in the cache already: nothing here reaches the network. */
import {createHash} from 'node:crypto'
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {PassThrough, Writable} from 'node:stream'
import {fileURLToPath} from 'node:url'
import t from 'tap'
import {start} from '../../lib/cli/start.js'
import {catalogue} from '../../lib/toolstack/images/catalogue.js'
import {TestHost, xlInside} from '../support/xl.js'

/** Puts an image into the cache of a test host that the catalogue takes for current. */
function cacheImage(host: TestHost, cmdline: string): void {
  const [recipe] = catalogue
  const folder = join(host.folder, 'cache', 'gastwirt', 'images', recipe.name)
  mkdirSync(folder, {recursive: true})
  writeFileSync(join(folder, 'vmlinuz'), 'kernel')
  writeFileSync(join(folder, 'initrd.gz'), 'ramdisk')
  const version = createHash('sha256').update(recipe.version).digest('hex').slice(0, 16)
  writeFileSync(
    join(folder, 'image.json'),
    JSON.stringify({packages: {}, release: '6.1.0-test', cmdline, recipe: version}),
  )
}

function hostWithCache(): TestHost {
  const host = new TestHost()
  host.environment.XDG_CACHE_HOME = join(host.folder, 'cache')
  return host
}

t.test('xl image', async t => {
  const host = hostWithCache()
  t.teardown(() => host.close())
  const {environment} = host
  t.match(await xlInside(['image', 'list'], environment), {status: 0, stdout: /\ndebian +- +not fetched +Debian/})
  t.match(await xlInside(['image', 'rm', 'debian'], environment), {
    status: 1,
    stderr: /^xl: image: image "debian" has not been fetched\n/,
  })
  cacheImage(host, '')
  t.match(await xlInside(['image', 'list'], environment), {stdout: /\ndebian +1M +6\.1\.0-test +Debian/})
  t.match(await xlInside(['image', 'fetch', 'debian'], environment), {
    status: 0,
    stdout: /^kernel {2}.*vmlinuz\nramdisk .*initrd\.gz\n$/,
    stderr: '',
  })
  t.match(await xlInside(['image', 'fetch', 'beos'], environment), {
    status: 1,
    stderr: /there is no image "beos"\nhint: images are: debian/,
  })
  t.match(await xlInside(['image', 'rm', 'debian'], environment), {status: 0})
  t.match(await xlInside(['image', 'list'], environment), {stdout: /not fetched/})
  t.match(await xlInside(['image', 'fly'], environment), {status: 2, stderr: /'xl image fly' is not understood\./})
  t.match(await xlInside(['image', 'rm'], environment), {
    status: 2,
    stderr: /'xl image rm' requires the name of an image\./,
  })
})

t.test('a configuration with an image', async t => {
  const host = hostWithCache()
  t.teardown(() => host.close())
  cacheImage(host, 'console=hvc0')
  const config = host.file('a.cfg', 'name="a"\nimage="debian"\nmemory=64\nextra="quiet"\n')
  t.match(await host.xl(['create', '-q', config]), {status: 0, stdout: '', stderr: ''})
  const [, {config: made}] = JSON.parse((await host.xl(['list', '-l'])).stdout)
  t.match(made.b_info, {kernel: /vmlinuz$/, ramdisk: /initrd\.gz$/, cmdline: 'console=hvc0 quiet'})
  t.match(await host.xl(['create', '-q', host.file('b.cfg', 'name="b"\nimage="beos"\n')]), {
    status: 1,
    stderr: /there is no image "beos"/,
  })
})

/** Runs npm start's program with no terminal. */
async function startOnce(host: TestHost): Promise<{status: number; stdout: string; stderr: string}> {
  const written = {stdout: '', stderr: ''}
  const sink = (name: 'stdout' | 'stderr'): Writable =>
    new Writable({
      write(chunk, _encoding, done) {
        written[name] += chunk
        done()
      },
    })
  const stdin = new PassThrough()
  stdin.end()
  const domainProgram = fileURLToPath(new URL('../support/fake-domain.js', import.meta.url))
  const {environment} = host
  const status = await start({environment, stdin, stdout: sink('stdout'), stderr: sink('stderr'), domainProgram})
  return {status, ...written}
}

t.test('npm start without a terminal', async t => {
  const host = hostWithCache()
  t.teardown(() => host.close())
  cacheImage(host, 'console=hvc0')
  const runs = await Promise.all([startOnce(host)])
  t.match(runs[0], {status: 0, stdout: `guest debian-${process.pid} runs\r\n`, stderr: ''})
  t.strictSame(host.directory.list(), [])
  cacheImage(host, 'crash')
  const crashed = await startOnce(host)
  t.match(
    crashed,
    {status: 1, stderr: /^the guest ended by crash; its log is ".*\.log"\n$/},
    'a script notices a crash',
  )
  t.match(readFileSync(host.directory.logPath(`debian-${process.pid}`), 'utf8'), '')
})

t.test('npm start on a terminal boots the guest, and joins it the next time', async t => {
  const host = hostWithCache()
  t.teardown(() => host.close())
  cacheImage(host, 'console=hvc0')
  const domainProgram = fileURLToPath(new URL('../support/fake-domain.js', import.meta.url))
  for (const round of ['boot', 'join']) {
    const stdin = Object.assign(new PassThrough(), {isTTY: true, setRawMode: () => {}})
    const stdout = new PassThrough()
    const session = start({environment: host.environment, stdin, stdout, stderr: new PassThrough(), domainProgram})
    await new Promise(resolve => stdout.once('data', resolve))
    stdin.write('\x1d')
    t.equal(await session, 0, round)
    t.match(host.directory.list(), [{name: 'debian', domid: 1}], 'the domain lives on')
  }
})
