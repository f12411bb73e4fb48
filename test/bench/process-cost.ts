/**
 * What a process costs its host, from /proc: CPU time, and memory apart from the guest's own.
 *
 * A domain's machine frames are one range of its linear memory; which of their pages the host really gave is in the page map, so
 * "guest memory touched" is counted and not guessed.
 * Source: Linux Documentation/filesystems/proc.rst, Documentation/admin-guide/mm/pagemap.rst.
 */
import {closeSync, openSync, readFileSync, readSync} from 'node:fs'
import {layoutFor} from '../../lib/hypervisor/layout.js'

const pageBytes = 4096
/** Linux counts these in units of 1/100 s on every machine of ours. */
const ticksPerSecond = 100
const mebibyte = 1 << 20

/** Seconds of CPU a process has used, all its threads together. */
export function cpuSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // The second field is a name in parentheses that may hold blanks; utime and stime are fields 14 and 15.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

/** MiB of a domain process. */
export interface MemoryCost {
  /** All its resident pages. */
  residentMb: number
  /** Machine frames among them. */
  touchedMb: number
  /** The rest. */
  overheadMb: number
}

/** The memory of the domain process `pid` whose guest has `memoryMb`. */
export function memoryCost(pid: number, memoryMb: number): MemoryCost {
  const layout = layoutFor((memoryMb * mebibyte) / pageBytes, 1)
  const start = linearMemoryOf(pid, layout.totalBytes)
  const first = (start + layout.ramBase) / pageBytes
  const touchedMb = (presentPages(pid, first, layout.frames) * pageBytes) / mebibyte
  const residentMb = Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]) / 1024
  return {residentMb, touchedMb, overheadMb: residentMb - touchedMb}
}

/** Where a process has its linear memory: the one writable mapping of at least that size that is nearest to it. */
function linearMemoryOf(pid: number, bytes: number): number {
  let found: {start: number; size: number} | undefined
  for (const line of readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n')) {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? []
    if (from === undefined) continue
    const start = Number.parseInt(from, 16)
    const size = Number.parseInt(to, 16) - start
    if (size >= bytes && (found === undefined || size < found.size)) found = {start, size}
  }
  if (found === undefined) throw new Error(`process ${pid} has no mapping of ${bytes} bytes`)
  return found.start
}

function presentPages(pid: number, first: number, count: number): number {
  const entries = Buffer.alloc(count * 8)
  const file = openSync(`/proc/${pid}/pagemap`, 'r')
  try {
    readSync(file, entries, 0, entries.length, first * 8)
  } finally {
    closeSync(file)
  }
  let present = 0
  for (let at = 7; at < entries.length; at += 8) if (entries[at] & 0x80) present++
  return present
}
