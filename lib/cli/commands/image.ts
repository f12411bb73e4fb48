/** `xl image` (ours): the kernels and ramdisks that `image = "NAME"` stands for, kept in the user's cache folder. */
import {command} from '../command.js'
import {commandHelp} from '../help.js'

const image = command({
  name: 'image',
  summary: 'Fetch, list or remove catalogue images',
  usage: '<fetch|list|rm> [Name]',
  minimumArguments: 1,
  maximumArguments: 2,
  options: [],
  async run({report, world, arguments: [action, name]}) {
    const catalogue = await import('../../toolstack/images/catalogue.js')
    const cacheDir = catalogue.imageCacheDir(world.environment)
    if (action === 'list' && name === undefined) {
      for (const line of await catalogue.listImages(cacheDir)) report.print(describe(line))
      return 0
    }
    if (action === 'fetch' && name !== undefined) {
      const progress = await report.progress(`image "${name}"`)
      try {
        const {kernel, ramdisk} = await catalogue.fetchImage(name, {
          cacheDir,
          report: (line: string) => progress.text(line),
        })
        progress.succeed(`image "${name}" is ready`)
        report.print(`kernel  ${kernel}`)
        report.print(`ramdisk ${ramdisk}`)
      } catch (error) {
        progress.fail()
        throw error
      }
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
