/**
 * What `xl create` is given and no domain can be made of, by the real xl with real domain processes: each is refused with a reason, in the
 * time that reading it takes, and nothing of it stays, so the next domain of that name starts.
 */
import {existsSync, readdirSync, truncateSync} from 'node:fs'
import {totalmem} from 'node:os'
import {join} from 'node:path'
import {gzipSync} from 'node:zlib'
import t from 'tap'
import {makeBzImage, makeElf} from '../support/made-up-kernel.js'
import {Shutdown, TinyGuest} from '../support/tiny-guest.js'
import {realXl, TestHost} from '../support/xl.js'

t.setTimeout(280_000)

const good = new TinyGuest().print('it runs\r\n').shutDown(Shutdown.poweroff).kernel()
const packed = makeBzImage(gzipSync(makeElf()))
const random = Uint8Array.from({length: 100_000}, (_, index) => (Math.imul(index + 1, 0x9e3779b1) >>> 13) & 0xff)

function arm64Image(): Uint8Array {
  const image = Buffer.alloc(1 << 20)
  image.write('ARMd', 0x38, 'latin1')
  return image
}

const kernels: Record<string, {file: Uint8Array; says: RegExp}> = {
  'an empty file': {file: new Uint8Array(0), says: /^xl: create: kernel ".*" is empty\n/},
  'random bytes': {file: random, says: /is neither a bzImage nor an ELF file; it starts with [0-9a-f ]{11}\n/},
  'a bzImage that ends early': {file: packed.subarray(0, packed.length >> 1), says: /is cut off: as a bzImage it has/},
  'a bzImage whose payload is broken': {
    file: Uint8Array.from(packed).fill(0xff, 3000, 3100),
    says: /kernel ".*" .*broken gzip data/,
  },
  'an ELF file that ends early': {file: good.subarray(0, good.length >> 1), says: /is cut off: a segment goes to byte/},
  'a kernel without Xen notes': {file: makeElf({notes: {}}), says: /is not a Xen PV kernel: it has no Xen ELF notes\n/},
  'a PVH kernel': {file: makeElf({notes: {6: 'linux', 18: 0x1000850n}}), says: /PVH guest but not as a PV guest/},
  'an ARM kernel': {file: arm64Image(), says: /64-bit ARM/},
  'an ELF file for ARM': {file: makeElf({machine: 183}), says: /is a kernel for 64-bit ARM, not for x86-64\n/},
  'a 32-bit kernel': {file: makeElf({is64: false, machine: 3}), says: /is a 32-bit x86 kernel; only 64-bit PV guests/},
}

t.test('kernels, ramdisks and sizes', async t => {
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  const kernel = host.file('tiny', good)
  const config = (file: string) => host.file('k.cfg', `name = "k"\nkernel = "${file}"\nmemory = 8\n`)
  const refused = async (words: string[], status: number, says: RegExp, what: string): Promise<void> => {
    const outcome = await host.xl(['create', '-q', ...words])
    t.match(outcome, {status, stdout: '', stderr: says}, what)
    t.notMatch(outcome.stderr, /internal error|^\s+at /m, 'in words')
    t.strictSame(readdirSync(join(host.path, 'domains')), [], 'nothing is left of it')
    t.notOk(existsSync(join(host.path, 'lock')))
  }

  for (const [what, {file, says}] of Object.entries(kernels)) {
    await refused([config(host.file('bad', file))], 3, says, what)
  }
  const ramdisk = host.file('ramdisk', new Uint8Array(7 << 20))
  await refused(
    [config(kernel), `ramdisk="${ramdisk}"`],
    3,
    /^xl: create: memory of 8 MiB does not hold kernel ".*tiny" of 1 MiB loaded at 1 MiB, a ramdisk of 7 MiB and the first page tables\nhint: they fit in memory = \d+ or more/,
    'a kernel and a ramdisk that do not fit together',
  )
  truncateSync(ramdisk, 3 * 2 ** 30)
  await refused(
    [config(kernel), `ramdisk="${ramdisk}"`],
    3,
    /^xl: create: memory of 8 MiB does not hold a ramdisk of 3072 MiB\nhint: give more than memory = 3072: .*\n$/,
    'a ramdisk larger than the memory, which is not read',
  )
  await refused([config(kernel), 'memory=1'], 3, /^xl: create: memory of 1 MiB does not hold kernel/, 'memory = 1')
  const most = Math.floor(totalmem() / 2 ** 20)
  await refused(
    [config(kernel), `memory=${most + 1}`],
    3,
    new RegExp(
      `^xl: create: failed to free memory for the domain\nhint: "k" wants ${most + 1} MiB; the host has \\d+ MiB free of \\d+ MiB\n$`,
    ),
    'more memory than the host has',
  )

  t.match(await host.xl(['create', '-c', '-q', config(kernel), 'memory=5']), {
    status: 0,
    stdout: 'it runs\r\n',
    stderr: '',
  })
})
