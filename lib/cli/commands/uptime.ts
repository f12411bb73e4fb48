/** `xl uptime`: how long domains have been running. */
import {command} from '../command.js'
import {uptimeText} from '../format.js'

export default command({
  name: 'uptime',
  summary: 'Print uptime for all/some domains',
  usage: '[-s] [Domain]',
  minimumArguments: 0,
  options: [['-s, --short', 'Print one line per domain, as uptime(1) does']],
  async run({host, report, options, arguments: names}) {
    const wanted = new Set(names.map(name => host.find(name).domid))
    const domains = [{name: 'Domain-0', domid: 0, uptimeMs: host.domain0().uptimeMs}, ...(await host.statuses())]
    const now = new Date().toTimeString().slice(0, 8)
    if (!options.short) report.print(`${'Name'.padEnd(33)} ${'ID'.padStart(4)} Uptime`)
    for (const {name, domid, uptimeMs} of domains) {
      if (wanted.size > 0 && !wanted.has(domid)) continue
      if (options.short) report.print(` ${now} up ${uptimeText(uptimeMs, true)}, ${name} (${domid})`)
      else report.print(`${name.padEnd(33)} ${String(domid).padStart(4)} ${uptimeText(uptimeMs)}`)
    }
  },
})
