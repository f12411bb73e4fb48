/**
 * The ramdisk of the image "debian": BusyBox under the names of all its programs, the kernel modules a PV guest needs, and the
 * files of guest-files.ts, as one gzip'd archive.
 *
 *   /bin/busybox, /bin/<program>   every program of that BusyBox is a link to it
 *   /lib/modules/<release>         the modules, flat, with a modules.dep of our own for modprobe
 *   /dev/console                   so that the first program has a console before /dev is mounted
 *
 * Debian's packages carry no modules.dep (depmod makes it on installation), so each module's dependencies are read from its
 * `depends=` line.
 * Source: Linux Documentation/kbuild/modules.rst (modinfo); modules.dep(5).
 */
import {gzipSync} from 'node:zlib'
import {OperatorError} from '../../base/errors.js'
import {type ArchiveEntry, writeArchive} from './cpio.js'
import {guestFiles} from './guest-files.js'

/** The modules the guest gets, besides what they depend on. */
export const guestModules: readonly string[] = ['xen-blkfront', 'xen-netfront']

/** Changes when the ramdisk would be built differently. The number counts changes that the rest does not show. */
export const ramdiskVersion = JSON.stringify([1, guestFiles, guestModules])

/** A kernel's modules: name with dashes to the bytes of the .ko, uncompressed; undefined where the kernel has no such module. */
export type ModuleSource = (name: string) => Promise<Uint8Array | undefined>

const folders = ['bin', 'sbin', 'dev', 'etc', 'etc/init.d', 'lib', 'lib/modules', 'proc', 'root', 'run', 'sys', 'tmp']

/** Programs for which the archive has a file of its own. */
const replaced = new Set(['busybox', 'init', 'poweroff', 'reboot', 'halt', 'linuxrc'])

/**
 * The ramdisk, gzip'd.
 * Errors: OperatorError when `busybox` is not a BusyBox.
 */
export async function buildRamdisk(busybox: Uint8Array, release: string, modules: ModuleSource): Promise<Buffer> {
  const entries: ArchiveEntry[] = folders.map(path => ({
    kind: 'directory',
    path,
    mode: path === 'root' ? 0o700 : 0o755,
  }))
  entries.push({kind: 'character-device', path: 'dev/console', major: 5, minor: 1})
  entries.push({kind: 'file', path: 'bin/busybox', data: busybox, mode: 0o755})
  for (const program of programsOf(busybox)) {
    if (!replaced.has(program)) entries.push({kind: 'link', path: `bin/${program}`, target: 'busybox'})
  }
  entries.push({kind: 'link', path: 'sbin/init', target: '../bin/busybox'})
  // The kernel calls modprobe by this path.
  entries.push({kind: 'link', path: 'sbin/modprobe', target: '../bin/busybox'})
  for (const file of guestFiles) entries.push({kind: 'file', ...file})
  entries.push(...(await moduleEntries(release, modules)))
  return gzipSync(writeArchive(entries), {level: 9})
}

/** The names a BusyBox answers to, from the table of NUL-ended names in its program file. It is sorted and starts with "[", "[[". */
export function programsOf(busybox: Uint8Array): string[] {
  const bytes = Buffer.from(busybox.buffer, busybox.byteOffset, busybox.byteLength)
  const start = bytes.indexOf('[\0[[\0', 0, 'latin1')
  const end = start < 0 ? -1 : bytes.indexOf('\0\0', start, 'latin1')
  const programs = end < 0 ? [] : bytes.toString('latin1', start, end).split('\0')
  if (!['cttyhack', 'init', 'modprobe', 'mount', 'sh'].every(name => programs.includes(name))) {
    throw new OperatorError('the package busybox-static holds no BusyBox with the programs a guest needs', {
      hint: 'give kernel= and ramdisk= in the configuration instead of image=',
    })
  }
  return programs
}

/** The modules that `module` (a .ko) needs, by name with dashes. */
export function dependenciesOf(module: Uint8Array): string[] {
  const text = Buffer.from(module.buffer, module.byteOffset, module.byteLength)
  const start = text.indexOf('\0depends=', 0, 'latin1')
  if (start < 0) return []
  const from = start + '\0depends='.length
  const list = text.toString('latin1', from, text.indexOf(0, from))
  return list === '' ? [] : list.split(',').map(dashed)
}

async function moduleEntries(release: string, modules: ModuleSource): Promise<ArchiveEntry[]> {
  const folder = `lib/modules/${release}`
  const found = new Map<string, {data: Uint8Array; needs: string[]}>()
  const queue = [...guestModules]
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    if (found.has(name)) continue
    const data = await modules(name)
    // Not a module: then it is built in, or this kernel does without.
    if (data === undefined) continue
    const needs = dependenciesOf(data)
    found.set(name, {data, needs})
    queue.push(...needs)
  }
  // modprobe loads a line's modules from last to first: whatever is needed must stand behind what needs it.
  const orderOf = (name: string, order: Set<string> = new Set()): Set<string> => {
    for (const need of found.get(name)?.needs ?? []) if (found.has(need) && !order.has(need)) orderOf(need, order)
    return order.add(name)
  }
  const lines = [...found.keys()].map(name => {
    const needs = [...orderOf(name)].reverse().slice(1)
    return `${name}.ko:${needs.map(need => ` ${need}.ko`).join('')}\n`
  })
  return [
    {kind: 'directory', path: folder},
    ...[...found].map(([name, {data}]): ArchiveEntry => ({kind: 'file', path: `${folder}/${name}.ko`, data})),
    {kind: 'file', path: `${folder}/modules.dep`, data: lines.join('')},
  ]
}

/** Module names are written with dashes or underscores alike; this is the one we use. */
export function dashed(name: string): string {
  return name.replaceAll('_', '-')
}
