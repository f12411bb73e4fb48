/**
 * What a benchmark found, as numbers for a file and as a table for a person. Each figure is the median of the runs; the ratio says how
 * many times as long Gastwirt takes as QEMU, so below 1 is faster.
 */
import type {BootRun} from './boot-run.js'
import type {DomainCost} from './domain-cost.js'
import {workloadTitles} from './workloads.js'

/** One thing measured on each machine: seconds. */
export interface Comparison {
  name: string
  gastwirt?: number
  qemu?: number
  ratio?: number
}

/** The JSON result. */
export interface BenchResult {
  date: string
  /** What ran, and on what. */
  about: Record<string, string | number>
  comparisons: Comparison[]
  footprint?: DomainCost
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

/** The table. */
export function table({comparisons, footprint}: BenchResult): string {
  const rows = comparisons.map(({name, gastwirt, qemu, ratio}) => [
    workloadTitles[name] ?? "boot to init's first line",
    seconds(gastwirt),
    seconds(qemu),
    ratio === undefined ? '-' : ratio.toFixed(2),
  ])
  const lines = [['', 'Gastwirt', 'QEMU TCG', 'ratio'], ...rows].map(
    ([title, ...cells]) => title.padEnd(34) + cells.map(cell => cell.padStart(10)).join(''),
  )
  if (footprint !== undefined) {
    const {idlePercent, memory, createSeconds, bootSeconds} = footprint
    lines.push(
      '',
      `idle guest: ${idlePercent.toFixed(1)} % of a core`,
      `domain process: ${memory.residentMb.toFixed(0)} MiB resident, ${memory.touchedMb.toFixed(0)} MiB of them touched by the guest, ${memory.overheadMb.toFixed(0)} MiB beyond`,
      `xl create returns after ${seconds(createSeconds[0])}, beside another domain after ${seconds(createSeconds[1])}`,
      `init's first line after ${seconds(bootSeconds[0])}, beside another domain after ${seconds(bootSeconds[1])}`,
    )
  }
  return lines.join('\n')
}

function seconds(value: number | undefined): string {
  return value === undefined ? '-' : `${value.toFixed(2)} s`
}
