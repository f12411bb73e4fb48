/** Fetching an image, shown to the person who waits; one that is there already is used without a word. */
import {cacheFolder} from '../toolstack/cache-folder.js'
import type {Image} from '../toolstack/images/catalogue.js'
import type {Progress, Report, World} from './report.js'

/** The image, fetched if it is missing. Errors: OperatorError. */
export async function fetchWithProgress(name: string, report: Report, world: World): Promise<Image> {
  const catalogue = await import('../toolstack/images/catalogue.js')
  let progress: Promise<Progress> | undefined
  const tell = (text: string): void => {
    if (progress === undefined) progress = report.progress(`image "${name}": ${text}`)
    else void progress.then(shown => shown.text(`image "${name}": ${text}`))
  }
  try {
    const cacheDir = cacheFolder(world.environment)
    const image = await catalogue.fetchImage(name, {cacheDir, report: tell})
    ;(await progress)?.succeed(`image "${name}" is ready`)
    return image
  } catch (error) {
    ;(await progress)?.fail()
    throw error
  }
}
