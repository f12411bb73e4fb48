/**
 * memory_op: what memory there is, how the machine-to-physical table is seen, and the way to the balloon (reservation.ts).
 *
 * Source: public/memory.h; xen/common/memory.c, xen/arch/x86/mm.c (answers for a PV guest without privileges).
 */
import {domidSelf, Errno} from '../../abi/xen.js'
import {field} from '../record.js'
import {type Arguments, type Context, copyIn, copyOut, fresh} from './call.js'
import {decreaseOne, exchange, increaseOne, overExtents, populateOne} from './reservation.js'

const m2pStart = 0xffff800000000000n
const m2pEnd = 0xffff804000000000n
/** Frames of the machine-to-physical table that one entry of machphys_mfn_list stands for: 2 MiB. */
const m2pExtent = 512
/** max_pfn in shared_info. Source: public/arch-x86/xen.h arch_shared_info. */
const maxPfnOffset = 3088

/** Source: public/memory.h XENMEM_*. */
const Op = {
  increaseReservation: 0,
  decreaseReservation: 1,
  maximumRamPage: 2,
  currentReservation: 3,
  maximumReservation: 4,
  machphysMfnList: 5,
  populatePhysmap: 6,
  addToPhysmap: 7,
  memoryMap: 9,
  machineMemoryMap: 10,
  exchange: 11,
  machphysMapping: 12,
  setMemoryMap: 13,
  maximumGpfn: 14,
  removeFromPhysmap: 15,
  claimPages: 24,
  getVnumaInfo: 26,
} as const

export function memoryOp(context: Context, args: Arguments): number {
  const {layout, free} = context
  const command = args.low(0) & 63
  const start = Math.floor(args.number(0) / 64)
  switch (command) {
    case Op.increaseReservation:
      return overExtents(context, args, command, start, increaseOne)
    case Op.decreaseReservation:
      return overExtents(context, args, command, start, decreaseOne)
    case Op.populatePhysmap:
      return overExtents(context, args, command, start, populateOne)
    case Op.exchange:
      return exchange(context, args)
    case Op.maximumRamPage:
      return layout.frames - 1
    case Op.currentReservation:
      return ofOwnDomain(context, args, layout.ramPages - free.count)
    case Op.maximumReservation:
      return ofOwnDomain(context, args, Atomics.load(context.record.memory.int32, field.mostPages >> 2) >>> 0)
    case Op.maximumGpfn: {
      const {uint32} = context.vcpu.memory
      const at = (layout.ramBase + layout.sharedInfo * 4096 + maxPfnOffset) >>> 2
      return ofOwnDomain(context, args, uint32[at + 1] * 2 ** 32 + uint32[at] - 1)
    }
    case Op.machphysMfnList:
      return machphysMfnList(context, args)
    case Op.memoryMap:
      return memoryMap(context, args)
    case Op.machphysMapping: {
      const mapping = fresh(24)
      mapping.setBigUint64(0, m2pStart, true)
      mapping.setBigUint64(8, m2pEnd, true)
      mapping.setBigUint64(16, BigInt(layout.frames - 1), true)
      return copyOut(context, args.u64(1), mapping) ? 0 : -Errno.fault
    }
    case Op.machineMemoryMap:
    case Op.setMemoryMap:
    case Op.claimPages:
      return -Errno.perm
    case Op.addToPhysmap:
    case Op.removeFromPhysmap:
      // For guests whose physical addresses Xen translates.
      return -Errno.acces
    case Op.getVnumaInfo:
      return -Errno.opnotsupp
    default:
      return -Errno.nosys
  }
}

/** `answer`, if the domain at argument 1 is the caller itself. */
function ofOwnDomain(context: Context, args: Arguments, answer: number): number {
  const domain = copyIn(context, args.u64(1), 2)
  if (domain === undefined) return -Errno.fault
  return domain.getUint16(0, true) === domidSelf ? answer : -Errno.srch
}

/** XENMEM_memory_map: one region of RAM, with what the balloon may add one day. */
function memoryMap(context: Context, args: Arguments): number {
  const request = copyIn(context, args.u64(1), 16)
  if (request === undefined) return -Errno.fault
  const entries = Math.min(request.getUint32(0, true), 1)
  const entry = fresh(20)
  entry.setBigUint64(8, BigInt(context.layout.ramPages * 4096), true)
  entry.setUint32(16, 1, true)
  if (entries > 0 && !copyOut(context, request.getBigUint64(8, true), entry)) return -Errno.fault
  request.setUint32(0, entries, true)
  return copyOut(context, args.u64(1), request) ? 0 : -Errno.fault
}

/** XENMEM_machphys_mfn_list: which frames hold the machine-to-physical table. */
function machphysMfnList(context: Context, args: Arguments): number {
  const {layout} = context
  const request = copyIn(context, args.u64(1), 24)
  if (request === undefined) return -Errno.fault
  const extents = Math.min(request.getUint32(0, true), Math.ceil(layout.m2pFrames / m2pExtent))
  const list = fresh(extents * 8)
  for (let index = 0; index < extents; index++)
    list.setBigUint64(index * 8, BigInt(layout.m2p + index * m2pExtent), true)
  if (extents > 0 && !copyOut(context, request.getBigUint64(8, true), list)) return -Errno.fault
  request.setUint32(16, extents, true)
  return copyOut(context, args.u64(1), request) ? 0 : -Errno.fault
}
