/**
 * Debian's own kernel from `xl create -c` to its power-off: a stock kernel, stock programs, and results that are known from elsewhere.
 * What the guest computes is checked against this machine's processor.
 */
import {createHash} from 'node:crypto'
import t from 'tap'
import {debianImage, imageSettings, kernelTrouble} from '../support/debian-image.js'
import {realXl, TestHost} from '../support/xl.js'

t.setTimeout(280_000)

/** What `seq 1 20000` prints. */
const numbers = Array.from({length: 20_000}, (_, index) => `${index + 1}\n`).join('')

function hash(name: string): string {
  return createHash(name).update(numbers).digest('hex')
}

/** Shell text, and the line it must print. */
const work: readonly (readonly [string, string])[] = [
  ['uname -s -m', 'Linux x86_64'],
  ['cat /sys/hypervisor/type', 'xen'],
  ['nproc', '1'],
  ['seq 1 20000|sha256sum', `${hash('sha256')}  -`],
  ['seq 1 20000|md5sum', `${hash('md5')}  -`],
  ['seq 1 20000|sha512sum', `${hash('sha512')}  -`],
  ['seq 1 20000|gzip|gunzip|sha1sum', `${hash('sha1')}  -`],
  [
    'awk "BEGIN{printf \\"%.15g %.15g %d\\n\\",1/3,22/7,1e9/7}"',
    `${(1 / 3).toPrecision(15)} ${(22 / 7).toPrecision(15)} 142857142`,
  ],
  ['echo $((0x7fffffffffffffff/7%1000003))', String((0x7fffffffffffffffn / 7n) % 1000003n)],
  ['(exit 7)||echo $?', '7'],
]

const image = await debianImage()
const skip = typeof image === 'string' && image

t.test("xl create -c boots Debian's kernel, which works and powers itself off", {skip}, async t => {
  if (typeof image === 'string') return
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  const script = Buffer.from(work.map(([shell]) => shell).join('\n')).toString('base64')
  const {status, stdout, stderr} = await host.xl([
    ...['create', '-c', '-q'],
    ...imageSettings(image, 'conformance', `gastwirt.run64=${script}`),
  ])
  const lines = stdout.split('\n').map(line => line.replace(/\r+$/, ''))
  if (!lines.includes('gastwirt: exit 0')) t.comment(lines.slice(-30).join('\n'))
  t.equal(stderr, '')
  t.equal(status, 0)
  t.match(stdout, /^\[ +0\.000000\] Linux version \d+\.\d+\S* \(debian-kernel@lists\.debian\.org\)/m, 'a stock kernel')
  t.match(stdout, /^\[.*\] Booting (kernel on Xen|paravirtualized kernel on Xen PV)/m, 'which knows where it runs')
  t.match(stdout, /^Debian's Linux \S+ on x86_64, a PV guest of xen: \d+ MiB of memory, 1 CPU\r$/m, 'the banner')
  const from = lines.indexOf('gastwirt: init')
  t.ok(from > 0, "init's first line")
  const printed = lines.slice(from).filter(line => line !== '' && !line.startsWith('['))
  const said = printed.slice(-work.length - 1)
  t.strictSame(said, [...work.map(([, result]) => result), 'gastwirt: exit 0'])
  t.notMatch(stdout, kernelTrouble)
  t.strictSame(host.directory.list(), [], 'nothing is left of the domain')
})
