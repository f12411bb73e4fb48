/**
 * Columns and numbers as xl prints them. Scripts split these rows on blanks and count the words, so the widths and the number of
 * fields are fixed.
 * Source: tools/xl/xl_list.c, xl_info.c and xl_vcpu.c for the columns.
 */
import {type DomainStatus, shutdownReasons, type VcpuStatus} from '../control/protocol.js'

/** One row of the domain list. */
export interface ListRow {
  name: string
  domid: number
  memoryKb: number
  vcpus: number
  state: string
  cpuTimeNs: number
}

const reasonLetters = '-rscwS'

/** The six state characters: running, blocked, paused, shut down, why, dying. */
export function stateFlags(status: DomainStatus): string {
  const {shutdownReason} = status
  const letter = (set: boolean, character: string): string => (set ? character : '-')
  return [
    letter(status.running, 'r'),
    letter(status.blocked, 'b'),
    letter(status.paused, 'p'),
    letter(shutdownReason !== undefined, 's'),
    shutdownReason === undefined ? '-' : (reasonLetters[shutdownReasons.indexOf(shutdownReason)] ?? '?'),
    letter(status.dying, 'd'),
  ].join('')
}

/** The three state characters of a vCPU. Xen's p is for one that is offline; one that only stands still has none. */
export function vcpuFlags({state}: VcpuStatus): string {
  return {running: 'r--', blocked: '-b-', paused: '---', offline: '--p'}[state]
}

/** Seconds with one decimal. */
export function seconds(ns: number): string {
  return (ns / 1e9).toFixed(1)
}

/** The first line of `xl list`. */
export const listHeader = 'Name                                        ID   Mem VCPUs\tState\tTime(s)'

/** A line of `xl list`. */
export function listLine(row: ListRow): string {
  const memory = Math.floor(row.memoryKb / 1024)
  return [
    row.name.padEnd(40),
    String(row.domid).padStart(5),
    String(memory).padStart(5),
    String(row.vcpus).padStart(5),
    `    ${row.state} `,
    seconds(row.cpuTimeNs).padStart(8),
  ].join(' ')
}

/** The first line of `xl sharing`. */
export const sharingHeader = 'Name                                        ID   Mem Shared'

/** A line of `xl sharing`. */
export function sharingLine({name, domid, memoryKb}: ListRow, sharedKb: number): string {
  const mib = (kb: number): string => String(Math.floor(kb / 1024)).padStart(5)
  return `${name.padEnd(40)} ${String(domid).padStart(5)} ${mib(memoryKb)}  ${mib(sharedKb)}`
}

/** A domain's status as a row. */
export function rowOf(status: DomainStatus): ListRow {
  return {
    name: status.name,
    domid: status.domid,
    memoryKb: status.currentMemoryKb,
    vcpus: status.vcpus.filter(vcpu => vcpu.state !== 'offline').length,
    state: stateFlags(status),
    cpuTimeNs: status.cpuTimeNs,
  }
}

/** Days, hours, minutes and seconds as `xl uptime` writes them; without seconds if `short`. */
export function uptimeText(uptimeMs: number, short = false): string {
  const total = Math.floor(uptimeMs / 1000)
  const [days, hours, minutes] = [Math.floor(total / 86400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60]
  const two = (number: number): string => String(number).padStart(2, '0')
  const clock = `${String(hours).padStart(2)}:${two(minutes)}${short ? '' : `:${two(total % 60)}`}`
  return days === 0 ? clock : `${days} day${days === 1 ? '' : 's'}, ${clock}`
}
