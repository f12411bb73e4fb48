/**
 * `npm start`: the Debian guest on this terminal. With a person there, it is `xl create -c config-examples/debian.cfg`, or, if that
 * domain runs already, its console. With no terminal on standard input the guest shows its banner and powers itself off; it then has a
 * name of its own, so that it runs beside any other, and a crash of the guest makes the exit status 1.
 */
import {fileURLToPath} from 'node:url'
import {readConfigFile} from '../toolstack/config-file.js'
import {Host, hostDirectoryPath} from '../toolstack/host.js'
import {main} from './program.js'
import {Report, type World} from './report.js'
import {startDomain} from './start-domain.js'

const configPath = fileURLToPath(new URL('../../../config-examples/debian.cfg', import.meta.url))

/** Starts or joins the guest; resolves to the exit status. */
export async function start(world: World): Promise<number> {
  if (world.stdin.isTTY === true) {
    const host = new Host(hostDirectoryPath(world.environment), world.domainProgram)
    const {config} = await readConfigFile(configPath, [])
    const running = host.records().some(record => record.name === config.name)
    return main(running ? ['console', config.name] : ['create', '-c', '-q', configPath], world)
  }
  return runOnce(world)
}

/** One boot for a script: crash is kept from being restarted, so that it is seen. */
async function runOnce(world: World): Promise<number> {
  const report = new Report(world)
  try {
    const host = new Host(hostDirectoryPath(world.environment), world.domainProgram)
    const words = [`name="debian-${process.pid}"`, 'extra="gastwirt.once"', 'on_crash="destroy"', 'on_reboot="destroy"']
    const {config} = await readConfigFile(configPath, words)
    const end = await startDomain(host, config, {paused: false, console: true, foreground: true}, report, world)
    if (end?.reason === undefined || end.reason === 'poweroff') return 0
    report.error(`the guest ended by ${end.reason}; its log is "${host.directory.logPath(config.name)}"`)
    return 1
  } catch (error) {
    return report.failure('start', error)
  }
}
