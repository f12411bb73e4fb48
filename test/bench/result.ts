/**
 * What a benchmark found, as numbers for a file and as a table for a person. Each figure is the median of the runs; the ratio says how
 * many times as long Gastwirt takes as QEMU, so below 1 is faster.
 */
import type {BootRun} from './boot-run.js'
import type {DomainCost} from './domain-cost.js'
import type {ForkCost, MigrationCost, SaveCost} from './lifecycle.js'
import {workloadTitles} from './workloads.js'

/** One thing measured on each machine: seconds. */
export interface Comparison {
  name: string
  gastwirt?: number
  qemu?: number
  ratio?: number
}

/** The same guest migrated by both; without QEMU, or when its migration does not end, by ours alone. */
export interface MigrationComparison {
  guest: string
  gastwirt: MigrationCost
  qemu?: MigrationCost
}

/** The JSON result. */
export interface BenchResult {
  date: string
  /** What ran, and on what. */
  about: Record<string, string | number>
  comparisons: Comparison[]
  footprint?: DomainCost
  saves: SaveCost[]
  fork?: ForkCost
  migrations: MigrationComparison[]
  /** Every run, by machine. */
  runs: Record<string, BootRun[]>
}

/** The middle value; of an even number the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Medians and ratios of the named measurements. */
export function compare(runs: Record<string, BootRun[]>, names: readonly string[]): Comparison[] {
  return names.map(name => {
    const middle = (machine: string): number | undefined => {
      const all = (runs[machine] ?? []).map(run => run.seconds[name])
      return all.length === 0 ? undefined : median(all)
    }
    const [gastwirt, qemu] = [middle('gastwirt'), middle('qemu')]
    const ratio = gastwirt === undefined || qemu === undefined ? undefined : gastwirt / qemu
    return {name, gastwirt, qemu, ratio}
  })
}

/** The tables. */
export function table({comparisons, footprint, saves, fork, migrations}: BenchResult): string {
  const machines = ['Gastwirt', 'QEMU TCG', 'ratio']
  const parts: string[][] = []
  if (comparisons.length > 0) {
    const rows = comparisons.map(({name, gastwirt, qemu, ratio}) => [
      workloadTitles[name] ?? "boot to init's first line",
      seconds(gastwirt),
      seconds(qemu),
      ratio === undefined ? '-' : ratio.toFixed(2),
    ])
    parts.push(columns([['', ...machines], ...rows]))
  }
  if (footprint !== undefined) parts.push(footprintLines(footprint))
  if (saves.length > 0) parts.push(columns([['', 'xl', 'cat', 'ratio', 'MB/s'], ...saves.flatMap(saveRows)]))
  if (saves.length > 0)
    parts.push(columns([['restore to the first instruction', 'seconds', 'bar'], ...saves.map(firstRow)]))
  if (fork !== undefined) parts.push([forkLine(fork)])
  if (migrations.length > 0) parts.push(columns([['', ...machines], ...migrations.flatMap(migrationRows)]))
  return parts.map(lines => lines.join('\n')).join('\n\n')
}

function columns(rows: readonly (readonly string[])[]): string[] {
  return rows.map(([title, ...cells]) => title.padEnd(38) + cells.map(cell => cell.padStart(10)).join(''))
}

function footprintLines({idlePercent, memory, createSeconds, bootSeconds}: DomainCost): string[] {
  return [
    `idle guest: ${idlePercent.toFixed(1)} % of a core`,
    `domain process: ${memory.residentMb.toFixed(0)} MiB resident, ${memory.touchedMb.toFixed(0)} MiB of them touched by the guest, ${memory.overheadMb.toFixed(0)} MiB beyond`,
    `xl create returns after ${seconds(createSeconds[0])}, beside another domain after ${seconds(createSeconds[1])}`,
    `init's first line after ${seconds(bootSeconds[0])}, beside another domain after ${seconds(bootSeconds[1])}`,
  ]
}

function saveRows({memoryMb, fileMb, saveSeconds, restoreSeconds, catSeconds}: SaveCost): string[][] {
  const row = (what: string, taken: number) => [
    `${what} ${memoryMb} MiB, a file of ${fileMb.toFixed(0)} MiB`,
    seconds(taken),
    seconds(catSeconds),
    (taken / catSeconds).toFixed(2),
    (fileMb / taken).toFixed(0),
  ]
  return [row('save', saveSeconds), row('restore', restoreSeconds)]
}

/** Milliseconds that a restore may take to the guest's first instruction, by the guest's MiB. */
const firstInstructionBarsMs: Record<number, number> = {256: 150, 2048: 250}

function firstRow({memoryMb, firstInstructionSeconds}: SaveCost): string[] {
  const barMs = firstInstructionBarsMs[memoryMb]
  return [
    `  ${memoryMb} MiB, beyond processes' starts`,
    seconds(firstInstructionSeconds),
    seconds(barMs && barMs / 1000),
  ]
}

function forkLine({memoryMb, children, pauseMs, childResidentMb, childOwnMb}: ForkCost): string {
  return (
    `fork of a ${memoryMb} MiB guest: it stands still for ${pauseMs.toFixed(0)} ms; each of ${children} children has ` +
    `${childResidentMb.toFixed(0)} MiB, ${childOwnMb.toFixed(0)} MiB when what several share is divided among them`
  )
}

function migrationRows({guest, gastwirt, qemu}: MigrationComparison): string[][] {
  const row = (what: string, key: 'totalMs' | 'downtimeMs') => [
    `${what}, ${guest}`,
    `${gastwirt[key].toFixed(0)} ms`,
    qemu === undefined ? '-' : `${qemu[key].toFixed(0)} ms`,
    qemu === undefined ? '-' : (gastwirt[key] / qemu[key]).toFixed(2),
  ]
  const rates = [gastwirt, qemu].map(cost => cost?.writingMb)
  const writing = ['  which writes', ...rates.map(rate => (rate === undefined ? '-' : `${rate.toFixed(0)} MB/s`))]
  return [
    row('migration', 'totalMs'),
    row('downtime', 'downtimeMs'),
    ...(gastwirt.writingMb === undefined ? [] : [writing]),
  ]
}

function seconds(value: number | undefined): string {
  return value === undefined ? '-' : `${value.toFixed(2)} s`
}
