/**
 * The words after a command's name: its options, by commander's notation and rules, and what is left as arguments.
 *
 * Loading commander takes as long as everything else xl does before it acts. So words that need no rules (no options, or only flags
 * without a value, written as they are declared) are sorted here; the outcome is the same.
 */
import type {CommanderError, Command as Parser} from 'commander'
import type {Command, CommandContext, OptionValues} from './command.js'

/** What a command is run with. */
export type Parsed = Pick<CommandContext, 'arguments' | 'options' | 'counts'>

/** Sorts the words. Errors: Misuse. */
export async function sortWords(command: Command, words: readonly string[]): Promise<Parsed> {
  return sortPlainWords(command, words) ?? sortByRules(command, words)
}

/** Words that do not fit the command's options; the message is for a person. */
export class Misuse extends Error {}

/** The outcome where every word is an argument or exactly a flag without a value; undefined where rules are needed. */
export function sortPlainWords(command: Command, words: readonly string[]): Parsed | undefined {
  const parsed: Parsed & {counts: Record<string, number>} = {arguments: [], options: {}, counts: {}}
  for (const word of words) {
    if (!word.startsWith('-') || word === '-') {
      parsed.arguments.push(word)
      continue
    }
    const names = command.options.map(([flags]) => flags.split(', ')).find(known => known.includes(word))
    const longest = names?.at(-1)
    if (longest === undefined || /[ <]|^--no-/.test(longest)) return undefined
    const name = longest.replace(/^--?/, '').replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
    parsed.options[name] = true
    parsed.counts[name] = (parsed.counts[name] ?? 0) + 1
  }
  return parsed
}

/** The outcome by all of commander's rules. Errors: Misuse. */
export async function sortByRules(command: Command, words: readonly string[]): Promise<Parsed> {
  const commander = await import('commander')
  const parser: Parser = new commander.Command(command.name)
  const counts: Record<string, number> = {}
  parser
    .exitOverride()
    .helpOption(false)
    .allowExcessArguments(true)
    .configureOutput({writeErr: () => {}})
  for (const [flags, description] of command.options) {
    parser.option(flags, description)
    const option = parser.options.at(-1)!
    parser.on(`option:${option.name()}`, () => {
      counts[option.attributeName()] = (counts[option.attributeName()] ?? 0) + 1
    })
  }
  try {
    parser.parse(words, {from: 'user'})
  } catch (error) {
    if (error instanceof commander.CommanderError) throw new Misuse(describeMisuse(error))
    throw error
  }
  return {arguments: parser.args, options: parser.opts() as OptionValues, counts}
}

function describeMisuse(error: CommanderError): string {
  const option = /'(-{1,2})([^' ,]+)/.exec(error.message)
  if (error.code === 'commander.unknownOption' && option !== null) return `option \`${option[2]}' not supported.`
  if (error.code === 'commander.optionMissingArgument' && option !== null)
    return `option \`${option[2]}' requires an argument.`
  return error.message.replace(/^error: /, '')
}
