/**
 * `npm run bench`: the image "debian" under Gastwirt and under QEMU's translator, side by side; what a domain costs; and what it takes to save,
 * fork and migrate one.
 *
 *   npm run bench -- [options] [result.json]
 *
 * The machines take turns, so that a busy spell of the host meets both. Beside the table, every single run is in the JSON file.
 * Rule of use: compare numbers of one run of this program only; another hour is another machine.
 */
import {spawnSync} from 'node:child_process'
import {mkdirSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {availableParallelism, cpus, tmpdir} from 'node:os'
import {dirname, join, resolve} from 'node:path'
import {parseArgs} from 'node:util'
import {HostDirectory} from '../../lib/control/host-directory.js'
import {signalProcess} from '../../lib/control/process-identity.js'
import {cacheFolder} from '../../lib/toolstack/cache-folder.js'
import {fetchImage} from '../../lib/toolstack/images/catalogue.js'
import {type BootRun, bootRun} from './boot-run.js'
import {type DomainCost, domainCost} from './domain-cost.js'
import {forkCost, migrationCost, type Place, qemuMigrationCost, saveCosts} from './lifecycle.js'
import {gastwirt, guestMemoryMb, type Machine, qemu, qemuVersion} from './machines.js'
import {type BenchResult, compare, type MigrationComparison, table} from './result.js'
import type {Standing} from './standing-guest.js'
import {workloadNames} from './workloads.js'

const bootNames = ['boot', ...workloadNames]
const allNames = [...bootNames, 'footprint', 'save', 'clone', 'migrate']

/** Memory of the guests that are saved, in MiB. */
const savedSizesMb = [256, 1024, 2048]
/** The guests that are migrated. */
const migrated: Record<string, Standing> = {
  'idle guest of 256 MiB': {memoryMb: 256, heldMb: 64, isLoaded: false},
  'loaded guest of 512 MiB': {memoryMb: 512, heldMb: 128, isLoaded: true},
}

const help = `usage: npm run bench -- [options] [result.json]
  --runs N          runs of each machine, of which the median counts (3)
  --only A,B        only these: ${allNames.join(', ')}
  --no-qemu         only Gastwirt
  --qemu-cpu MODEL  QEMU's processor (qemu64)
The result goes to test/bench/results/<date>.json if no file is given.`

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    runs: {type: 'string', default: '3'},
    only: {type: 'string', default: allNames.join(',')},
    'no-qemu': {type: 'boolean', default: false},
    'qemu-cpu': {type: 'string', default: 'qemu64'},
    help: {type: 'boolean', default: false},
  },
})

function usageError(text: string): never {
  console.error(`bench: ${text}\n${help}`)
  process.exit(2)
}

if (values.help) {
  console.log(help)
  process.exit(0)
}
const runCount = Number(values.runs)
if (!Number.isInteger(runCount) || runCount < 1) usageError(`--runs ${values.runs}: a number from 1 on is needed`)
const chosen = values.only.split(',')
const unknown = chosen.find(name => !allNames.includes(name))
if (unknown !== undefined) usageError(`--only ${unknown}: there is no such measurement`)
const compared = bootNames.filter(name => chosen.includes(name))
const workloads = compared.filter(name => name !== 'boot')

const image = await fetchImage('debian', {cacheDir: cacheFolder(process.env), report: text => console.error(text)})
const folder = mkdtempSync(join(tmpdir(), 'gastwirt-bench-'))
const [hostPath, targetPath] = [join(folder, 'host'), join(folder, 'target')]
process.on('exit', () => {
  for (const path of [hostPath, targetPath])
    for (const {owner} of new HostDirectory(path).list()) signalProcess(owner, 'SIGKILL')
  // The killed may still be writing.
  rmSync(folder, {recursive: true, force: true, maxRetries: 10, retryDelay: 50})
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130))

const machines: Machine[] = [gastwirt(image, hostPath)]
const qemuFound = values['no-qemu'] ? undefined : qemuVersion()
if (qemuFound !== undefined) machines.push(qemu(image, values['qemu-cpu']))
else console.error(`QEMU is left out: ${values['no-qemu'] ? 'as asked' : 'there is no qemu-system-x86_64 here'}`)

const runs: Record<string, BootRun[]> = Object.fromEntries(machines.map(({name}) => [name, []]))
for (let number = 1; compared.length > 0 && number <= runCount; number++) {
  for (const machine of machines) {
    const run = await bootRun(machine, workloads)
    runs[machine.name].push(run)
    const shown = compared.map(name => `${name} ${run.seconds[name].toFixed(2)}`).join(', ')
    console.error(`run ${number} of ${runCount}, ${machine.name}: ${shown}`)
  }
}
refuseDifferentSums()

let footprint: DomainCost | undefined
if (chosen.includes('footprint')) footprint = await domainCost(image, hostPath)

const place: Place = {image, runs: runCount, hostPath, targetPath, folder}
const saves = chosen.includes('save') ? await saveCosts(place, savedSizesMb) : []
const fork = chosen.includes('clone') ? await forkCost(place, guestMemoryMb) : undefined
const migrations: MigrationComparison[] = []
if (chosen.includes('migrate')) {
  for (const [guest, standing] of Object.entries(migrated)) {
    const ours = await migrationCost(place, standing)
    const theirs = qemuFound === undefined ? undefined : await qemuMigrationCost(place, standing, values['qemu-cpu'])
    migrations.push({guest, gastwirt: ours, ...(theirs === undefined ? {} : {qemu: theirs})})
  }
}

const result: BenchResult = {
  date: new Date().toISOString(),
  about: {
    commit: commit(),
    node: process.version,
    qemu: qemuFound === undefined ? 'left out' : `${qemuFound}, -accel tcg -cpu ${values['qemu-cpu']}`,
    processor: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    kernel: image.kernel,
    guestMemoryMb,
    runs: runCount,
  },
  comparisons: compare(runs, compared),
  footprint,
  saves,
  fork,
  migrations,
  runs,
}
const path = resolve(positionals[0] ?? `test/bench/results/${result.date.replaceAll(':', '-')}.json`)
mkdirSync(dirname(path), {recursive: true})
writeFileSync(path, `${JSON.stringify(result, undefined, 2)}\n`)
console.log(`${table(result)}\n\n${path}`)

/** A machine that computes something else is not faster, but wrong. */
function refuseDifferentSums(): void {
  const all = Object.entries(runs).flatMap(([machine, list]) => list.map(({sums}) => ({machine, sums})))
  for (const {machine, sums} of all) {
    for (const name of workloads) {
      const expected = all[0].sums[name]
      if (sums[name] !== expected)
        throw new Error(`${name}: ${machine} came to ${sums[name]}, another run to ${expected}`)
    }
  }
}

/** Which sources were measured. */
function commit(): string {
  const {status, stdout} = spawnSync('git', ['describe', '--always', '--dirty'], {encoding: 'utf8'})
  return status === 0 ? stdout.trim() : 'unknown'
}
