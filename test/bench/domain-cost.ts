/**
 * What a domain costs while nobody asks anything of it, and what a second one costs to create: a domain is brought to its shell's
 * prompt, watched for ten seconds, and then another is created beside it.
 */
import {existsSync, readFileSync} from 'node:fs'
import {performance} from 'node:perf_hooks'
import {setTimeout as after} from 'node:timers/promises'
import {HostDirectory} from '../../lib/control/host-directory.js'
import type {Image} from '../../lib/toolstack/images/catalogue.js'
import {firstLine} from '../../lib/toolstack/images/guest-files.js'
import {createWords, guestMemoryMb, startXl} from './machines.js'
import {cpuSeconds, type MemoryCost, memoryCost} from './process-cost.js'

/** For a guest to get to its prompt. */
const patienceMs = 180_000
/** A guest settles down after its boot. */
const settleMs = 5000
const idleMs = 10_000
const lookMs = 20

/** What was seen. Seconds, and percent of one core. */
export interface DomainCost {
  idlePercent: number
  memory: MemoryCost
  /** Until xl create returned, for the first domain and for the second. */
  createSeconds: [number, number]
  /** From the start of xl create to init's first line. */
  bootSeconds: [number, number]
}

interface Created {
  createSeconds: number
  bootSeconds: number
}

/** Runs the domains and leaves none. */
export async function domainCost(image: Image, hostPath: string): Promise<DomainCost> {
  const host = new HostDirectory(hostPath)
  const first = await create(image, host, 'first')
  await logShows(host, 'first', /:[~\w/]+# /)
  const {pid} = host.find({name: 'first'})!.owner
  await after(settleMs)
  const before = {cpu: cpuSeconds(pid), at: performance.now()}
  await after(idleMs)
  const idlePercent = ((cpuSeconds(pid) - before.cpu) / ((performance.now() - before.at) / 1000)) * 100
  const memory = memoryCost(pid, guestMemoryMb)
  const second = await create(image, host, 'second')
  for (const name of ['first', 'second']) await exitOf(startXl(hostPath, ['destroy', name], 'ignore'))
  return {
    idlePercent,
    memory,
    createSeconds: [first.createSeconds, second.createSeconds],
    bootSeconds: [first.bootSeconds, second.bootSeconds],
  }
}

async function create(image: Image, host: HostDirectory, name: string): Promise<Created> {
  const start = performance.now()
  const status = await exitOf(startXl(host.path, ['create', '-q', ...createWords(image, name, '')], 'ignore'))
  if (status !== 0) throw new Error(`xl create ended with ${status}`)
  const createSeconds = (performance.now() - start) / 1000
  await logShows(host, name, new RegExp(`^${firstLine}\\r?$`, 'm'))
  return {createSeconds, bootSeconds: (performance.now() - start) / 1000}
}

/** Resolves when a domain's console log holds the pattern. */
async function logShows(host: HostDirectory, name: string, pattern: RegExp): Promise<void> {
  const path = host.consoleLogPath(name)
  const giveUpAt = performance.now() + patienceMs
  while (!existsSync(path) || !pattern.test(readFileSync(path, 'latin1'))) {
    if (performance.now() > giveUpAt) throw new Error(`domain "${name}" never printed ${pattern}`)
    await after(lookMs)
  }
}

function exitOf(child: ReturnType<typeof startXl>): Promise<number | null> {
  child.stdout!.resume()
  return new Promise(resolve => child.once('exit', resolve))
}
