/** `xl create`: a domain from a configuration file. */

import {readConfigFile} from '../../toolstack/config-file.js'
import {configToJson, printJson} from '../../toolstack/config-json.js'
import {VerbatimError} from '../../toolstack/verbatim-error.js'
import {command} from '../command.js'
import {commandHelp} from '../help.js'
import {startDomain} from '../start-domain.js'

/** Splits the words after the options into the file, if there is one, and the key=value settings. */
function splitWords(words: string[], defconfig: string | undefined): {file: string | undefined; overrides: string[]} {
  const overrides = words.filter(word => word.includes('='))
  const files = words.filter(word => !word.includes('='))
  if (defconfig === undefined && files.length > 0) return {file: files[0], overrides: [...overrides, ...files.slice(1)]}
  return {file: defconfig, overrides: [...overrides, ...files]}
}

const create = command({
  name: 'create',
  summary: 'Create a domain from config file <filename>',
  usage: '<ConfigFile> [options] [vars]',
  minimumArguments: 0,
  dryRun: true,
  modifies: true,
  options: [
    ['-c', 'Connect to the console after the domain is created'],
    ['-d', 'Print the resulting configuration to standard error'],
    ['-e', 'Do not wait in the background for the death of the domain: what its on_... keys say is not done'],
    ['-F', 'Run in foreground until death of the domain, or of the last that a rename-restart puts in its place'],
    ['-f, --defconfig <file>', 'Use the given configuration file'],
    ['-n, --dryrun', 'Dry run: print the resulting configuration, create nothing'],
    ['-p', 'Leave the domain paused after it is created'],
    ['-q, --quiet', 'Quiet: no notices'],
    ['-V, --vncviewer', 'Accepted for compatibility: there is no VNC display'],
    ['-A, --vncviewer-autopass', 'Accepted for compatibility: there is no VNC display'],
    ['--ignore-global-affinity-masks', 'Accepted for compatibility: there are no such masks'],
  ],
  async run({host, report, world, options, dryRun, arguments: words}) {
    const {file, overrides} = splitWords(words, options.defconfig as string | undefined)
    const surplus = overrides.find(word => !word.includes('='))
    if (surplus !== undefined) {
      report.error(`xl: create: "${surplus}" is neither a configuration file nor key=value\n`)
      report.write(commandHelp(create))
      return 2
    }
    if (file === undefined && overrides.length === 0) {
      throw new VerbatimError('Config file not specified', {
        hint: 'xl create FILE, such as config-examples/debian.cfg',
        exitCode: 6,
      })
    }
    const tell = (line: string): void => {
      if (!options.quiet) report.error(line)
    }
    if (file !== undefined) tell(`Parsing config from ${file}`)
    const {config, notices, refusals} = await readConfigFile(file, overrides)
    for (const notice of notices) tell(`notice: ${notice}`)
    const json = printJson(configToJson(config))
    if (options.dryrun || dryRun) {
      for (const refusal of refusals) tell(`notice: ${refusal.message.split('\n')[0]}`)
      report.write(json)
      return
    }
    if (options.d) report.error(json.trimEnd())
    if (refusals.length > 0) throw refusals[0]
    const keep = {onPoweroff: 'preserve', onReboot: 'preserve', onWatchdog: 'preserve', onCrash: 'preserve'} as const
    await startDomain(
      host,
      options.e ? {...config, ...keep} : config,
      {paused: options.p === true, console: options.c === true, foreground: options.F === true && options.e !== true},
      report,
      world,
    )
  },
})
export default create
