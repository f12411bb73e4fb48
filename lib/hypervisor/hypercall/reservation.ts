/**
 * The memory_op calls that change which frames a domain has: increase, decrease, populate, exchange. They answer how many extents are done, and
 * stop without a word at the first that cannot be: so a caller that gave a bad pointer learns no more than that nothing happened.
 *
 *   reservation, 32 bytes:  0 list of frames  8 extents  16 order  20 flags (bits 0 to 7: address bits)  24 domain
 *
 * Source: public/memory.h; xen/common/memory.c.
 */
import {domidSelf, Errno} from '../../abi/xen.js'
import {peek, poke64} from '../guest-words.js'
import {type Arguments, again, type Context, copyIn, copyOut} from './call.js'

/** The largest extent a domain without devices may ask for. Source: xen/common/memory.c DOMU_MAX_ORDER. */
const mostOrder = 9
/** Extents that a continued call can still count. */
const mostExtents = 2 ** 26 - 1

interface Reservation {
  readonly list: bigint
  readonly extents: number
  readonly order: number
  /** Frames at and above this one are out of the caller's reach. */
  readonly limit: number
  readonly domain: number
}

function reservationOf(view: DataView): Reservation {
  const bits = view.getUint8(20)
  return {
    list: view.getBigUint64(0, true),
    extents: view.getUint32(12, true) * 2 ** 32 + view.getUint32(8, true),
    order: view.getUint32(16, true),
    limit: bits === 0 ? Number.POSITIVE_INFINITY : 2 ** Math.max(bits - 12, 0),
    domain: view.getUint16(24, true),
  }
}

/** Word offset of a copy of frame number `index` of a list, or -1. */
function peekFrame(context: Context, list: bigint, index: number): number {
  const at = BigInt.asUintN(64, list + BigInt(index * 8))
  return peek(context.vcpu, Number(at & 0xffffffffn), Number(BigInt.asIntN(32, at >> 32n)), 8)
}

/** Writes a frame number into a list. */
function pokeFrame(context: Context, list: bigint, index: number, mfn: number): boolean {
  const at = BigInt.asUintN(64, list + BigInt(index * 8))
  return poke64(context.vcpu, Number(at & 0xffffffffn), Number(BigInt.asIntN(32, at >> 32n)), mfn, 0)
}

/** What is done for one extent; true when it is done. */
type OneExtent = (context: Context, request: Reservation, index: number) => boolean

/** Runs `each` over the extents of the reservation at argument 1, from `start` on. */
export function overExtents(
  context: Context,
  args: Arguments,
  command: number,
  start: number,
  each: OneExtent,
): number {
  const {free, host} = context
  const before = free.count
  const result = extentsFrom(context, args, command, start, each)
  free.settle()
  if (free.count !== before) host.onMemoryChange()
  return result
}

function extentsFrom(context: Context, args: Arguments, command: number, start: number, each: OneExtent): number {
  const view = copyIn(context, args.u64(1), 32)
  if (view === undefined) return start
  const request = reservationOf(view)
  if (request.extents > mostExtents || request.order > mostOrder || request.domain !== domidSelf) return start
  for (let index = start; index < request.extents; index++) {
    if (index > start && context.work.isEnough(2 ** request.order)) {
      args.set(0, index * 64 + command)
      return again
    }
    if (!each(context, request, index)) return index
  }
  return Math.max(start, request.extents)
}

/** XENMEM_increase_reservation: frames without PFNs. */
export function increaseOne(context: Context, {list, order, limit}: Reservation, index: number): boolean {
  const mfn = context.free.allocate(order, limit)
  if (mfn === undefined) return false
  return list === 0n || pokeFrame(context, list, index, mfn)
}

/** XENMEM_decrease_reservation. A frame that is mapped writable, or in use as a table, must be let go first. */
export function decreaseOne(context: Context, {list, order}: Reservation, index: number): boolean {
  const {uint32} = context.vcpu.memory
  const at = peekFrame(context, list, index)
  if (at === -1) return false
  const mfn = uint32[at + 1] * 2 ** 32 + uint32[at]
  const frames = 2 ** order
  if (!context.free.claim(mfn, frames)) return false
  context.free.give(mfn, frames)
  for (let frame = mfn; frame < mfn + frames; frame++) context.vcpu.frameWritten(frame)
  return true
}

/** XENMEM_populate_physmap: frames for the PFNs of the list, which their MFNs replace. */
export function populateOne(context: Context, {list, order, limit}: Reservation, index: number): boolean {
  const {uint32} = context.vcpu.memory
  const at = peekFrame(context, list, index)
  if (at === -1) return false
  const pfn = uint32[at + 1] * 2 ** 32 + uint32[at]
  const mfn = context.free.allocate(order, limit)
  if (mfn === undefined) return false
  setPfns(context, mfn, pfn, 2 ** order)
  return pokeFrame(context, list, index, mfn)
}

function setPfns({tables}: Context, mfn: number, pfn: number, frames: number): void {
  for (let frame = 0; frame < frames; frame++)
    tables.setPfn(mfn + frame, (pfn + frame) % 2 ** 32, Math.floor((pfn + frame) / 2 ** 32))
}

const exchangeBytes = 72

/**
 * XENMEM_exchange: gives extents of one order for the same amount of memory in another. Worked on in chunks of the larger of the two; the frames
 * given are the first that can be had.
 */
export function exchange(context: Context, args: Arguments): number {
  const view = copyIn(context, args.u64(1), exchangeBytes)
  if (view === undefined) return -Errno.fault
  const given = reservationOf(view)
  const wanted = reservationOf(new DataView(view.buffer, view.byteOffset + 32, 32))
  let done = view.getUint32(68, true) * 2 ** 32 + view.getUint32(64, true)
  if (Math.max(given.order, wanted.order) > mostOrder) return -Errno.perm
  if (
    done > given.extents ||
    given.extents > mostExtents ||
    given.extents * 2 ** given.order !== wanted.extents * 2 ** wanted.order ||
    given.domain !== wanted.domain
  )
    return -Errno.inval
  if (given.domain !== domidSelf) return -Errno.srch
  const givenPerChunk = 2 ** Math.max(wanted.order - given.order, 0)
  if (done % givenPerChunk !== 0 || given.extents % givenPerChunk !== 0) return -Errno.inval
  let result = 0
  for (let turn = 0; done < given.extents; turn++) {
    const isEnough = turn > 0 && context.work.isEnough(2 ** Math.max(given.order, wanted.order))
    result = isEnough ? again : exchangeChunk(context, given, wanted, done, givenPerChunk)
    if (result < 0) break
    done += givenPerChunk
  }
  view.setBigUint64(64, BigInt(done), true)
  return copyOut(context, args.u64(1), view) ? result : -Errno.fault
}

function exchangeChunk(
  context: Context,
  given: Reservation,
  wanted: Reservation,
  first: number,
  count: number,
): number {
  const {free, vcpu} = context
  const {uint32} = vcpu.memory
  const frames: number[] = []
  const size = 2 ** given.order
  for (let index = 0; index < count; index++) {
    const at = peekFrame(context, given.list, first + index)
    const mfn = at === -1 ? -1 : uint32[at + 1] * 2 ** 32 + uint32[at]
    // A frame that is named twice is claimed already.
    if (mfn === -1 || !free.claim(mfn, size)) {
      for (const claimed of frames) free.unclaim(claimed, size)
      return mfn === -1 ? -Errno.fault : -Errno.inval
    }
    frames.push(mfn)
  }
  for (const mfn of frames) free.give(mfn, size)
  const targets = (count * size) / 2 ** wanted.order
  const firstTarget = (first * size) / 2 ** wanted.order
  for (let index = 0; index < targets; index++) {
    const pfnAt = peekFrame(context, wanted.list, firstTarget + index)
    const pfn = pfnAt === -1 ? undefined : uint32[pfnAt + 1] * 2 ** 32 + uint32[pfnAt]
    const mfn = free.allocate(wanted.order, wanted.limit, true)
    if (mfn === undefined) return -Errno.nomem
    if (pfn === undefined) return -Errno.fault
    setPfns(context, mfn, pfn, 2 ** wanted.order)
    if (!pokeFrame(context, wanted.list, firstTarget + index, mfn)) return -Errno.fault
  }
  for (const mfn of frames) for (let frame = 0; frame < size; frame++) vcpu.frameWritten(mfn + frame)
  return 0
}
