/** `xl fork`: a running domain becomes several. Ours alone; Xen's xl has no such command. */
import {randomBytes, randomUUID} from 'node:crypto'
import {closeSync, openSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {OperatorError} from '../../base/errors.js'
import {type DomainConfig, domainNameHint, isDomainName} from '../../control/domain-config.js'
import type {DomainRecord} from '../../control/host-directory.js'
import type {Host} from '../../toolstack/host.js'
import {openSavedDomain} from '../../toolstack/saved-domain.js'
import {command, recordOf} from '../command.js'

const mostChildren = 1000

/** How many were asked for. Errors: OperatorError. */
function countOf(text: string | undefined): number {
  const count = text === undefined ? 1 : /^[0-9]+$/.test(text) ? Number(text) : 0
  if (count >= 1 && count <= mostChildren) return count
  throw new OperatorError(`-n ${text}: the number of children is 1 to ${mostChildren}`, {exitCode: 2})
}

/** Names for the children: the one that was given, or that of the parent with the next free numbers. Errors: OperatorError. */
function childNames(host: Host, parent: string, asked: string | undefined, count: number): string[] {
  const names: string[] = []
  const taken = new Set(host.records().map(record => record.name))
  if (asked !== undefined && count === 1) names.push(asked)
  for (let number = 1; names.length < count; number++) {
    const name = `${asked ?? parent}-${number}`
    if (!taken.has(name)) names.push(name)
  }
  const wrong = names.find(name => !isDomainName(name))
  if (wrong === undefined) return names
  throw new OperatorError(`"${wrong}" cannot be the name of a domain`, {
    hint: domainNameHint,
  })
}

/** A MAC address of those that Xen's domains have (00:16:3e). */
function newMac(): string {
  const [first, ...others] = randomBytes(3)
  return ['00', '16', '3e', ...[first & 0x7f, ...others].map(byte => byte.toString(16).padStart(2, '0'))].join(':')
}

/** The parent's configuration but for what must differ. */
function childConfig({domid: _, ...parent}: DomainConfig, name: string): DomainConfig {
  const nics = parent.nics.map(nic => (nic.mac === undefined ? nic : {...nic, mac: newMac()}))
  return {...parent, name, uuid: randomUUID(), nics}
}

/** Lets the children go on from a stream; none of them stays when one cannot. */
async function startChildren(
  host: Host,
  children: readonly {record: DomainRecord; config: DomainConfig}[],
  path: string,
  paused: boolean,
): Promise<DomainRecord[]> {
  const started: DomainRecord[] = []
  try {
    for (const {record, config} of children) {
      const saved = await openSavedDomain(path)
      try {
        started.push(await host.startReserved(record, config, paused, saved))
      } finally {
        saved.close()
      }
    }
    return started
  } catch (error) {
    for (const record of started) await host.destroy(record)
    throw error
  }
}

/** Calls `use` with a path to an open file that has no name: nothing of it stays, whoever dies. What the children have mapped stays theirs. */
async function withScratchFile<Result>(use: (path: string) => Promise<Result>): Promise<Result> {
  const name = join(tmpdir(), `gastwirt-fork-${randomUUID()}`)
  const fd = openSync(name, 'wx+', 0o600)
  rmSync(name)
  try {
    return await use(`/proc/${process.pid}/fd/${fd}`)
  } finally {
    closeSync(fd)
  }
}

export default command({
  name: 'fork',
  summary: 'Clone a running domain, sharing its memory until it is written to',
  usage: '[options] <Domain> [<NewDomainName>]',
  minimumArguments: 1,
  maximumArguments: 2,
  modifies: true,
  options: [
    ['-n <count>', 'Make that many children; their names end in -1, -2 and so on'],
    ['-p', 'Leave the children paused'],
  ],
  async run(context) {
    const {host, report, options, arguments: words} = context
    const [identifier, newName] = words
    const count = countOf(options.n as string | undefined)
    const record = recordOf(context, identifier, 'libxl_domain_fork')
    if (record === undefined) return 1
    const {config} = await host.ask(record, 'status', {})
    const children: {record: DomainRecord; config: DomainConfig}[] = []
    try {
      // Names and memory are the children's before anybody is stopped.
      for (const name of childNames(host, record.name, newName, count)) {
        const child = childConfig(config, name)
        children.push({record: await host.reserve(child), config: child})
      }
      await withScratchFile(async path => {
        const {parkedMs} = await host.ask(record, 'save', {
          path,
          after: 'run',
          config,
          compress: false,
          isScratch: true,
        })
        for (const {domid, name} of await startChildren(host, children, path, options.p === true))
          report.print(`Forked domain ${record.domid} (${record.name}) as ${domid} (${name})`)
        report.error(`Domain ${record.domid} stood still for ${parkedMs.toFixed(1)} ms`)
      })
    } catch (error) {
      for (const child of children) host.directory.release(child.record.key)
      throw error
    }
    return 0
  },
})
