/** `xl sharing`: how much of a domain's memory the host has only once for several domains. */
import type {DomainStatus} from '../../control/protocol.js'
import {type CommandContext, command} from '../command.js'
import {domain0Row} from '../domain0.js'
import {rowOf, sharingHeader, sharingLine} from '../format.js'

async function lineOf({host}: CommandContext, status: DomainStatus): Promise<string> {
  const record = host.find(String(status.domid)).record
  return sharingLine(rowOf(status), record === undefined ? 0 : (await host.sharing(record)).sharedKb)
}

export default command({
  name: 'sharing',
  summary: 'Get information about page sharing',
  usage: '[Domain]',
  minimumArguments: 0,
  maximumArguments: 1,
  options: [],
  async run(context) {
    const {
      host,
      report,
      arguments: [identifier],
    } = context
    const domain0Line = sharingLine(domain0Row(host), 0)
    if (identifier === undefined) {
      const lines = await Promise.all((await host.statuses()).map(status => lineOf(context, status)))
      for (const line of [sharingHeader, domain0Line, ...lines]) report.print(line)
      return 0
    }
    const {domid, record} = host.find(identifier)
    const status = record === undefined ? undefined : await host.status(record)
    if (domid !== 0 && status === undefined) {
      report.error(`Error: Domain '${identifier}' does not exist.`)
      return 1
    }
    report.print(sharingHeader)
    report.print(status === undefined ? domain0Line : await lineOf(context, status))
    return 0
  },
})
