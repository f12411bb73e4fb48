/**
 * xen_version, physdev_op, vm_assist: who the hypervisor is, and the small change.
 *
 * Source: public/version.h, public/features.h, public/physdev.h.
 */
import {Errno} from '../../abi/xen.js'
import {type Arguments, type Context, copyIn, copyOut, fresh} from './call.js'
import {VmAssist} from './vm-assist.js'

const version = (4 << 16) | 17
const extraVersion = '.0-gastwirt'
/** mmu_pt_update_preserve_ad, gnttab_map_avail_bits, not_direct_mapped. */
const features = (1 << 5) | (1 << 7) | (1 << 16)
/** Once the guest has asked for it. */
const paePgdirAbove4gb = 1 << 4

function text(context: Context, address: bigint, value: string, length: number): number {
  const view = fresh(length)
  for (let index = 0; index < Math.min(value.length, length - 1); index++) view.setUint8(index, value.charCodeAt(index))
  return copyOut(context, address, view) ? 0 : -Errno.fault
}

export function xenVersion(context: Context, args: Arguments): number {
  const address = args.u64(1)
  switch (args.low(0)) {
    case 0:
      return version
    case 1:
      return text(context, address, extraVersion, 16)
    case 2:
      return text(context, address, 'TypeScript', 144)
    case 3:
      return text(context, address, 'xen-3.0-x86_64', 1024)
    case 4:
      return text(context, address, '', 64)
    case 5: {
      const view = fresh(8)
      view.setBigUint64(0, 0xffff800000000000n, true)
      return copyOut(context, address, view) ? 0 : -Errno.fault
    }
    case 6: {
      const view = copyIn(context, address, 8)
      if (view === undefined) return -Errno.fault
      if (view.getUint32(0, true) !== 0) return -Errno.inval
      const extended = (context.record.u32('vmAssist') & VmAssist.paeExtendedCr3) !== 0
      view.setUint32(4, features | (extended ? paePgdirAbove4gb : 0), true)
      return copyOut(context, address, view) ? 0 : -Errno.fault
    }
    case 7:
      return 4096
    case 9:
      return text(context, address, '<denied>', 1024)
    case 10:
      return -Errno.perm
    default:
      return -Errno.nosys
  }
}

export function physdevOp(context: Context, args: Arguments): number {
  switch (args.low(0)) {
    case 6: {
      // PHYSDEVOP_set_iopl
      const view = copyIn(context, args.u64(1), 4)
      if (view === undefined) return -Errno.fault
      if (view.getUint32(0, true) > 3) return -Errno.inval
      context.record.setU32('iopl', view.getUint32(0, true))
      return 0
    }
    case 7: // PHYSDEVOP_set_iobitmap
      return 0
    case 8:
    case 9:
      return -Errno.perm
    default:
      return -Errno.nosys
  }
}
