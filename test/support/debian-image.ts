/**
 * The image "debian" for tests that boot it: from the user's cache, or fetched as `xl create` would. Where neither is possible the
 * tests that need it are skipped, and say why.
 */
import {OperatorError} from '../../lib/base/errors.js'
import {cacheFolder} from '../../lib/toolstack/cache-folder.js'
import {fetchImage, type Image} from '../../lib/toolstack/images/catalogue.js'

/** The image, or in words why there is none here. */
export async function debianImage(): Promise<Image | string> {
  try {
    return await fetchImage('debian', {cacheDir: cacheFolder(process.env)})
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    return `the image "debian" is not in the cache and cannot be fetched: ${error.message}`
  }
}

/** What `xl create` takes for a domain of the image; `words` go to its kernel's command line. */
export function imageSettings(image: Image, name: string, words: string): string[] {
  return [
    `name="${name}"`,
    `kernel="${image.kernel}"`,
    `ramdisk="${image.ramdisk}"`,
    'memory=192',
    `cmdline="${image.cmdline ?? ''} ${words}"`,
    'on_crash="destroy"',
  ]
}

/** What a kernel prints when something is wrong with it. */
export const kernelTrouble =
  /BUG:|WARNING:|Call Trace:|Oops|general protection|invalid opcode|segfault|\(\*\*\*\*\*\)|Kernel panic/
