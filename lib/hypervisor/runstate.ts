/**
 * How long the vCPU has been running, waiting and blocked: the guest's source of stolen time. The record is Xen's; a copy of it is kept at an
 * address that the kernel gave, as of the last change of state.
 *
 *   48 bytes:  0 state (0 running, 1 runnable, 2 blocked, 3 offline)  8 time of entry  16 four times, by state
 *
 * Source: public/vcpu.h (vcpu_runstate_info); xen/common/sched/core.c, xen/arch/x86/domain.c (update_runstate_area).
 */
import type {Vcpu} from '../x86/vcpu.js'
import {VmAssist} from './hypercall/vm-assist.js'
import {field, type MachineRecord} from './record.js'

export const Runstate = {running: 0, blocked: 2} as const
const recordBytes = 48
const timesAt = 16
const entryTimeAt = 8
/** In the time of entry: the copy is being changed. */
const updating = 1n << 63n

/** The vCPU changes its state. */
export function enterRunstate(vcpu: Vcpu, record: MachineRecord, next: number, now: number): void {
  const {view} = vcpu.memory
  const former = record.u32(field.runstate)
  const spent = field.runstateTimes + former * 8
  view.setFloat64(spent, view.getFloat64(spent, true) + Math.max(now - record.f64(field.runstateEntry), 0), true)
  record.setU32(field.runstate, next)
  record.setF64(field.runstateEntry, now)
  writeRunstate(vcpu, record)
}

/** The record as bytes; with `now`, the time in the present state up to then counts too. */
export function runstateBytes(record: MachineRecord, now?: number): DataView {
  const bytes = new DataView(new ArrayBuffer(recordBytes))
  const state = record.u32(field.runstate)
  const entered = record.f64(field.runstateEntry)
  bytes.setUint32(0, state, true)
  bytes.setBigUint64(entryTimeAt, BigInt(Math.floor(entered)), true)
  for (let index = 0; index < 4; index++) {
    const present = now !== undefined && index === state ? Math.max(now - entered, 0) : 0
    const time = record.memory.view.getFloat64(field.runstateTimes + index * 8, true) + present
    bytes.setBigUint64(timesAt + index * 8, BigInt(Math.floor(time)), true)
  }
  return bytes
}

/** Brings the kernel's copy up to date; where it cannot be written, it stays as it is. */
export function writeRunstate(vcpu: Vcpu, record: MachineRecord): void {
  const address = record.u64(field.runstateArea)
  if (address === 0n) return
  const bytes = runstateBytes(record)
  const put = () => vcpu.writeBytes(address, new Uint8Array(bytes.buffer))
  if ((record.u32(field.vmAssist) & VmAssist.runstateUpdateFlag) !== 0) {
    const entered = bytes.getBigUint64(entryTimeAt, true)
    bytes.setBigUint64(entryTimeAt, entered | updating, true)
    put()
    bytes.setBigUint64(entryTimeAt, entered, true)
  }
  put()
}
