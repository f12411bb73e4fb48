/**
 * `xl evacuate`: every domain of this host to another one, for maintenance, and back afterwards. Ours alone; Xen's xl has no such command.
 *
 * What has gone where is noted in the host directory, in evacuated.json, until it is back.
 */
import {execFile, spawn} from 'node:child_process'
import {once} from 'node:events'
import {readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs'
import {hostname} from 'node:os'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {OperatorError} from '../../base/errors.js'
import {withLock} from '../../control/file-lock.js'
import type {DomainStatus} from '../../control/protocol.js'
import type {Host} from '../../toolstack/host.js'
import {command} from '../command.js'
import {describeMigration, outcomeUnknown, receiverCommand, sendDomain} from '../migration-sender.js'
import type {Report} from '../report.js'

/** For how long domains are watched to see which of them are busy. */
const watchMs = 300
/** Domains whose time differs by less are alike: even an idle one wakes up now and then. */
const stepMs = 50
const mostAtOnce = 16

/** The domains that run, those first that will stand still for the shortest time: idle before busy, small before large. */
async function shortestFirst(host: Host, earlier: readonly DomainStatus[]): Promise<DomainStatus[]> {
  const before = new Map(earlier.map(({domid, cpuTimeNs}) => [domid, cpuTimeNs]))
  await delay(watchMs)
  const busy = ({domid, cpuTimeNs}: DomainStatus) => Math.round((cpuTimeNs - (before.get(domid) ?? 0)) / 1e6 / stepMs)
  const domains = (await host.statuses()).filter(({shutdownReason}) => shutdownReason === undefined)
  return domains.sort((a, b) => busy(a) - busy(b) || a.currentMemoryKb - b.currentMemoryKb)
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

/**
 * Names of domains that have left this host, by where they are. A name is noted before its domain goes, so that none is forgotten whatever dies; one that is
 * still here, or here again, counts as back.
 */
class Evacuated {
  private readonly path: string

  constructor(private readonly host: Host) {
    this.path = join(host.directory.path, 'evacuated.json')
  }

  at(place: string): string[] {
    return [...this.read()].filter(([, at]) => at === place).map(([name]) => name)
  }

  /** Notes where a domain is; undefined: here. */
  note(name: string, place: string | undefined): Promise<void> {
    return withLock(join(this.host.directory.path, 'lock'), () => {
      const names = this.read()
      if (place === undefined) names.delete(name)
      else names.set(name, place)
      if (names.size === 0) return rmSync(this.path, {force: true})
      const draft = `${this.path}.draft`
      writeFileSync(draft, JSON.stringify(Object.fromEntries(names)), {mode: 0o600})
      renameSync(draft, this.path)
    })
  }

  private read(): Map<string, string> {
    try {
      return new Map(Object.entries(JSON.parse(readFileSync(this.path, 'utf8'))))
    } catch {
      return new Map()
    }
  }
}

/** Where domains go and come from. */
interface Place {
  readonly ssh: string
  readonly target: string
  readonly atOnce: number
}

/** What the notes call a place. */
const nameOf = ({ssh, target}: Place) => `${ssh} ${target}`

async function leave(host: Host, place: Place, report: Report): Promise<unknown[]> {
  const evacuated = new Evacuated(host)
  const all = await host.statuses()
  for (const {name, shutdownReason} of all)
    if (shutdownReason !== undefined) report.error(`${name}: stays here, it has shut down (${shutdownReason})`)
  return forEach(await shortestFirst(host, all), place.atOnce, async ({domid, name, config, paused}) => {
    const record = host.directory.find({domid})
    if (record === undefined) return
    await evacuated.note(name, nameOf(place))
    try {
      const command = receiverCommand(place.ssh, place.target, paused ? ['-p'] : [])
      const migrated = await sendDomain(host, record, config, command)
      if (migrated === undefined) throw outcomeUnknown()
      report.print(`${name}: ${describeMigration(migrated, false).at(-1)}`)
    } catch (error) {
      if (host.directory.find({name}) !== undefined) await evacuated.note(name, undefined)
      throw error instanceof OperatorError ? new OperatorError(`${name}: ${error.message}`, {cause: error}) : error
    }
  })
}

/** Asks the other host to migrate them to this one, which it calls `self`. */
async function comeBack(host: Host, place: Place, self: string, report: Report): Promise<unknown[]> {
  const {ssh, target, atOnce} = place
  const evacuated = new Evacuated(host)
  return forEach(evacuated.at(nameOf(place)), atOnce, async name => {
    if (host.directory.find({name}) === undefined) {
      const command = `exec ${ssh} ${target} xl migrate -s ${quoted(ssh)} ${name} ${quoted(self)}`
      const child = spawn('sh', ['-c', command], {stdio: ['ignore', 'ignore', 'inherit']})
      child.on('error', () => {})
      const [status] = await once(child, 'close')
      if (status !== 0) {
        const isGone = await hasEnded(place, name)
        if (isGone) await evacuated.note(name, undefined)
        throw new OperatorError(
          isGone ? `${name} is not on ${target} any more` : `${name} did not come back (status ${status})`,
        )
      }
    }
    await evacuated.note(name, undefined)
    report.print(`${name}: back`)
  })
}

/** True when the other host answers and has no such domain, nor one that is on its way from there. */
async function hasEnded({ssh, target}: Place, name: string): Promise<boolean> {
  const listed = await new Promise<string>(resolve => {
    const child = execFile('sh', ['-c', `exec ${ssh} ${target} xl list`], (error, stdout) =>
      resolve(error ? '' : stdout),
    )
    child.stdin?.end()
  })
  const names = listed.split('\n').map(row => row.split(' ')[0])
  return names[0] === 'Name' && !names.some(other => other === name || other.startsWith(`${name}--`))
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
    if (ssh === '')
      throw new OperatorError('-s "": the other host must be reached for more than receiving', {exitCode: 2})
    const place = {ssh, target, atOnce}
    const errors = options.return
      ? await comeBack(host, place, (options.as as string | undefined) ?? hostname(), report)
      : await leave(host, place, report)
    for (const error of errors) await report.failure('evacuate', error)
    return errors.length === 0 ? 0 : 1
  },
})
