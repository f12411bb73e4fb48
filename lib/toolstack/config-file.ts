/**
 * A configuration file and the `key=value` words after it → a checked configuration. The file's name decides its grammar: `.yaml` and
 * `.yml` are YAML, everything else is xl.cfg; "-" is standard input. Later words win over earlier ones and over the file. A saved domain is a
 * configuration, too: that in its head, as it was checked then.
 */
import {randomUUID} from 'node:crypto'
import {readFileSync} from 'node:fs'
import {availableParallelism} from 'node:os'
import {resolve} from 'node:path'
import {OperatorError} from '../base/errors.js'
import type {DomainConfig} from '../control/domain-config.js'
import {parseConfig, parseOverride} from './config-parser.js'
import {type CheckedConfig, checkConfig} from './config-schema.js'
import type {Settings} from './config-text.js'
import {isSavedDomain, openSavedDomain} from './saved-domain.js'
import {VerbatimError} from './verbatim-error.js'

/** Reads, parses and checks. Without a uuid in the file the domain gets `uuid`, or a new one. Errors: VerbatimError (exit 3) when the file cannot be read; ConfigError. */
export async function readConfigFile(
  path: string | undefined,
  overrides: readonly string[],
  uuid?: string,
): Promise<CheckedConfig> {
  const saved = path === undefined || path === '-' ? undefined : await readSavedConfig(path)
  if (saved !== undefined) {
    if (overrides.length === 0) return {config: saved, notices: [], refusals: []}
    throw new OperatorError(`"${overrides[0]}" cannot be given beside a saved domain`, {exitCode: 2})
  }
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

/** The configuration in a saved domain; undefined when the file is none. The kernel of its image has been found already. */
async function readSavedConfig(path: string): Promise<DomainConfig | undefined> {
  if (!isSavedDomain(path)) return undefined
  const saved = await openSavedDomain(path)
  saved.close()
  const {image: _, ...config} = saved.head.config
  return config
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
