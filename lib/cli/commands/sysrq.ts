/** `xl sysrq`: a magic SysRq letter for the guest's kernel. */
import {command, recordOf} from '../command.js'
import {commandHelp} from '../help.js'

const sysrq = command({
  name: 'sysrq',
  summary: 'Send a sysrq to a domain',
  usage: '<Domain> <letter>',
  minimumArguments: 2,
  maximumArguments: 2,
  options: [],
  async run(context) {
    const [identifier, letter] = context.arguments
    context.host.find(identifier)
    if (!/^[\x21-\x7e]$/.test(letter)) {
      context.report.error('Invalid sysrq.')
      context.report.error('')
      context.report.write(commandHelp(sysrq))
      return 1
    }
    const record = recordOf(context, identifier, 'libxl_send_sysrq')
    if (record !== undefined) await context.host.ask(record, 'sysrq', {letter})
    return 0
  },
})
export default sysrq
