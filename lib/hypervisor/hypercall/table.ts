/**
 * Hypercall number → handler, and multicall.
 *
 * Source: public/xen.h.
 */
import {Errno, Hypercall} from '../../abi/xen.js'
import {type Arguments, type Context, copyIn, copyOut, fresh, type HypercallHandler, low} from './call.js'
import {consoleIo} from './console.js'
import {eventChannelOp, grantTableOp} from './events.js'
import {memoryOp} from './memory.js'
import {mmuextOp, mmuUpdate, updateVaMapping} from './mmu.js'
import {
  callbackOp,
  fpuTaskswitch,
  getDebugreg,
  setDebugreg,
  setGdt,
  setSegmentBase,
  setTrapTable,
  stackSwitch,
  updateDescriptor,
} from './processor.js'
import {schedOp, setTimerOp, vcpuOp} from './sched.js'
import {physdevOp, vmAssist, xenVersion} from './version.js'

const refused: HypercallHandler = () => -Errno.perm

const handlers: Readonly<Record<number, HypercallHandler>> = {
  [Hypercall.setTrapTable]: setTrapTable,
  [Hypercall.mmuUpdate]: mmuUpdate,
  [Hypercall.setGdt]: setGdt,
  [Hypercall.stackSwitch]: stackSwitch,
  [Hypercall.fpuTaskswitch]: fpuTaskswitch,
  [Hypercall.setDebugreg]: setDebugreg,
  [Hypercall.getDebugreg]: getDebugreg,
  [Hypercall.updateDescriptor]: updateDescriptor,
  [Hypercall.memoryOp]: memoryOp,
  [Hypercall.multicall]: multicall,
  [Hypercall.updateVaMapping]: updateVaMapping,
  [Hypercall.setTimerOp]: setTimerOp,
  [Hypercall.xenVersion]: xenVersion,
  [Hypercall.consoleIo]: consoleIo,
  [Hypercall.grantTableOp]: grantTableOp,
  [Hypercall.vmAssist]: vmAssist,
  [Hypercall.vcpuOp]: vcpuOp,
  [Hypercall.setSegmentBase]: setSegmentBase,
  [Hypercall.mmuextOp]: mmuextOp,
  [Hypercall.schedOp]: schedOp,
  [Hypercall.callbackOp]: callbackOp,
  [Hypercall.eventChannelOp]: eventChannelOp,
  [Hypercall.physdevOp]: physdevOp,
  7: refused, // platform_op
  22: refused, // update_va_mapping_otherdomain
  35: refused, // sysctl
  36: refused, // domctl
}

/** Runs a hypercall; unknown numbers are -ENOSYS. */
export function hypercall(context: Context, number: number, args: Arguments): number {
  const handler = handlers[number]
  return handler === undefined ? -Errno.nosys : handler(context, args)
}

const entryBytes = 64
const mostEntries = 4096

/** Each entry's result is written into it; the call itself fails only on a bad pointer. */
function multicall(context: Context, args: Arguments): number {
  const count = low(args[1])
  if (count > mostEntries) return -Errno.inval
  const result = fresh(8)
  for (let index = 0; index < count && context.record.u32('stopped') === 0; index++) {
    const at = args[0] + BigInt(index * entryBytes)
    const entry = copyIn(context, at, entryBytes)
    if (entry === undefined) return -Errno.fault
    const number = Number(entry.getBigUint64(0, true) & 0xffffffffn)
    const inner = [0, 1, 2, 3, 4, 5].map(argument => entry.getBigUint64(16 + argument * 8, true))
    const answer = number === Hypercall.multicall ? -Errno.inval : hypercall(context, number, inner)
    result.setBigInt64(0, BigInt(answer), true)
    if (!copyOut(context, at + 8n, result)) return -Errno.fault
  }
  return 0
}
