/** `xl migrate`: a running domain to another host. */
import {readConfigFile} from '../../toolstack/config-file.js'
import {command, recordOf} from '../command.js'
import {describeMigration, sendDomain, transportOf} from '../migration-sender.js'

export default command({
  name: 'migrate',
  summary: 'Migrate a domain to another host',
  usage: '[options] <Domain> <host>',
  minimumArguments: 2,
  maximumArguments: 2,
  modifies: true,
  options: [
    ['-C <config>', 'Send <config> instead of the configuration the domain was created with'],
    ['-s <sshcommand>', 'Use <sshcommand> instead of ssh; if it is empty, run <host> instead of ssh <host> xl'],
    ['-e', 'Do not wait in the background, on the target, for the death of the domain'],
    ['-p', 'Do not unpause domain after migrating it'],
    ['-D', 'Preserve the domain id'],
    ['--debug', 'Print every round of copying'],
    ['--live', 'Accepted for compatibility: every migration is live'],
  ],
  async run(context) {
    const {host, report, options, arguments: words} = context
    const [identifier, target] = words
    const record = recordOf(context, identifier, 'libxl_domain_suspend')
    if (record === undefined) return 1
    const {config} = await host.ask(record, 'status', {})
    const given = options.C === undefined ? {} : (await readConfigFile(options.C as string, [])).config
    const sent = {...config, ...given, ...(options.D ? {domid: record.domid} : {})}
    const receiverOptions = ['e', 'p'].filter(letter => options[letter]).map(letter => `-${letter}`)
    try {
      const command = transportOf((options.s as string | undefined) ?? 'ssh', target)
      const migrated = await sendDomain(host, record, sent, {command, receiverOptions}, report)
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
