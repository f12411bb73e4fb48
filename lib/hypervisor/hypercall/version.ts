/**
 * xen_version: who the hypervisor is and what it can do. What a domain without privileges must not know reads `<denied>`.
 *
 * Source: public/version.h, public/features.h; xen/common/kernel.c.
 */
import {Errno} from '../../abi/xen.js'
import {field} from '../record.js'
import {type Arguments, type Context, copyIn, copyOut, fresh} from './call.js'
import {VmAssist} from './vm-assist.js'

/** The Xen whose interface this is: 4.17. */
const version = (4 << 16) | 17
const extraVersion = '.0-gastwirt'
/** mmu_pt_update_preserve_ad, gnttab_map_avail_bits, not_direct_mapped. */
const features = (1 << 5) | (1 << 7) | (1 << 16)
/** Once the guest has asked for it. */
const paePgdirAbove4gb = 1 << 4
const hypervisorStart = 0xffff800000000000n

/** Source: public/version.h XENVER_*. */
const Op = {
  version: 0,
  extraversion: 1,
  compileInfo: 2,
  capabilities: 3,
  changeset: 4,
  platformParameters: 5,
  getFeatures: 6,
  pagesize: 7,
  guestHandle: 8,
  commandline: 9,
  buildId: 10,
} as const

/** Writes zero-terminated texts one after the other, each into its own number of bytes. */
function texts(context: Context, address: bigint, ...fields: readonly (readonly [string, number])[]): number {
  const view = fresh(fields.reduce((sum, [, length]) => sum + length, 0))
  let at = 0
  for (const [value, length] of fields) {
    for (let index = 0; index < Math.min(value.length, length - 1); index++)
      view.setUint8(at + index, value.charCodeAt(index))
    at += length
  }
  return copyOut(context, address, view) ? 0 : -Errno.fault
}

export function xenVersion(context: Context, args: Arguments): number {
  const command = args.low(0)
  // Kernels make this call, without an argument, just to have their events delivered.
  if (command === Op.version) return version
  const address = args.u64(1)
  switch (command) {
    case Op.extraversion:
      return texts(context, address, [extraVersion, 16])
    case Op.compileInfo:
      return texts(context, address, ['TypeScript', 64], ['gastwirt', 16], ['localhost', 32], ['unknown', 32])
    case Op.capabilities:
      return texts(context, address, ['xen-3.0-x86_64 ', 1024])
    case Op.changeset:
      return texts(context, address, ['unavailable', 64])
    case Op.platformParameters: {
      const view = fresh(8)
      view.setBigUint64(0, hypervisorStart, true)
      return copyOut(context, address, view) ? 0 : -Errno.fault
    }
    case Op.getFeatures: {
      const view = copyIn(context, address, 8)
      if (view === undefined) return -Errno.fault
      if (view.getUint32(0, true) !== 0) return -Errno.inval
      const isExtended = (context.record.u32(field.vmAssist) & VmAssist.paeExtendedCr3) !== 0
      view.setUint32(4, features | (isExtended ? paePgdirAbove4gb : 0), true)
      return copyOut(context, address, view) ? 0 : -Errno.fault
    }
    case Op.pagesize:
      return address === 0n ? 4096 : -Errno.inval
    case Op.guestHandle: {
      const uuid = context.vcpu.memory.bytes.slice(field.uuid, field.uuid + 16)
      return copyOut(context, address, new DataView(uuid.buffer)) ? 0 : -Errno.fault
    }
    case Op.commandline:
      return texts(context, address, ['<denied>', 1024])
    case Op.buildId:
      return -Errno.perm
    default:
      return -Errno.nosys
  }
}
