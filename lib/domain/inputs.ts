/**
 * The files a domain is built from. They are read anew for each build, as xl does after a reboot: an unpacked kernel has the size of a
 * small guest, and nobody needs it between two boots.
 */
import {readFile, stat} from 'node:fs/promises'
import {OperatorError} from '../base/errors.js'
import type {DomainConfig} from '../control/domain-config.js'
import {type KernelImage, readKernelImage} from './kernel-image.js'

/** What the builder is given. */
export interface Inputs {
  readonly kernel: KernelImage
  readonly ramdisk?: Uint8Array
}

/** Reads them. Errors: OperatorError. */
export async function readInputs(config: DomainConfig): Promise<Inputs> {
  if (config.kernel === undefined) throw new OperatorError('neither kernel nor image given', {exitCode: 3})
  const [file, ramdisk] = await Promise.all([
    readInput('kernel', config.kernel),
    config.ramdisk === undefined ? undefined : readRamdisk(config.ramdisk, config.memoryKb * 1024),
  ])
  const kernel = await readKernelImage(file, config.kernel)
  return ramdisk === undefined ? {kernel} : {kernel, ramdisk}
}

/** What cannot fit is not read: this process would need the memory that the guest does not have. */
async function readRamdisk(path: string, memoryBytes: number): Promise<Uint8Array> {
  const {size} = await stat(path).catch(cause => unreadable('ramdisk', path, cause))
  if (size > memoryBytes) {
    const mebibytes = (bytes: number): number => Math.ceil(bytes / 2 ** 20)
    throw new OperatorError(
      `memory of ${mebibytes(memoryBytes)} MiB does not hold a ramdisk of ${mebibytes(size)} MiB`,
      {hint: `give more than memory = ${mebibytes(size)}: the kernel and its page tables come on top`, exitCode: 3},
    )
  }
  return readInput('ramdisk', path)
}

/** A file the configuration names. */
async function readInput(what: string, path: string): Promise<Uint8Array> {
  return readFile(path).catch(cause => unreadable(what, path, cause))
}

function unreadable(what: string, path: string, cause: unknown): never {
  throw new OperatorError(`cannot read the ${what} "${path}": ${cause instanceof Error ? cause.message : cause}`, {
    exitCode: 3,
    cause,
  })
}
