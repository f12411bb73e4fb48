/** `xl image` (ours): the kernels and ramdisks that `image = "NAME"` stands for, kept in the user's cache folder. */
import {cacheFolder} from '../../toolstack/cache-folder.js'
import {command} from '../command.js'
import {commandHelp} from '../help.js'
import {fetchWithProgress} from '../image-progress.js'

function line(name: string, size: string, version: string, summary: string): string {
  return `${name.padEnd(16)} ${size.padStart(6)}  ${version.padEnd(28)} ${summary}`
}

const image = command({
  name: 'image',
  summary: 'Fetch, list or remove catalogue images',
  usage: '<fetch|list|rm> [Name]',
  minimumArguments: 1,
  maximumArguments: 2,
  options: [],
  async run({report, world, arguments: [action, name]}) {
    const catalogue = await import('../../toolstack/images/catalogue.js')
    const cacheDir = cacheFolder(world.environment)
    if (action === 'list' && name === undefined) {
      report.print(line('Name', 'Size', 'Version', 'Summary'))
      for (const entry of await catalogue.listImages(cacheDir)) {
        const size = entry.sizeBytes === undefined ? '-' : `${Math.ceil(entry.sizeBytes / 2 ** 20)}M`
        report.print(line(entry.name, size, entry.version ?? (entry.present ? '?' : 'not fetched'), entry.summary))
      }
      return 0
    }
    if (action === 'fetch' && name !== undefined) {
      const {kernel, ramdisk} = await fetchWithProgress(name, report, world)
      report.print(`kernel  ${kernel}`)
      report.print(`ramdisk ${ramdisk}`)
      return 0
    }
    if (action === 'rm' && name !== undefined) {
      await catalogue.removeImage(name, cacheDir)
      return 0
    }
    report.error(
      `'xl image ${action}' ${['fetch', 'rm'].includes(action) ? 'requires the name of an image' : 'is not understood'}.`,
    )
    report.error('')
    report.write(commandHelp(image))
    return 2
  },
})
export default image
