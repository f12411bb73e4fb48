/**
 * grant_table_op: the guest's own grant table (setting it up, its size and version), and the few things a guest alone can do with grants: copies
 * between its frames and the ones it granted to itself. Lists of operations carry a status each. Maps are in grant-maps.ts.
 *
 * Version 2 is not offered: like a Xen whose domain may have version 1 only, set_version answers -ENOSYS.
 *
 * Source: public/grant_table.h; xen/common/grant_table.c.
 */
import {GrantCopy, GrantOp, GrantStatus} from '../../abi/grant-table.js'
import {domidSelf, Errno} from '../../abi/xen.js'
import {maximumGrantFrames} from '../layout.js'
import {type Arguments, again, type Context, copyIn, copyOut, fresh, isGuestRange} from './call.js'
import {mapOne, unmapAndReplaceOne, unmapOne} from './grant-maps.js'

/** Operations on lists: bytes of an entry, where its status is, what does it. */
interface ListOp {
  readonly bytes: number
  readonly status: number
  readonly act: (context: Context, entry: DataView) => number
}

const lists: Readonly<Record<number, ListOp>> = {
  [GrantOp.mapGrantRef]: {bytes: 32, status: 18, act: mapOne},
  [GrantOp.unmapGrantRef]: {bytes: 24, status: 20, act: unmapOne},
  [GrantOp.unmapAndReplace]: {bytes: 24, status: 20, act: unmapAndReplaceOne},
  [GrantOp.transfer]: {bytes: 24, status: 16, act: transferOne},
  [GrantOp.copy]: {bytes: 40, status: 36, act: copyOne},
  [GrantOp.swapGrantRef]: {
    bytes: 12,
    status: 8,
    act: ({grants}, entry) => grants.swap(entry.getUint32(0, true), entry.getUint32(4, true)),
  },
}

const commandMask = 0xfff

export function grantTableOp(context: Context, args: Arguments): number {
  const command = args.low(0) & commandMask
  const count = args.low(2)
  // The rest of the command word is for continuations of cache_flush.
  if (count >= 2 ** 31 || args.low(0) > commandMask) return -Errno.inval
  const list = lists[command]
  if (list !== undefined) return overList(context, args, count, list)
  switch (command) {
    case GrantOp.setupTable:
      return count === 1 ? withRecord(context, args, 24, setupTable) : -Errno.inval
    case GrantOp.querySize:
      return count === 1 ? withRecord(context, args, 16, querySize) : -Errno.inval
    case GrantOp.getStatusFrames:
      return count === 1 ? withRecord(context, args, 24, getStatusFrames) : -Errno.inval
    case GrantOp.setVersion:
      return withRecord(context, args, 4, setVersion)
    case GrantOp.getVersion:
      return withRecord(context, args, 8, getVersion)
    case GrantOp.cacheFlush:
      return cacheFlush(context, args, count)
    default:
      return -Errno.nosys
  }
}

function overList(context: Context, args: Arguments, count: number, {bytes, status, act}: ListOp): number {
  for (let done = 0; done < count; done++) {
    if (done > 0 && context.work.isEnough(2)) {
      args.set(2, count - done)
      return again
    }
    const entry = copyIn(context, args.u64(1), bytes)
    if (entry === undefined) return -Errno.fault
    entry.setInt16(status, act(context, entry), true)
    if (!copyOut(context, args.u64(1), entry)) return -Errno.fault
    args.advance(1, bytes)
  }
  return 0
}

/** Copies the record at argument 1 in, runs `act`, copies it out again. */
function withRecord(
  context: Context,
  args: Arguments,
  size: number,
  act: (context: Context, view: DataView) => number,
): number {
  const view = copyIn(context, args.u64(1), size)
  if (view === undefined) return -Errno.fault
  const result = act(context, view)
  if (result === -Errno.fault) return result
  return copyOut(context, args.u64(1), view) ? result : -Errno.fault
}

/** Status for a domain that must be the caller itself. */
function ownTable({domid}: Context, domain: number): number {
  if (domain === domidSelf || domain === domid) return GrantStatus.okay
  return domain === 0 ? GrantStatus.permissionDenied : GrantStatus.badDomain
}

function setupTable(context: Context, view: DataView): number {
  const {grants, layout} = context
  const frames = view.getUint32(4, true)
  const list = view.getBigUint64(16, true)
  const status = ownTable(context, view.getUint16(0, true))
  view.setInt16(8, status === 0 && frames > maximumGrantFrames ? GrantStatus.generalError : status, true)
  if (view.getInt16(8, true) !== 0) return 0
  if (!isGuestRange(list, frames * 8)) return -Errno.fault
  if (frames > grants.frames) grants.frames = frames
  const mfns = fresh(frames * 8)
  for (let index = 0; index < frames; index++) mfns.setBigUint64(index * 8, BigInt(layout.grantFrames + index), true)
  if (frames > 0 && !copyOut(context, list, mfns)) view.setInt16(8, GrantStatus.badVirtAddr, true)
  return 0
}

function querySize(context: Context, view: DataView): number {
  const status = ownTable(context, view.getUint16(0, true))
  view.setInt16(12, status, true)
  if (status !== 0) return 0
  view.setUint32(4, context.grants.frames, true)
  view.setUint32(8, maximumGrantFrames, true)
  return 0
}

/** Version 1 has no status frames. */
function getStatusFrames(context: Context, view: DataView): number {
  const status = ownTable(context, view.getUint16(4, true))
  view.setInt16(6, status === 0 && view.getUint32(0, true) > 0 ? GrantStatus.generalError : status, true)
  return 0
}

function setVersion(_context: Context, view: DataView): number {
  const version = view.getUint32(0, true)
  if (version !== 1 && version !== 2) return -Errno.inval
  view.setUint32(0, 1, true)
  return version === 1 ? 0 : -Errno.nosys
}

function getVersion(context: Context, view: DataView): number {
  const status = ownTable(context, view.getUint16(0, true))
  if (status === GrantStatus.permissionDenied) return -Errno.perm
  if (status !== 0) return -Errno.srch
  view.setUint32(4, 1, true)
  return 0
}

/** Giving a frame away needs a domain that takes it, and there is none. */
function transferOne(context: Context, entry: DataView): number {
  const mfn = entry.getUint32(4, true) * 2 ** 32 + entry.getUint32(0, true)
  if (!context.free.mayClaim(mfn, 1)) return GrantStatus.badPage
  return entry.getUint16(8, true) === 0 ? GrantStatus.permissionDenied : GrantStatus.badDomain
}

/** One side of a copy, in use until `done`. */
interface CopySide {
  readonly status: number
  readonly mfn: number
  readonly done: () => void
}

function copySide(context: Context, view: DataView, at: number, isRef: boolean, writes: boolean): CopySide {
  const {grants, tables, domid} = context
  const domain = view.getUint16(at + 8, true)
  const failed = (status: number): CopySide => ({status, mfn: -1, done: () => {}})
  if (domain !== domidSelf && !isRef) return failed(GrantStatus.permissionDenied)
  if (domain !== domidSelf && domain !== domid)
    return failed(domain === 0 ? GrantStatus.badGntref : GrantStatus.badDomain)
  if (isRef) {
    const ref = view.getUint32(at, true)
    const {status, mfn} = grants.acquire(ref, domid, writes)
    return {status, mfn, done: () => (status === 0 ? grants.release(ref, mfn, writes) : undefined)}
  }
  const mfn = view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true)
  const isUsable = writes ? tables.plainAddress(mfn) >= 0 : tables.isOwn(mfn)
  return isUsable ? {status: 0, mfn, done: () => {}} : failed(GrantStatus.badPage)
}

function copyOne(context: Context, entry: DataView): number {
  const length = entry.getUint16(32, true)
  const flags = entry.getUint16(34, true)
  const from = entry.getUint16(10, true)
  const to = entry.getUint16(26, true)
  if (from + length > 4096 || to + length > 4096) return GrantStatus.badCopyArg
  const source = copySide(context, entry, 0, (flags & GrantCopy.sourceRef) !== 0, false)
  if (source.status !== 0) return source.status
  const target = copySide(context, entry, 16, (flags & GrantCopy.destRef) !== 0, true)
  if (target.status === 0) {
    const start = context.tables.address(source.mfn) + from
    context.vcpu.memory.bytes.copyWithin(context.tables.address(target.mfn) + to, start, start + length)
    context.vcpu.frameWritten(target.mfn)
  }
  target.done()
  source.done()
  return target.status
}

/** GNTTAB_CACHE_*. */
const Cache = {clean: 1, invalidate: 2, sourceRef: 2 ** 31} as const

/** Every cache here is coherent: what can be asked for is done already. */
function cacheFlush(context: Context, args: Arguments, count: number): number {
  for (let done = 0; done < count; done++) {
    if (done > 0 && context.work.isEnough(2)) {
      args.set(2, count - done)
      return again
    }
    const entry = copyIn(context, args.u64(1), 16)
    if (entry === undefined) return -Errno.fault
    const result = cacheFlushOne(context, entry)
    if (result < 0) return result
    args.advance(1, 16)
  }
  return 0
}

function cacheFlushOne({tables}: Context, entry: DataView): number {
  const offset = entry.getUint16(8, true)
  const length = entry.getUint16(10, true)
  const operation = entry.getUint32(12, true)
  const known = Cache.clean | Cache.invalidate | Cache.sourceRef
  if (offset >= 4096 || offset + length > 4096 || (operation & ~known) !== 0) return -Errno.inval
  if (length === 0 || operation === 0) return 0
  if (operation >= Cache.sourceRef) return -Errno.opnotsupp
  const mfn = Math.floor((entry.getUint32(4, true) * 2 ** 32 + entry.getUint32(0, true)) / 4096)
  if (mfn >= tables.frameCount) return -Errno.inval
  if (!tables.isOwn(mfn)) return -Errno.perm
  return operation === Cache.invalidate ? -Errno.opnotsupp : 0
}
