/**
 * event_channel_op, 2-level ABI. The FIFO ABI is refused as by a Xen that does not know it, and Linux stays with 2-level. Ports go to Domain-0
 * (backends on the main thread), to the guest itself (loopback, IPI), or stand for VIRQs.
 *
 * Source: public/event_channel.h; xen/common/event_channel.c.
 */
import {domidSelf, Errno, perDomainVirqs, perVcpuVirqs, virqCount} from '../../abi/xen.js'
import {type EventChannels, PortKind, portCount} from '../event-channels.js'
import {type Arguments, type Context, copyIn, copyOut} from './call.js'

interface EventOp {
  /** Bytes of the argument. */
  readonly bytes: number
  readonly act: (context: Context, view: DataView) => number
}

/** By EVTCHNOP_* number. */
const operations: readonly (EventOp | undefined)[] = [
  {bytes: 12, act: bindInterdomain},
  {bytes: 12, act: bindVirq},
  {bytes: 12, act: () => -Errno.perm}, // bind_pirq
  {bytes: 4, act: close},
  {bytes: 4, act: send},
  {bytes: 24, act: status},
  {bytes: 8, act: allocUnbound},
  {bytes: 8, act: bindIpi},
  {bytes: 8, act: bindVcpu},
  {bytes: 4, act: unmask},
  {bytes: 2, act: reset},
]

export function eventChannelOp(context: Context, args: Arguments): number {
  const operation = args.low(0) < operations.length ? operations[args.low(0)] : undefined
  if (operation === undefined) return -Errno.nosys
  const view = copyIn(context, args.u64(1), operation.bytes)
  if (view === undefined) return -Errno.fault
  const result = operation.act(context, view)
  if (result < 0) return result
  return copyOut(context, args.u64(1), view) ? result : -Errno.fault
}

const isPort = (port: number) => port > 0 && port < portCount

/** 0 for the guest itself; Domain-0 is none of its business, and others do not exist. */
function checkSelf({domid}: Context, domain: number): number {
  if (domain === domidSelf || domain === domid) return 0
  return domain === 0 ? -Errno.perm : -Errno.srch
}

/** Stores a newly allocated port. */
function answerPort(view: DataView, at: number, port: number): number {
  if (port === 0) return -Errno.nospc
  view.setUint32(at, port, true)
  return 0
}

/** Binds to a port that the guest itself left unbound for itself; Domain-0 leaves none unbound. */
function bindInterdomain({events, domid}: Context, view: DataView): number {
  const domain = view.getUint16(0, true)
  const peer = view.getUint32(4, true)
  if (domain !== domidSelf && domain !== domid) return domain === 0 ? -Errno.inval : -Errno.srch
  if (!isPort(peer) || events.kind(peer) !== PortKind.unbound || events.remoteOf(peer) !== domid) return -Errno.inval
  const port = events.allocate(PortKind.loopback, 0, peer)
  const result = answerPort(view, 8, port)
  if (result < 0) return result
  events.bind(peer, PortKind.loopback, 0, port)
  // What was sent before there was anybody to hear it is not lost.
  events.raise(port)
  return 0
}

function bindVirq({events}: Context, view: DataView): number {
  const virq = view.getUint32(0, true)
  const vcpu = view.getUint32(4, true)
  if (virq >= virqCount) return -Errno.inval
  const isPerVcpu = perVcpuVirqs.includes(virq)
  if (vcpu !== 0) return isPerVcpu ? -Errno.noent : -Errno.inval
  // The others are global, and Domain-0 has them.
  if (!isPerVcpu && !perDomainVirqs.includes(virq)) return -Errno.busy
  if (events.portOfVirq(virq) !== 0) return -Errno.exist
  return answerPort(view, 8, events.allocate(PortKind.virq, virq))
}

function close({events}: Context, view: DataView): number {
  const port = view.getUint32(0, true)
  return isPort(port) && closePort(events, port) ? 0 : -Errno.inval
}

/** Closes a port; the other end of a loopback waits for a new one. False: it is free. */
function closePort(events: EventChannels, port: number): boolean {
  const kind = events.kind(port)
  if (kind === PortKind.free) return false
  if (kind === PortKind.loopback) events.bind(events.remoteOf(port), PortKind.unbound, 0, events.domid)
  events.close(port)
  return true
}

function send({events, host}: Context, view: DataView): number {
  const port = view.getUint32(0, true)
  if (!isPort(port)) return -Errno.inval
  switch (events.kind(port)) {
    case PortKind.interdomain:
      if (events.markSent(port)) host.notifyHost(port)
      return 0
    case PortKind.loopback:
      events.raise(events.remoteOf(port))
      return 0
    case PortKind.ipi:
      events.raise(port)
      return 0
    case PortKind.unbound:
      return 0
    default:
      return -Errno.inval
  }
}

function status(context: Context, view: DataView): number {
  const {events, domid} = context
  const result = checkSelf(context, view.getUint16(0, true))
  const port = view.getUint32(4, true)
  if (result < 0) return result
  if (!isPort(port)) return -Errno.inval
  const kind = events.kind(port)
  view.setUint32(8, kind === PortKind.loopback ? PortKind.interdomain : kind, true)
  view.setUint32(12, 0, true)
  if (kind === PortKind.virq) view.setUint32(16, events.virqOf(port), true)
  else if (kind === PortKind.unbound) view.setUint16(16, events.remoteOf(port), true)
  else if (kind === PortKind.interdomain || kind === PortKind.loopback) {
    view.setUint16(16, kind === PortKind.loopback ? domid : 0, true)
    view.setUint32(20, kind === PortKind.loopback ? events.remoteOf(port) : port, true)
  }
  return 0
}

function allocUnbound(context: Context, view: DataView): number {
  const result = checkSelf(context, view.getUint16(0, true))
  if (result < 0) return result
  const remote = view.getUint16(2, true)
  const port = context.events.allocate(PortKind.unbound, 0, remote === domidSelf ? context.domid : remote)
  return answerPort(view, 4, port)
}

function bindIpi({events}: Context, view: DataView): number {
  if (view.getUint32(0, true) !== 0) return -Errno.noent
  return answerPort(view, 4, events.allocate(PortKind.ipi))
}

/** There is one vCPU: only what may be bound to one is of interest. */
function bindVcpu({events}: Context, view: DataView): number {
  const port = view.getUint32(0, true)
  if (view.getUint32(4, true) !== 0) return -Errno.noent
  if (!isPort(port)) return -Errno.inval
  const kind = events.kind(port)
  if (kind === PortKind.virq) return perVcpuVirqs.includes(events.virqOf(port)) ? -Errno.inval : 0
  return kind === PortKind.free || kind === PortKind.ipi ? -Errno.inval : 0
}

function unmask({events}: Context, view: DataView): number {
  const port = view.getUint32(0, true)
  if (!isPort(port)) return -Errno.inval
  events.unmask(port)
  return 0
}

/** Closes everything. */
function reset(context: Context, view: DataView): number {
  const result = checkSelf(context, view.getUint16(0, true))
  if (result < 0) return result
  for (let port = 1; port < portCount; port++) closePort(context.events, port)
  return 0
}
