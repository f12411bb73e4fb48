/** `xl domname`: id to name. */
import {command} from '../command.js'

export default command({
  name: 'domname',
  summary: 'Convert a domain id to domain name',
  usage: '<DomainId>',
  minimumArguments: 1,
  maximumArguments: 1,
  options: [],
  async run({host, report, arguments: [text]}) {
    if (!/^[0-9]+$/.test(text)) {
      report.error('Invalid domain id.\n')
      return 1
    }
    const name = Number(text) === 0 ? 'Domain-0' : host.find(text).record?.name
    if (name === undefined) {
      report.error(`Can't get domain name of domain id '${text}', maybe this domain does not exist.`)
      return 1
    }
    report.print(name)
    return 0
  },
})
