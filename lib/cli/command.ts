/**
 * The shape of an xl command: a plain object with its name, the words of its help, its options, and `run`. Help, the man page and the
 * parsing of arguments are made from the same object. A command prints through `report`, reaches domains through `host`, and returns
 * its exit status, or nothing for 0; what it cannot do it throws as an OperatorError.
 */
import type {DomainRecord} from '../control/host-directory.js'
import type {Host} from '../toolstack/host.js'
import type {Report, World} from './report.js'

/** An option: commander's notation ("-w, --wait", "-f, --defconfig <file>") and what it does. */
export type OptionSpec = readonly [flags: string, description: string]

/** Values of options under their long name in camel case, or their letter. */
export type OptionValues = Record<string, string | boolean | undefined>

/** What `run` gets. */
export interface CommandContext {
  host: Host
  report: Report
  world: World
  /** What is left after the options. */
  arguments: string[]
  options: OptionValues
  /** How often each option without a value was given, under the same names as `options`. */
  counts: Record<string, number>
  /** -N was given before the subcommand. */
  dryRun: boolean
}

/** One xl command. */
export interface Command {
  name: string
  /** One line without a full stop. */
  summary: string
  /** What follows the name in a usage line. */
  usage: string
  /** How many arguments there must be. */
  minimumArguments: number
  /** The most that is accepted; any number if absent. */
  maximumArguments?: number
  options: readonly OptionSpec[]
  /** It knows -N. */
  dryRun?: boolean
  /** It changes something, so -f may precede it. */
  modifies?: boolean
  run(context: CommandContext): Promise<number | undefined>
}

/** Checks a command's type where it is written. */
export function command(definition: Command): Command {
  return definition
}

/** The record of a domain given by a person; undefined, after saying so as xl does, for a number that no domain has. */
export function recordOf(context: CommandContext, identifier: string, doing: string): DomainRecord | undefined {
  const {domid, record} = context.host.find(identifier)
  if (record === undefined) {
    const reason = domid === 0 ? 'Operation not permitted' : 'No such process'
    context.report.error(`libxl: error: ${doing}: Domain ${domid}:${reason}`)
  }
  return record
}
