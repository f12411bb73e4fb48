/** `xl vm-list`: ids and names of the guests, without Domain-0. */
import {command} from '../command.js'

export default command({
  name: 'vm-list',
  summary: 'List guest domains, excluding dom0',
  usage: '',
  minimumArguments: 0,
  maximumArguments: 0,
  options: [],
  async run({host, report}) {
    report.print('UUID                                  ID    name')
    for (const {uuid, domid, name} of host.records()) report.print(`${uuid}  ${domid}    ${name.padEnd(30)}`)
  },
})
