/** The ramdisk: what is in it, which modules come along, and that every script in it is one a shell can read. */
import {execFileSync} from 'node:child_process'
import {gunzipSync} from 'node:zlib'
import t from 'tap'
import {firstLine, guestFiles} from '../../../lib/toolstack/images/guest-files.js'
import {buildRamdisk, dependenciesOf, programsOf} from '../../../lib/toolstack/images/ramdisk.js'
import {readArchive} from '../../support/cpio-reader.js'

// What stands before the table differs from one build of BusyBox to the next.
const programs = ['[', '[[', 'busybox', 'cttyhack', 'init', 'ls', 'modprobe', 'mount', 'poweroff', 'sh']
const busybox = Buffer.from(`some code\0other text ${programs.join('\0')}\0\0more`, 'latin1')

/** A module that needs others. */
const module = (depends: string) => Buffer.from(`\x7fELF…\0license=GPL\0depends=${depends}\0name=x\0`, 'latin1')

async function contents(modules: Record<string, Uint8Array>) {
  const ramdisk = await buildRamdisk(busybox, '6.1.0-test', async name => modules[name])
  t.same([...ramdisk.subarray(0, 2)], [0x1f, 0x8b], 'gzip')
  return new Map(readArchive(gunzipSync(ramdisk)).map(entry => [entry.path, entry]))
}

t.test('programs, files and the console', async t => {
  const files = await contents({})
  t.equal(files.get('bin/busybox')?.mode, 0o100755)
  t.ok(busybox.equals(files.get('bin/busybox')?.data ?? new Uint8Array(0)), 'BusyBox itself, no link to itself')
  for (const name of ['[', '[[', 'ls', 'mount', 'sh']) {
    t.equal(files.get(`bin/${name}`)?.mode, 0o120777, name)
    t.equal(String(files.get(`bin/${name}`)?.data), 'busybox')
  }
  t.equal(files.has('bin/poweroff'), false, 'ours takes its place')
  t.equal(String(files.get('sbin/init')?.data), '../bin/busybox')
  t.equal(String(files.get('sbin/modprobe')?.data), '../bin/busybox')
  t.same(files.get('dev/console')?.device, [5, 1])
  t.equal(files.get('init')?.mode, 0o100755)
  for (const name of ['poweroff', 'reboot', 'halt']) t.equal(files.get(`sbin/${name}`)?.mode, 0o100755)
  t.match(
    String(files.get('init')?.data),
    `#!/bin/sh\necho '${firstLine}'\n`,
    'the first line comes before anything else',
  )
})

t.test('modules come with what they need, in an order modprobe can use', async t => {
  const files = await contents({
    'xen-blkfront': module('common,xen_base'),
    'xen-netfront': module(''),
    common: module('xen_base'),
    'xen-base': module('built_in'),
  })
  const folder = 'lib/modules/6.1.0-test'
  t.same(
    [...files.keys()].filter(path => path.endsWith('.ko')).sort(),
    ['common', 'xen-base', 'xen-blkfront', 'xen-netfront'].map(name => `${folder}/${name}.ko`),
  )
  t.same(
    String(files.get(`${folder}/modules.dep`)?.data)
      .split('\n')
      .sort(),
    [
      '',
      'common.ko: xen-base.ko',
      'xen-base.ko:',
      // From last to first: the base, then what stands on it.
      'xen-blkfront.ko: common.ko xen-base.ko',
      'xen-netfront.ko:',
    ],
  )
})

t.test('what a module says it needs', t => {
  t.same(dependenciesOf(module('')), [])
  t.same(dependenciesOf(module('crc32c_generic,jbd2')), ['crc32c-generic', 'jbd2'])
  t.same(dependenciesOf(Buffer.from('nothing here')), [])
  t.end()
})

t.test('a BusyBox that is none', t => {
  t.same(programsOf(busybox), programs)
  for (const text of ['', 'no table', '\0[\0[[\0ls\0\0', '\0[\0[[\0endless']) {
    t.throws(() => programsOf(Buffer.from(text, 'latin1')), {name: 'OperatorError'})
  }
  t.end()
})

t.test('the scripts are shell scripts', t => {
  for (const {path, data} of guestFiles) {
    if (!String(data).startsWith('#!/bin/sh') && path !== 'etc/profile') continue
    t.doesNotThrow(() => execFileSync('sh', ['-n'], {input: data, stdio: ['pipe', 'ignore', 'pipe']}), path)
  }
  t.end()
})
