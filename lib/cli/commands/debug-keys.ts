/** `xl debug-keys`: asks the hypervisors of all domains what they are doing; `xl dmesg` shows what they say. */
import {OperatorError} from '../../base/errors.js'
import {DomainGoneError} from '../../control/socket.js'
import {command} from '../command.js'

/** Xen's key that restarts the machine. */
const rebootKey = 'R'

export default command({
  name: 'debug-keys',
  summary: 'Send debug keys to Xen',
  usage: '<Keys>',
  minimumArguments: 1,
  maximumArguments: 1,
  modifies: true,
  options: [],
  async run({host, report, arguments: [keys]}) {
    if (keys.includes(rebootKey)) {
      await report.failure('debug-keys', new OperatorError(`"${rebootKey}" would restart this machine: not from here`))
      report.error(`cannot send debug keys: ${keys}`)
      return 1
    }
    for (const record of host.records()) {
      try {
        await host.ask(record, 'debug', {keys})
      } catch (error) {
        if (!(error instanceof DomainGoneError)) throw error
      }
    }
    return 0
  },
})
