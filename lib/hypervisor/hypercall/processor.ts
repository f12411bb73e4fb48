/**
 * What a kernel sets up on its processor: trap table, callbacks, GDT, descriptors, stack, segment bases, FPU, debug registers.
 *
 * Source: public/arch-x86/xen.h, public/callback.h, public/xen.h (SEGBASE_*).
 */
import {Errno} from '../../abi/xen.js'
import {Segment} from '../../x86/state.js'
import {FrameType} from '../frame-types.js'
import {setTaskSwitched} from '../privileged-ops.js'
import {clearTraps, field, setHandler} from '../record.js'
import {type Arguments, type Context, copyIn, isCanonical, low} from './call.js'

export function setTrapTable({vcpu, ...context}: Context, args: Arguments): number {
  const {memory} = vcpu
  if (args.u64(0) === 0n) {
    clearTraps(memory)
    return 0
  }
  for (let index = 0; index <= 256; index++) {
    const entry = copyIn({vcpu, ...context}, args.u64(0) + BigInt(index * 16), 16)
    if (entry === undefined) return -Errno.fault
    const address = entry.getBigUint64(8, true)
    if (address === 0n) return 0
    if (!isCanonical(address)) return -Errno.inval
    setHandler(memory, 'traps', entry.getUint8(0), address, entry.getUint8(1))
  }
  return 0
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
    const mfn = Number(list.getBigUint64(index * 8, true) & 0xfffffffffn)
    if (mfn >= layout.ramPages) return -Errno.inval
    mfns.push(mfn)
  }
  const {uint32} = vcpu.memory
  const highHalves = (mfn: number) => (tables.address(mfn) >>> 2) + 1
  for (const mfn of mfns) {
    for (let entry = 0; entry < 512; entry++) {
      if (checkedDescriptor(uint32[highHalves(mfn) + entry * 2]) === undefined) return -Errno.inval
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
      uint32[at] = checkedDescriptor(uint32[at]) ?? 0
    }
  }
  for (let index = frames; index < gdtFrameLimit; index++) vcpu.memory.uint32[(field.gdtFrames >> 2) + index] = noFrame
  record.setU32('gdtEntries', entries)
  return 0
}

/** A descriptor's high half as the guest may have it: code and data get DPL 3; system types are refused. */
function checkedDescriptor(high: number): number | undefined {
  if ((high & 0x8000) === 0) return high
  if ((high & 0x1000) === 0) return undefined
  return (high & 0x6000) === 0 ? high | 0x6000 : high
}

export function updateDescriptor({vcpu, tables}: Context, args: Arguments): number {
  const address = args.u64(0)
  const value = args.u64(1)
  const mfn = Number(address >> 12n)
  const frame = tables.types.typeOf(mfn) === FrameType.descriptors ? tables.address(mfn) : tables.plainAddress(mfn)
  if (frame < 0 || (address & 7n) !== 0n) return -Errno.inval
  const checked = checkedDescriptor(Number((value >> 32n) & 0xffffffffn))
  if (checked === undefined) return -Errno.inval
  const at = (frame + Number(address & 0xfffn)) >>> 2
  vcpu.memory.uint32[at] = low(value)
  vcpu.memory.uint32[at + 1] = checked
  return 0
}

export function stackSwitch({record}: Context, args: Arguments): number {
  record.setU32('kernelSs', args.low(0) | 3)
  record.setU64('kernelSp', args.u64(1))
  return 0
}

export function fpuTaskswitch({vcpu}: Context, args: Arguments): number {
  setTaskSwitched(vcpu, args.u64(0) !== 0n)
  return 0
}

export function setDebugreg({vcpu}: Context, args: Arguments): number {
  const register = args.low(0)
  if (register > 7) return -Errno.inval
  vcpu.memory.uint64[(field.debug >> 3) + register] = args.u64(1)
  return 0
}

export function getDebugreg({vcpu}: Context, args: Arguments): number {
  const register = args.low(0)
  return register > 7 ? -Errno.inval : Number(vcpu.memory.uint64[(field.debug >> 3) + register])
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
      vcpu.setU64('inactiveGsBase', value)
      return 0
    case Base.gsKernel:
      vcpu.setSegmentBase(Segment.gs, value)
      return 0
    case Base.gsUserSelector: {
      // Loads the selector's base as the user's; the kernel's own stays active.
      const kernelBase = vcpu.segmentBase(Segment.gs)
      if (vcpu.loadSegment(Segment.gs, low(value) & 0xffff) !== undefined) {
        vcpu.setSelector(Segment.gs, 0)
        vcpu.setSegmentBase(Segment.gs, 0n)
      }
      vcpu.setU64('inactiveGsBase', vcpu.segmentBase(Segment.gs))
      vcpu.setSegmentBase(Segment.gs, kernelBase)
      return 0
    }
    default:
      return -Errno.inval
  }
}

/** Callback types the guest may register: event, failsafe, syscall, sysenter (two numbers), nmi, syscall32. */
const callbackTypes = new Set([0, 1, 2, 3, 4, 5, 7])

export function callbackOp(context: Context, args: Arguments): number {
  if (args.low(0) !== 0) return -Errno.inval
  const request = copyIn(context, args.u64(1), 16)
  if (request === undefined) return -Errno.fault
  const type = request.getUint16(0, true)
  const address = request.getBigUint64(8, true)
  if (!callbackTypes.has(type)) return -Errno.nosys
  if (!isCanonical(address)) return -Errno.inval
  setHandler(context.vcpu.memory, 'callbacks', type, address, request.getUint16(2, true))
  return 0
}
