/**
 * What a guest at its shell prompt costs: processor time while it idles, memory of its process, and whether a second one starts as fast.
 *
 * The memory of a domain process is counted in pages: the kernel says which pages of the process's largest mapping (the linear memory of
 * the machine) are present, and layoutFor says where in it the guest's RAM lies. What is left of the process's resident set is the cost of
 * the domain beyond the memory its guest has touched.
 * Source: proc(5): stat, status, smaps, pagemap.
 */
import {closeSync, openSync, readFileSync, readSync} from 'node:fs'
import {layoutFor} from '../../lib/hypervisor/layout.js'
import type {Gastwirt} from './machines.js'
import {memoryMiB} from './machines.js'

/** Milliseconds, MiB and percent of a core. */
export interface Footprint {
  idlePercent: number
  residentMiB: number
  guestTouchedMiB: number
  overheadMiB: number
  createMs: number
  bootMs: number
  secondCreateMs: number
  secondBootMs: number
}

const prompt = 'debian:~#'
const idleMs = 10_000
/** USER_HZ, which is 100 on every Linux for x86 and Arm. */
const tickMs = 10
const pageBytes = 4096
const mib = 2 ** 20

/** Boots two domains, one after the other, and measures the first. */
export async function measureFootprint(host: Gastwirt): Promise<Footprint> {
  const first = await boot(host, 'first')
  const pid = host.pidOf('first')
  const before = processorMs(pid)
  const started = performance.now()
  await new Promise(resolve => setTimeout(resolve, idleMs))
  const idlePercent = ((processorMs(pid) - before) / (performance.now() - started)) * 100
  const residentMiB = residentBytes(pid) / mib
  const guestTouchedMiB = touchedBytes(pid) / mib
  const second = await boot(host, 'second')
  return {
    idlePercent,
    residentMiB,
    guestTouchedMiB,
    overheadMiB: residentMiB - guestTouchedMiB,
    createMs: first.createMs,
    bootMs: first.bootMs,
    secondCreateMs: second.createMs,
    secondBootMs: second.bootMs,
  }
}

/** Time until `xl create` has returned, and until init's first line is there; resolves at the prompt. */
async function boot(host: Gastwirt, name: string): Promise<{createMs: number; bootMs: number}> {
  const started = performance.now()
  const createMs = await host.xl('create', '-q', host.config(name, '')).end()
  const attached = performance.now()
  const console = host.xl('console', name)
  const bootMs = attached - started + (await console.sees('gastwirt: init'))
  await console.sees(prompt)
  console.kill()
  return {createMs, bootMs}
}

/** Processor time of a process so far. */
export function processorMs(pid: number): number {
  // The second field is a name in brackets and may hold spaces; utime and stime are fields 14 and 15.
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) * tickMs
}

function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) * 1024
}

/** Pages of guest RAM that are present. */
function touchedBytes(pid: number): number {
  const layout = layoutFor((memoryMiB * mib) / pageBytes, 1)
  const start = largestMapping(pid) + layout.ramBase
  const words = Buffer.alloc(layout.ramPages * 8)
  const file = openSync(`/proc/${pid}/pagemap`, 'r')
  const length = readSync(file, words, 0, words.length, (start / pageBytes) * 8)
  closeSync(file)
  let present = 0
  // Bit 63 of a page's word: present.
  for (let at = 7; at < length; at += 8) if (words[at] & 0x80) present++
  return present * pageBytes
}

/** Start of the mapping with the most resident pages. */
function largestMapping(pid: number): number {
  let largest = {start: 0, kilobytes: -1}
  let start = 0
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'latin1').split('\n')) {
    const mapping = /^([0-9a-f]+)-[0-9a-f]+ /.exec(line)
    if (mapping) start = Number.parseInt(mapping[1], 16)
    const resident = /^Rss:\s+(\d+) kB/.exec(line)
    if (resident && Number(resident[1]) > largest.kilobytes) largest = {start, kilobytes: Number(resident[1])}
  }
  return largest.start
}
