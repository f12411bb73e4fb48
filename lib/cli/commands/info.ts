/** `xl info`: the host, as keys and values. */
import {readFileSync} from 'node:fs'
import {cpus, hostname, machine, release, version} from 'node:os'
import {type CommandContext, command} from '../command.js'

function pairs({host}: CommandContext, sharing: SharingTotals): [key: string, value: string | number][] {
  const memory = host.memory()
  const count = host.cpuCount()
  return [
    ['host', hostname()],
    ['release', release()],
    ['version', version()],
    ['machine', machine()],
    ['nr_cpus', count],
    ['max_cpu_id', count - 1],
    ['nr_nodes', 1],
    ['cores_per_socket', count],
    ['threads_per_core', 1],
    ['cpu_mhz', clockMhz()],
    // Guests never see the processor of the host, so none of its capability words apply to them.
    ['hw_caps', Array(8).fill('00000000').join(':')],
    ['virt_caps', ' pv gnttab-v1'],
    ['total_memory', Math.floor(memory.totalKb / 1024)],
    ['free_memory', Math.floor(memory.freeKb / 1024)],
    [sharingKeys[0], sharing.freedMib],
    [sharingKeys[1], sharing.usedMib],
    ['outstanding_claims', 0],
    ['free_cpus', 0],
  ]
}

/** The clock of the first processor, as Linux has it if it tells. */
function clockMhz(): string {
  const measured = /^cpu MHz\s*: ([0-9]+\.[0-9]{3})$/m.exec(readIfThere('/proc/cpuinfo'))
  return measured?.[1] ?? `${cpus()[0]?.speed ?? 0}.000`
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

const sharingKeys = ['sharing_freed_memory', 'sharing_used_memory']

interface SharingTotals {
  /** What sharing pages saves. */
  readonly freedMib: number
  /** What the shared pages take. */
  readonly usedMib: number
}

const noSharing: SharingTotals = {freedMib: 0, usedMib: 0}

async function sharingOf({host}: CommandContext): Promise<SharingTotals> {
  const all = await Promise.all(host.records().map(record => host.sharing(record)))
  const sharedKb = all.reduce((sum, domain) => sum + domain.sharedKb, 0)
  const ownKb = all.reduce((sum, domain) => sum + domain.ownKb, 0)
  return {freedMib: Math.floor((sharedKb - ownKb) / 1024), usedMib: Math.floor(ownKb / 1024)}
}

function hypervisorPairs(): [key: string, value: string | number][] {
  return [
    ['xen_major', 4],
    ['xen_minor', 17],
    ['xen_extra', '.0-gastwirt'],
    ['xen_version', '4.17.0-gastwirt'],
    ['xen_caps', 'xen-3.0-x86_64 '],
    ['xen_scheduler', 'credit2'],
    ['xen_pagesize', 4096],
    ['platform_params', 'virt_start=0xffff800000000000'],
    ['xen_changeset', ''],
    ['xen_commandline', ''],
    ['cc_compiler', `node ${process.version}`],
    ['cc_compile_by', 'gastwirt'],
    ['cc_compile_domain', ''],
    ['cc_compile_date', ''],
    ['build_id', ''],
    ['xend_config_format', 4],
  ]
}

/** The one node that all CPUs are in. */
function numaTables(context: CommandContext): string[] {
  const count = context.host.cpuCount()
  const memory = context.host.memory()
  const topology = Array.from(
    {length: count},
    (_, cpu) => `${String(cpu).padStart(3)}:${String(cpu).padStart(8)}        0        0`,
  )
  const mib = (kb: number): string => String(Math.floor(kb / 1024)).padStart(9)
  return [
    'cpu_topology           :',
    'cpu:    core    socket     node',
    ...topology,
    'device topology        :',
    'device           node',
    'No device topology data available',
    'numa_info              :',
    'node:    memsize    memfree    distances',
    `   0: ${mib(memory.totalKb)}  ${mib(memory.freeKb)}      10`,
  ]
}

export default command({
  name: 'info',
  summary: 'Get information about Xen host',
  usage: '[options] [KEY]',
  minimumArguments: 0,
  maximumArguments: 1,
  options: [['-n, --numa', 'List host NUMA topology information']],
  async run(context) {
    const {
      report,
      options,
      arguments: [wanted],
    } = context
    // Domains are asked only for what they alone know.
    const asks = wanted === undefined || sharingKeys.some(key => key.startsWith(wanted))
    const hostPairs = pairs(context, asks ? await sharingOf(context) : noSharing)
    if (wanted !== undefined && !options.numa) {
      const found = [...hostPairs, ...hypervisorPairs()].filter(([key]) => key.startsWith(wanted))
      for (const [, value] of found) report.print(String(value).trim())
      return 0
    }
    const print = ([key, value]: [string, string | number]): void =>
      report.print(`${key.padEnd(23)}: ${String(value).trim()}`)
    hostPairs.forEach(print)
    if (options.numa) for (const line of numaTables(context)) report.print(line)
    hypervisorPairs().forEach(print)
    return 0
  },
})
