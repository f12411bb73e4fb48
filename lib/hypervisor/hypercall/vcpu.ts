/**
 * vcpu_op: is a vCPU there, where its records lie in the guest's memory, its timers. There is one vCPU; the others do not exist.
 *
 * Source: public/vcpu.h; xen/common/domain.c, xen/common/compat/…, xen/arch/x86/pv (answers).
 */
import {Errno} from '../../abi/xen.js'
import {FrameType} from '../frame-types.js'
import {field} from '../record.js'
import {runstateBytes, writeRunstate} from '../runstate.js'
import {refreshTimeArea, signedNumber, writeTimeInfo} from '../time.js'
import {type Arguments, type Context, copyIn, copyOut, isGuestRange, lookAround} from './call.js'

/** Source: public/vcpu.h VCPUOP_*. */
const Op = {
  initialise: 0,
  up: 1,
  down: 2,
  isUp: 3,
  getRunstateInfo: 4,
  registerRunstateArea: 5,
  setPeriodicTimer: 6,
  stopPeriodicTimer: 7,
  setSingleshotTimer: 8,
  stopSingleshotTimer: 9,
  registerVcpuInfo: 10,
  sendNmi: 11,
  getPhysid: 12,
  registerTimeArea: 13,
} as const

/** vcpu_guest_context. */
const contextBytes = 5168
const poweroff = 0

export function vcpuOp(context: Context, args: Arguments): number {
  const {record, host} = context
  if (args.low(1) !== 0) return -Errno.noent
  switch (args.low(0)) {
    case Op.initialise:
      return copyIn(context, args.u64(2), contextBytes) === undefined ? -Errno.fault : -Errno.exist
    case Op.up:
      return 0
    case Op.down:
      // The last one.
      context.shutDown(poweroff)
      return 0
    case Op.isUp:
      return 1
    case Op.getRunstateInfo:
      return copyOut(context, args.u64(2), runstateBytes(record, host.now())) ? 0 : -Errno.fault
    case Op.registerRunstateArea:
      return registerArea(context, args, field.runstateArea, () => writeRunstate(context.vcpu, record))
    case Op.registerTimeArea:
      return registerArea(context, args, field.timeArea, () => refreshTimeArea(context.vcpu, record))
    case Op.setPeriodicTimer:
      return setPeriodicTimer(context, args)
    case Op.stopPeriodicTimer:
      record.setF64(field.periodNs, 0)
      return 0
    case Op.setSingleshotTimer:
      return setSingleshotTimer(context, args)
    case Op.stopSingleshotTimer:
      record.setF64(field.timer, Number.POSITIVE_INFINITY)
      return 0
    case Op.registerVcpuInfo:
      return registerVcpuInfo(context, args)
    case Op.sendNmi:
      if (args.u64(2) !== 0n) return -Errno.inval
      record.setU32(field.nmiPending, 1)
      lookAround(context)
      return 0
    case Op.getPhysid:
      return -Errno.inval
    default:
      return -Errno.nosys
  }
}

const longestArea = 48

/** Notes an address and writes there at once. */
function registerArea(context: Context, args: Arguments, at: number, write: () => void): number {
  const area = copyIn(context, args.u64(2), 8)
  if (area === undefined) return -Errno.fault
  const address = area.getBigUint64(0, true)
  if (!isGuestRange(address, longestArea)) return -Errno.fault
  context.record.setU64(at, address)
  write()
  return 0
}

const leastPeriodNs = 1_000_000
const periodLimitNs = 2 ** 62

function setPeriodicTimer(context: Context, args: Arguments): number {
  const request = copyIn(context, args.u64(2), 8)
  if (request === undefined) return -Errno.fault
  const ns = Number(request.getBigUint64(0, true))
  if (ns < leastPeriodNs || ns >= periodLimitNs) return -Errno.inval
  context.record.setF64(field.periodNs, ns)
  context.record.setF64(field.nextPeriod, context.host.now() + ns)
  return 0
}

/** VCPU_SSHOTTMR_future: no timer for a time that has passed. */
const futureOnly = 1

function setSingleshotTimer(context: Context, args: Arguments): number {
  const request = copyIn(context, args.u64(2), 16)
  if (request === undefined) return -Errno.fault
  const due = signedNumber(request.getUint32(0, true), request.getInt32(4, true))
  if ((request.getUint32(8, true) & futureOnly) !== 0 && due < context.host.now()) return -Errno.time
  context.record.setF64(field.timer, due)
  return 0
}

const vcpuInfoBytes = 64

/** From now on events and time of the vCPU are in a page of the guest's. */
function registerVcpuInfo(context: Context, args: Arguments): number {
  const {record, tables, layout} = context
  const {memory} = context.vcpu
  const place = copyIn(context, args.u64(2), 16)
  if (place === undefined) return -Errno.fault
  const mfn = place.getUint32(4, true) * 2 ** 32 + place.getUint32(0, true)
  const offset = place.getUint32(8, true)
  if ((offset & 7) !== 0 || offset > 4096 - vcpuInfoBytes) return -Errno.nxio
  const old = record.u32(field.vcpuInfo)
  if (old !== layout.ramBase + layout.sharedInfo * 4096) return -Errno.busy
  if (mfn >= layout.ramPages || !tables.isOwn(mfn)) return -Errno.inval
  // Held as writable for good: the frame can then never become a page table.
  if (tables.types.take(mfn, FrameType.writable) < 0) return -Errno.acces
  const info = tables.address(mfn) + offset
  memory.bytes.copyWithin(info, old, old + vcpuInfoBytes)
  // Everything counts as pending, so that nothing is lost on the way.
  memory.bytes[info] = 1
  memory.view.setBigUint64(info + 8, 0xffffffffffffffffn, true)
  writeTimeInfo(memory.view, info + 32)
  Atomics.store(memory.int32, field.vcpuInfo >> 2, info)
  return 0
}
