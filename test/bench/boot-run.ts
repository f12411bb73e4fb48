/**
 * One boot of one machine from its start to the guest's power-off, timed by the host's clock as its console lines arrive.
 * A guest that stays silent too long is killed and its last lines are in the error: a benchmark must not hang.
 */
import type {ChildProcess} from 'node:child_process'
import {once} from 'node:events'
import {performance} from 'node:perf_hooks'
import {firstLine} from '../../lib/toolstack/images/guest-files.js'
import type {Machine} from './machines.js'
import {guestScript, markerOf} from './workloads.js'

/** Longest silence of a guest. */
const patienceMs = 180_000

/** What one boot showed. */
export interface BootRun {
  /** Seconds by measurement: "boot" and the workloads. */
  readonly seconds: Record<string, number>
  /** What each workload came to. */
  readonly sums: Record<string, string>
}

/** Calls `heard` with each line a process prints, and the time its last byte came; resolves when the output ends. */
export async function readLines(child: ChildProcess, heard: (line: string, now: number) => void): Promise<void> {
  let rest = ''
  child.stdout!.setEncoding('latin1').on('data', (text: string) => {
    const now = performance.now()
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) heard(line.replace(/\r+$/, ''), now)
  })
  await once(child, 'close')
}

/** Boots, does the named workloads, powers off. Errors: when the guest fails or falls silent. */
export async function bootRun(machine: Machine, workloads: readonly string[]): Promise<BootRun> {
  const script = Buffer.from(guestScript(workloads)).toString('base64')
  const run: BootRun = {seconds: {}, sums: {}}
  const last: string[] = []
  let begun: {name: string; at: number} | undefined
  let status: string | undefined
  const start = performance.now()
  const child = machine.start(`gastwirt.run64=${script}`)
  let timer = setTimeout(() => child.kill('SIGKILL'), patienceMs)
  await readLines(child, (line, now) => {
    clearTimeout(timer)
    timer = setTimeout(() => child.kill('SIGKILL'), patienceMs)
    if (last.push(line) > 20) last.shift()
    if (line === firstLine) run.seconds.boot = (now - start) / 1000
    status = /^gastwirt: exit (\d+)$/.exec(line)?.[1] ?? status
    const marker = markerOf(line)
    if (marker?.kind === 'begin') begun = {name: marker.name, at: now}
    else if (marker?.kind === 'end' && begun) run.seconds[begun.name] = (now - begun.at) / 1000
    else if (marker?.kind === 'sum' && begun) run.sums[begun.name] = marker.text
  })
  clearTimeout(timer)
  if (child.exitCode !== 0 || status !== '0' || run.seconds.boot === undefined) {
    const how = child.signalCode ?? `exit status ${child.exitCode}, of the guest's script ${status}`
    throw new Error(`${machine.name} did not do its work (${how}); its last lines:\n${last.join('\n')}`)
  }
  return run
}
