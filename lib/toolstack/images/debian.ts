/**
 * The image "debian": the kernel of Debian's current linux-image-cloud-amd64, unchanged, and a ramdisk built from its modules and
 * Debian's busybox-static.
 *
 * linux-image-cloud-amd64 is an empty package that depends on the kernel of the day; that dependency is looked up. Kernels from
 * Debian 13 on keep their modules xz-compressed; those few we need are unpacked here, so that the guest need not.
 * Source: Debian kernel handbook, chapter 2.
 */
import {copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {basename, join} from 'node:path'
import {OperatorError} from '../../base/errors.js'
import {Apt, byHandHint, type Machine, thisMachine} from './apt.js'
import type {ImageManifest} from './catalogue.js'
import {buildRamdisk, dashed} from './ramdisk.js'

const newestKernel = 'linux-image-cloud-amd64'
const busyboxPackage = 'busybox-static'

/** Builds the image; see Recipe in catalogue.ts. Errors: OperatorError. */
export async function buildDebianImage(
  target: string,
  scratch: string,
  report: (text: string) => void,
  machine: Machine = thisMachine,
): Promise<Omit<ImageManifest, 'recipe'>> {
  const apt = await Apt.open(scratch, newestKernel, report, machine)
  const depends = (await apt.field(newestKernel, 'Depends')) ?? ''
  const kernelPackage = /\blinux-image-[\w.+~-]+-cloud-amd64\b/.exec(depends)?.[0]
  if (kernelPackage === undefined) throw unexpected(`package "${newestKernel}" depends on no kernel: "${depends}"`)
  const packages: Record<string, string> = {}
  for (const name of [kernelPackage, busyboxPackage]) packages[name] = (await apt.field(name, 'Version')) ?? 'unknown'
  const root = join(scratch, 'root')
  await apt.unpack([kernelPackage, busyboxPackage], root)

  report('building the ramdisk')
  const release = kernelPackage.slice('linux-image-'.length)
  const kernel = join(root, 'boot', `vmlinuz-${release}`)
  const busybox = ['bin/busybox', 'usr/bin/busybox'].map(path => join(root, path)).find(existsSync)
  if (!existsSync(kernel)) throw unexpected(`package "${kernelPackage}" holds no boot/vmlinuz-${release}`)
  if (busybox === undefined) throw unexpected(`package "${busyboxPackage}" holds no bin/busybox`)
  copyFileSync(kernel, join(target, 'vmlinuz'))
  const modules = moduleFiles(root, release)
  const ramdisk = await buildRamdisk(readFileSync(busybox), release, async name => readModule(modules.get(name)))
  writeFileSync(join(target, 'initrd.gz'), ramdisk)
  return {packages, release, cmdline: 'console=hvc0'}
}

/** Every module of that kernel: name with dashes to path. */
function moduleFiles(root: string, release: string): Map<string, string> {
  const files = new Map<string, string>()
  const base = ['lib/modules', 'usr/lib/modules'].map(path => join(root, path, release)).find(existsSync)
  if (base === undefined) throw unexpected(`the kernel's package holds no modules for "${release}"`)
  for (const path of readdirSync(base, {recursive: true, encoding: 'utf8'})) {
    const name = /^(.+)\.ko(?:\.xz)?$/.exec(basename(path))?.[1]
    if (name !== undefined) files.set(dashed(name), join(base, path))
  }
  return files
}

async function readModule(path: string | undefined): Promise<Uint8Array | undefined> {
  if (path === undefined) return undefined
  if (!path.endsWith('.xz')) return readFileSync(path)
  try {
    const {execa} = await import('execa')
    return (await execa('xz', ['--decompress', '--stdout', path], {encoding: 'buffer'})).stdout
  } catch (cause) {
    throw new OperatorError(`cannot unpack the kernel module "${basename(path)}" with xz`, {
      hint: 'install the package xz-utils',
      cause,
    })
  }
}

function unexpected(what: string): OperatorError {
  return new OperatorError(`Debian's packages are not as expected: ${what}`, {hint: byHandHint})
}
