/**
 * From a checked configuration to a running domain, as `xl create` and `npm start` do it: fetch the image the configuration names,
 * look whether the kernel is there, start the domain, attach the console before it runs so that nothing it prints is missed.
 */
import {accessSync, constants, statSync} from 'node:fs'
import {OperatorError} from '../base/errors.js'
import type {DomainConfig} from '../control/domain-config.js'
import type {DomainRecord} from '../control/host-directory.js'
import type {DomainEnd} from '../control/protocol.js'
import {DomainGoneError} from '../control/socket.js'
import {readConfigFile} from '../toolstack/config-file.js'
import type {Host} from '../toolstack/host.js'
import type {SavedDomain} from '../toolstack/saved-domain.js'
import {runSession} from './console-session.js'
import {fetchWithProgress} from './image-progress.js'
import type {Report, World} from './report.js'

/** How a domain is started. */
export interface StartOptions {
  /** Leave it paused. */
  paused: boolean
  /** Attach the console until it ends or the person leaves. */
  console: boolean
  /** Stay until the domain is gone, or kept after its shutdown. */
  foreground: boolean
}

/** Fills in what the configuration's image stands for. */
export async function withImage(config: DomainConfig, report: Report, world: World): Promise<DomainConfig> {
  if (config.image === undefined) return config
  const image = await fetchWithProgress(config.image, report, world)
  const cmdline = [image.cmdline, config.cmdline].filter(part => part !== undefined && part !== '').join(' ')
  return {...config, kernel: image.kernel, ramdisk: config.ramdisk ?? image.ramdisk, cmdline}
}

/** The configuration in a file that is to stand in for that of a domain there is. Errors: as readConfigFile; OperatorError for what no guest can have here. */
export async function readStandIn(file: string, uuid: string, report: Report, world: World): Promise<DomainConfig> {
  const {config, notices, refusals} = await readConfigFile(file, [], uuid)
  for (const notice of notices) report.error(`notice: ${notice}`)
  if (refusals.length > 0) throw refusals[0]
  return withImage(config, report, world)
}

/** Refuses a file that cannot be read, before a domain process is started for it. */
function checkFile(what: string, path: string | undefined): void {
  if (path === undefined) return
  try {
    if (!statSync(path).isFile()) throw Object.assign(new Error(), {code: 'EISDIR'})
    accessSync(path, constants.R_OK)
  } catch (cause) {
    const reasons: Record<string, string> = {
      ENOENT: 'no such file',
      EACCES: 'permission denied',
      EISDIR: 'it is not a file',
      ENOTDIR: 'a part of the path is not a directory',
    }
    const code = (cause as NodeJS.ErrnoException).code ?? ''
    throw new OperatorError(`cannot read the ${what} "${path}": ${reasons[code] ?? code}`, {exitCode: 3, cause})
  }
}

/**
 * Starts the domain and stays with it as long as `options` ask. Resolves to how it ended, if this was seen.
 * Errors: OperatorError; nothing of the domain is left then.
 */
export async function startDomain(
  host: Host,
  asked: DomainConfig,
  options: StartOptions,
  report: Report,
  world: World,
): Promise<DomainEnd | undefined> {
  const config = await withImage(asked, report, world)
  checkFile('kernel', config.kernel)
  checkFile('ramdisk', config.ramdisk)
  return enterDomain(host, config, options, world)
}

/** Starts a domain that needs nothing fetched, such as a saved one. Otherwise as startDomain. */
export async function enterDomain(
  host: Host,
  config: DomainConfig,
  options: StartOptions,
  world: World,
  saved?: SavedDomain,
): Promise<DomainEnd | undefined> {
  const record = await host.start(config, options.paused || options.console, saved)
  const death = options.foreground ? lookAfter(host, record) : undefined
  // It may fail while the person is still at the console.
  death?.catch(() => {})
  if (options.console) {
    const stream = await (await host.connect(record)).console()
    const session = runSession(stream, world)
    if (!options.paused) await unlessGone(host.ask(record, 'unpause', {}))
    await session
  }
  return death
}

/** Waits for an answer; a guest may be over before it comes. */
async function unlessGone<Answer>(answer: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof DomainGoneError) return undefined
    throw error
  }
}

/**
 * Looks after a domain, and whatever takes its place under its name, until the last is gone or kept; resolves to how that came to its end.
 * Errors: OperatorError when one should have taken its place and did not.
 */
async function lookAfter(host: Host, first: DomainRecord): Promise<DomainEnd> {
  for (let record = first; ; ) {
    const client = await unlessGone(host.connect(record))
    const end = client && (await unlessGone(client.request('wait', {until: 'aftermath'})))
    client?.close()
    if (end?.failed !== undefined) throw new OperatorError(end.failed.message, end.failed)
    const successor = end?.successor === undefined ? undefined : host.directory.find({key: end.successor})
    if (successor === undefined) return end ?? {domid: record.domid}
    record = successor
  }
}
