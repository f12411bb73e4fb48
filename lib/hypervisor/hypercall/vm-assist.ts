/**
 * vm_assist: what a kernel asks Xen to do differently. Most of it is how Gastwirt works anyway; the others are looked at where they matter.
 *
 * Source: public/xen.h VMASST_*.
 */
import {Errno} from '../../abi/xen.js'
import {field} from '../record.js'
import type {Arguments, Context} from './call.js'

/** Bits of the `vmAssist` field, which are the types 0 to 5. */
export const VmAssist = {paeExtendedCr3: 1 << 3, architecturalIopl: 1 << 4, runstateUpdateFlag: 1 << 5} as const

const Command = {enable: 0, disable: 1} as const
const lastType = 5
/** VMASST_TYPE_m2p_strict: user mode does not see the M2P here in any case. */
const m2pStrict = 32

export function vmAssist({record}: Context, args: Arguments): number {
  const command = args.low(0)
  const type = args.low(1)
  if (command !== Command.enable && command !== Command.disable) return -Errno.nosys
  if (type === m2pStrict) return 0
  if (type > lastType) return -Errno.inval
  const bit = 1 << type
  const bits = record.u32(field.vmAssist)
  record.setU32(field.vmAssist, command === Command.enable ? bits | bit : bits & ~bit)
  return 0
}
