/** `xl dmesg`: the hypervisor's messages. Each domain has a hypervisor of its own, so lines are marked with their domain. */
import {DomainGoneError} from '../../control/socket.js'
import {command} from '../command.js'

export default command({
  name: 'dmesg',
  summary: 'Read and/or clear dmesg buffer',
  usage: '[-c]',
  minimumArguments: 0,
  maximumArguments: 0,
  options: [['-c, --clear', 'Clear the buffer as well as printing it']],
  async run({host, report, options}) {
    for (const record of host.records()) {
      try {
        const text = await host.ask(record, 'dmesg', {clear: options.clear === true})
        for (const line of text.split('\n')) if (line !== '') report.print(`(d${record.domid}) ${line}`)
      } catch (error) {
        if (!(error instanceof DomainGoneError)) throw error
      }
    }
  },
})
