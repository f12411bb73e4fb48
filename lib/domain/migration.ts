/**
 * The sending side of one migration, in the process of the domain that leaves. xl carries the bytes and the talk (cli/migration-sender.ts); whose the
 * domain is, is known here:
 *
 *   sending ──► sent ──► given away ──► gone
 *      │          │           └───► the receiver says that it does not run there: here again
 *      └──────────┴── xl or the stream is lost: here again
 *
 * Once given away the domain is let run again only when the receiving host says that its copy never will. If xl dies before it has told the outcome,
 * this process asks the receiving host itself, for as long as it takes.
 */
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import type {Duplex} from 'node:stream'
import {setTimeout as delay} from 'node:timers/promises'
import {OperatorError} from '../base/errors.js'
import {type Outcome, outcomes} from '../control/handshake.js'
import type {SendProgress, SendReport, SendRequest} from '../control/protocol.js'
import {encodeSaveHead} from '../control/save-file.js'
import type {Guest} from './guest.js'
import {sendGuest} from './stream/send.js'
import {StreamWriter} from './stream/writer.js'

const firstPauseMs = 500
const longestPauseMs = 30_000
const answerMs = 20_000

/** See the file's head. */
export class Migration {
  readonly progress: SendProgress = {round: 0, pages: 0}
  /** How the sending went; rejects when it failed. */
  readonly sent: Promise<SendReport>
  /** Resolves when the domain is not given away any more, or never will be: true when it is gone. */
  readonly settled: Promise<boolean>
  private isGiven = false
  private isSettled = false
  private resolveSettled: (isGone: boolean) => void = () => {}
  private ask: string | undefined

  constructor(
    private readonly guest: Guest,
    private readonly domid: number,
    private readonly request: SendRequest,
    private readonly stream: Duplex,
    private readonly log: (line: string) => void,
  ) {
    this.settled = new Promise(resolve => {
      this.resolveSettled = resolve
    })
    stream.on('error', () => stream.destroy())
    stream.once('close', () => {
      if (this.isGiven) void this.findOut()
      else this.settle(false)
    })
    this.sent = this.send()
    this.sent.catch(() => {
      this.settle(false)
      stream.destroy()
    })
  }

  private async send(): Promise<SendReport> {
    const {stream, request} = this
    const head = encodeSaveHead(request.config).bytes
    const write = async (bytes: Uint8Array): Promise<void> => {
      if (stream.destroyed) throw new OperatorError('the connection to the receiver is lost')
      await new Promise<void>((resolve, reject) => {
        const lost = () => reject(new OperatorError('the connection to the receiver is lost'))
        stream.once('close', lost)
        stream.write(bytes, error => {
          stream.off('close', lost)
          if (error) lost()
          else resolve()
        })
      })
    }
    await write(head)
    const writer = new StreamWriter({write}, head.length, false)
    const report = await sendGuest(this.guest, this.domid, writer, {
      live: request.live,
      ...(request.token === undefined ? {} : {token: request.token}),
      onProgress: (round, pages) => Object.assign(this.progress, {round, pages}),
    })
    stream.end()
    return report
  }

  /** From now on the receiver may let its copy run. `ask`: the command that asks its host what became of it. */
  async giveAway(ask: string | undefined): Promise<void> {
    await this.sent
    if (this.stream.destroyed && this.stream.errored !== null) throw new OperatorError('the connection is lost')
    this.isGiven = true
    this.ask = ask
  }

  private settle(isGone: boolean): void {
    this.isSettled = true
    this.resolveSettled(isGone)
  }

  /** xl knows the outcome. */
  tell(outcome: Outcome): void {
    this.settle(outcome === 'accepted')
  }

  /** Nobody knows the outcome: asks the receiving host until it answers. */
  async findOut(): Promise<void> {
    for (let pauseMs = firstPauseMs; !this.isSettled; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      const outcome = this.ask === undefined ? undefined : await askHost(this.ask)
      if (outcome !== undefined) return this.tell(outcome)
      this.log(`what became of the migrated domain is not known: its new host does not answer to "${this.ask}"`)
      await Promise.race([this.settled, delay(pauseMs, undefined, {ref: false})])
    }
  }
}

/** Runs a command that prints an outcome; undefined when it does not. */
async function askHost(command: string): Promise<Outcome | undefined> {
  const child = spawn('sh', ['-c', command], {stdio: ['ignore', 'pipe', 'ignore'], timeout: answerMs})
  child.on('error', () => {})
  let text = ''
  child.stdout.on('data', chunk => {
    text = (text + chunk).slice(-1000)
  })
  await once(child, 'close').catch(() => {})
  const words = text.trim().split(/\s+/)
  return outcomes.find(outcome => words.at(-1) === outcome)
}
