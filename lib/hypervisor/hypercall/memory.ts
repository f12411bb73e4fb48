/**
 * memory_op: what memory there is, and the balloon.
 *
 * Source: public/memory.h.
 */
import {Errno} from '../../abi/xen.js'
import {type Arguments, type Context, copyIn, copyOut, fresh, low} from './call.js'

const invalidEntry = 0xffffffff
const m2pStart = 0xffff800000000000n
const m2pEnd = 0xffff804000000000n

function m2pAt({layout}: Context, mfn: number): number {
  return (layout.ramBase + layout.m2p * 4096 + mfn * 8) >>> 2
}

/** Pages the domain holds: M2P entries of RAM frames that are valid. */
function currentPages(context: Context): number {
  const {uint32} = context.vcpu.memory
  let pages = 0
  for (let mfn = 0; mfn < context.layout.ramPages; mfn++) if (uint32[m2pAt(context, mfn) + 1] !== invalidEntry) pages++
  return pages
}

interface Reservation {
  readonly list: bigint
  readonly extents: number
  readonly order: number
}

function reservation(context: Context, address: bigint): Reservation | undefined {
  const view = copyIn(context, address, 32)
  if (view === undefined) return undefined
  return {
    list: view.getBigUint64(0, true),
    extents: Number(view.getBigUint64(8, true) & 0xffffffffn),
    order: view.getUint32(16, true),
  }
}

/** Gives frames back. Returns how many were taken. */
function decrease(context: Context, args: Arguments, start: number): number {
  const request = reservation(context, args[1])
  if (request === undefined) return -Errno.fault
  const {vcpu, tables, layout} = context
  if (request.order !== 0) return start
  for (let index = start; index < request.extents; index++) {
    const entry = copyIn(context, request.list + BigInt(index * 8), 8)
    if (entry === undefined) return index
    const mfn = Number(entry.getBigUint64(0, true) & 0xfffffffffn)
    if (mfn >= layout.ramPages) return index
    const at = m2pAt(context, mfn)
    // A frame that is mapped writable or is a table must be let go first.
    if (vcpu.memory.uint32[at + 1] === invalidEntry || tables.types.typeOf(mfn) !== 0) return index
    vcpu.memory.uint32[at] = invalidEntry
    vcpu.memory.uint32[at + 1] = invalidEntry
    const address = tables.address(mfn)
    vcpu.memory.bytes.fill(0, address, address + 4096)
    vcpu.codeWritten(mfn)
  }
  return request.extents
}

/** Finds free frames for PFNs; writes their MFNs over the list. Returns how many were found. */
function populate(context: Context, args: Arguments, start: number): number {
  const request = reservation(context, args[1])
  if (request === undefined) return -Errno.fault
  const {vcpu, layout} = context
  if (request.order !== 0) return start
  let candidate = 0
  for (let index = start; index < request.extents; index++) {
    const entry = copyIn(context, request.list + BigInt(index * 8), 8)
    if (entry === undefined) return index
    while (candidate < layout.ramPages && vcpu.memory.uint32[m2pAt(context, candidate) + 1] !== invalidEntry)
      candidate++
    if (candidate >= layout.ramPages) return index
    const pfn = entry.getBigUint64(0, true)
    vcpu.memory.uint64[m2pAt(context, candidate) >> 1] = pfn
    entry.setBigUint64(0, BigInt(candidate), true)
    if (!copyOut(context, request.list + BigInt(index * 8), entry)) return index
  }
  return request.extents
}

export function memoryOp(context: Context, args: Arguments): number {
  const {layout} = context
  const command = low(args[0]) & 63
  const start = low(args[0]) >>> 6
  switch (command) {
    case 1: // XENMEM_decrease_reservation
      return decrease(context, args, start)
    case 2: // XENMEM_maximum_ram_page
      return layout.frames - 1
    case 3: // XENMEM_current_reservation
      return currentPages(context)
    case 4: // XENMEM_maximum_reservation
    case 14: // XENMEM_maximum_gpfn
      return layout.ramPages - (command === 14 ? 1 : 0)
    case 6: // XENMEM_populate_physmap
      return populate(context, args, start)
    case 9: {
      // XENMEM_memory_map: one region of RAM.
      const request = copyIn(context, args[1], 16)
      if (request === undefined) return -Errno.fault
      if (request.getUint32(0, true) < 1) return -Errno.inval
      const entry = fresh(20)
      entry.setBigUint64(8, BigInt(layout.ramPages * 4096), true)
      entry.setUint32(16, 1, true)
      if (!copyOut(context, request.getBigUint64(8, true), entry)) return -Errno.fault
      request.setUint32(0, 1, true)
      return copyOut(context, args[1], request) ? 0 : -Errno.fault
    }
    case 10: // XENMEM_machine_memory_map
    case 13:
      return -Errno.perm
    case 12: {
      // XENMEM_machphys_mapping
      const mapping = fresh(24)
      mapping.setBigUint64(0, m2pStart, true)
      mapping.setBigUint64(8, m2pEnd, true)
      mapping.setBigUint64(16, BigInt(layout.frames - 1), true)
      return copyOut(context, args[1], mapping) ? 0 : -Errno.fault
    }
    default:
      return -Errno.nosys
  }
}
