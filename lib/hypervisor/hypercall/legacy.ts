/**
 * Calls that newer ones replaced and old kernels still make: sched_op_compat with its argument in a register, event_channel_op_compat with the
 * command in front of the record, nmi_op for what callback_op does too.
 *
 * Source: public/sched.h, public/event_channel.h, public/nmi.h; xen/common/compat.c.
 */
import {Errno} from '../../abi/xen.js'
import {clearHandler, setHandler} from '../record.js'
import {Arguments, type Context, copyIn, isCanonical} from './call.js'
import {eventChannelOp} from './events.js'
import {schedOp} from './sched.js'

const shutdownCommand = 2
/** Yield, block. */
const lastWithoutArgument = 1

export function schedOpCompat(context: Context, args: Arguments): number {
  const command = args.low(0)
  if (command <= lastWithoutArgument) return schedOp(context, args)
  if (command !== shutdownCommand) return -Errno.nosys
  context.shutDown(args.low(1) & 0xff)
  return 0
}

const inner = new Arguments()
/** The last operation that existed when this call did: unmask. */
const lastEventOp = 9

export function eventChannelOpCompat(context: Context, args: Arguments): number {
  const command = copyIn(context, args.u64(0), 4)
  if (command === undefined) return -Errno.fault
  if (command.getUint32(0, true) > lastEventOp) return -Errno.nosys
  inner.set(0, command.getUint32(0, true))
  inner.setU64(1, args.u64(0) + 4n)
  return eventChannelOp(context, inner)
}

const NmiOp = {register: 0, unregister: 1} as const
const nmiVector = 2
const masksEvents = 4

export function nmiOp(context: Context, args: Arguments): number {
  const {memory} = context.vcpu
  switch (args.low(0)) {
    case NmiOp.register: {
      const request = copyIn(context, args.u64(1), 16)
      if (request === undefined) return -Errno.fault
      const address = request.getBigUint64(0, true)
      if (!isCanonical(address)) return -Errno.inval
      setHandler(memory, 'traps', nmiVector, address, masksEvents)
      return 0
    }
    case NmiOp.unregister:
      clearHandler(memory, 'traps', nmiVector)
      return 0
    default:
      return -Errno.nosys
  }
}
