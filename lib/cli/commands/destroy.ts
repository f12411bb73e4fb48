/** `xl destroy`: the domain ends at once, as if its power was cut. */
import {OperatorError} from '../../base/errors.js'
import {command} from '../command.js'

export default command({
  name: 'destroy',
  summary: 'Terminate a domain immediately',
  usage: '[options] <Domain>',
  minimumArguments: 1,
  maximumArguments: 1,
  modifies: true,
  options: [['-f', 'Permit destroying domain 0, which is refused here all the same']],
  async run({host, report, options, arguments: [identifier]}) {
    const {domid, record} = host.find(identifier)
    if (domid === 0 && options.f) throw new OperatorError('Domain-0 is this machine; turn it off with its own commands')
    if (domid === 0) {
      report.error('Not destroying domain 0; use -f to force.')
      report.error('This can only be done when using a disaggregated hardware domain and toolstack.\n')
      return 1
    }
    if (record === undefined) {
      report.error(`libxl: error: libxl__destroy_domid: Domain ${domid}:Non-existant domain`)
      report.error(`libxl: error: domain_destroy_callback: Domain ${domid}:Unable to destroy guest`)
      report.error(`libxl: error: domain_destroy_cb: Domain ${domid}:Destruction of domain failed`)
      report.error('destroy failed (rc=-21)')
      return 1
    }
    await host.destroy(record)
    return 0
  },
})
