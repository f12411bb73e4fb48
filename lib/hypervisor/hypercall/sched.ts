/**
 * sched_op and set_timer_op: sleeping, waking, shutting down, the watchdog.
 *
 * Source: public/sched.h; xen/common/sched/core.c.
 */
import {Errno} from '../../abi/xen.js'
import {portCount} from '../event-channels.js'
import {field} from '../record.js'
import {enterRunstate, Runstate} from '../runstate.js'
import {showWallClock, signedNumber} from '../time.js'
import {type Arguments, type Context, copyIn, lookAround} from './call.js'

/** Source: public/sched.h SCHEDOP_*. */
const Op = {
  yield: 0,
  block: 1,
  shutdown: 2,
  poll: 3,
  remoteShutdown: 4,
  shutdownCode: 5,
  watchdog: 6,
  pinOverride: 7,
} as const

/** Source: public/sched.h SHUTDOWN_*. */
const Shutdown = {suspend: 2} as const

export function schedOp(context: Context, args: Arguments): number {
  const {record, vcpu, events} = context
  switch (args.low(0)) {
    case Op.yield:
      return 0
    case Op.block:
      vcpu.memory.bytes[record.u32(field.vcpuInfo) + 1] = 0
      if (events.deliverable()) lookAround(context)
      else block(context)
      return 0
    case Op.shutdown:
      return shutdown(context, args, reason => suspendOrShutDown(context, reason))
    case Op.shutdownCode:
      return shutdown(context, args, reason => {
        if (record.u32(field.shutdownCode) === 0) record.setU32(field.shutdownCode, 1 + reason)
        return 0
      })
    case Op.poll:
      return poll(context, args)
    case Op.remoteShutdown: {
      const request = copyIn(context, args.u64(1), 8)
      if (request === undefined) return -Errno.fault
      const domain = request.getUint16(0, true)
      return domain === 0 || domain === context.domid ? -Errno.perm : -Errno.srch
    }
    case Op.watchdog:
      return watchdog(context, args)
    case Op.pinOverride:
      return copyIn(context, args.u64(1), 4) === undefined ? -Errno.fault : -Errno.perm
    default:
      return -Errno.nosys
  }
}

function block(context: Context): void {
  context.record.setU32(field.blocked, 1)
  enterRunstate(context.vcpu, context.record, Runstate.blocked, context.host.now())
  lookAround(context)
}

/** A reason is one byte to Xen. */
function shutdown(context: Context, args: Arguments, use: (reason: number) => number): number {
  const reason = copyIn(context, args.u64(1), 4)
  if (reason === undefined) return -Errno.fault
  return use(reason.getUint8(0))
}

/** What SCHEDOP_shutdown answers to SHUTDOWN_suspend when the domain goes on where it is. */
const suspendCancelled = 1

/**
 * A guest reads its wall clock anew when it wakes. One that was asked to suspend for that alone (after a restore) is woken at once; that is no shutdown,
 * however often: one that is moved again while it suspends is asked again, and may do so twice on its new host.
 */
function suspendOrShutDown({record, vcpu, layout, shutDown}: Context, reason: number): number {
  const utcMs = record.f64(field.wallStepMs)
  if (reason !== Shutdown.suspend || utcMs === 0) {
    shutDown(reason)
    return 0
  }
  showWallClock(vcpu.memory, layout, utcMs)
  return suspendCancelled
}

const mostPolled = 128

/** Waits until an event can be delivered, one of the ports is pending, or a time has come. */
function poll(context: Context, args: Arguments): number {
  const {record, vcpu, events} = context
  const request = copyIn(context, args.u64(1), 24)
  if (request === undefined) return -Errno.fault
  const count = request.getUint32(8, true)
  if (count > mostPolled) return -Errno.inval
  const ports = copyIn(context, request.getBigUint64(0, true), count * 4)
  if (ports === undefined) return -Errno.fault
  if (events.deliverable()) return 0
  for (let index = 0; index < count; index++) {
    const port = ports.getUint32(index * 4, true)
    if (port >= portCount) return -Errno.inval
    if (events.isPending(port)) return 0
    vcpu.memory.view.setUint16(field.pollPorts + index * 2, port, true)
  }
  const limit = signedNumber(request.getUint32(16, true), request.getInt32(20, true))
  record.setU32(field.pollCount, count)
  record.setF64(field.pollLimit, limit === 0 ? Number.POSITIVE_INFINITY : limit)
  block(context)
  return 0
}

/** Watchdog timers of a domain. */
const watchdogs = 2

/** Sets, moves or stops a watchdog: when its time comes, the domain shuts down. */
function watchdog(context: Context, args: Arguments): number {
  const {view} = context.vcpu.memory
  const request = copyIn(context, args.u64(1), 8)
  if (request === undefined) return -Errno.fault
  const id = request.getUint32(0, true)
  const seconds = request.getUint32(4, true)
  const at = (number: number) => field.watchdogs + (number - 1) * 8
  const isSet = (number: number) => view.getFloat64(at(number), true) !== 0
  const due = context.host.now() + seconds * 1e9
  if (id > watchdogs) return -Errno.inval
  if (id > 0) {
    if (!isSet(id)) return -Errno.inval
    view.setFloat64(at(id), seconds === 0 ? 0 : due, true)
    return 0
  }
  if (seconds === 0) return -Errno.inval
  for (let free = 1; free <= watchdogs; free++) {
    if (isSet(free)) continue
    view.setFloat64(at(free), due, true)
    return free
  }
  return -Errno.nospc
}

/** A timeout so far ahead is a mistake of the guest's: it gets one soon. */
const farAhead = 2 ** 50
const soonNs = 100_000_000

export function setTimerOp({record, host}: Context, args: Arguments): number {
  const due = signedNumber(args.low(0), args.high(0))
  const now = host.now()
  if (due === 0) record.setF64(field.timer, Number.POSITIVE_INFINITY)
  else record.setF64(field.timer, due < 0 || due - now >= farAhead ? now + soonNs : due)
  return 0
}
