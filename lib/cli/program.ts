/**
 * The xl program: global options, the choice of a command by name or unambiguous prefix, its options, its run, and
 * the exit status. bin/xl calls `runProgram`; nothing else sets process.exitCode.
 *
 * Command modules are imported when they are used, so a command loads only what it needs.
 * Source: xl(1); tools/xl/xl.c and xl_cmdtable.c for the texts.
 */
import {fileURLToPath} from 'node:url'
import {Host, hostDirectoryPath} from '../toolstack/host.js'
import type {Command} from './command.js'
import {commandNames, loadCommand} from './commands/index.js'
import {commandHelp, fullHelp} from './help.js'
import {Misuse, type Parsed, sortWords} from './options.js'
import {Report, type World} from './report.js'

/** Runs xl with the words after its name; resolves to the exit status. */
export async function main(words: readonly string[], world: World): Promise<number> {
  const report = new Report(world)
  let dryRun = false
  let at = 0
  for (; at < words.length && words[at].startsWith('-') && words[at].length > 1; at++) {
    if (words[at] === '--help' || words[at] === '-h') {
      report.write(await fullHelp())
      return 0
    }
    for (const letter of words[at].slice(1)) {
      if (letter === 'N') dryRun = true
      else if (!'vftT'.includes(letter)) {
        report.error('unknown global option')
        return 2
      }
    }
  }
  if (at === words.length) {
    report.write(await fullHelp())
    return 1
  }
  const name = lookUp(words[at])
  if (name === undefined) {
    report.error('command not implemented')
    return 1
  }
  const command = await loadCommand(name)
  if (dryRun && !command.dryRun) {
    report.error('command does not implement -N (dryrun) option')
    return 1
  }
  const parsed = await parseOptions(command, words.slice(at + 1), report)
  if (typeof parsed === 'number') return parsed
  try {
    const host = new Host(hostDirectoryPath(world.environment), world.domainProgram)
    return (await command.run({host, report, world, dryRun, ...parsed})) ?? 0
  } catch (error) {
    return await report.failure(command.name, error)
  }
}

/** Exact name first, else a prefix that fits one name only. */
function lookUp(word: string): string | undefined {
  if (commandNames.includes(word)) return word
  const fitting = commandNames.filter(name => name.startsWith(word))
  return fitting.length === 1 ? fitting[0] : undefined
}

/** Options and arguments of a command, or the exit status when help was asked for or something does not fit. */
async function parseOptions(command: Command, words: string[], report: Report): Promise<Parsed | number> {
  const optionless = words.includes('--') ? words.slice(0, words.indexOf('--')) : words
  if (
    optionless.includes('--help') ||
    (optionless.includes('-h') && !command.options.some(([flags]) => flags.startsWith('-h')))
  ) {
    report.write(commandHelp(command))
    return 0
  }
  let parsed: Parsed
  try {
    parsed = await sortWords(command, words)
  } catch (error) {
    if (!(error instanceof Misuse)) throw error
    report.error(error.message)
    return 2
  }
  const count = parsed.arguments.length
  if (count < command.minimumArguments) {
    report.error(
      `'xl ${command.name}' requires at least ${command.minimumArguments} argument${command.minimumArguments > 1 ? 's' : ''}.`,
    )
    report.error('')
    report.write(commandHelp(command))
    return 2
  }
  if (count > (command.maximumArguments ?? Number.POSITIVE_INFINITY)) {
    report.error(`'xl ${command.name}' takes at most ${command.maximumArguments} arguments.`)
    report.error('')
    report.write(commandHelp(command))
    return 2
  }
  return parsed
}

/** The world of this process. */
export function realWorld(): World {
  return {
    environment: process.env,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    domainProgram: fileURLToPath(new URL('../domain/main.js', import.meta.url)),
  }
}

/** The whole process: arguments in, exit status out. A reader that has gone away ends it quietly. */
export async function runProgram(
  world: World = realWorld(),
  words: readonly string[] = process.argv.slice(2),
): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // What goes through a pipeline is the pipeline's.
      if (stream.listenerCount('error') > 1) return
      if (error.code !== 'EPIPE') throw error
      process.exit(0)
    })
  }
  process.exitCode = await main(words, world)
}
