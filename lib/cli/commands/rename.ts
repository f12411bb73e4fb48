/** `xl rename`: another name for a domain, unique on its host. */
import {OperatorError} from '../../base/errors.js'
import {domainNameHint, isDomainName} from '../../control/domain-config.js'
import {command} from '../command.js'

export default command({
  name: 'rename',
  summary: 'Rename a domain',
  usage: '<Domain> <NewDomainName>',
  minimumArguments: 2,
  maximumArguments: 2,
  modifies: true,
  options: [],
  async run({host, report, arguments: [identifier, name]}) {
    const {domid, record} = host.find(identifier)
    try {
      if (domid === 0) throw new OperatorError('Domain-0 keeps its name')
      if (record === undefined) throw new OperatorError(`domain ${domid} does not exist`)
      if (!isDomainName(name)) {
        throw new OperatorError(`"${name}" cannot be the name of a domain`, {
          hint: domainNameHint,
        })
      }
      await host.ask(record, 'rename', {name})
    } catch (error) {
      await report.failure('rename', error)
      report.error(`Can't rename domain '${identifier}'.`)
      return 1
    }
    return 0
  },
})
