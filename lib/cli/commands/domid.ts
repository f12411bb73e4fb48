/** `xl domid`: name to id. */
import {command} from '../command.js'

export default command({
  name: 'domid',
  summary: 'Convert a domain name to domain id',
  usage: '<DomainName>',
  minimumArguments: 1,
  maximumArguments: 1,
  options: [],
  async run({host, report, arguments: [name]}) {
    const domid = name === 'Domain-0' ? 0 : host.records().find(record => record.name === name)?.domid
    if (domid === undefined) {
      report.error(`Can't get domid of domain name '${name}', maybe this domain does not exist.`)
      return 1
    }
    report.print(String(domid))
    return 0
  },
})
