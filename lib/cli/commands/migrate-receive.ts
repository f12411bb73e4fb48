/** `xl migrate-receive`: the other end of `xl migrate`, started by its transport; standard input and output are the talk of control/handshake.ts. */
import {writeSync} from 'node:fs'
import {OperatorError} from '../../base/errors.js'
import * as handshake from '../../control/handshake.js'
import type {DomainRecord} from '../../control/host-directory.js'
import {MigrationTokens} from '../../control/migration-tokens.js'
import {readSaveHead} from '../../control/save-file.js'
import type {ControlClient} from '../../control/socket.js'
import type {Host} from '../../toolstack/host.js'
import {readBytes} from '../../toolstack/saved-domain.js'
import {command} from '../command.js'
import type {Report} from '../report.js'

const [input, output] = [0, 1]

export default command({
  name: 'migrate-receive',
  summary: 'Restore a domain from a saved state',
  usage: '- for internal use only',
  minimumArguments: 0,
  maximumArguments: 0,
  modifies: true,
  options: [
    ['-e', 'Do not wait in the background for the death of the domain: what its on_... keys say is not done'],
    ['-p', 'Do not unpause the domain'],
    ['-d', 'Accepted for compatibility: more detail is in the log'],
    ['-F', 'Accepted for compatibility: the domain has a process of its own'],
  ],
  async run({host, report, options}) {
    report.error('migration target: Ready to receive domain.')
    say(handshake.banner)
    const first = await readBytes(input, handshake.questionBytes)
    const token = handshake.tokenAsked(first.toString('latin1'))
    if (token !== undefined) {
      say(`${new MigrationTokens(host.directory.path).outcome(token)}\0`)
      return 0
    }
    const {record, name} = await arrive(host, first, options.e === true, report)
    let copy: ControlClient | undefined
    try {
      report.error('migration target: Transfer complete, requesting permission to start domain.')
      say(handshake.received)
      // While the sender answers.
      copy = await host.connect(record)
      const heard = (await readBytes(input, handshake.permission.length)).toString('latin1')
      if (heard !== handshake.permission) {
        throw new OperatorError('the sender has not given permission; its domain was not started here')
      }
      report.error('migration target: Got permission, starting domain.')
      await copy.request('accept', {name, paused: options.p === true})
    } catch (error) {
      await giveBack(host, record, report)
      throw error
    } finally {
      copy?.close()
    }
    report.error('migration target: Domain started successfully.')
    say(`${handshake.report}\0`)
    return 0
  },
})

/** Reads the domain from standard input; it is there then, paused, under a name of its own. `first`: what has been read already. */
async function arrive(
  host: Host,
  first: Buffer,
  keeps: boolean,
  report: Report,
): Promise<{record: DomainRecord; name: string}> {
  let early = first
  const head = await readSaveHead(async bytes => {
    const part = early.subarray(0, bytes)
    early = early.subarray(part.length)
    return part.length === bytes ? part : Buffer.concat([part, await readBytes(input, bytes - part.length)])
  })
  report.error(`Loading new save file <incoming migration stream> (new xl fmt info ${head.info})`)
  report.error(' Savefile contains xl domain config in JSON format')
  report.error('Parsing config from <saved>')
  const {config} = head
  const {name} = config
  if (host.records().some(record => record.name === name)) {
    throw new OperatorError(`Domain with name "${name}" already exists.`, {exitCode: 3})
  }
  const keep = {onPoweroff: 'preserve', onReboot: 'preserve', onWatchdog: 'preserve', onCrash: 'preserve'} as const
  const arriving = {...config, ...(keeps ? keep : {}), name: name + handshake.incomingSuffix}
  const saved = {head, fd: input, close: () => {}}
  return {record: await host.start(arriving, true, saved, {name, onFits: () => say(handshake.fits)}), name}
}

/** Our copy ends; then the sender may let its own run. It may be gone itself. */
async function giveBack(host: Host, record: DomainRecord, report: Report): Promise<void> {
  report.error('migration target: Failure, destroying our copy.')
  await host.destroy(record)
  report.error('migration target: Cleanup OK, granting sender permission to resume.')
  try {
    say(`${handshake.report}\x01${handshake.permission}`)
  } catch {
    // It will ask.
  }
}

/** At once: what is not written may never be. */
function say(text: string): void {
  writeSync(output, Buffer.from(text, 'latin1'))
}
