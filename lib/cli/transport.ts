/**
 * The command that leads to a migration's receiver, as a process: its input takes the stream and our words, its output has the receiver's words.
 */
import {type ChildProcess, spawn} from 'node:child_process'
import {once} from 'node:events'
import type {Readable, Writable} from 'node:stream'
import {OperatorError} from '../base/errors.js'

/** How long a transport may take to end when nothing is wanted of it any more. */
const endMs = 2000
/** More than any receiver says. */
const mostHeard = 4096

/** See the file's head. */
export class Transport {
  readonly output: Writable
  private readonly input: Readable
  private readonly process: ChildProcess
  private readonly closed: Promise<unknown>
  private heard = ''
  private hasEnded = false
  private wake: () => void = () => {}

  /** Runs the command with a shell. */
  constructor(private readonly command: string) {
    this.process = spawn('sh', ['-c', command], {stdio: ['pipe', 'pipe', 'inherit']})
    this.output = this.process.stdin!
    this.input = this.process.stdout!
    this.closed = once(this.process, 'close').catch(() => {})
    this.output.on('error', () => {})
    this.input.setEncoding('latin1').on('data', (text: string) => {
      this.heard += text
      if (this.heard.length > mostHeard) this.input.pause()
      this.wake()
    })
    const end = () => {
      this.hasEnded = true
      this.wake()
    }
    this.input.on('end', end)
    this.input.on('close', end)
    this.process.on('error', end)
  }

  /** Reads the next words, which must be one of these. Errors: OperatorError. */
  async expect(...words: string[]): Promise<string> {
    for (;;) {
      const {heard} = this
      const word = words.find(one => heard.startsWith(one))
      if (word !== undefined) {
        this.heard = heard.slice(word.length)
        return word
      }
      if (words.every(one => !one.startsWith(heard))) {
        throw new OperatorError(
          `the receiver said ${JSON.stringify(heard.slice(0, 80))} instead of ${JSON.stringify(words.at(-1))}`,
          {hint: `it was reached by: ${this.command}`},
        )
      }
      await this.more()
    }
  }

  /** The next byte. Errors: OperatorError. */
  async byte(): Promise<number> {
    while (this.heard === '') await this.more()
    const [byte] = Buffer.from(this.heard, 'latin1')
    this.heard = this.heard.slice(1)
    return byte
  }

  private async more(): Promise<void> {
    if (this.hasEnded) throw new OperatorError('the receiver is gone', {hint: `it was reached by: ${this.command}`})
    await new Promise<void>(resolve => {
      this.wake = resolve
    })
  }

  /** Nothing more is said. A transport that does not end is ended. */
  finish(): void {
    this.output.end()
    this.input.resume()
    setTimeout(() => this.process.kill('SIGKILL'), endMs).unref()
  }

  /** An error of ours, told with how the transport ended. */
  async failure(error: unknown): Promise<unknown> {
    this.finish()
    await this.closed
    const {exitCode} = this.process
    if (!(error instanceof Error) || exitCode === null || exitCode === 0) return error
    const {hint} = error as OperatorError
    return new OperatorError(`${error.message} (the transport ended with status ${exitCode})`, {cause: error, hint})
  }
}
