/** `xl vcpu-list`: what each vCPU does. */
import {formatCpuList} from '../../toolstack/cpu-list.js'
import {command} from '../command.js'
import {seconds, vcpuFlags} from '../format.js'

/** A vCPU's line. The columns are not quite those of the header; so they are in xl. */
function line(name: string, domid: number, vcpu: number, cpu: string, state: string, timeNs: number, hard: string) {
  const ids = `${name.padEnd(32)} ${String(domid).padStart(5)} ${String(vcpu).padStart(5)}`
  return `${ids}${cpu.padStart(5)}   ${state} ${seconds(timeNs).padStart(9)}  ${hard} / all`
}

export default command({
  name: 'vcpu-list',
  summary: 'List the VCPUs for all/some domains',
  usage: '[Domain, ...]',
  minimumArguments: 0,
  options: [],
  async run({host, report, arguments: names}) {
    const wanted = names.map(name => host.find(name))
    const missing = wanted.find(({domid, record}) => record === undefined && domid !== 0)
    const cpus = host.cpuCount()
    report.print('Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)')
    const isWanted = (domid: number): boolean => wanted.length === 0 || wanted.some(other => other.domid === domid)
    if (isWanted(0)) {
      const timeNs = host.domain0().cpuTimeNs / cpus
      for (let cpu = 0; cpu < cpus; cpu++)
        report.print(line('Domain-0', 0, cpu, `${cpu}`, cpu === 0 ? 'r--' : '-b-', timeNs, 'all'))
    }
    for (const {name, domid, vcpus, shutdownReason, config} of await host.statuses()) {
      if (!isWanted(domid)) continue
      for (const vcpu of vcpus) {
        const hard = formatCpuList(config.cpus?.[Math.min(vcpu.id, config.cpus.length - 1)], cpus)
        const cpu = vcpu.cpu === undefined ? '-' : String(vcpu.cpu)
        const flags = shutdownReason === undefined ? vcpuFlags(vcpu) : '---'
        report.print(line(name, domid, vcpu.id, cpu, flags, vcpu.cpuTimeNs, hard))
      }
    }
    if (missing !== undefined) {
      report.error(`Error: Domain '${missing.domid}' does not exist.`)
      return 1
    }
    return 0
  },
})
