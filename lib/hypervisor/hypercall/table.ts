/**
 * Hypercall number → handler, and multicall.
 *
 * Source: public/xen.h.
 */
import {Errno, Hypercall} from '../../abi/xen.js'
import {peek, poke64} from '../guest-words.js'
import {field} from '../record.js'
import {Arguments, again, type Context, type HypercallHandler} from './call.js'
import {consoleIo} from './console.js'
import {eventChannelOp} from './events.js'
import {grantTableOp} from './grants.js'
import {eventChannelOpCompat, nmiOp, schedOpCompat} from './legacy.js'
import {memoryOp} from './memory.js'
import {mmuextOp, mmuUpdate, updateVaMapping} from './mmu.js'
import {physdevOp} from './physdev.js'
import {
  callbackOp,
  fpuTaskswitch,
  getDebugreg,
  setCallbacks,
  setDebugreg,
  setGdt,
  setSegmentBase,
  setTrapTable,
  stackSwitch,
  updateDescriptor,
} from './processor.js'
import {schedOp, setTimerOp} from './sched.js'
import {vcpuOp} from './vcpu.js'
import {xenVersion} from './version.js'
import {vmAssist} from './vm-assist.js'

const refused: HypercallHandler = () => -Errno.perm

const handlers: readonly (HypercallHandler | undefined)[] = listed({
  [Hypercall.setTrapTable]: setTrapTable,
  [Hypercall.mmuUpdate]: mmuUpdate,
  [Hypercall.setGdt]: setGdt,
  [Hypercall.stackSwitch]: stackSwitch,
  [Hypercall.setCallbacks]: setCallbacks,
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
  6: schedOpCompat,
  7: refused, // platform_op
  16: eventChannelOpCompat,
  22: refused, // update_va_mapping_otherdomain
  28: nmiOp,
  35: refused, // sysctl
  36: refused, // domctl
  40: () => -Errno.opnotsupp, // xenpmu_op, with no virtual PMU
  48: refused, // mca
})

function listed(byNumber: Readonly<Record<number, HypercallHandler>>): (HypercallHandler | undefined)[] {
  return Array.from({length: 64}, (_, number) => byNumber[number])
}

/** Runs a hypercall; unknown numbers are -ENOSYS. */
export function hypercall(context: Context, number: number, args: Arguments): number | bigint {
  const handler = number < handlers.length ? handlers[number] : undefined
  return handler === undefined ? -Errno.nosys : handler(context, args)
}

const entryBytes = 64
const resultAt = 8
const argumentsAt = 16
const inner = new Arguments()

/** Each entry's result is written into it; the call itself fails only on a bad pointer. */
function multicall(context: Context, args: Arguments): number {
  const {memory} = context.vcpu
  for (let done = 0; args.low(1) !== 0 && memory.uint32[field.stopped >> 2] === 0; done++) {
    if (done > 0 && context.work.isEnough()) return again
    const low = args.low(0)
    const high = args.high(0)
    const entry = peek(context.vcpu, low, high, entryBytes)
    if (entry === -1) return -Errno.fault
    const number = memory.uint32[entry]
    inner.fromMemory(memory, entry + argumentsAt / 4)
    const answer = number === Hypercall.multicall ? -Errno.inval : hypercall(context, number, inner)
    if (answer === again) {
      // What is left of this entry becomes the entry.
      const place = ((BigInt(high >>> 0) << 32n) | BigInt(low)) + BigInt(argumentsAt)
      return context.vcpu.writeBytes(BigInt.asUintN(64, place), inner.bytes()) ? again : -Errno.fault
    }
    if (!storeResult(context, low, high, answer)) return -Errno.fault
    args.advance(0, entryBytes)
    args.set(1, args.low(1) - 1)
  }
  return 0
}

function storeResult(context: Context, low: number, high: number, answer: number | bigint): boolean {
  const at = low + resultAt
  const place = at >= 2 ** 32 ? at - 2 ** 32 : at
  const placeHigh = at >= 2 ** 32 ? (high + 1) | 0 : high
  if (typeof answer === 'bigint')
    return poke64(context.vcpu, place, placeHigh, Number(answer & 0xffffffffn), Number(answer >> 32n))
  return poke64(context.vcpu, place, placeHigh, answer, Math.floor(answer / 2 ** 32))
}
