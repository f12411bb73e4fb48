/** `xl migrate-receive`: the other end of `xl migrate`, started by its transport; standard input and output are the talk of control/handshake.ts. */
import {writeSync} from 'node:fs'
import {OperatorError} from '../../base/errors.js'
import * as handshake from '../../control/handshake.js'
import {MigrationTokens} from '../../control/migration-tokens.js'
import type {Host} from '../../toolstack/host.js'
import {openSavedDomain, readBytes} from '../../toolstack/saved-domain.js'
import {command} from '../command.js'

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
    [
      '--outcome <token>',
      'Print whether the migration with this token was accepted here; it cannot be any more afterwards',
    ],
  ],
  async run({host, options}) {
    if (options.outcome !== undefined) {
      say(`${new MigrationTokens(host.directory.path).outcome(options.outcome as string)}\n`)
      return 0
    }
    say(handshake.banner)
    const arrived = await arrive(host, options.e === true)
    say(handshake.received)
    const heard = (await readBytes(input, handshake.permission.length)).toString('latin1')
    if (heard !== handshake.permission) {
      await host.destroy(arrived.record)
      throw new OperatorError('the sender is gone; its domain was not started here')
    }
    try {
      await host.ask(arrived.record, 'rename', {name: arrived.name})
      await host.ask(arrived.record, 'accept', {paused: options.p === true})
    } catch (error) {
      await host.destroy(arrived.record)
      say(`${handshake.report}\x01${handshake.permission}`)
      throw error
    }
    say(`${handshake.report}\0`)
    return 0
  },
})

/** Reads the domain from standard input; it is there then, paused, under a name of its own. */
async function arrive(host: Host, keeps: boolean) {
  const saved = await openSavedDomain('-')
  const {config} = saved.head
  const {name} = config
  if (host.records().some(record => record.name === name)) {
    throw new OperatorError(`Domain with name "${name}" already exists.`, {exitCode: 3})
  }
  const keep = {onPoweroff: 'preserve', onReboot: 'preserve', onWatchdog: 'preserve', onCrash: 'preserve'} as const
  const arriving = {...config, ...(keeps ? keep : {}), name: name + handshake.incomingSuffix}
  return {record: await host.start(arriving, true, saved, true), name}
}

/** At once: what is not written may never be. */
function say(text: string): void {
  writeSync(output, Buffer.from(text, 'latin1'))
}
