/** `xl console`: the guest's console in this terminal. */
import {command} from '../command.js'
import {parseEscape, runSession, standardEscape} from '../console-session.js'

export default command({
  name: 'console',
  summary: "Attach to domain's console",
  usage: '[options] <Domain>',
  minimumArguments: 1,
  maximumArguments: 1,
  options: [
    ['-t <type>', 'Console type, pv, serial or vuart; PV guests have pv only'],
    ['-n <number>', 'Console number; guests have number 0 only'],
    ['-e <escape>', 'Escape character that leaves the console, ^] by default'],
  ],
  async run({host, report, world, options, arguments: [identifier]}) {
    const escapeCode = typeof options.e === 'string' ? parseEscape(options.e) : standardEscape
    const unable = (why: string): number => {
      report.error(`xl: console: ${why}`)
      report.error('Unable to attach console')
      return 1
    }
    if (escapeCode === undefined) return unable(`"${options.e}" is no escape character`)
    if (options.t !== undefined && !['pv', 'serial', 'vuart'].includes(String(options.t))) {
      report.error('console type supported are: pv, serial, vuart')
      return 1
    }
    if (options.t !== undefined && options.t !== 'pv') return unable(`the guest has no console of type "${options.t}"`)
    if (options.n !== undefined && Number(options.n) !== 0)
      return unable(`the guest has no console number ${options.n}`)
    const {domid, record} = host.find(identifier)
    if (domid === 0) return unable('domain 0 is this machine; it has no console here')
    if (record === undefined) return unable(`domain "${identifier}" does not exist`)
    let stream: Awaited<ReturnType<Awaited<ReturnType<typeof host.connect>>['console']>>
    try {
      stream = await (await host.connect(record)).console()
    } catch (error) {
      return unable(error instanceof Error ? error.message : String(error))
    }
    await runSession(stream, world, escapeCode)
    return 0
  },
})
