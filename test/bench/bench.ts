/**
 * `npm run bench`: Gastwirt and QEMU's TCG on the same kernel and ramdisk, by the host's clock.
 *
 *   npm run bench -- [--runs N] [--only boot,sha256,md5,gzip,shell,fork,footprint] [--no-qemu] [RESULT.json]
 *
 * A run is one boot that does all workloads and powers off; runs of the two machines alternate, so that a busy minute of the host
 * concerns both, and the medians are compared. The ratio is Gastwirt's time by QEMU's: below 1 Gastwirt is faster.
 * Progress is shown on a terminal only. The result is written to test/bench/results/ unless a path is given.
 */
import {execFileSync} from 'node:child_process'
import {mkdirSync, writeFileSync} from 'node:fs'
import {cpus} from 'node:os'
import {dirname, join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {parseArgs} from 'node:util'
import {fetchImage, type Image, imageCacheDir} from '../../lib/toolstack/images/catalogue.js'
import {firstLine} from '../../lib/toolstack/images/guest-files.js'
import {type Footprint, measureFootprint} from './footprint.js'
import {type ConsoleProcess, Gastwirt, type MachineName, qemuVersion, startQemu} from './machines.js'
import {marker, type Workload, wordFor, workloads} from './workloads.js'

type Measurement = 'boot' | Workload
type Times = Partial<Record<Measurement, number>>

const root = fileURLToPath(new URL('../../../', import.meta.url))
const everything = ['boot', ...Object.keys(workloads), 'footprint']

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {runs: {type: 'string', default: '3'}, only: {type: 'string'}, 'no-qemu': {type: 'boolean'}},
})
const chosen = values.only?.split(',') ?? everything
const unknown = chosen.find(name => !everything.includes(name))
const runs = Number(values.runs)
if (unknown !== undefined || !Number.isInteger(runs) || runs < 1 || positionals.length > 1) {
  console.error(`usage: npm run bench -- [--runs N] [--only ${everything.join(',')}] [--no-qemu] [RESULT.json]`)
  process.exit(2)
}
const chosenWorkloads = (Object.keys(workloads) as Workload[]).filter(name => chosen.includes(name))
const measurements: Measurement[] = [...(chosen.includes('boot') ? ['boot' as const] : []), ...chosenWorkloads]

/** One line that is overwritten, on a terminal. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}

/** Follows one boot to its end. */
async function follow(machine: ConsoleProcess, label: string): Promise<Times> {
  const times: Times = {boot: await machine.sees(firstLine)}
  for (const workload of chosenWorkloads) {
    progress(`${label}: ${workload}`)
    const started = await machine.sees(marker(workload, 'start'))
    times[workload] = (await machine.sees(marker(workload, 'end'))) - started
  }
  return times
}

async function runOn(name: MachineName, image: Image, label: string): Promise<Times> {
  progress(`${label}: boot`)
  const word = wordFor(chosenWorkloads)
  const host = new Gastwirt(image)
  const machine = name === 'qemu' ? startQemu(image, word) : host.xl('create', '-c', '-q', host.config('bench', word))
  try {
    return await follow(machine, label)
  } finally {
    machine.kill()
    await host.close()
  }
}

function median(numbers: number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

function medians(all: Times[]): Times {
  return Object.fromEntries(measurements.map(name => [name, median(all.map(times => times[name]!))]))
}

function printTable(gastwirt: Times, qemu: Times | undefined): void {
  console.log(`\n${'median ms'.padEnd(12)}${'Gastwirt'.padStart(10)}${'QEMU TCG'.padStart(10)}${'ratio'.padStart(8)}`)
  for (const name of measurements) {
    const ours = gastwirt[name]!
    const theirs = qemu?.[name]
    const right = theirs === undefined ? ['-', '-'] : [theirs.toFixed(0), (ours / theirs).toFixed(2)]
    console.log(`${name.padEnd(12)}${ours.toFixed(0).padStart(10)}${right[0].padStart(10)}${right[1].padStart(8)}`)
  }
}

function printFootprint(footprint: Footprint): void {
  const {idlePercent, residentMiB, guestTouchedMiB, overheadMiB} = footprint
  console.log(`\nidle domain   ${idlePercent.toFixed(2)} % of a core`)
  console.log(
    `memory        ${residentMiB.toFixed(0)} MiB resident = ${guestTouchedMiB.toFixed(0)} MiB touched by the guest + ${overheadMiB.toFixed(0)} MiB`,
  )
  for (const [label, createMs, bootMs] of [
    ['first create', footprint.createMs, footprint.bootMs],
    ['second', footprint.secondCreateMs, footprint.secondBootMs],
  ] as const)
    console.log(
      `${label.padEnd(14)}returns after ${createMs.toFixed(0)} ms, init's first line after ${bootMs.toFixed(0)} ms`,
    )
}

function commit(): string | undefined {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], {cwd: root, encoding: 'utf8'}).trim()
  } catch {
    return undefined
  }
}

const image = await fetchImage('debian', {cacheDir: imageCacheDir(process.env), report: progress})
const version = values['no-qemu'] ? undefined : qemuVersion()
if (version === undefined) {
  const reason = values['no-qemu'] ? 'as asked' : 'qemu-system-x86_64 is not installed'
  console.log(`QEMU is left out: ${reason}`)
}
const all: Record<MachineName, Times[]> = {gastwirt: [], qemu: []}
if (measurements.length > 0) {
  for (let run = 1; run <= runs; run++) {
    for (const name of ['gastwirt', ...(version === undefined ? [] : ['qemu' as const])] as const) {
      all[name].push(await runOn(name, image, `run ${run} of ${runs}, ${name}`))
    }
  }
}
let footprint: Footprint | undefined
if (chosen.includes('footprint')) {
  progress('two idle domains')
  const host = new Gastwirt(image)
  try {
    footprint = await measureFootprint(host)
  } finally {
    await host.close()
  }
}
progress('')

const gastwirt = medians(all.gastwirt)
const qemu = version === undefined ? undefined : medians(all.qemu)
if (measurements.length > 0) printTable(gastwirt, qemu)
if (footprint !== undefined) printFootprint(footprint)
const date = new Date().toISOString()
const path = positionals[0] ?? join(root, 'test', 'bench', 'results', `${date.replaceAll(':', '-')}.json`)
mkdirSync(dirname(path), {recursive: true})
const about = {
  date,
  commit: commit(),
  node: process.version,
  cpu: cpus()[0]?.model,
  cores: cpus().length,
  qemu: version,
}
writeFileSync(path, `${JSON.stringify({about, medians: {gastwirt, qemu}, runs: all, footprint}, undefined, 2)}\n`)
console.log(`\nwritten: ${path}`)
