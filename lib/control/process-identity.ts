/**
 * Who a process is, so that a record or a lock can name its owner and anyone can tell later whether that owner still lives. A pid
 * alone may have been given to another process since; together with the time the process started (in clock ticks since boot) it
 * has not. A zombie counts as dead.
 *
 * Where there is no /proc the start time is empty and only the pid is asked about.
 * Source: proc(5), /proc/<pid>/stat fields 3 and 22.
 */
import {readFileSync} from 'node:fs'

/** A process that can be told from every other on this machine since it booted. */
export interface ProcessIdentity {
  pid: number
  startTime: string
}

/** State letter and start time, or undefined when there is no such process. */
function statOf(pid: number): {state: string; startTime: string} | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return undefined
  }
  // The second field is the command's name in brackets and may hold anything, brackets and blanks included.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return {state: fields[0], startTime: fields[19]}
}

const hasProc = statOf(process.pid) !== undefined

/** The identity of a running process; of this one by default. */
export function identityOf(pid: number = process.pid): ProcessIdentity {
  return {pid, startTime: statOf(pid)?.startTime ?? ''}
}

/** True while that very process runs. */
export function isAlive(identity: ProcessIdentity): boolean {
  if (hasProc) {
    const stat = statOf(identity.pid)
    return stat !== undefined && stat.startTime === identity.startTime && stat.state !== 'Z' && stat.state !== 'X'
  }
  try {
    process.kill(identity.pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Sends a signal to that process, never to a later one with its pid. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(identity)) return
  try {
    process.kill(identity.pid, signal)
  } catch {
    // It ended between the two lines: what was wanted has happened.
  }
}
