/**
 * mmu_update, update_va_mapping, mmuext_op: the guest changes its page tables. The kernel spends much of its time here, so entries are read as
 * 32-bit halves where they lie. A long list is worked on in turns: the arguments move on, and the count carries a mark that some are done.
 *
 * Source: public/xen.h (mmu_update, mmuext_op, UVMF_*); xen/arch/x86/mm.c (errors).
 */
import {domidSelf, Errno} from '../../abi/xen.js'
import {peek, poke} from '../guest-words.js'
import {field} from '../record.js'
import {type Arguments, again, type Context} from './call.js'

const UpdateKind = {normal: 0, machphys: 1, preserveAd: 2, noTranslate: 3} as const
const accessedDirty = 0x60
/** In a count: this is the rest of a list, and *done holds how many were done before. */
const resumed = 0x80000000
/** DOMID_IO, DOMID_XEN: domains without a number of their own, closed to others. */
const specialDomains = {io: 0x7ff1, xen: 0x7ff2} as const

/** 0, or what naming another domain as the owner of frames gets. */
function checkOwner(args: Arguments): number {
  const owner = args.low(3)
  if (owner === domidSelf) return 0
  return owner === specialDomains.io || owner === specialDomains.xen ? -Errno.perm : -Errno.srch
}

/** Runs `each` over the list at argument 0; stops at the first error. `cost`: work that an entry is; `at` is the entry's word offset in linear memory. */
function overEntries(
  context: Context,
  args: Arguments,
  size: number,
  cost: number,
  each: (context: Context, at: number) => number,
): number {
  const owner = checkOwner(args)
  if (owner < 0) return owner
  let left = args.low(1)
  let before = 0
  if (left >= resumed) {
    left -= resumed
    const done = args.low(2) === 0 && args.high(2) === 0 ? -1 : peek(context.vcpu, args.low(2), args.high(2), 4)
    if (done !== -1) before = context.vcpu.memory.uint32[done]
  }
  let result = 0
  let done = 0
  for (; done < left; done++) {
    if (done > 0 && context.work.isEnough(cost)) {
      result = again
      break
    }
    const at = peek(context.vcpu, args.low(0), args.high(0), size)
    result = at === -1 ? -Errno.fault : each(context, at)
    if (result < 0) break
    args.advance(0, size)
  }
  if (args.low(2) !== 0 || args.high(2) !== 0) poke(context.vcpu, args.low(2), args.high(2), before + done)
  args.set(1, left - done + resumed)
  return result
}

export function mmuUpdate(context: Context, args: Arguments): number {
  return overEntries(context, args, 16, 1, updateOne)
}

function updateOne(context: Context, at: number): number {
  const {tables} = context
  const {uint32} = context.vcpu.memory
  const pointer = uint32[at]
  const address = uint32[at + 1] * 2 ** 32 + ((pointer & ~7) >>> 0)
  const low = uint32[at + 2]
  const high = uint32[at + 3]
  switch (pointer & 3) {
    case UpdateKind.machphys: {
      const mfn = Math.floor(address / 4096)
      if (!tables.isOwn(mfn)) return -Errno.inval
      tables.setPfn(mfn, low, high)
      return 0
    }
    case UpdateKind.preserveAd: {
      const entry = tables.entryPlace(address)
      const kept = (low & 1) !== 0 && entry >= 0 ? uint32[entry] & accessedDirty : 0
      return tables.update(address, low | kept, high)
    }
    default:
      return tables.update(address, low, high)
  }
}

const Flush = {none: 0, tlb: 1, page: 2, typeMask: 3} as const
/** UVMF_ALL; 0 is UVMF_LOCAL, anything else the address of a bitmap of vCPUs. */
const everyVcpu = 4

export function updateVaMapping(context: Context, args: Arguments): number {
  const {tables, vcpu, layout} = context
  const at = tables.leafEntry(args.low(0), args.high(0))
  if (at < 0) return -Errno.inval
  const result = tables.update(at - layout.ramBase, args.low(1), args.high(1) >>> 0)
  if (result < 0) return result
  const flags = args.low(2)
  const kind = flags & Flush.typeMask
  if (kind === Flush.none) return 0
  const where = (flags & ~Flush.typeMask) >>> 0
  // The flush comes before any complaint about the bitmap: too many flushes harm nobody.
  if (kind === Flush.tlb) vcpu.flushTlb()
  else if (kind === Flush.page) vcpu.tlb.flushPage(args.low(0))
  const isBitmap = (where !== 0 && where !== everyVcpu) || args.high(2) !== 0
  return isBitmap && peek(context.vcpu, where, args.high(2), 8) === -1 ? -Errno.fault : 0
}

/** Source: public/xen.h MMUEXT_*. */
const Extended = {
  pinL1: 0,
  pinL4: 3,
  unpin: 4,
  newBaseptr: 5,
  tlbFlushLocal: 6,
  invlpgLocal: 7,
  tlbFlushMulti: 8,
  invlpgMulti: 9,
  tlbFlushAll: 10,
  invlpgAll: 11,
  flushCache: 12,
  setLdt: 13,
  newUserBaseptr: 15,
  clearPage: 16,
  copyPage: 17,
  flushCacheGlobal: 18,
  markSuper: 19,
  unmarkSuper: 20,
} as const

/** Pinning looks at 512 entries. */
const extendedCost = 16

export function mmuextOp(context: Context, args: Arguments): number {
  return overEntries(context, args, 24, extendedCost, extendedOne)
}

function extendedOne(context: Context, at: number): number {
  const {vcpu, tables} = context
  const {uint32} = vcpu.memory
  const command = uint32[at]
  const low = uint32[at + 2]
  const high = uint32[at + 3]
  const secondLow = uint32[at + 4]
  const secondHigh = uint32[at + 5] | 0
  const mfn = high * 2 ** 32 + low
  switch (command) {
    case Extended.tlbFlushMulti:
    case Extended.invlpgMulti:
      if (peek(context.vcpu, secondLow, secondHigh, 8) === -1) return -Errno.inval
      if (command === Extended.tlbFlushMulti) vcpu.flushTlb()
      else vcpu.tlb.flushPage(low)
      return 0
    case Extended.tlbFlushLocal:
    case Extended.tlbFlushAll:
      vcpu.flushTlb()
      return 0
    case Extended.invlpgLocal:
    case Extended.invlpgAll:
      vcpu.tlb.flushPage(low)
      return 0
    case Extended.newBaseptr:
      if (!tables.setRoot('kernelRoot', mfn)) return -Errno.inval
      vcpu.flushTlb()
      return 0
    case Extended.newUserBaseptr:
      if (!tables.setRoot('userRoot', mfn === 0 ? -1 : mfn)) return -Errno.inval
      vcpu.flushTlb()
      return 0
    case Extended.unpin:
      return tables.unpin(mfn)
    case Extended.setLdt:
      return setLdt(context, low, high, secondLow)
    case Extended.clearPage:
    case Extended.copyPage:
      return fillPage(
        context,
        mfn,
        command === Extended.copyPage ? (secondHigh >>> 0) * 2 ** 32 + secondLow : undefined,
      )
    case Extended.flushCache:
    case Extended.flushCacheGlobal:
      return -Errno.acces
    case Extended.markSuper:
    case Extended.unmarkSuper:
      return -Errno.opnotsupp
    default:
      return command <= Extended.pinL4 ? tables.pin(mfn, command + 1) : -Errno.nosys
  }
}

const mostLdtEntries = 8192
/** Xen's own part of the address space: L4 slots 256 to 271. */
const hole = {first: 0xffff8000, last: 0xffff87ff} as const

function setLdt({record}: Context, low: number, high: number, entries: number): number {
  const top = high >> 15
  const isGuests = (top === 0 || top === -1) && !(high >>> 0 >= hole.first && high >>> 0 <= hole.last)
  if (entries > mostLdtEntries || (low & 0xfff) !== 0 || !isGuests) return -Errno.inval
  record.setU64(field.ldtBase, (BigInt(high >>> 0) << 32n) | BigInt(low))
  record.setU32(field.ldtEntries, entries)
  return 0
}

/** CLEAR_PAGE, or COPY_PAGE from `source`. */
function fillPage({vcpu, tables}: Context, mfn: number, source: number | undefined): number {
  const {bytes} = vcpu.memory
  const target = tables.plainAddress(mfn)
  if (target < 0) return -Errno.inval
  if (source === undefined) bytes.fill(0, target, target + 4096)
  else {
    if (!tables.isOwn(source)) return -Errno.inval
    const from = tables.address(source)
    bytes.copyWithin(target, from, from + 4096)
  }
  vcpu.frameWritten(mfn)
  return 0
}
