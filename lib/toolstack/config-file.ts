/**
 * A configuration file and the `key=value` words after it → a checked configuration. The file's name decides its grammar: `.yaml` and
 * `.yml` are YAML, everything else is xl.cfg; "-" is standard input. Later words win over earlier ones and over the file.
 */
import {randomUUID} from 'node:crypto'
import {readFileSync} from 'node:fs'
import {availableParallelism} from 'node:os'
import {resolve} from 'node:path'
import {parseConfig, parseOverride} from './config-parser.js'
import {type CheckedConfig, checkConfig} from './config-schema.js'
import type {Settings} from './config-text.js'
import {VerbatimError} from './verbatim-error.js'

/** Reads, parses and checks. Without a uuid in the file the domain gets `uuid`, or a new one. Errors: VerbatimError (exit 3) when the file cannot be read; ConfigError. */
export async function readConfigFile(
  path: string | undefined,
  overrides: readonly string[],
  uuid?: string,
): Promise<CheckedConfig> {
  const settings: Settings = new Map()
  if (path !== undefined) {
    const source = {name: path === '-' ? 'standard input' : path, text: readText(path)}
    if (/\.ya?ml$/i.test(path)) {
      const {parseYamlConfig} = await import('./config-yaml.js')
      parseYamlConfig(source, settings)
    } else parseConfig(source, settings)
  }
  for (const override of overrides) parseOverride(override, settings)
  return checkConfig(settings, {
    newUuid: () => uuid ?? randomUUID(),
    resolvePath: file => resolve(file),
    hostCpus: availableParallelism(),
  })
}

function readText(path: string): string {
  let bytes: Buffer
  try {
    bytes = readFileSync(path === '-' ? 0 : path)
  } catch (cause) {
    const reasons: Record<string, string> = {
      ENOENT: 'No such file or directory',
      EACCES: 'Permission denied',
      EISDIR: 'Is a directory',
      ENOTDIR: 'Not a directory',
    }
    const code = (cause as NodeJS.ErrnoException).code ?? ''
    throw new VerbatimError(`Failed to read config file: ${path}: ${reasons[code] ?? code}`, {exitCode: 3, cause})
  }
  if (bytes.includes(0)) {
    throw new VerbatimError(`Failed to read config file: ${path}: it is not a text file`, {exitCode: 3})
  }
  return bytes.toString('utf8')
}
