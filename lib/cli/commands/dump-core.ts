/** `xl dump-core`: a domain's memory and registers in a file, for a debugger. */
import {resolve} from 'node:path'
import {command, recordOf} from '../command.js'

export default command({
  name: 'dump-core',
  summary: 'Core dump a domain',
  usage: '<Domain> <filename>',
  minimumArguments: 2,
  maximumArguments: 2,
  modifies: true,
  options: [],
  async run(context) {
    const {host, report} = context
    const [identifier, path] = context.arguments
    const record = recordOf(context, identifier, 'libxl_domain_core_dump')
    try {
      if (record !== undefined) {
        await host.ask(record, 'dumpCore', {path: resolve(path)})
        return 0
      }
    } catch (error) {
      await report.failure('dump-core', error)
    }
    report.error('core dump failed (rc=-3)')
    return 1
  },
})
