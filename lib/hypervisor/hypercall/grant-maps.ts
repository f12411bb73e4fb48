/**
 * Grants mapped into the guest's own address space. Xen lets a domain map what any domain granted to it; here the only other domain is Domain-0,
 * which grants nothing, so what can be mapped are grants of the guest to itself. A map has a handle: its number in the table of maps.
 *
 *   map, 32 bytes in the machine record:  u32 in use  u32 reference  u32 flags  u32 frame  f64 machine address of the entry, -1 none
 *
 * Source: public/grant_table.h; xen/common/grant_table.c, xen/arch/x86/pv/grant_table.c.
 */
import {GrantMap, GrantStatus} from '../../abi/grant-table.js'
import {field, grantMapBytes, grantMapCount} from '../record.js'
import type {Context} from './call.js'

const Entry = {present: 1, writable: 2, user: 4, accessed: 0x20, dirty: 0x40} as const

/** GNTTABOP_map_grant_ref. */
export function mapOne(context: Context, view: DataView): number {
  const {grants, domid, vcpu} = context
  const flags = view.getUint32(8, true)
  const ref = view.getUint32(12, true)
  const domain = view.getUint16(16, true)
  if ((flags & (GrantMap.deviceMap | GrantMap.hostMap)) === 0) return GrantStatus.badGntref
  if (domain !== domid) return domain === 0 ? GrantStatus.badGntref : GrantStatus.badDomain
  const handle = freeHandle(context)
  if (handle < 0) return GrantStatus.noDeviceSpace
  const writes = (flags & GrantMap.readonly) === 0
  const {status, mfn} = grants.acquire(ref, domid, writes)
  if (status !== GrantStatus.okay) return status
  let place = -1
  if ((flags & GrantMap.hostMap) !== 0) {
    place = entryPlace(context, view.getBigUint64(0, true), flags)
    const result = place < 0 ? GrantStatus.generalError : putEntry(context, place, mfn, flags)
    if (result !== GrantStatus.okay) {
      grants.release(ref, mfn, writes)
      return result
    }
  }
  const {uint32, view: memory} = vcpu.memory
  const at = mapAt(handle)
  uint32[at >> 2] = 1
  uint32[(at >> 2) + 1] = ref
  uint32[(at >> 2) + 2] = flags
  uint32[(at >> 2) + 3] = mfn
  memory.setFloat64(at + 16, place, true)
  view.setUint32(20, handle, true)
  view.setBigUint64(24, BigInt((flags & GrantMap.deviceMap) === 0 ? 0 : mfn * 4096), true)
  return GrantStatus.okay
}

/** GNTTABOP_unmap_grant_ref. */
export function unmapOne(context: Context, view: DataView): number {
  return unmap(context, view.getUint32(16, true), view.getBigUint64(0, true), view.getBigUint64(8, true), 0n)
}

/** GNTTABOP_unmap_and_replace: the entry that maps the new address moves to where the grant was mapped. */
export function unmapAndReplaceOne(context: Context, view: DataView): number {
  return unmap(context, view.getUint32(16, true), view.getBigUint64(0, true), 0n, view.getBigUint64(8, true))
}

function unmap(context: Context, handle: number, host: bigint, device: bigint, replacement: bigint): number {
  const {grants, vcpu} = context
  const {uint32, view} = vcpu.memory
  if (handle >= grantMapCount || uint32[mapAt(handle) >> 2] === 0) return GrantStatus.badHandle
  const at = mapAt(handle)
  const ref = uint32[(at >> 2) + 1]
  const flags = uint32[(at >> 2) + 2]
  const mfn = uint32[(at >> 2) + 3]
  const place = view.getFloat64(at + 16, true)
  let left = flags
  if (device !== 0n && (flags & GrantMap.deviceMap) !== 0) {
    if (device !== BigInt(mfn * 4096)) return GrantStatus.generalError
    left &= ~GrantMap.deviceMap
  }
  if (host !== 0n && (flags & GrantMap.hostMap) !== 0) {
    if (entryPlace(context, host, flags) !== place) return GrantStatus.generalError
    const result = removeEntry(context, place, mfn, replacement)
    if (result !== GrantStatus.okay) return result
    left &= ~GrantMap.hostMap
  }
  uint32[(at >> 2) + 2] = left
  if ((left & (GrantMap.deviceMap | GrantMap.hostMap)) !== 0) return GrantStatus.okay
  uint32[at >> 2] = 0
  grants.release(ref, mfn, (flags & GrantMap.readonly) === 0)
  return GrantStatus.okay
}

const mapAt = (handle: number) => field.grantMaps + handle * grantMapBytes

function freeHandle({vcpu}: Context): number {
  for (let handle = 0; handle < grantMapCount; handle++) if (vcpu.memory.uint32[mapAt(handle) >> 2] === 0) return handle
  return -1
}

/** Machine address of the level-1 entry to use, or -1: the address of the entry itself, or of what it maps. */
function entryPlace({tables, layout}: Context, host: bigint, flags: number): number {
  if ((flags & GrantMap.containsPte) === 0) {
    const at = tables.leafEntry(Number(host & 0xffffffffn), Number(BigInt.asIntN(32, host >> 32n)))
    return at < 0 ? -1 : at - layout.ramBase
  }
  const place = Number(host)
  return (host & 7n) === 0n && tables.isLevel1(Math.floor(place / 4096)) ? place : -1
}

function putEntry({tables}: Context, place: number, mfn: number, flags: number): number {
  const avail = ((flags >>> GrantMap.availShift) & GrantMap.availMask) << 9
  const rights =
    ((flags & GrantMap.readonly) === 0 ? Entry.writable : 0) |
    ((flags & GrantMap.applicationMap) === 0 ? 0 : Entry.user) |
    Entry.present |
    Entry.accessed |
    Entry.dirty
  const low = ((mfn << 12) | avail | rights) >>> 0
  return tables.update(place, low, mfn >>> 20) === 0 ? GrantStatus.okay : GrantStatus.generalError
}

/** Empties the entry, or moves the one there that maps `replacement`. */
function removeEntry({tables, vcpu, layout}: Context, place: number, mfn: number, replacement: bigint): number {
  const {uint32} = vcpu.memory
  const at = (layout.ramBase + place) >>> 2
  if ((uint32[at] & Entry.present) === 0 || uint32[at] >>> 12 !== mfn % 2 ** 20) return GrantStatus.generalError
  let low = 0
  let high = 0
  if (replacement !== 0n) {
    const from = tables.leafEntry(Number(replacement & 0xffffffffn), Number(BigInt.asIntN(32, replacement >> 32n)))
    if (from < 0 || from === at * 4) return GrantStatus.generalError
    low = uint32[from >>> 2]
    high = uint32[(from >>> 2) + 1]
    tables.update(from - layout.ramBase, 0, 0)
  }
  const isDone = tables.update(place, low, high) === 0
  vcpu.flushTlb()
  return isDone ? GrantStatus.okay : GrantStatus.generalError
}
