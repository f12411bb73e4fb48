/**
 * mmu_update, update_va_mapping, mmuext_op: the guest changes its page tables.
 *
 * Source: public/xen.h (mmu_update, mmuext_op, UVMF_*).
 */
import {Errno} from '../../abi/xen.js'
import {type Arguments, type Context, copyIn, copyOut, fresh, low} from './call.js'

const UpdateKind = {normal: 0, machphys: 1, preserveAd: 2, noTranslate: 3} as const
const accessedDirty = 0x60

function storeDone(context: Context, address: bigint, done: number): void {
  if (address === 0n) return
  const view = fresh(4)
  view.setUint32(0, done, true)
  copyOut(context, address, view)
}

/** Runs `each` over `count` entries of `size` bytes; stops at the first error. */
function overEntries(context: Context, args: Arguments, size: number, each: (entry: DataView) => number): number {
  const count = low(args[1])
  const chunk = 64
  for (let first = 0; first < count; first += chunk) {
    const here = Math.min(chunk, count - first)
    const view = copyIn(context, args[0] + BigInt(first * size), here * size)
    if (view === undefined) {
      storeDone(context, args[2], first)
      return -Errno.fault
    }
    for (let index = 0; index < here; index++) {
      const result = each(new DataView(view.buffer, view.byteOffset + index * size, size))
      if (result < 0) {
        storeDone(context, args[2], first + index)
        return result
      }
    }
  }
  storeDone(context, args[2], count)
  return 0
}

export function mmuUpdate(context: Context, args: Arguments): number {
  const {layout, tables} = context
  const {uint32} = context.vcpu.memory
  return overEntries(context, args, 16, entry => {
    const pointerLow = entry.getUint32(0, true)
    const address = entry.getUint32(4, true) * 2 ** 32 + ((pointerLow & ~7) >>> 0)
    let valueLow = entry.getUint32(8, true)
    const valueHigh = entry.getUint32(12, true)
    switch (pointerLow & 3) {
      case UpdateKind.machphys: {
        const mfn = Math.floor(address / 4096)
        if (mfn >= layout.frames) return -Errno.inval
        const at = (layout.ramBase + layout.m2p * 4096 + mfn * 8) >>> 2
        uint32[at] = valueLow
        uint32[at + 1] = valueHigh
        return 0
      }
      case UpdateKind.preserveAd: {
        const frame = tables.address(Math.floor(address / 4096))
        if (frame < 0) return -Errno.inval
        const old = uint32[(frame + (address % 4096)) >>> 2]
        if (valueLow & 1) valueLow |= old & accessedDirty
        return tables.update(address, valueLow, valueHigh)
      }
      default:
        return tables.update(address, valueLow, valueHigh)
    }
  })
}

export function updateVaMapping(context: Context, args: Arguments): number {
  const [linear, value, flags] = args
  const {tables, vcpu, layout} = context
  const at = tables.leafEntry(low(linear), Number(BigInt.asIntN(32, linear >> 32n)))
  if (at < 0) return -Errno.inval
  const machineAddress = at - layout.ramBase
  const result = tables.update(machineAddress, low(value), Number((value >> 32n) & 0xffffffffn))
  if (result < 0) return result
  const kind = Number(flags & 3n)
  if (kind === 1) vcpu.flushTlb()
  else if (kind === 2) vcpu.flushTlbPage(linear)
  return 0
}

export function mmuextOp(context: Context, args: Arguments): number {
  const {vcpu, record, tables} = context
  return overEntries(context, args, 24, entry => {
    const command = entry.getUint32(0, true)
    const argument = entry.getBigUint64(8, true)
    const mfn = Number(argument & 0xfffffffffn)
    switch (command) {
      case 0:
      case 1:
      case 2:
      case 3:
        return tables.pin(mfn, command + 1)
      case 4:
        return tables.unpin(mfn)
      case 5: {
        if (!tables.setRoot('kernelRoot', mfn)) return -Errno.inval
        vcpu.setU64('cr3', BigInt(mfn * 4096))
        vcpu.flushTlb()
        return 0
      }
      case 6: // TLB_FLUSH_LOCAL
      case 8: // TLB_FLUSH_MULTI
      case 10: // TLB_FLUSH_ALL
        vcpu.flushTlb()
        return 0
      case 7: // INVLPG_LOCAL
      case 9: // INVLPG_MULTI
      case 11: // INVLPG_ALL
        vcpu.flushTlbPage(argument)
        return 0
      case 12: // FLUSH_CACHE
      case 18:
        return -Errno.acces
      case 13: {
        const entries = Number(entry.getBigUint64(16, true) & 0xffffffffn)
        if (entries > 8192 || (argument & 0xfffn) !== 0n) return -Errno.inval
        record.setU64('ldtBase', argument)
        record.setU32('ldtEntries', entries)
        return 0
      }
      case 15: {
        if (!tables.setRoot('userRoot', mfn === 0 ? -1 : mfn)) return -Errno.inval
        vcpu.flushTlb()
        return 0
      }
      case 16: // CLEAR_PAGE
      case 17: {
        const target = tables.plainAddress(mfn)
        const source = tables.address(Number(entry.getBigUint64(16, true) & 0xfffffffffn))
        if (target < 0 || (command === 17 && source < 0)) return -Errno.inval
        if (command === 16) vcpu.memory.bytes.fill(0, target, target + 4096)
        else vcpu.memory.bytes.copyWithin(target, source, source + 4096)
        vcpu.codeWritten(mfn)
        return 0
      }
      case 19:
      case 20:
        return -Errno.opnotsupp
      default:
        return -Errno.nosys
    }
  })
}
