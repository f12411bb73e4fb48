/**
 * sched_op, vcpu_op, timers: sleeping, waking, shutting down.
 *
 * Source: public/sched.h, public/vcpu.h.
 */
import {Errno} from '../../abi/xen.js'
import {state} from '../../x86/state.js'
import {portCount} from '../event-channels.js'
import {FrameType} from '../frame-types.js'
import {field} from '../record.js'
import {refreshTimeArea, writeTimeInfo} from '../time.js'
import {type Arguments, type Context, copyIn} from './call.js'

/** Makes generated code return to the run loop. */
function lookAround({vcpu}: Context): void {
  Atomics.store(vcpu.memory.int32, (vcpu.base + state.pending) >> 2, 1)
}

export function schedOp(context: Context, args: Arguments): number {
  const {record, vcpu, events} = context
  switch (args.low(0)) {
    case 0: // SCHEDOP_yield
      return 0
    case 1: // SCHEDOP_block
      vcpu.memory.bytes[record.u32('vcpuInfo') + 1] = 0
      if (!events.deliverable()) record.setU32('blocked', 1)
      lookAround(context)
      return 0
    case 2: {
      const reason = copyIn(context, args.u64(1), 4)
      if (reason === undefined) return -Errno.fault
      // A reason is one byte to Xen.
      context.shutDown(reason.getUint8(0))
      return 0
    }
    case 3: {
      // SCHEDOP_poll
      const request = copyIn(context, args.u64(1), 24)
      if (request === undefined) return -Errno.fault
      const count = request.getUint32(8, true)
      if (count > 128) return -Errno.inval
      const ports = copyIn(context, request.getBigUint64(0, true), count * 4)
      if (ports === undefined) return -Errno.fault
      if (events.deliverable()) return 0
      for (let index = 0; index < count; index++) {
        const port = ports.getUint32(index * 4, true)
        if (port >= portCount) return -Errno.inval
        vcpu.memory.view.setUint16(field.pollPorts + index * 2, port, true)
      }
      record.setU32('pollCount', count)
      if (events.polledPortIsPending()) {
        record.setU32('pollCount', 0)
        return 0
      }
      const limit = Number(request.getBigUint64(16, true))
      record.setF64('pollLimit', limit === 0 ? Number.POSITIVE_INFINITY : limit)
      record.setU32('blocked', 1)
      lookAround(context)
      return 0
    }
    case 5: // SCHEDOP_shutdown_code
    case 6: // SCHEDOP_watchdog
      return 0
    case 7:
      return -Errno.perm
    default:
      return -Errno.nosys
  }
}

export function setTimerOp({record}: Context, args: Arguments): number {
  record.setF64('timer', args.u64(0) === 0n ? Number.POSITIVE_INFINITY : Number(args.u64(0)))
  return 0
}

/** Least period of the periodic timer. */
const leastPeriodNs = 1_000_000

export function vcpuOp(context: Context, args: Arguments): number {
  const {record, vcpu, tables, host} = context
  const command = args.low(0)
  if (args.low(1) !== 0) return -Errno.noent
  switch (command) {
    case 0: // VCPUOP_initialise
      return -Errno.exist
    case 1: // VCPUOP_up
      return 0
    case 2: // VCPUOP_down: the last vCPU going down is a poweroff
      context.shutDown(0)
      return 0
    case 3: // VCPUOP_is_up
      return 1
    case 5: {
      // VCPUOP_register_runstate_memory_area
      const area = copyIn(context, args.u64(2), 8)
      if (area === undefined) return -Errno.fault
      record.setU64('runstateArea', area.getBigUint64(0, true))
      vcpu.writeBytes(area.getBigUint64(0, true), new Uint8Array(48))
      return 0
    }
    case 6: {
      const period = copyIn(context, args.u64(2), 8)
      if (period === undefined) return -Errno.fault
      const ns = Number(period.getBigUint64(0, true))
      if (ns < leastPeriodNs) return -Errno.inval
      record.setF64('periodNs', ns)
      record.setF64('nextPeriod', host.now() + ns)
      return 0
    }
    case 7: // VCPUOP_stop_periodic_timer
      record.setF64('periodNs', 0)
      return 0
    case 8: {
      const timer = copyIn(context, args.u64(2), 16)
      if (timer === undefined) return -Errno.fault
      record.setF64('timer', Number(timer.getBigUint64(0, true)))
      return 0
    }
    case 9:
      record.setF64('timer', Number.POSITIVE_INFINITY)
      return 0
    case 10: {
      // VCPUOP_register_vcpu_info
      const place = copyIn(context, args.u64(2), 16)
      if (place === undefined) return -Errno.fault
      const offset = place.getUint32(8, true)
      const mfn = Number(place.getBigUint64(0, true) & 0xfffffffffn)
      if (offset & 7 || offset > 4096 - 64) return -Errno.inval
      // Held as writable for good: the frame can then never become a page table.
      if (tables.types.take(mfn, FrameType.writable) < 0) return -Errno.inval
      const frame = tables.address(mfn)
      const {memory} = vcpu
      const old = record.u32('vcpuInfo')
      memory.bytes.copyWithin(frame + offset, old, old + 64)
      memory.bytes[frame + offset] = 1
      memory.view.setBigUint64(frame + offset + 8, 0xffffffffffffffffn, true)
      writeTimeInfo(memory.view, frame + offset + 32)
      Atomics.store(memory.int32, field.vcpuInfo >> 2, frame + offset)
      return 0
    }
    case 11: // VCPUOP_send_nmi
      if (args.u64(2) !== 0n) return -Errno.inval
      record.setU32('nmiPending', 1)
      lookAround(context)
      return 0
    case 13: {
      if (args.u64(2) === 0n) {
        record.setU64('timeArea', 0n)
        return 0
      }
      const area = copyIn(context, args.u64(2), 8)
      if (area === undefined) return -Errno.fault
      record.setU64('timeArea', area.getBigUint64(0, true))
      refreshTimeArea(vcpu, record)
      return 0
    }
    default:
      return -Errno.nosys
  }
}
