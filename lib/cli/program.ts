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
import {loadCommand, lookUp} from './commands/index.js'
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
      else if (letter === 'v') report.verbose = true
      else if (!'ftT'.includes(letter)) {
        report.error(`xl: invalid option -- '${letter}'\nunknown global option`)
        return 1
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
  try {
    const command = await loadCommand(name)
    if (dryRun && !command.dryRun) {
      report.error('command does not implement -N (dryrun) option')
      return 1
    }
    const parsed = await parseOptions(command, words.slice(at + 1), report)
    if (typeof parsed === 'number') return parsed
    const host = new Host(hostDirectoryPath(world.environment), world.domainProgram)
    return (await command.run({host, report, world, dryRun, ...parsed})) ?? 0
  } catch (error) {
    return await report.failure(name, error)
  }
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

/** The whole process: arguments in, exit status out. A reader that has gone away ends it quietly; output that cannot be written is a failure. */
export async function runProgram(
  world: World = realWorld(),
  words: readonly string[] = process.argv.slice(2),
): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // What goes through a pipeline is the pipeline's.
      if (stream.listenerCount('error') > 1) return
      if (error.code === 'EPIPE') process.exit(0)
      if (stream === process.stdout)
        process.stderr.write(`xl: cannot write the output: ${error.message.replace(/^\w+: |, write$/g, '')}\n`)
      process.exit(1)
    })
  }
  process.exitCode = await main(words, world)
}
