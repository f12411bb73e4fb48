/**
 * Guest time: the TSC runs at 1 GHz and counts system time, so the time record says "1 tick = 1 ns" and never changes.
 *
 * Source: public/xen.h (vcpu_time_info), public/vcpu.h.
 */
import type {LinearMemory} from '../x86/memory.js'
import type {Vcpu} from '../x86/vcpu.js'
import type {EventChannels} from './event-channels.js'
import type {MachineLayout} from './layout.js'
import {field, type MachineRecord} from './record.js'

const virqTimer = 0
/** Multiplier and shift of 1 GHz: ns = (ticks << 1) * 2^31 / 2^32. */
const multiplier = 0x80000000
const shift = 1
const tscStable = 1

/** Writes a vcpu_time_info (32 bytes). */
export function writeTimeInfo(view: DataView, at: number): void {
  view.setUint32(at, 2, true)
  view.setBigUint64(at + 8, 0n, true)
  view.setBigUint64(at + 16, 0n, true)
  view.setUint32(at + 24, multiplier, true)
  view.setInt8(at + 28, shift)
  view.setUint8(at + 29, tscStable)
}

/** The wall clock at system time 0, in shared_info. `wallMs` is UTC at that moment. */
export function writeWallClock(view: DataView, sharedInfo: number, wallMs: number): void {
  const seconds = Math.floor(wallMs / 1000)
  view.setUint32(sharedInfo + 3072, 2, true)
  view.setUint32(sharedInfo + 3076, seconds % 2 ** 32, true)
  view.setUint32(sharedInfo + 3080, Math.floor((wallMs - seconds * 1000) * 1e6), true)
  view.setUint32(sharedInfo + 3084, Math.floor(seconds / 2 ** 32), true)
}

/** Writes the wall clock as the guest is to see it. `utcMs` is UTC at guest time 0. */
export function showWallClock(memory: LinearMemory, layout: MachineLayout, utcMs: number): void {
  const offsetMs = memory.view.getFloat64(field.wallOffsetMs, true)
  writeWallClock(memory.view, layout.ramBase + layout.sharedInfo * 4096, utcMs + offsetMs)
}

/** The time record as bytes, for a guest address. */
export function timeInfoBytes(): Uint8Array {
  const bytes = new Uint8Array(32)
  writeTimeInfo(new DataView(bytes.buffer), 0)
  return bytes
}

/** A signed 64-bit time as a number. */
export function signedNumber(low: number, high: number): number {
  return high * 2 ** 32 + low
}

/** When the next timer is due. */
export function nextDeadline({floats}: MachineRecord): number {
  const period = floats[field.periodNs >> 3] > 0 ? floats[field.nextPeriod >> 3] : Number.POSITIVE_INFINITY
  const first = floats[field.watchdogs >> 3]
  const second = floats[(field.watchdogs >> 3) + 1]
  const watchdog = Math.min(first || Number.POSITIVE_INFINITY, second || Number.POSITIVE_INFINITY)
  return Math.min(floats[field.timer >> 3], period, floats[field.pollLimit >> 3], watchdog)
}

/** Raises VIRQ_TIMER for every timer that is due. True: a watchdog bites. */
export function fireTimers(record: MachineRecord, events: EventChannels, now: number): boolean {
  if (nextDeadline(record) > now) return false
  const {floats} = record
  let due = false
  if (floats[field.timer >> 3] <= now) {
    floats[field.timer >> 3] = Number.POSITIVE_INFINITY
    due = true
  }
  if (floats[field.periodNs >> 3] > 0 && floats[field.nextPeriod >> 3] <= now) {
    floats[field.nextPeriod >> 3] = now + floats[field.periodNs >> 3]
    due = true
  }
  if (floats[field.pollLimit >> 3] <= now) endPoll(record)
  const port = due ? events.portOfVirq(virqTimer) : 0
  if (port !== 0) events.raise(port)
  const [first, second] = floats.subarray(field.watchdogs >> 3)
  return (first !== 0 && first <= now) || (second !== 0 && second <= now)
}

/** sched_op poll is over. */
export function endPoll(record: MachineRecord): void {
  record.setF64(field.pollLimit, Number.POSITIVE_INFINITY)
  record.setU32(field.pollCount, 0)
  record.setU32(field.blocked, 0)
}

/** Keeps the second copy of the time record in step. */
export function refreshTimeArea(vcpu: Vcpu, record: MachineRecord): void {
  const address = record.u64(field.timeArea)
  if (address !== 0n) vcpu.writeBytes(address, timeInfoBytes())
}
