/**
 * The files a domain is built from. They are read anew for each build, as xl does after a reboot: an unpacked kernel has the size of a
 * small guest, and nobody needs it between two boots.
 */
import {readFile} from 'node:fs/promises'
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
    config.ramdisk === undefined ? undefined : readInput('ramdisk', config.ramdisk),
  ])
  const kernel = await readKernelImage(file, config.kernel)
  return ramdisk === undefined ? {kernel} : {kernel, ramdisk}
}

/** A file the configuration names. */
async function readInput(what: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path)
  } catch (cause) {
    throw new OperatorError(`cannot read the ${what} "${path}": ${cause instanceof Error ? cause.message : cause}`, {
      exitCode: 3,
      cause,
    })
  }
}
