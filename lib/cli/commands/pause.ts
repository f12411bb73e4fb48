/** `xl pause`: the domain keeps its memory and gets no CPU. */
import {command, recordOf} from '../command.js'

export default command({
  name: 'pause',
  summary: 'Pause execution of a domain',
  usage: '<Domain>',
  minimumArguments: 1,
  maximumArguments: 1,
  modifies: true,
  options: [],
  async run(context) {
    const record = recordOf(context, context.arguments[0], 'libxl_domain_pause')
    if (record !== undefined) await context.host.ask(record, 'pause', {})
  },
})
