/**
 * The catalogue of images: what `image = "NAME"` in a configuration stands for, kept in the user's cache folder.
 *
 *   <cache>/images/<name>/        one image: vmlinuz, initrd.gz, image.json
 *   <cache>/images/.fetch-*       a fetch under way, named after its process; removed by a later fetch when that process is dead
 *
 * An image is built in a folder of its own and renamed into place complete, so there is never half an image, and of two fetches at
 * once the slower one finds the work done and drops its own. No lock is held.
 * Rule of use: a present image is returned without a look at the network. One that an older recipe built is fetched again, but
 * serves on when that fails.
 */
import {createHash} from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import {dirname, join} from 'node:path'
import {OperatorError} from '../../base/errors.js'
import {identityOf, isAlive} from '../../control/process-identity.js'
import {ramdiskVersion} from './ramdisk.js'

/** The files of an image; absolute paths. */
export interface Image {
  kernel: string
  ramdisk: string
  /** Words its kernel command line starts with. */
  cmdline?: string
}

/** One line of `xl image list`. */
export interface ImageListing {
  name: string
  summary: string
  /** Whether it is in the cache. */
  present: boolean
  /** What was fetched: the kernel's release; absent when not present. */
  version?: string
  /** Of kernel and ramdisk together; absent when not present. */
  sizeBytes?: number
}

/** What image.json says. */
export interface ImageManifest {
  /** Name and version of the packages it came from. */
  packages: Record<string, string>
  /** The kernel's release, as `uname -r` prints it. */
  release: string
  cmdline?: string
  /** Changes whenever we would build the image differently. */
  recipe: string
}

/** How one image comes about. */
export interface Recipe {
  name: string
  summary: string
  /** Any text that changes when the result would. */
  version: string
  /** Puts vmlinuz and initrd.gz into `target`; `scratch` is an empty folder that is removed afterwards. */
  build(target: string, scratch: string, report: (text: string) => void): Promise<Omit<ImageManifest, 'recipe'>>
}

/** How images are fetched. `recipes` is for tests. */
export interface FetchOptions {
  cacheDir: string
  report?: (text: string) => void
  recipes?: readonly Recipe[]
}

const kernelFile = 'vmlinuz'
const ramdiskFile = 'initrd.gz'
const manifestFile = 'image.json'

// The rest of it is loaded only when an image is built: what it needs to run programs is slow to load.
const debian: Recipe = {
  name: 'debian',
  summary: "Debian's cloud kernel with a BusyBox ramdisk",
  version: ramdiskVersion,
  async build(target, scratch, report) {
    const {buildDebianImage} = await import('./debian.js')
    return buildDebianImage(target, scratch, report)
  },
}

/** All images there are. */
export const catalogue: readonly Recipe[] = [debian]

/**
 * The image of that name, fetched when the cache has not got it.
 * Errors: OperatorError for an unknown name, a full or read-only cache folder, or when it cannot be fetched.
 */
export async function fetchImage(name: string, options: FetchOptions): Promise<Image> {
  const {cacheDir, report = () => {}} = options
  const recipe = recipeOf(name, options.recipes)
  const version = createHash('sha256').update(recipe.version).digest('hex').slice(0, 16)
  const folder = join(cacheDir, 'images', name)
  const present = readManifest(folder)
  if (present?.recipe === version) return imageIn(folder, present)
  try {
    await build(recipe, version, folder, report)
  } catch (error) {
    if (present === undefined || !(error instanceof OperatorError)) throw error
    report(`keeping the image fetched earlier: ${error.message}`)
  }
  return imageIn(folder, readManifest(folder) ?? failGone(folder))
}

/** All images of the catalogue, with what the cache has of each. */
export async function listImages(cacheDir: string, recipes: readonly Recipe[] = catalogue): Promise<ImageListing[]> {
  return recipes.map(({name, summary}) => {
    const folder = join(cacheDir, 'images', name)
    const manifest = readManifest(folder)
    if (manifest === undefined) return {name, summary, present: false}
    const sizeBytes = [kernelFile, ramdiskFile].reduce((sum, file) => sum + statSync(join(folder, file)).size, 0)
    return {name, summary, present: true, version: manifest.release, sizeBytes}
  })
}

/** Removes an image from the cache. Errors: OperatorError for an unknown name or one that is not there. */
export async function removeImage(name: string, cacheDir: string, recipes?: readonly Recipe[]): Promise<void> {
  recipeOf(name, recipes)
  const folder = join(cacheDir, 'images', name)
  if (!existsSync(folder)) {
    throw new OperatorError(`image "${name}" has not been fetched`, {hint: 'xl image list shows which have'})
  }
  try {
    rmSync(folder, {recursive: true})
  } catch (cause) {
    throw unwritable(cacheDir, cause)
  }
}

function recipeOf(name: string, recipes: readonly Recipe[] = catalogue): Recipe {
  const recipe = recipes.find(candidate => candidate.name === name)
  if (recipe) return recipe
  throw new OperatorError(`there is no image "${name}"`, {
    hint: `images are: ${recipes.map(candidate => candidate.name).join(', ')}; for another system give kernel= and ramdisk=`,
  })
}

/** The manifest of a complete image; undefined for anything else. */
function readManifest(folder: string): ImageManifest | undefined {
  if (!existsSync(join(folder, kernelFile)) || !existsSync(join(folder, ramdiskFile))) return undefined
  try {
    return JSON.parse(readFileSync(join(folder, manifestFile), 'utf8'))
  } catch {
    return undefined
  }
}

function imageIn(folder: string, manifest: ImageManifest): Image {
  const image: Image = {kernel: join(folder, kernelFile), ramdisk: join(folder, ramdiskFile)}
  return manifest.cmdline === undefined ? image : {...image, cmdline: manifest.cmdline}
}

async function build(recipe: Recipe, version: string, folder: string, report: (text: string) => void): Promise<void> {
  const parent = join(folder, '..')
  const work = makeWorkFolder(parent)
  try {
    const target = join(work, 'image')
    const scratch = join(work, 'scratch')
    mkdirSync(target)
    mkdirSync(scratch)
    const manifest: ImageManifest = {...(await recipe.build(target, scratch, report)), recipe: version}
    writeFileSync(join(target, manifestFile), `${JSON.stringify(manifest, undefined, 2)}\n`)
    putInPlace(target, folder, version, work)
  } catch (error) {
    throw error instanceof OperatorError || !isFileError(error) ? error : unwritable(parent, error)
  } finally {
    rmSync(work, {recursive: true, force: true})
  }
}

/** Renames the finished image into place, moving away what is older; what another fetch has just built stays. */
function putInPlace(target: string, folder: string, version: string, work: string): void {
  for (let attempt = 0; ; attempt++) {
    try {
      renameSync(target, folder)
      return
    } catch (error) {
      // ENOTEMPTY or EEXIST: something is there.
      if (!existsSync(folder) || attempt === 10) throw error
    }
    if (readManifest(folder)?.recipe === version) return
    try {
      renameSync(folder, join(work, `old-${attempt}`))
    } catch (error) {
      // Gone: another fetch was quicker.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
}

/** A new folder for this fetch; those of dead processes are swept away. */
function makeWorkFolder(parent: string): string {
  try {
    makeFolders(parent)
    for (const name of readdirSync(parent)) {
      const [, pid, startTime] = /^\.fetch-(\d+)-(\d*)-/.exec(name) ?? []
      if (pid !== undefined && !isAlive({pid: Number(pid), startTime})) {
        rmSync(join(parent, name), {recursive: true, force: true})
      }
    }
    const {pid, startTime} = identityOf()
    return mkdtempSync(join(parent, `.fetch-${pid}-${startTime}-`))
  } catch (cause) {
    throw unwritable(parent, cause)
  }
}

/** mkdir -p. Not Node's own, which never ends where a folder exists that takes no others, such as /proc. */
function makeFolders(path: string): void {
  if (existsSync(path)) return
  makeFolders(dirname(path))
  try {
    mkdirSync(path)
  } catch (error) {
    // Another fetch made it meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

function isFileError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && 'code' in error
}

function unwritable(folder: string, cause: unknown): OperatorError {
  const code = (cause as NodeJS.ErrnoException).code ?? ''
  const reasons: Record<string, string> = {
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    EROFS: 'the file system is read-only',
    ENOSPC: 'no space left',
    EDQUOT: 'the disk quota is used up',
    ENOENT: 'no folder can be made there',
    ENOTDIR: 'a part of the path is not a folder',
  }
  return new OperatorError(
    `cannot write to the image cache "${folder}": ${reasons[code] ?? (cause as Error).message}`,
    {
      hint: 'set XDG_CACHE_HOME to a folder that can be written and has 300 MB free',
      cause,
    },
  )
}

function failGone(folder: string): never {
  throw new OperatorError(`the image in "${folder}" was removed while it was being fetched`, {
    hint: 'run the command again',
  })
}
