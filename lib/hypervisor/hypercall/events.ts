/**
 * event_channel_op.
 *
 * Source: public/event_channel.h.
 */
import {domidSelf, Errno, perVcpuVirqs, virqCount} from '../../abi/xen.js'
import {PortKind, portCount} from '../event-channels.js'
import {type Arguments, type Context, copyIn, copyOut} from './call.js'

/** Copies an argument record in, runs `act` on it, copies it out when that returned 0. */
function withRecord(context: Context, address: bigint, size: number, act: (view: DataView) => number): number {
  const view = copyIn(context, address, size)
  if (view === undefined) return -Errno.fault
  const result = act(view)
  if (result < 0) return result
  return copyOut(context, address, view) ? result : -Errno.fault
}

const isPort = (port: number) => port > 0 && port < portCount

export function eventChannelOp(context: Context, args: Arguments): number {
  const {events, host} = context
  switch (args.low(0)) {
    case 1: // EVTCHNOP_bind_virq
      return withRecord(context, args.u64(1), 12, view => {
        const virq = view.getUint32(0, true)
        if (virq >= virqCount) return -Errno.inval
        if (view.getUint32(4, true) !== 0) return -Errno.noent
        if (!perVcpuVirqs.includes(virq)) return -Errno.busy
        if (events.portOfVirq(virq) !== 0) return -Errno.exist
        const port = events.allocate(PortKind.virq, virq)
        if (port === 0) return -Errno.nospc
        view.setUint32(8, port, true)
        return 0
      })
    case 2: // EVTCHNOP_bind_pirq
      return -Errno.perm
    case 3: // EVTCHNOP_close
      return withRecord(context, args.u64(1), 4, view => {
        const port = view.getUint32(0, true)
        if (!isPort(port) || events.kind(port) === PortKind.free) return -Errno.inval
        events.close(port)
        return 0
      })
    case 4: // EVTCHNOP_send
      return withRecord(context, args.u64(1), 4, view => {
        const port = view.getUint32(0, true)
        if (!isPort(port)) return -Errno.inval
        const kind = events.kind(port)
        if (kind === PortKind.interdomain) {
          if (events.markSent(port)) host.notifyHost(port)
        } else if (kind === PortKind.ipi) events.raise(port)
        else if (kind !== PortKind.unbound) return -Errno.inval
        return 0
      })
    case 5: // EVTCHNOP_status
      return withRecord(context, args.u64(1), 24, view => {
        const port = view.getUint32(4, true)
        if (!isPort(port)) return -Errno.inval
        const kind = events.kind(port)
        view.setUint32(8, kind, true)
        view.setUint32(12, 0, true)
        view.setUint32(16, kind === PortKind.virq ? events.virqOf(port) : events.remoteOf(port), true)
        return 0
      })
    case 6: // EVTCHNOP_alloc_unbound
      return withRecord(context, args.u64(1), 8, view => {
        if (view.getUint16(0, true) !== domidSelf) return -Errno.perm
        const port = events.allocate(PortKind.unbound, 0, view.getUint16(2, true))
        if (port === 0) return -Errno.nospc
        view.setUint32(4, port, true)
        return 0
      })
    case 7: // EVTCHNOP_bind_ipi
      return withRecord(context, args.u64(1), 8, view => {
        if (view.getUint32(0, true) !== 0) return -Errno.noent
        const port = events.allocate(PortKind.ipi)
        if (port === 0) return -Errno.nospc
        view.setUint32(4, port, true)
        return 0
      })
    case 8: // EVTCHNOP_bind_vcpu
      return withRecord(context, args.u64(1), 8, view => {
        const port = view.getUint32(0, true)
        if (view.getUint32(4, true) !== 0) return -Errno.noent
        if (!isPort(port)) return -Errno.inval
        return events.kind(port) === PortKind.virq || events.kind(port) === PortKind.ipi ? -Errno.inval : 0
      })
    case 9: // EVTCHNOP_unmask
      return withRecord(context, args.u64(1), 4, view => {
        const port = view.getUint32(0, true)
        if (!isPort(port)) return -Errno.inval
        events.unmask(port)
        return 0
      })
    default:
      return -Errno.nosys
  }
}
