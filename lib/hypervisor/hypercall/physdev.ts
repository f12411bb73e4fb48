/**
 * physdev_op: a domain without devices may say what its privilege level for I/O is meant to be, and no more.
 *
 * Source: public/physdev.h; xen/arch/x86/physdev.c.
 */
import {Errno} from '../../abi/xen.js'
import {field} from '../record.js'
import {type Arguments, type Context, copyIn, copyOut, isGuestRange} from './call.js'

/** Source: public/physdev.h PHYSDEVOP_*. */
const Op = {irqStatusQuery: 5, setIopl: 6, setIobitmap: 7} as const
/** APICs, interrupt lines, MSI, PCI devices: 8 to 11, 13 to 16, 19, 20, 24 to 31. */
const privileged = new Set([8, 9, 10, 11, 13, 14, 15, 16, 19, 20, 24, 25, 26, 27, 30, 31])

const mostIopl = 3
const mostPorts = 65536
const interrupts = 256
const needsEoi = 1

export function physdevOp(context: Context, args: Arguments): number {
  const {record} = context
  const command = args.low(0)
  if (privileged.has(command)) return -Errno.perm
  switch (command) {
    case Op.setIopl: {
      const view = copyIn(context, args.u64(1), 4)
      if (view === undefined) return -Errno.fault
      if (view.getUint32(0, true) > mostIopl) return -Errno.inval
      record.setU32(field.iopl, view.getUint32(0, true))
      return 0
    }
    case Op.setIobitmap: {
      const view = copyIn(context, args.u64(1), 12)
      if (view === undefined) return -Errno.fault
      const bitmap = view.getBigUint64(0, true)
      const ports = view.getUint32(8, true)
      if (ports > mostPorts || !isGuestRange(bitmap, Math.ceil(ports / 8))) return -Errno.inval
      record.setU64(field.ioBitmap, bitmap)
      record.setU32(field.ioBitmapPorts, ports)
      return 0
    }
    case Op.irqStatusQuery: {
      const view = copyIn(context, args.u64(1), 8)
      if (view === undefined) return -Errno.fault
      if (view.getUint32(0, true) >= interrupts) return -Errno.inval
      view.setUint32(4, needsEoi, true)
      return copyOut(context, args.u64(1), view) ? 0 : -Errno.fault
    }
    default:
      return -Errno.nosys
  }
}
