/** `xl migrate`: a running domain to another host. */
import {command, recordOf} from '../command.js'
import {describeMigration, outcomeUnknown, receiverCommand, sendDomain} from '../migration-sender.js'
import {readStandIn} from '../start-domain.js'

export default command({
  name: 'migrate',
  summary: 'Migrate a domain to another host',
  usage: '[options] <Domain> <host>',
  minimumArguments: 2,
  maximumArguments: 2,
  modifies: true,
  options: [
    ['-C <config>', 'Send <config> instead of the configuration the domain was created with'],
    ['-s <sshcommand>', 'Use <sshcommand> instead of ssh; if it is empty, run <host> instead of all of the command'],
    ['-e', 'Do not wait in the background, on the target, for the death of the domain'],
    ['-p', 'Do not unpause domain after migrating it'],
    ['-D', 'Preserve the domain id'],
    ['-F', 'Accepted for compatibility: the domain has a process of its own'],
    ['--debug', 'Print every round of copying'],
    ['--live', 'Accepted for compatibility: every migration is live'],
  ],
  async run(context) {
    const {host, report, options, arguments: words} = context
    const [identifier, target] = words
    const record = recordOf(context, identifier, 'libxl_domain_suspend')
    if (record === undefined) return 1
    const {config, paused} = await host.ask(record, 'status', {})
    const given =
      options.C === undefined ? {} : await readStandIn(options.C as string, config.uuid, report, context.world)
    const sent = {...config, ...given, ...(options.D ? {domid: record.domid} : {})}
    // A paused domain stays paused.
    const wanted = {'-e': options.e, '-d': options.debug, '-p': options.p || paused}
    const receiverOptions = Object.entries(wanted).flatMap(([option, isWanted]) => (isWanted ? [option] : []))
    try {
      const command = receiverCommand((options.s as string | undefined) ?? 'ssh', target, receiverOptions)
      const migrated = await sendDomain(host, record, sent, command, report)
      if (migrated === undefined) {
        await report.failure('migrate', outcomeUnknown())
        return 1
      }
      report.error('Migration successful.')
      for (const line of describeMigration(migrated, options.debug === true)) report.error(line)
      return 0
    } catch (error) {
      await report.failure('migrate', error)
      report.error('Migration failed, resuming at sender.')
      return 1
    }
  },
})
