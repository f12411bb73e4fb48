/**
 * Guest time: the TSC runs at 1 GHz and counts system time, so the time record says "1 tick = 1 ns" and never changes.
 *
 * Source: public/xen.h (vcpu_time_info), public/vcpu.h.
 */
import type {Vcpu} from '../x86/vcpu.js'
import type {EventChannels} from './event-channels.js'
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
export function nextDeadline(record: MachineRecord): number {
  const period = record.f64('periodNs') > 0 ? record.f64('nextPeriod') : Number.POSITIVE_INFINITY
  return Math.min(record.f64('timer'), period, record.f64('pollLimit'), watchdogDue(record))
}

/** When the first watchdog bites. */
export function watchdogDue(record: MachineRecord): number {
  const first = record.memory.view.getFloat64(field.watchdogs, true)
  const second = record.memory.view.getFloat64(field.watchdogs + 8, true)
  return Math.min(first === 0 ? Number.POSITIVE_INFINITY : first, second === 0 ? Number.POSITIVE_INFINITY : second)
}

/** Raises VIRQ_TIMER for every timer that is due. */
export function fireTimers(record: MachineRecord, events: EventChannels, now: number): void {
  let due = false
  if (record.f64('timer') <= now) {
    record.setF64('timer', Number.POSITIVE_INFINITY)
    due = true
  }
  const period = record.f64('periodNs')
  if (period > 0 && record.f64('nextPeriod') <= now) {
    record.setF64('nextPeriod', now + period)
    due = true
  }
  if (record.f64('pollLimit') <= now) endPoll(record)
  if (!due) return
  const port = events.portOfVirq(virqTimer)
  if (port !== 0) events.raise(port)
}

/** sched_op poll is over. */
export function endPoll(record: MachineRecord): void {
  record.setF64('pollLimit', Number.POSITIVE_INFINITY)
  record.setU32('pollCount', 0)
  record.setU32('blocked', 0)
}

/** Keeps the second copy of the time record in step. */
export function refreshTimeArea(vcpu: Vcpu, record: MachineRecord): void {
  const address = record.u64('timeArea')
  if (address !== 0n) vcpu.writeBytes(address, timeInfoBytes())
}
