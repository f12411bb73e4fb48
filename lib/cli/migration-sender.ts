/**
 * xl's part in sending a domain to another host: starts the transport, carries the stream, does the talk of control/handshake.ts. The domain's own process
 * knows whose the domain is; this one may be killed at any time.
 */
import {type ChildProcess, spawn} from 'node:child_process'
import {randomUUID} from 'node:crypto'
import {once} from 'node:events'
import type {Readable, Writable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {OperatorError} from '../base/errors.js'
import type {DomainConfig} from '../control/domain-config.js'
import * as handshake from '../control/handshake.js'
import type {DomainRecord} from '../control/host-directory.js'
import type {SendReport} from '../control/protocol.js'
import type {ControlClient} from '../control/socket.js'
import type {Host} from '../toolstack/host.js'
import type {Report} from './report.js'

/** Where to, and how. */
export interface Destination {
  /** The shell command, up to where `migrate-receive` and its options follow. */
  readonly command: string
  /** Options for the receiver. */
  readonly receiverOptions: readonly string[]
}

/** How it went. */
export interface Migrated {
  readonly report: SendReport
  /** How long no host ran the domain. */
  readonly downtimeMs: number
}

const progressMs = 250

/** The command that reaches a host: `exec CMD HOST xl`; an empty CMD means that HOST is the whole command. */
export function transportOf(command: string, host: string): string {
  return command === '' ? host : `exec ${command} ${host} xl`
}

/**
 * Moves the domain; resolves when it runs there. What happens is told to `report`. Errors: OperatorError; the domain then runs here.
 */
export async function sendDomain(
  host: Host,
  record: DomainRecord,
  config: DomainConfig,
  {command, receiverOptions}: Destination,
  report?: Report,
): Promise<Migrated> {
  const token = randomUUID()
  const transport = spawn('sh', ['-c', [command, 'migrate-receive', ...receiverOptions].join(' ')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const talk = new Talk(transport)
  const domain = await host.connect(record)
  // This connection stands for our being there: it stays open until the outcome is told.
  const sending = await host.connect(record)
  try {
    await talk.expect(handshake.banner)
    const stream = await sending.send({live: true, config, token})
    const stopProgress = showProgress(domain, report)
    let sent: SendReport
    try {
      await pipeline(stream, talk.output, {end: false})
      sent = await domain.request('sent', {})
      stopProgress(true)
    } catch (error) {
      stopProgress(false)
      throw error
    }
    const sentAtMs = performance.now()
    await talk.expect(handshake.received)
    report?.error('migration sender: Target has acknowledged transfer.')
    await domain.request('giveAway', {ask: `${command} migrate-receive --outcome ${token}`})
    report?.error('migration sender: Giving target permission to start.')
    const outcome = await letStart(talk, domain)
    const downtimeMs = sent.parkedMs + performance.now() - sentAtMs
    if (outcome === 'refused') throw new OperatorError('the target did not start the domain')
    report?.error('migration sender: Target reports successful startup.')
    return {report: sent, downtimeMs}
  } catch (error) {
    throw talk.failure(error)
  } finally {
    sending.close()
    domain.close()
    talk.end()
  }
}

/** Gives permission and hears what came of it; when the connection breaks in between, the domain asks the other host. */
async function letStart(talk: Talk, domain: ControlClient): Promise<handshake.Outcome> {
  let told: handshake.Outcome | 'unknown' = 'unknown'
  try {
    talk.output.write(handshake.permission)
    await talk.expect(handshake.report)
    const [status] = await talk.take(1)
    if (status === 0) told = 'accepted'
    else {
      await talk.expect(handshake.permission)
      told = 'refused'
    }
  } catch {
    // Neither side can know from here.
  }
  return domain.request('migrated', {outcome: told})
}

/** Shows the rounds while they last. */
function showProgress(domain: ControlClient, report: Report | undefined): (hasSucceeded: boolean) => void {
  const spinner = report?.colourful ? report.progress('migrating') : undefined
  const timer = setInterval(async () => {
    if (spinner === undefined) return
    const {round, pages} = await domain.request('sendProgress', {}).catch(() => ({round: 0, pages: 0}))
    ;(await spinner).text(`migrating: round ${round + 1}, ${Math.floor(pages / 256)} MiB sent`)
  }, progressMs)
  return hasSucceeded => {
    clearInterval(timer)
    void spinner?.then(shown => (hasSucceeded ? shown.succeed('all of it is sent') : shown.fail()))
  }
}

/** Both directions of a transport, with words of known length. */
class Talk {
  readonly output: Writable
  private readonly input: Readable
  private hasEnded = false

  constructor(private readonly transport: ChildProcess) {
    this.output = transport.stdin!
    this.input = transport.stdout!
    this.output.on('error', () => {})
    this.input.on('end', () => {
      this.hasEnded = true
    })
    transport.on('error', () => {
      this.hasEnded = true
      this.input.destroy()
    })
  }

  /** Exactly so many bytes. Errors: OperatorError when the receiver falls silent. */
  async take(bytes: number): Promise<Buffer> {
    for (;;) {
      const piece: Buffer | null = this.input.read(bytes)
      if (piece !== null && piece.length === bytes) return piece
      if (this.hasEnded || this.input.destroyed) throw new OperatorError('the receiver is gone')
      await Promise.race([once(this.input, 'readable'), once(this.input, 'end'), once(this.input, 'close')])
    }
  }

  /** The next words must be these. */
  async expect(words: string): Promise<void> {
    const heard = (await this.take(words.length)).toString('latin1')
    if (heard === words) return
    throw new OperatorError(`the receiver said ${JSON.stringify(heard)} instead of ${JSON.stringify(words)}`)
  }

  /** An error of ours, told with how the transport ended where it has. */
  failure(error: unknown): unknown {
    const {exitCode} = this.transport
    if (!(error instanceof Error) || exitCode === null || exitCode === 0) return error
    return new OperatorError(`${error.message} (the transport ended with status ${exitCode})`, {cause: error})
  }

  end(): void {
    this.output.end()
    this.input.resume()
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
