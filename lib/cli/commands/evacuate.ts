/**
 * `xl evacuate`: every domain of this host to another one, for maintenance, and back afterwards. Ours alone; Xen's xl has no such command.
 *
 * What has gone where is noted in the host directory, in evacuated.json, until it is back.
 */
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {readFileSync, rmSync, writeFileSync} from 'node:fs'
import {hostname} from 'node:os'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {OperatorError} from '../../base/errors.js'
import type {DomainStatus} from '../../control/protocol.js'
import type {Host} from '../../toolstack/host.js'
import {command} from '../command.js'
import {describeMigration, sendDomain, transportOf} from '../migration-sender.js'
import type {Report} from '../report.js'

/** For how long domains are watched to see which of them are busy. */
const watchMs = 300
const mostAtOnce = 16

/** The domains, those first that will stand still for the shortest time: idle before busy, small before large. */
async function shortestFirst(host: Host): Promise<DomainStatus[]> {
  const before = new Map((await host.statuses()).map(({domid, cpuTimeNs}) => [domid, cpuTimeNs]))
  await delay(watchMs)
  const busyMs = ({domid, cpuTimeNs}: DomainStatus) => Math.round((cpuTimeNs - (before.get(domid) ?? 0)) / 1e6)
  const domains = (await host.statuses()).filter(({shutdownReason}) => shutdownReason === undefined)
  return domains.sort((a, b) => busyMs(a) - busyMs(b) || a.currentMemoryKb - b.currentMemoryKb)
}

/** Calls `work` for each of `items`, `atOnce` at a time; the errors in the order in which they came. */
async function forEach<Item>(items: Item[], atOnce: number, work: (item: Item) => Promise<void>): Promise<unknown[]> {
  const errors: unknown[] = []
  const left = [...items]
  const worker = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift())
      await work(item).catch(error => errors.push(error))
  }
  await Promise.all(Array.from({length: atOnce}, worker))
  return errors
}

/** Names of domains that have left this host, by the command that reaches where they are. */
class Evacuated {
  private readonly path: string
  private readonly names: Map<string, string>

  constructor(host: Host) {
    this.path = join(host.directory.path, 'evacuated.json')
    try {
      this.names = new Map(Object.entries(JSON.parse(readFileSync(this.path, 'utf8'))))
    } catch {
      this.names = new Map()
    }
  }

  at(command: string): string[] {
    return [...this.names].filter(([, at]) => at === command).map(([name]) => name)
  }

  note(name: string, command: string | undefined): void {
    if (command === undefined) this.names.delete(name)
    else this.names.set(name, command)
    if (this.names.size === 0) rmSync(this.path, {force: true})
    else writeFileSync(this.path, JSON.stringify(Object.fromEntries(this.names)), {mode: 0o600})
  }
}

async function leave(host: Host, transport: string, atOnce: number, report: Report): Promise<unknown[]> {
  const evacuated = new Evacuated(host)
  return forEach(await shortestFirst(host), atOnce, async ({domid, name, config}) => {
    const record = host.directory.find({domid})
    if (record === undefined) return
    const migrated = await sendDomain(host, record, config, {command: transport, receiverOptions: []})
    evacuated.note(name, transport)
    report.print(`${name}: ${describeMigration(migrated, false).at(-1)}`)
  })
}

/** Asks the other host to migrate them to this one. */
async function comeBack(host: Host, transport: string, back: string, atOnce: number, report: Report) {
  const evacuated = new Evacuated(host)
  return forEach(evacuated.at(transport), atOnce, async name => {
    const child = spawn('sh', ['-c', `${transport} migrate ${back.replace('NAME', name)}`], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    child.on('error', () => {})
    const [status] = await once(child, 'close')
    if (status !== 0) throw new OperatorError(`${name} did not come back (status ${status})`)
    evacuated.note(name, undefined)
    report.print(`${name}: back`)
  })
}

/** A word for a shell. */
const quoted = (word: string) => `'${word.replaceAll("'", "'\\''")}'`

export default command({
  name: 'evacuate',
  summary: 'Migrate all domains to another host, or back',
  usage: '[options] <host>',
  minimumArguments: 1,
  maximumArguments: 1,
  modifies: true,
  options: [
    ['-s <sshcommand>', 'Use <sshcommand> instead of ssh, as xl migrate does'],
    ['-n <count>', 'So many domains at once; 2 unless given'],
    ['--return', 'Bring back the domains that were evacuated to <host>'],
    ['--as <name>', 'How <host> reaches this host when it sends them back; the name of this host unless given'],
  ],
  async run({host, report, options, arguments: [target]}) {
    const atOnce = Number(options.n ?? 2)
    if (!(Number.isInteger(atOnce) && atOnce >= 1 && atOnce <= mostAtOnce)) {
      throw new OperatorError(`-n ${options.n}: between 1 and ${mostAtOnce} domains at once`, {exitCode: 2})
    }
    const ssh = (options.s as string | undefined) ?? 'ssh'
    const transport = transportOf(ssh, target)
    const self = (options.as as string | undefined) ?? hostname()
    const errors = options.return
      ? await comeBack(host, transport, `-s ${quoted(ssh)} NAME ${quoted(self)}`, atOnce, report)
      : await leave(host, transport, atOnce, report)
    for (const error of errors) await report.failure('evacuate', error)
    return errors.length === 0 ? 0 : 1
  },
})
