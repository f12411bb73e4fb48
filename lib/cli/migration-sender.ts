/**
 * xl's part in sending a domain to another host: starts the transport, carries the stream, does the talk of control/handshake.ts. The domain's own process
 * knows whose the domain is; this one may be killed at any time.
 */
import {randomUUID} from 'node:crypto'
import {OperatorError} from '../base/errors.js'
import type {DomainConfig} from '../control/domain-config.js'
import * as handshake from '../control/handshake.js'
import type {DomainRecord} from '../control/host-directory.js'
import type {PieceQueue} from '../control/piece-queue.js'
import type {SendReport} from '../control/protocol.js'
import {encodeSaveHead} from '../control/save-file.js'
import {type ControlClient, DomainGoneError} from '../control/socket.js'
import type {Host} from '../toolstack/host.js'
import type {Report} from './report.js'
import {Transport} from './transport.js'

/** How it went. */
export interface Migrated {
  readonly report: SendReport
  /** How long no host ran the domain. */
  readonly downtimeMs: number
}

const progressMs = 250

/** The command that reaches a receiver on a host; an empty `ssh` means that `host` is all of it. Source: xl_migrate.c. */
export function receiverCommand(ssh: string, host: string, options: readonly string[] = []): string {
  return ssh === '' ? host : ['exec', ssh, host, 'xl', 'migrate-receive', ...options].join(' ')
}

/** What is said of a domain that sendDomain has lost sight of. */
export function outcomeUnknown(): OperatorError {
  return new OperatorError(
    'whether the domain runs on the other host is not known: the connection broke at the last moment, and that host does not answer',
    {
      hint: `here it stays stopped, its name ending in ${handshake.awaySuffix}, and its process goes on asking; see xl(1), migrate`,
    },
  )
}

/**
 * Moves the domain to where `command` leads; resolves when it runs there. What happens is told to `report`. Undefined when the other host does not say
 * whether it does. Errors: OperatorError; the domain then runs here, if its process is alive.
 */
export async function sendDomain(
  host: Host,
  record: DomainRecord,
  config: DomainConfig,
  command: string,
  report?: Report,
): Promise<Migrated | undefined> {
  const id = randomUUID()
  const domain = await host.connect(record)
  try {
    // This connection stands for our being there: it stays open until the outcome is told.
    const stream = await host.openStream(record, {live: true, config, id, isMigration: true, compress: false})
    try {
      return await deliver(host, record, {id, config, command, stream, domain}, report)
    } finally {
      stream.close()
    }
  } finally {
    domain.close()
  }
}

interface Sending {
  readonly id: string
  readonly config: DomainConfig
  readonly command: string
  readonly stream: PieceQueue
  readonly domain: ControlClient
}

/** The whole talk with the receiver. */
async function deliver(host: Host, record: DomainRecord, sending: Sending, report?: Report) {
  const {id, command, domain} = sending
  const transport = new Transport(command)
  try {
    await transport.expect(handshake.banner)
    report?.error(`Saving to migration stream new xl format (info ${encodeSaveHead(sending.config).info})`)
    const sent = await carry(transport, sending, report)
    report?.error('migration sender: Target has acknowledged transfer.')
    await giveAway(host, record, sending)
    report?.error('migration sender: Giving target permission to start.')
    const outcome = await letStart(transport, sending, report)
    if (outcome === 'unknown') return undefined
    const downtimeMs = sent.report.parkedMs + performance.now() - sent.atMs
    if (outcome === 'refused') {
      report?.error('migration sender: Trying to resume at our end.')
      throw new OperatorError('the target did not start the domain')
    }
    report?.error('migration sender: Target reports successful startup.')
    transport.finish()
    await domain.closed
    return {report: sent.report, downtimeMs}
  } catch (error) {
    // The domain goes on before we find out how the transport ended.
    domain.close()
    sending.stream.close()
    throw await transport.failure(error)
  }

  /** Until the receiver has all of it. */
  async function carry(to: Transport, {stream}: Sending, shown?: Report) {
    const stopProgress = showProgress(sending, shown)
    const sendAll = async () => {
      const failure = await stream.writeTo(to.output).catch(error => error as Error)
      // Where it broke is seen at the domain's end: it may be the guest that has gone.
      const done = await domain.request('sent', {id})
      if (failure !== undefined) throw failure
      return {report: done, atMs: performance.now()}
    }
    const hearAll = async () => {
      const word = await to.expect(handshake.fits, handshake.received)
      if (word === handshake.received) return
      await domain.request('mayStop', {id})
      await to.expect(handshake.received)
    }
    try {
      const [all] = await Promise.all([sendAll(), hearAll()])
      stopProgress(true)
      return all
    } catch (error) {
      stopProgress(false)
      throw error
    }
  }
}

/** From here on the domain's process does not let it run again on its own. If that process was killed meanwhile, the copy is all there is. */
async function giveAway(host: Host, record: DomainRecord, {domain, id, command}: Sending): Promise<void> {
  try {
    await domain.request('giveAway', {id, command})
  } catch (error) {
    if (!(error instanceof DomainGoneError && (await host.wasKilled(record)))) throw error
  }
}

/** Gives permission and hears what came of it; when the connection breaks in between, the domain asks the other host. */
async function letStart(transport: Transport, {domain, id}: Sending, report?: Report) {
  let told: handshake.Outcome | 'unknown' = 'unknown'
  try {
    transport.output.write(handshake.permission)
    await transport.expect(handshake.report)
    const status = await transport.byte()
    if (status !== 0) {
      report?.error(`migration sender: Target reports startup failure (status code ${status}).`)
      await transport.expect(handshake.permission)
    }
    told = status === 0 ? 'accepted' : 'refused'
  } catch (error) {
    report?.error(`migration sender: ${(error as Error).message}; asking its host what became of the domain.`)
    transport.finish()
  }
  try {
    return await domain.request('migrated', {id, outcome: told})
  } catch (error) {
    if (!(error instanceof DomainGoneError) || told === 'unknown') throw error
    return told
  }
}

/** Shows the rounds while they last. */
function showProgress({domain, id}: Sending, report: Report | undefined): (hasSucceeded: boolean) => void {
  if (!report?.colourful) return () => {}
  const spinner = report.progress('migrating')
  const timer = setInterval(async () => {
    const {round, pages} = await domain.request('sendProgress', {id}).catch(() => ({round: 0, pages: 0}))
    ;(await spinner).text(`migrating: round ${round + 1}, ${Math.floor(pages / 256)} MiB sent`)
  }, progressMs)
  return hasSucceeded => {
    clearInterval(timer)
    void spinner.then(shown => (hasSucceeded ? shown.succeed('all of it is sent') : shown.fail()))
  }
}

/** What a person wants to know of it: one line, or with `rounds` one for each of them. */
export function describeMigration({report, downtimeMs}: Migrated, rounds: boolean): string[] {
  const pages = report.rounds.reduce((sum, round) => sum + round.pages, 0)
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1)
  const lines = rounds
    ? report.rounds.map((round, index) => {
        const rate = round.bytes / 2 ** 20 / Math.max(round.ms / 1000, 0.001)
        return `round ${index + 1}: ${round.pages} pages, ${mib(round.bytes)} MiB in ${round.ms.toFixed(0)} ms (${rate.toFixed(0)} MiB/s)`
      })
    : []
  const total = `${report.rounds.length} rounds, ${pages} pages, ${mib(report.bytes)} MiB, ${(report.totalMs / 1000).toFixed(2)} s`
  return [...lines, `${total}, downtime ${downtimeMs.toFixed(0)} ms`]
}
