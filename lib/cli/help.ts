/**
 * The texts of `xl help`, made from the command objects. Shell completion reads the list as `xl help | sed 1,4d`, so it has exactly
 * four lines before the first command.
 * Source: tools/xl/xl.c help(), bash-completion for xl.
 */
import type {Command} from './command.js'
import {commandNames, loadCommand} from './commands/index.js'

const nameColumn = 19

/** All commands, one a line. */
export async function fullHelp(): Promise<string> {
  const commands = await Promise.all(commandNames.map(loadCommand))
  const lines = commands.map(({name, summary}) =>
    name.length > nameColumn
      ? ` ${name}\n ${' '.repeat(nameColumn)} ${summary}`
      : ` ${name.padEnd(nameColumn)} ${summary}`,
  )
  return ['Usage xl [-vfNtT] <subcommand> [args]', '', 'xl full list of subcommands:', '', ...lines, ''].join('\n')
}

/** One command. */
export function commandHelp(command: Command): string {
  const globals = `vtT${command.modifies ? 'f' : ''}${command.dryRun ? 'N' : ''}`
  const usage = `Usage: xl [-${globals}] ${command.name} ${command.usage}`.trimEnd()
  const text = `${usage}\n\n${command.summary}.\n\n`
  if (command.options.length === 0) return text
  const width = Math.max(...command.options.map(([flags]) => flags.length))
  const rows = command.options.map(([flags, description]) => `${flags.padEnd(width)}  ${description}.`)
  return `${text}Options:\n\n${rows.join('\n')}\n\n`
}
