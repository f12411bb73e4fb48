/**
 * The sending side of one migration, in the process of the domain that leaves. xl carries the bytes and the talk (cli/migration-sender.ts); whose the
 * domain is, is known here:
 *
 *   sending ──► sent ──► given away ──► gone
 *      │          │           └───► the receiver says that it does not run there: here again
 *      └──────────┴── xl or the stream is lost: here again
 *
 * Once given away the domain is let run again only when the receiving host says that its copy never will. If xl dies before it has told the outcome,
 * this process asks the receiving host itself, for as long as it takes, or until a person takes the domain back.
 */
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import type {Duplex} from 'node:stream'
import {setTimeout as delay} from 'node:timers/promises'
import {OperatorError} from '../base/errors.js'
import {ask, type Outcome, outcomeIn} from '../control/handshake.js'
import type {SendProgress, SendReport, SendRequest} from '../control/protocol.js'
import {encodeSaveHead} from '../control/save-file.js'
import type {Guest} from './guest.js'
import {sendGuest} from './stream/send.js'
import {StreamWriter} from './stream/writer.js'

const firstPauseMs = 500
const longestPauseMs = 30_000
const answerMs = 20_000
/** Questions without an answer after which xl need not wait for one. */
const enoughAsked = 5
/** A receiver that is not ours never says that the domain fits. */
const fitPatienceMs = 5000

const lost = () => new OperatorError('the connection to the receiver is lost')

/** See the file's head. */
export class Migration {
  readonly progress: SendProgress = {round: 0, pages: 0}
  /** How the sending went; rejects when it failed. */
  readonly sent: Promise<SendReport>
  /** Resolves when nothing more happens to the domain: true when it is gone, false when it stays. */
  readonly settled: Promise<boolean>
  /** Resolves when the receiving host has been asked in vain for a while. */
  readonly unanswered: Promise<'unknown'>
  private readonly closed: Promise<void>
  private readonly fits: Promise<void>
  private sayFits: () => void = () => {}
  private state: 'sending' | 'given' | 'asking' | 'settled' = 'sending'
  private resolveSettled: (isGone: boolean) => void = () => {}
  private sayUnanswered: (outcome: 'unknown') => void = () => {}
  /** The command that reaches a receiver on the other host. */
  private command: string | undefined

  constructor(
    private readonly guest: Guest,
    private readonly domid: number,
    readonly request: SendRequest,
    private readonly stream: Duplex,
    private readonly log: (line: string) => void,
  ) {
    this.settled = new Promise(resolve => {
      this.resolveSettled = resolve
    })
    this.unanswered = new Promise(resolve => {
      this.sayUnanswered = resolve
    })
    this.fits = new Promise(resolve => {
      this.sayFits = resolve
    })
    this.closed = new Promise(resolve => {
      stream.once('close', resolve)
    })
    stream.on('error', () => stream.destroy())
    stream.resume()
    this.sent = this.send()
    this.sent.catch(() => stream.destroy())
    void this.watch()
  }

  /** The domain may be on the receiver's side, or elsewhere without a word from xl. */
  get isAway(): boolean {
    return this.state === 'given' || this.state === 'asking'
  }

  /** What the end of the connection means depends on how far it had come. Nothing is left of the sending when the domain is here again. */
  private async watch(): Promise<void> {
    await this.closed
    await this.sent.catch(() => {})
    if (this.state === 'sending') this.settle(false)
    else if (this.state === 'given') await this.findOut()
  }

  private async send(): Promise<SendReport> {
    const {stream, request} = this
    const head = encodeSaveHead(request.config).bytes
    const write = async (bytes: Uint8Array): Promise<void> => {
      if (stream.destroyed) throw lost()
      await new Promise<void>((resolve, reject) => {
        const fail = () => reject(lost())
        stream.once('close', fail)
        stream.write(bytes, error => {
          stream.off('close', fail)
          if (error) fail()
          else resolve()
        })
      })
    }
    await write(head)
    const writer = new StreamWriter({write}, head, request.compress)
    const {live, id, isMigration} = request
    const report = await sendGuest(this.guest, this.domid, writer, {
      live,
      ...(isMigration ? {token: id, mayStop: () => this.untilFits()} : {}),
      onProgress: (round, pages) => Object.assign(this.progress, {round, pages}),
    })
    stream.end()
    return report
  }

  private async untilFits(): Promise<void> {
    const patience = new AbortController()
    const late = delay(fitPatienceMs, undefined, {signal: patience.signal}).catch(() => {})
    await Promise.race([this.fits, late, this.closed])
    patience.abort()
    if (this.stream.destroyed) throw lost()
  }

  /** The receiver says that the domain can run there. */
  mayStop(): void {
    this.sayFits()
  }

  /** From now on the receiver may let its copy run; `command` reaches another one on its host. Errors: OperatorError when the domain stays here. */
  give(command: string): void {
    if (this.state !== 'sending' || this.stream.destroyed) throw lost()
    this.state = 'given'
    this.command = command
  }

  private settle(isGone: boolean): void {
    this.state = 'settled'
    this.resolveSettled(isGone)
  }

  /** xl knows the outcome. */
  tell(outcome: Outcome): void {
    this.settle(outcome === 'accepted')
  }

  /** A person knows that the copy does not run. Errors: OperatorError while that can still be found out. */
  takeBack(): void {
    if (this.state !== 'asking') {
      throw new OperatorError('the domain is being given to another host', {exitCode: 3})
    }
    this.log('taken back by hand: the other host has not been heard')
    this.settle(false)
  }

  /** Nobody knows the outcome: asks the receiving host until it answers. */
  async findOut(): Promise<void> {
    if (this.state !== 'given') return
    this.state = 'asking'
    let pauseMs = firstPauseMs
    for (let asked = 1; this.state === 'asking'; asked++) {
      const outcome = await askHost(this.command!, this.request.id)
      if (this.state !== 'asking') return
      if (outcome !== undefined) return this.tell(outcome)
      this.log(`what became of the migrated domain is not known: its new host does not answer to "${this.command}"`)
      if (asked === enoughAsked) this.sayUnanswered('unknown')
      await Promise.race([this.settled, delay(pauseMs, undefined, {ref: false})])
      pauseMs = Math.min(pauseMs * 2, longestPauseMs)
    }
  }
}

/** Runs a command that reaches a receiver and asks it; undefined when there is no answer. */
async function askHost(command: string, token: string): Promise<Outcome | undefined> {
  const child = spawn('sh', ['-c', command], {stdio: ['pipe', 'pipe', 'ignore'], timeout: answerMs})
  child.on('error', () => {})
  child.stdin.on('error', () => {})
  let text = ''
  child.stdout.setEncoding('latin1').on('data', chunk => {
    text = (text + chunk).slice(0, 1000)
    if (outcomeIn(text) !== undefined) child.stdin.end()
  })
  child.stdin.write(ask(token))
  await once(child, 'close').catch(() => {})
  return outcomeIn(text)
}
