/**
 * How large a host is: as the machine, unless `host.cfg` in the host directory says otherwise:
 *
 *   memory = 4096      # MiB for Domain-0 and all guests
 *   cpus = 4
 *   overcommit = 1     # domains may be promised more memory than there is; 0 if absent
 *
 * One eighth of the memory, at most 1 GiB, counts as Domain-0's: what the machine's own programs use.
 */
import {readFileSync} from 'node:fs'
import {availableParallelism, totalmem} from 'node:os'
import {join} from 'node:path'

/** Memory in KiB, Domain-0's included. */
export function hostMemory(path: string): {totalKb: number; domain0Kb: number} {
  const megabytes = setting(path, 'memory') ?? Math.floor(totalmem() / 2 ** 20)
  return {totalKb: megabytes * 1024, domain0Kb: Math.min(Math.floor(megabytes / 8), 1024) * 1024}
}

/** What all domains but Domain-0 may have together, if that is limited. */
export function memoryForGuests(path: string): {hostMemoryKb?: number} {
  if (setting(path, 'overcommit') === 1) return {}
  const {totalKb, domain0Kb} = hostMemory(path)
  return {hostMemoryKb: totalKb - domain0Kb}
}

/** How many CPUs the host has. */
export function hostCpus(path: string): number {
  return setting(path, 'cpus') ?? availableParallelism()
}

/** A positive number from host.cfg. Only these three keys exist, so a pattern reads them. */
function setting(path: string, key: 'memory' | 'cpus' | 'overcommit'): number | undefined {
  let text: string
  try {
    text = readFileSync(join(path, 'host.cfg'), 'utf8')
  } catch {
    return undefined
  }
  const match = new RegExp(`^\\s*${key}\\s*=\\s*["']?([0-9]+)`, 'm').exec(text)
  const number = match === null ? 0 : Number(match[1])
  return number > 0 ? number : undefined
}
