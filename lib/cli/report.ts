/**
 * Everything a person reads: plain text to standard output, notices and errors to standard error. Colour and a spinner appear only
 * where standard error is a terminal and NO_COLOR is not set; chalk and ora are loaded only then, so that `xl list` in a script
 * does not pay for them.
 */
import type {Readable, Writable} from 'node:stream'
import {OperatorError} from '../base/errors.js'
import {VerbatimError} from '../toolstack/verbatim-error.js'

/** A standard input that may be a terminal. */
export interface Input extends Readable {
  isTTY?: boolean
  setRawMode?(mode: boolean): unknown
}

/** The outside of the program; program.ts makes the real one, tests make theirs. */
export interface World {
  environment: NodeJS.ProcessEnv
  stdin: Input
  stdout: Writable & {isTTY?: boolean}
  stderr: Writable & {isTTY?: boolean; columns?: number}
  /** The script that domain processes run. */
  domainProgram: string
}

/** Something that takes a while; it says so on a terminal, and on a pipe only how it ended. */
export interface Progress {
  text(line: string): void
  succeed(line: string): void
  fail(): void
}

/** Writes to the streams of a world. */
export class Report {
  /** -v was given: failures are told with what caused them. */
  verbose = false

  constructor(private readonly world: World) {}

  /** A line of the command's result. */
  print(line: string): void {
    this.world.stdout.write(`${line}\n`)
  }

  /** A part of the result, as it is. */
  write(text: string): void {
    this.world.stdout.write(text)
  }

  /** A line beside the result. */
  error(line: string): void {
    this.world.stderr.write(`${line}\n`)
  }

  /** Tells a failure: what was asked, what is wrong, the next step. Returns the exit status. */
  async failure(asked: string, error: unknown): Promise<number> {
    const paint = await this.paint()
    if (!(error instanceof OperatorError)) {
      this.error(`${paint.red(`xl: ${asked}: internal error:`)} ${error instanceof Error ? error.message : error}`)
      this.error(this.verbose ? stackOf(error) : `${paint.dim('hint:')} "xl -v ${asked} ..." shows where`)
      return 3
    }
    const [first, ...rest] = error.message.split('\n')
    this.error(error instanceof VerbatimError ? paint.bold(first) : `${paint.red(`xl: ${asked}:`)} ${first}`)
    for (const line of rest) this.error(line)
    if (error.hint !== undefined) this.error(`${paint.dim('hint:')} ${error.hint}`)
    if (this.verbose && error.cause !== undefined) this.error(`cause: ${stackOf(error.cause)}`)
    return error.exitCode
  }

  /** Shows that something goes on. */
  async progress(line: string): Promise<Progress> {
    if (!this.colourful) {
      this.error(line)
      return {text: () => {}, succeed: done => this.error(done), fail: () => {}}
    }
    const {default: ora} = await import('ora')
    const spinner = ora({text: line, stream: this.world.stderr as NodeJS.WriteStream, discardStdin: false}).start()
    return {
      text: text => {
        spinner.text = text
      },
      succeed: done => void spinner.succeed(done),
      fail: () => void spinner.fail(),
    }
  }

  /** Somebody is looking, and wants colour and movement. */
  get colourful(): boolean {
    const {NO_COLOR, TERM} = this.world.environment
    const {isTTY, columns} = this.world.stderr
    // A terminal that does not know its width, such as one that `script` makes in a pipe, has 0 columns: ora would wrap its line for ever.
    return isTTY === true && columns !== 0 && (NO_COLOR === undefined || NO_COLOR === '') && TERM !== 'dumb'
  }

  private async paint(): Promise<Record<'red' | 'bold' | 'dim', (text: string) => string>> {
    const plain = (text: string): string => text
    if (!this.colourful) return {red: plain, bold: plain, dim: plain}
    const {Chalk} = await import('chalk')
    return new Chalk({level: 1})
  }
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
