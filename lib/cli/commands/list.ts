/** `xl list`: the table of domains, or their configurations as JSON. */
import type {DomainStatus} from '../../control/protocol.js'
import {shutdownReasons} from '../../control/protocol.js'
import {configToJson, printJson} from '../../toolstack/config-json.js'
import {formatCpuList} from '../../toolstack/cpu-list.js'
import {type CommandContext, command} from '../command.js'
import {domain0Row, domain0Uuid} from '../domain0.js'
import {type ListRow, listHeader, listLine, rowOf} from '../format.js'
import {commandHelp} from '../help.js'

interface Entry {
  row: ListRow
  uuid: string
  status?: DomainStatus
}

/** The asked domain, or all; undefined when the asked one does not exist. */
async function entriesOf({host, arguments: [identifier]}: CommandContext): Promise<Entry[] | undefined> {
  const domain0 = (): Entry => ({row: domain0Row(host), uuid: domain0Uuid})
  const entry = (status: DomainStatus): Entry => ({row: rowOf(status), uuid: status.uuid, status})
  if (identifier === undefined) return [domain0(), ...(await host.statuses()).map(entry)]
  const {domid, record} = host.find(identifier)
  if (domid === 0) return [domain0()]
  const status = record === undefined ? undefined : await host.status(record)
  return status === undefined ? undefined : [entry(status)]
}

function json({row, uuid, status}: Entry): Parameters<typeof printJson>[0] {
  if (status !== undefined) return {domid: row.domid, config: configToJson(status.config)}
  const memory = {max_memkb: row.memoryKb, target_memkb: row.memoryKb}
  return {
    domid: 0,
    config: {c_info: {type: 'pv', name: row.name, uuid}, b_info: {max_vcpus: row.vcpus, ...memory, 'type.pv': {}}},
  }
}

const list = command({
  name: 'list',
  summary: 'List information about all/some domains',
  usage: '[options] [Domain]',
  minimumArguments: 0,
  options: [
    ['-l, --long', 'Output all VM details'],
    ['-v, --verbose', 'Print out UUID, shutdown reason and security label'],
    ['-Z, --context', 'Print out the security context'],
    ['-c, --cpupool', 'Print CPU pools of domains'],
    ['-n, --numa', 'Print out NUMA node affinity of domains'],
  ],
  async run(context) {
    const {report, options, host} = context
    if (context.arguments.length > 1) {
      report.write(commandHelp(list))
      return 1
    }
    const entries = await entriesOf(context)
    if (entries === undefined) {
      report.error(`Error: Domain '${context.arguments[0]}' does not exist.`)
      return 1
    }
    if (options.long) {
      report.write(printJson(entries.map(json)))
      return 0
    }
    let header = listHeader
    if (options.verbose) header += '   UUID                            Reason-Code\tSecurity Label'
    else if (options.context) header += '   Security Label'
    if (options.cpupool) header += '         Cpupool'
    if (options.numa) header += ' NODE Affinity'
    report.print(header)
    for (const {row, uuid, status} of entries) {
      let line = listLine(row)
      if (options.verbose) {
        const reason = status?.shutdownReason
        line += ` ${uuid} ${(reason === undefined ? '-' : shutdownReasons.indexOf(reason).toString(16)).padStart(8)} ${'-'.padStart(16)}`
      } else if (options.context) line += ` ${'-'.padStart(16)}`
      if (options.cpupool) line += 'Pool-0'.padStart(16)
      if (options.numa) line += ` ${formatCpuList(status?.config.cpus?.[0], host.cpuCount())}`
      report.print(line)
    }
    return 0
  },
})
export default list
