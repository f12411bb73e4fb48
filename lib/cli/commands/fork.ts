/** `xl fork`: a running domain becomes several. Ours alone; Xen's xl has no such command. */
import {randomUUID} from 'node:crypto'
import {rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {OperatorError} from '../../base/errors.js'
import {type DomainConfig, isDomainName} from '../../control/domain-config.js'
import type {DomainRecord} from '../../control/host-directory.js'
import type {Host} from '../../toolstack/host.js'
import {openSavedDomain} from '../../toolstack/saved-domain.js'
import {command, recordOf} from '../command.js'

const mostChildren = 1000

/** How many were asked for. Errors: OperatorError. */
function countOf(text: string | undefined): number {
  const count = text === undefined ? 1 : Number(text)
  if (Number.isInteger(count) && count >= 1 && count <= mostChildren) return count
  throw new OperatorError(`-n ${text}: the number of children is 1 to ${mostChildren}`, {exitCode: 2})
}

/** Names for the children: the one that was given, or that of the parent with the next free numbers. */
function childNames(host: Host, parent: string, asked: string | undefined, count: number): string[] {
  if (asked !== undefined && !isDomainName(asked)) {
    throw new OperatorError(`"${asked}" cannot be the name of a domain`, {
      hint: 'names are one word of letters, digits and _ . : + @ = -',
    })
  }
  if (asked !== undefined && count === 1) return [asked]
  const taken = new Set(host.records().map(record => record.name))
  const names: string[] = []
  for (let number = 1; names.length < count; number++) {
    const name = `${asked ?? parent}-${number}`
    if (!taken.has(name)) names.push(name)
  }
  return names
}

/** One child of the file; the parent's configuration but for what must differ. */
async function startChild(host: Host, path: string, config: DomainConfig, paused: boolean): Promise<DomainRecord> {
  const saved = await openSavedDomain(path)
  try {
    return await host.start(config, paused, saved)
  } finally {
    saved.close()
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
    const names = childNames(host, record.name, newName, count)
    const path = join(tmpdir(), `gastwirt-fork-${randomUUID()}`)
    try {
      const {parkedMs} = await host.ask(record, 'save', {path, after: 'run', config, compress: false, durable: false})
      for (const name of names) {
        const child = await startChild(host, path, {...config, name, uuid: randomUUID()}, options.p === true)
        report.print(`Forked domain ${record.domid} (${record.name}) as ${child.domid} (${child.name})`)
      }
      report.error(`Domain ${record.domid} stood still for ${parkedMs.toFixed(1)} ms`)
    } finally {
      // What the children have mapped stays theirs.
      rmSync(path, {force: true})
    }
    return 0
  },
})
