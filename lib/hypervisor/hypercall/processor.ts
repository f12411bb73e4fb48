/**
 * What a kernel sets up on its processor: trap table, callbacks, GDT, descriptors, stack, segment bases, FPU, debug registers.
 *
 * Source: public/arch-x86/xen.h, public/callback.h, public/xen.h (SEGBASE_*).
 */
import {Errno} from '../../abi/xen.js'
import {Segment, state} from '../../x86/state.js'
import {readDebug, writeDebug} from '../debug-registers.js'
import {checkedDescriptor} from '../descriptors.js'
import {FrameType} from '../frame-types.js'
import {setTaskSwitched} from '../privileged-ops.js'
import {clearHandler, clearTraps, field, setHandler} from '../record.js'
import {type Arguments, again, type Context, copyIn, isCanonical} from './call.js'

export function setTrapTable(context: Context, args: Arguments): number {
  const {memory} = context.vcpu
  if (args.u64(0) === 0n) {
    clearTraps(memory)
    return 0
  }
  for (let done = 0; ; done++) {
    if (done > 0 && context.work.isEnough()) return again
    const entry = copyIn(context, args.u64(0), 16)
    if (entry === undefined) return -Errno.fault
    const address = entry.getBigUint64(8, true)
    if (address === 0n) return 0
    if (!isCanonical(address)) return -Errno.inval
    setHandler(memory, 'traps', entry.getUint8(0), address, entry.getUint8(1))
    args.advance(0, 16)
  }
}

const gdtFrameLimit = 14
const noFrame = 0xffffffff
const reservedSelectors = 7168

export function setGdt(context: Context, args: Arguments): number {
  const {record, tables, vcpu, layout} = context
  const entries = args.low(1)
  if (entries > reservedSelectors) return -Errno.inval
  const frames = Math.ceil(entries / 512)
  const list = copyIn(context, args.u64(0), frames * 8)
  if (list === undefined) return -Errno.fault
  const mfns: number[] = []
  for (let index = 0; index < frames; index++) {
    const mfn = list.getUint32(index * 8 + 4, true) * 2 ** 32 + list.getUint32(index * 8, true)
    if (mfn >= layout.ramPages) return -Errno.inval
    mfns.push(mfn)
  }
  const {uint32} = vcpu.memory
  const highHalves = (mfn: number) => (tables.address(mfn) >>> 2) + 1
  for (const mfn of mfns) {
    for (let entry = 0; entry < 512; entry++) {
      const at = highHalves(mfn) + entry * 2
      if (checkedDescriptor(uint32[at - 1], uint32[at]) === undefined) return -Errno.inval
    }
  }
  for (const [index, mfn] of mfns.entries()) {
    if (tables.types.take(mfn, FrameType.descriptors) === 0) continue
    for (const taken of mfns.slice(0, index)) tables.types.release(taken)
    return -Errno.inval
  }
  for (let index = 0; index < gdtFrameLimit; index++) {
    const old = uint32[(field.gdtFrames >> 2) + index]
    if (old !== noFrame) tables.types.release(old)
  }
  for (const [index, mfn] of mfns.entries()) {
    uint32[(field.gdtFrames >> 2) + index] = mfn
    for (let entry = 0; entry < 512; entry++) {
      const at = highHalves(mfn) + entry * 2
      uint32[at] = checkedDescriptor(uint32[at - 1], uint32[at]) ?? 0
    }
    vcpu.frameWritten(mfn)
  }
  for (let index = frames; index < gdtFrameLimit; index++) vcpu.memory.uint32[(field.gdtFrames >> 2) + index] = noFrame
  record.setU32(field.gdtEntries, entries)
  return 0
}

export function updateDescriptor({vcpu, tables}: Context, args: Arguments): number {
  const address = args.number(0)
  const mfn = Math.floor(address / 4096)
  const frame = tables.types.typeOf(mfn) === FrameType.descriptors ? tables.address(mfn) : tables.plainAddress(mfn)
  const checked = checkedDescriptor(args.low(1), args.high(1))
  if (frame < 0 || (address & 7) !== 0 || checked === undefined) return -Errno.inval
  const at = (frame + (address % 4096)) >>> 2
  vcpu.memory.uint32[at] = args.low(1)
  vcpu.memory.uint32[at + 1] = checked
  vcpu.frameWritten(mfn)
  return 0
}

export function stackSwitch({record}: Context, args: Arguments): number {
  record.setU32(field.kernelSs, args.low(0) | 3)
  record.setU64(field.kernelSp, args.u64(1))
  return 0
}

export function fpuTaskswitch({vcpu}: Context, args: Arguments): number {
  setTaskSwitched(vcpu, args.u64(0) !== 0n)
  return 0
}

export function setDebugreg({vcpu}: Context, args: Arguments): number {
  return args.low(0) > 7 ? -Errno.inval : writeDebug(vcpu, args.low(0), args.u64(1)) ? 0 : -Errno.perm
}

export function getDebugreg({vcpu}: Context, args: Arguments): number | bigint {
  return args.low(0) > 7 ? -Errno.inval : readDebug(vcpu.memory, args.low(0))
}

const Base = {fs: 0, gsUser: 1, gsKernel: 2, gsUserSelector: 3} as const

export function setSegmentBase({vcpu}: Context, args: Arguments): number {
  const which = args.low(0)
  const value = args.u64(1)
  if (which !== Base.gsUserSelector && !isCanonical(value)) return -Errno.inval
  switch (which) {
    case Base.fs:
      vcpu.setSegmentBase(Segment.fs, value)
      return 0
    case Base.gsUser:
      vcpu.setU64(state.inactiveGsBase, value)
      return 0
    case Base.gsKernel:
      vcpu.setSegmentBase(Segment.gs, value)
      return 0
    case Base.gsUserSelector: {
      // Loads the selector's base as the user's; the kernel's own stays active.
      const kernelBase = vcpu.segmentBase(Segment.gs)
      if (vcpu.loadSegment(Segment.gs, args.low(1) & 0xffff) !== undefined) {
        vcpu.setSelector(Segment.gs, 0)
        vcpu.setSegmentBase(Segment.gs, 0n)
      }
      vcpu.setU64(state.inactiveGsBase, vcpu.segmentBase(Segment.gs))
      vcpu.setSegmentBase(Segment.gs, kernelBase)
      return 0
    }
    default:
      return -Errno.inval
  }
}

/** Source: public/callback.h CALLBACKTYPE_*. */
const Callback = {event: 0, failsafe: 1, syscall: 2, nmi: 4, sysenter: 5, syscall32: 7} as const
const knownCallbacks: readonly number[] = Object.values(Callback)
const CallbackOp = {register: 0, unregister: 1} as const
/** Flag of a trap: events are masked on entry. */
const trapMasks = 4
const nmiVector = 2

export function callbackOp(context: Context, args: Arguments): number {
  const command = args.low(0)
  const {memory} = context.vcpu
  if (command === CallbackOp.unregister) {
    const request = copyIn(context, args.u64(1), 2)
    if (request === undefined) return -Errno.fault
    const type = request.getUint16(0, true)
    if (!knownCallbacks.includes(type)) return -Errno.nosys
    if (type !== Callback.nmi) return -Errno.inval
    clearHandler(memory, 'traps', nmiVector)
    return 0
  }
  if (command !== CallbackOp.register) return -Errno.nosys
  const request = copyIn(context, args.u64(1), 16)
  if (request === undefined) return -Errno.fault
  const type = request.getUint16(0, true)
  const address = request.getBigUint64(8, true)
  if (!isCanonical(address)) return -Errno.inval
  if (!knownCallbacks.includes(type)) return -Errno.nosys
  if (type === Callback.nmi) setHandler(memory, 'traps', nmiVector, address, trapMasks)
  else setHandler(memory, 'callbacks', type, address, request.getUint16(2, true))
  return 0
}

/** The old way to register three callbacks; what cannot be is left as it was. */
export function setCallbacks(context: Context, args: Arguments): number {
  for (const [index, type] of [Callback.event, Callback.failsafe, Callback.syscall].entries()) {
    const address = args.u64(index)
    if (isCanonical(address)) setHandler(context.vcpu.memory, 'callbacks', type, address, 0)
  }
  return 0
}
