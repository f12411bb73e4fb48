/**
 * How large a host is: as the machine, unless `host.cfg` in the host directory says otherwise:
 *
 *   memory = 4096      # MiB for Domain-0 and all guests
 *   cpus = 4
 *   overcommit = 1     # domains may be promised more memory than there is; 0 if absent
 *
 * One eighth of the memory, at most 1 GiB, counts as Domain-0's: what the machine's own programs use.
 * A line that says anything else is an OperatorError: a host of another size than was meant would be noticed too late.
 */
import {readFileSync} from 'node:fs'
import {availableParallelism, totalmem} from 'node:os'
import {join} from 'node:path'
import {OperatorError} from '../base/errors.js'

type Key = 'memory' | 'cpus' | 'overcommit'

/** Memory in KiB, Domain-0's included. */
export function hostMemory(path: string): {totalKb: number; domain0Kb: number} {
  const megabytes = settings(path).memory ?? Math.floor(totalmem() / 2 ** 20)
  return {totalKb: megabytes * 1024, domain0Kb: Math.min(Math.floor(megabytes / 8), 1024) * 1024}
}

/** What all domains but Domain-0 may have together, if that is limited. */
export function memoryForGuests(path: string): {hostMemoryKb?: number} {
  if (settings(path).overcommit === 1) return {}
  const {totalKb, domain0Kb} = hostMemory(path)
  return {hostMemoryKb: totalKb - domain0Kb}
}

/** How many CPUs the host has. */
export function hostCpus(path: string): number {
  return settings(path).cpus ?? availableParallelism()
}

/** What host.cfg says. */
function settings(path: string): Partial<Record<Key, number>> {
  const file = join(path, 'host.cfg')
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    const {code} = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return {}
    throw new OperatorError(`cannot read "${file}": ${code}`, {cause})
  }
  const found: Partial<Record<Key, number>> = {}
  for (const [index, line] of text.split('\n').entries()) {
    const words = line.replace(/#.*/, '').trim()
    if (words === '') continue
    const match = /^(memory|cpus|overcommit)\s*=\s*(["']?)(\d{1,9})\2$/.exec(words)
    const number = Number(match?.[3])
    if (match === null || (match[1] === 'overcommit' ? number > 1 : number === 0)) {
      throw new OperatorError(`${file}:${index + 1}: "${words}" is no setting of a host`, {
        hint: 'settings are memory = MEGABYTES, cpus = NUMBER and overcommit = 0 or 1',
      })
    }
    found[match[1] as Key] = number
  }
  return found
}
