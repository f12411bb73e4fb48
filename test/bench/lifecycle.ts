/**
 * What becomes of a guest while it runs, in seconds: saved and restored, against `cat` of the same bytes; forked; migrated from one host
 * directory to another, against QEMU's migration of the same guest over a unix socket.
 *
 * Each figure is the median of the runs. xl's own start is in the seconds of save and restore, as a person waits for it.
 */
import {execFileSync, spawnSync} from 'node:child_process'
import {readFileSync, rmSync, statSync} from 'node:fs'
import {join} from 'node:path'
import {performance} from 'node:perf_hooks'
import {setTimeout as after} from 'node:timers/promises'
import {HostDirectory} from '../../lib/control/host-directory.js'
import type {Image} from '../../lib/toolstack/images/catalogue.js'
import {domainRuntime} from '../../lib/toolstack/runtime.js'
import {xlPath} from './machines.js'
import {median} from './result.js'
import {runXl, type Standing, StandingQemu, standingDomain, standingWord, writingRate} from './standing-guest.js'

/** Where the measurements take place. */
export interface Place {
  readonly image: Image
  readonly runs: number
  /** Two hosts, and a folder for files. */
  readonly hostPath: string
  readonly targetPath: string
  readonly folder: string
}

/** A guest saved and restored. */
export interface SaveCost {
  memoryMb: number
  fileMb: number
  saveSeconds: number
  restoreSeconds: number
  /** From the start of `xl restore` to the guest's first instruction, less what the starts of xl's process and of the domain's take with empty programs. */
  firstInstructionSeconds: number
  processStartSeconds: number
  /** `cat` of the file to another. */
  catSeconds: number
}

/** A guest forked. */
export interface ForkCost {
  memoryMb: number
  children: number
  /** How long the parent stood still. */
  pauseMs: number
  /** What each child has, and its part of that when what several share is divided among them. */
  childResidentMb: number
  childOwnMb: number
}

/** A migration, once. */
export interface MigrationCost {
  totalMs: number
  downtimeMs: number
  sentMb: number
  /** What the guest wrote in a second before. */
  writingMb?: number
}

const mebibyte = 2 ** 20
const patienceMs = 60_000
const lookMs = 5
const children = 4
/** Children have run on for so long when they are looked at. */
const childrenRunMs = 3000

const secondsOf = async (work: () => unknown): Promise<number> => {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1000
}

/** Saves and restores guests of some sizes; each holds a quarter of its memory in random bytes. */
export async function saveCosts(
  {image, runs, hostPath, folder}: Place,
  sizesMb: readonly number[],
): Promise<SaveCost[]> {
  const host = new HostDirectory(hostPath)
  const [path, copy] = [join(folder, 'saved'), join(folder, 'copy')]
  const costs: SaveCost[] = []
  for (const memoryMb of sizesMb) {
    const name = `saved${memoryMb}`
    await standingDomain(image, host, name, {memoryMb, heldMb: memoryMb / 4, isLoaded: false})
    const seconds: Record<'save' | 'cat' | 'restore' | 'first' | 'start', number[]> = {
      save: [],
      cat: [],
      restore: [],
      first: [],
      start: [],
    }
    let fileMb = 0
    for (let run = 0; run < runs; run++) {
      rmSync(path, {force: true})
      seconds.save.push(await secondsOf(() => runXl(host, ['save', name, path])))
      seconds.cat.push(await secondsOf(() => spawnSync('sh', ['-c', `cat '${path}' >'${copy}'`])))
      fileMb = statSync(path).size / mebibyte
      rmSync(copy)
      seconds.start.push((emptyStartMs(process.execPath) + emptyStartMs(domainRuntime())) / 1000)
      const startMs = Date.now()
      seconds.restore.push(await secondsOf(() => runXl(host, ['restore', path])))
      seconds.first.push((await firstInstructionMs(host.logPath(name), startMs)) / 1000)
    }
    await runXl(host, ['destroy', name])
    costs.push({
      memoryMb,
      fileMb,
      saveSeconds: median(seconds.save),
      restoreSeconds: median(seconds.restore),
      firstInstructionSeconds: median(seconds.first) - median(seconds.start),
      processStartSeconds: median(seconds.start),
      catSeconds: median(seconds.cat),
    })
  }
  rmSync(path, {force: true})
  return costs
}

/** How long a Node.js takes to get to a program that does nothing. */
function emptyStartMs(runtime: string): number {
  const startMs = Date.now()
  return Number(execFileSync(runtime, ['-e', 'console.log(Date.now())'], {encoding: 'utf8'})) - startMs
}

/** Milliseconds from `sinceMs` to the first instruction that a guest has executed after that, by its domain's log. */
async function firstInstructionMs(log: string, sinceMs: number): Promise<number> {
  for (const giveUpAt = performance.now() + patienceMs; performance.now() < giveUpAt; await after(lookMs)) {
    const all = [...readFileSync(log, 'utf8').matchAll(/executes instructions from (\S+) on/g)]
    const atMs = Date.parse(all.at(-1)?.[1] ?? '')
    if (atMs >= sinceMs) return atMs - sinceMs
  }
  throw new Error(`"${log}" does not say when the guest went on`)
}

/** Forks a guest some times. */
export async function forkCost({image, runs, hostPath}: Place, memoryMb: number): Promise<ForkCost> {
  const host = new HostDirectory(hostPath)
  await standingDomain(image, host, 'parent', {memoryMb, heldMb: memoryMb / 4, isLoaded: false})
  const seen: ForkCost[] = []
  for (let run = 0; run < runs; run++) {
    const said = await runXl(host, ['fork', '-n', String(children), 'parent', 'child'])
    await after(childrenRunMs)
    const all = host.list().filter(({name}) => name !== 'parent')
    const memory = all.map(({owner}) => readFileSync(`/proc/${owner.pid}/smaps_rollup`, 'latin1'))
    const mean = (word: string) =>
      memory.reduce((sum, text) => sum + Number(new RegExp(`^${word}: +(\\d+)`, 'm').exec(text)![1]), 0) /
      all.length /
      1024
    const pauseMs = Number(/stood still for ([\d.]+) ms/.exec(said)![1])
    seen.push({memoryMb, children, pauseMs, childResidentMb: mean('Rss'), childOwnMb: mean('Pss')})
    for (const {name} of all) await runXl(host, ['destroy', name])
  }
  await runXl(host, ['destroy', 'parent'])
  const middle = (key: keyof ForkCost) => median(seen.map(cost => cost[key]))
  return {
    ...seen[0],
    pauseMs: middle('pauseMs'),
    childResidentMb: middle('childResidentMb'),
    childOwnMb: middle('childOwnMb'),
  }
}

/** Moves a domain between the two hosts, to and fro. Its name tells what it does: a console's log outlives its domain. */
export async function migrationCost(place: Place, standing: Standing): Promise<MigrationCost> {
  const {image, runs, hostPath, targetPath} = place
  const hosts = [hostPath, targetPath].map(path => new HostDirectory(path))
  const name = standing.isLoaded ? 'loaded' : 'idle'
  await standingDomain(image, hosts[0], name, standing)
  const writingMb = standing.isLoaded ? await writingRate(hosts[0].consoleLogPath(name)) : undefined
  const costs: MigrationCost[] = []
  for (let run = 0; run < runs; run++) {
    const [from, to] = [hosts[run % 2], hosts[(run + 1) % 2]]
    const receiver = `exec env GASTWIRT_HOST='${to.path}' '${process.execPath}' '${xlPath}' migrate-receive`
    const said = await runXl(from, ['migrate', '-s', '', name, receiver])
    const [, sent, seconds, downtime] = /, ([\d.]+) MiB, ([\d.]+) s, downtime ([\d.]+) ms/.exec(said) ?? []
    if (sent === undefined) throw new Error(`xl migrate does not say how it went: ${said}`)
    costs.push({totalMs: Number(seconds) * 1000, downtimeMs: Number(downtime), sentMb: Number(sent)})
  }
  for (const host of hosts) if (host.find({name})) await runXl(host, ['destroy', name])
  return {...middleOf(costs), ...(writingMb === undefined ? {} : {writingMb})}
}

function middleOf(costs: readonly MigrationCost[]): MigrationCost {
  const middle = (key: 'totalMs' | 'downtimeMs' | 'sentMb') => median(costs.map(cost => cost[key]))
  return {totalMs: middle('totalMs'), downtimeMs: middle('downtimeMs'), sentMb: middle('sentMb')}
}

/** As fast as the socket takes it; QEMU's default is 128 MiB/s. */
const qemuBytesPerSecond = 2 ** 36
const qemuPatienceMs = 120_000

/** The same with QEMU: a new pair for each run. Undefined when a migration does not come to an end. */
export async function qemuMigrationCost(
  {image, runs, folder}: Place,
  standing: Standing,
  cpu: string,
): Promise<MigrationCost | undefined> {
  const machine = {image, cpu, words: standingWord(standing), memoryMb: standing.memoryMb}
  const costs: MigrationCost[] = []
  let writingMb: number | undefined
  for (let run = 0; run < runs; run++) {
    const name = `${standing.isLoaded ? 'loaded' : 'idle'}${run}`
    const socket = join(folder, `${name}.migration`)
    const source = await StandingQemu.start(machine, folder, name)
    let target: StandingQemu | undefined
    try {
      await source.stands(folder, name)
      target = await StandingQemu.start(machine, folder, `${name}.target`, socket)
      if (standing.isLoaded) writingMb ??= await writingRate(join(folder, `${name}.log`))
      const cost = await migrateQemu(source, socket)
      if (cost === undefined) return undefined
      costs.push(cost)
    } finally {
      await source.stop()
      await target?.stop()
    }
  }
  return {...middleOf(costs), ...(writingMb === undefined ? {} : {writingMb})}
}

async function migrateQemu(source: StandingQemu, socket: string): Promise<MigrationCost | undefined> {
  await source.ask('migrate-set-parameters', {'max-bandwidth': qemuBytesPerSecond})
  await source.ask('migrate', {uri: `unix:${socket}`})
  const giveUpAt = performance.now() + qemuPatienceMs
  while (performance.now() < giveUpAt) {
    const state = (await source.ask('query-migrate')) as QemuMigration
    if (state.status === 'failed') throw new Error('QEMU: the migration failed')
    if (state.status === 'completed') {
      return {totalMs: state['total-time'], downtimeMs: state.downtime, sentMb: state.ram.transferred / mebibyte}
    }
    await after(100)
  }
  return undefined
}

/** What QEMU tells of a migration. Source: qemu/qapi/migration.json. */
interface QemuMigration {
  readonly status: string
  /** Milliseconds. */
  readonly 'total-time': number
  readonly downtime: number
  readonly ram: {readonly transferred: number}
}
