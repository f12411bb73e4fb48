/** `xl save`: a domain into a file, or into a pipe. */
import {randomUUID} from 'node:crypto'
import {createWriteStream, realpathSync, statSync} from 'node:fs'
import {resolve} from 'node:path'
import type {Writable} from 'node:stream'
import {finished} from 'node:stream/promises'
import {OperatorError} from '../../base/errors.js'
import type {DomainConfig} from '../../control/domain-config.js'
import type {DomainRecord} from '../../control/host-directory.js'
import type {PieceQueue} from '../../control/piece-queue.js'
import type {AfterSave} from '../../control/protocol.js'
import {encodeSaveHead} from '../../control/save-file.js'
import {DomainGoneError} from '../../control/socket.js'
import type {Host} from '../../toolstack/host.js'
import {command, recordOf} from '../command.js'
import {readStandIn} from '../start-domain.js'

/** What is to be saved, and what becomes of it. */
interface Task {
  readonly record: DomainRecord
  readonly config: DomainConfig
  readonly after: AfterSave
  readonly compress: boolean
}

/** The stream into a pipe; what reads it may be on another host. `end`: nothing else goes into it. */
async function saveToPipe(
  host: Host,
  {record, config, after, compress}: Task,
  out: Writable,
  end: boolean,
): Promise<void> {
  const id = randomUUID()
  const domain = await host.connect(record)
  let stream: PieceQueue | undefined
  try {
    stream = await host.openStream(record, {live: after === 'run', config, id, isMigration: false, compress})
    try {
      await stream.writeTo(out)
      if (end) await finished(out.end())
    } catch (cause) {
      throw new OperatorError(`the saved domain cannot be written: ${(cause as Error).message}`, {cause})
    }
    await domain.request('sent', {id})
    if (after === 'pause') await domain.request('pause', {})
    await domain.request('migrated', {id, outcome: after === 'end' ? 'accepted' : 'refused'})
    if (after === 'end') await domain.closed
  } catch (error) {
    // The domain goes on; whoever sees this end may save it again at once.
    stream?.close()
    await domain.request('migrated', {id, outcome: 'refused'}).catch(() => {})
    throw error
  } finally {
    stream?.close()
    domain.close()
  }
}

/** Into a file, which appears when it is whole. Resolves when the domain is gone, if it is to end: then its name is free. */
async function saveToFile(host: Host, {record, config, after, compress}: Task, path: string): Promise<void> {
  const domain = await host.connect(record)
  try {
    await domain.request('save', {path, after, config, compress, isScratch: false})
    if (after === 'end') await domain.closed
  } catch (error) {
    // A process that was killed has left what it had written.
    if (error instanceof DomainGoneError && (await host.wasKilled(record))) host.directory.release(record.key)
    throw error
  } finally {
    domain.close()
  }
}

/** What a path leads to: a file of that name, there or not yet, or something that bytes go into. Errors: OperatorError for a folder. */
function target(path: string): {path: string} | {device: string} {
  if (path === '') throw new OperatorError('the name of the file is empty')
  let real: string
  try {
    real = realpathSync(path)
  } catch {
    return {path: resolve(path)}
  }
  const found = statSync(real)
  if (found.isDirectory()) throw new OperatorError(`cannot write "${path}": it is a folder`)
  return found.isFile() ? {path: real} : {device: real}
}

/** Errors: OperatorError when a domain cannot be restored with a configuration that is not its own. */
function checkMemory(config: DomainConfig, own: DomainConfig, domid: number, file: string): void {
  if (config.maxMemoryKb === own.maxMemoryKb) return
  const mib = (kb: number) => Math.ceil(kb / 1024)
  throw new OperatorError(`"${file}" is for a domain of ${mib(config.maxMemoryKb)} MiB`, {
    hint: `domain ${domid} was built for ${mib(own.maxMemoryKb)} MiB: "maxmem", or "memory" where there is none`,
  })
}

export default command({
  name: 'save',
  summary: 'Save a domain state to restore later',
  usage: '[options] <Domain> <CheckpointFile> [<ConfigFile>]',
  minimumArguments: 2,
  maximumArguments: 3,
  modifies: true,
  options: [
    ['-c', 'Leave domain running after creating the snapshot'],
    ['-p', 'Leave domain paused after creating the snapshot'],
    ['-D', 'Preserve the domain id'],
    ['-z, --zstd', 'Compress the pages of memory with zstd (such a file is read, not mapped, when it is restored)'],
  ],
  async run(context) {
    const {host, report, options, arguments: words} = context
    const [identifier, file, configFile] = words
    const record = recordOf(context, identifier, 'libxl_domain_suspend')
    if (record === undefined) return 1
    try {
      const {config: own} = await host.ask(record, 'status', {})
      const given = configFile === undefined ? own : await readStandIn(configFile, own.uuid, report, context.world)
      checkMemory(given, own, record.domid, configFile ?? '')
      const config = options.D ? {...given, domid: record.domid} : given
      const after = options.p ? 'pause' : options.c ? 'run' : 'end'
      const task: Task = {record, config, after, compress: options.zstd === true}
      report.error(`Saving to ${file} new xl format (info ${encodeSaveHead(config).info})`)
      const place = file === '-' ? undefined : target(file)
      if (place === undefined) await saveToPipe(host, task, context.world.stdout, false)
      else if ('device' in place) await saveToPipe(host, task, createWriteStream(place.device), true)
      else await saveToFile(host, task, place.path)
      return 0
    } catch (error) {
      await report.failure('save', error)
      if (!(error instanceof DomainGoneError)) report.error('Failed to save domain, resuming domain')
      return 1
    }
  },
})
