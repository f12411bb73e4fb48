/** `xl unpause`: the domain runs on. */
import {command, recordOf} from '../command.js'

export default command({
  name: 'unpause',
  summary: 'Unpause a paused domain',
  usage: '<Domain>',
  minimumArguments: 1,
  maximumArguments: 1,
  modifies: true,
  options: [],
  async run(context) {
    const record = recordOf(context, context.arguments[0], 'libxl_domain_unpause')
    if (record !== undefined) await context.host.ask(record, 'unpause', {})
  },
})
