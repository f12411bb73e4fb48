/** `xl restore`: a domain from a file that `xl save` wrote. */
import {openSavedDomain} from '../../toolstack/saved-domain.js'
import {command} from '../command.js'
import {enterDomain, readStandIn} from '../start-domain.js'

export default command({
  name: 'restore',
  summary: 'Restore a domain from a saved state',
  usage: '[options] [<ConfigFile>] <CheckpointFile>',
  minimumArguments: 1,
  maximumArguments: 2,
  modifies: true,
  options: [
    ['-p', 'Do not unpause domain after restoring it'],
    ['-c', 'Connect to the console after the domain is restored'],
    ['-e', 'Do not wait in the background for the death of the domain: what its on_... keys say is not done'],
    ['-d', 'Accepted for compatibility: more detail is in the log'],
    ['-F', 'Run in foreground until death of the domain, or of the last that a rename-restart puts in its place'],
    ['-V, --vncviewer', 'Accepted for compatibility: there is no VNC display'],
    ['-A, --vncviewer-autopass', 'Accepted for compatibility: there is no VNC display'],
  ],
  async run({host, report, world, options, arguments: words}) {
    const file = words.at(-1) as string
    try {
      const saved = await openSavedDomain(file)
      try {
        report.error(`Loading new save file ${file} (new xl fmt info ${saved.head.info})`)
        report.error(' Savefile contains xl domain config in JSON format')
        report.error(`Parsing config from ${words.length > 1 ? words[0] : '<saved>'}`)
        const own = saved.head.config
        const config = words.length > 1 ? await readStandIn(words[0], own.uuid, report, world) : own
        const keep = {
          onPoweroff: 'preserve',
          onReboot: 'preserve',
          onWatchdog: 'preserve',
          onCrash: 'preserve',
        } as const
        await enterDomain(
          host,
          options.e ? {...config, ...keep} : config,
          {
            paused: options.p === true,
            console: options.c === true,
            foreground: options.F === true && options.e !== true,
          },
          world,
          saved,
        )
      } finally {
        saved.close()
      }
      return 0
    } catch (error) {
      await report.failure('restore', error)
      return 1
    }
  },
})
