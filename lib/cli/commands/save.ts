/** `xl save`: a domain into a file. */
import {randomUUID} from 'node:crypto'
import {rmSync} from 'node:fs'
import {resolve} from 'node:path'
import type {Writable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import type {DomainConfig} from '../../control/domain-config.js'
import type {DomainRecord} from '../../control/host-directory.js'
import type {AfterSave} from '../../control/protocol.js'
import {draftPath, encodeSaveHead} from '../../control/save-file.js'
import {DomainGoneError} from '../../control/socket.js'
import {readConfigFile} from '../../toolstack/config-file.js'
import type {Host} from '../../toolstack/host.js'
import {command, recordOf} from '../command.js'

/** The same stream into a pipe; what reads it may be on another host. */
async function saveToPipe(host: Host, record: DomainRecord, config: DomainConfig, after: AfterSave, out: Writable) {
  const id = randomUUID()
  const domain = await host.connect(record)
  const sending = await host.connect(record)
  try {
    if (after === 'pause') await domain.request('pause', {})
    await pipeline(await sending.send({live: after === 'run', config, id, isMigration: false}), out, {end: false})
    await domain.request('sent', {id})
    await domain.request('migrated', {id, outcome: after === 'end' ? 'accepted' : 'refused'})
  } finally {
    // Without an outcome the domain goes on.
    sending.close()
    domain.close()
  }
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
    const {config} = await host.ask(record, 'status', {})
    const saved: DomainConfig = {
      ...config,
      ...(configFile === undefined ? {} : (await readConfigFile(configFile, [])).config),
      ...(options.D ? {domid: record.domid} : {}),
    }
    const after: AfterSave = options.c ? 'run' : options.p ? 'pause' : 'end'
    report.error(`Saving to ${file} new xl format (info ${encodeSaveHead(saved).info})`)
    try {
      if (file === '-') await saveToPipe(host, record, saved, after, context.world.stdout)
      else {
        const [path, compress] = [resolve(file), options.zstd === true]
        await host.ask(record, 'save', {path, after, config: saved, compress, durable: true})
      }
    } catch (error) {
      if (error instanceof DomainGoneError) rmSync(draftPath(resolve(file), record.owner.pid), {force: true})
      await report.failure('save', error)
      report.error('Failed to save domain, resuming domain')
      return 1
    }
    return 0
  },
})
