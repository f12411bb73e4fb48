/**
 * console_io: text of a guest that has no console yet. It is gathered into lines, and there is an end to what a guest may write in its life: each
 * line is a message to another thread, so a flood would fill the host's memory faster than that thread can empty it.
 *
 * Source: public/xen.h CONSOLEIO_*; xen/drivers/char/console.c (lines of a guest are buffered).
 */
import {Errno} from '../../abi/xen.js'
import {field, type MachineRecord} from '../record.js'
import type {Arguments, Context, Host} from './call.js'

const longestWrite = 4096
const longestLine = 256
const newline = 10
/** What a guest may write in its life; a line counts as at least `leastCharge`. */
const emergencyLimit = 1 << 20
const leastCharge = 64

/** CONSOLEIO_write; reading is for privileged domains. */
export function consoleIo(context: Context, args: Arguments): number {
  if (args.low(0) !== 0) return -Errno.perm
  const {record, host} = context
  const length = Math.min(args.low(1), longestWrite)
  const bytes = context.vcpu.readBytes(args.u64(2), length)
  if (bytes === undefined) return -Errno.fault
  const line = record.memory.bytes
  for (const byte of bytes) {
    if (record.u32(field.emergencyBytes) + longestLine > emergencyLimit) break
    let end = record.u32(field.consoleLength)
    line[field.consoleLine + end++] = byte
    record.setU32(field.consoleLength, end)
    if (byte === newline || end === longestLine) flushConsoleLine(record, host)
  }
  return length
}

/** Sends on what there is of a line. */
export function flushConsoleLine(record: MachineRecord, host: Pick<Host, 'emergencyConsole'>): void {
  const length = record.u32(field.consoleLength)
  if (length === 0) return
  record.setU32(field.consoleLength, 0)
  record.setU32(field.emergencyBytes, record.u32(field.emergencyBytes) + Math.max(length, leastCharge))
  host.emergencyConsole(record.memory.bytes.slice(field.consoleLine, field.consoleLine + length))
}
