/**
 * IN and OUT of a PV guest, which has no ports: where it may try, reads give all ones and writes are dropped. The one exception is the address
 * register of PCI configuration space, which keeps what is written, so that a probe for it ends the usual way.
 *
 * The kernel may try when its I/O privilege level is at least 1, user mode at 3; or where the bitmap allows it that the kernel gave for its process.
 *
 * Source: xen/arch/x86/pv/emul-priv-op.c (guest_io_okay, guest_io_read).
 */
import type {PrivilegedInstruction} from '../x86/platform.js'
import type {Vcpu} from '../x86/vcpu.js'
import type {PageTables} from './page-tables.js'
import {field, type MachineRecord} from './record.js'

const pciAddressPort = 0xcf8
const rdx = 2

/** Emulates IN or OUT. False: the guest may not use the port. */
export function accessPort(
  vcpu: Vcpu,
  record: MachineRecord,
  tables: PageTables,
  {name, size: bytes = 1, port: named, asks}: PrivilegedInstruction,
): boolean {
  const port = named ?? vcpu.gprLow(rdx) & 0xffff
  if (!mayUse(record, tables, port, bytes)) return false
  if (asks) return true
  const isPciAddress = port === pciAddressPort && bytes === 4
  if (name === 'out') {
    if (isPciAddress) record.setU32(field.pciAddress, vcpu.gprLow(0))
    return true
  }
  if (bytes === 4) vcpu.setGprLow(0, isPciAddress ? record.u32(field.pciAddress) : 0xffffffff)
  else vcpu.setGpr(0, vcpu.gpr(0) | (bytes === 2 ? 0xffffn : 0xffn))
  return true
}

function mayUse(record: MachineRecord, tables: PageTables, port: number, bytes: number): boolean {
  const {memory} = record
  if (record.u32(field.iopl) >= (record.u32(field.kernelMode) !== 0 ? 1 : 3)) return true
  if (port + bytes > record.u32(field.ioBitmapPorts)) return false
  // The bitmap lies in the kernel's half, which user mode does not see.
  const start = memory.uint64[field.ioBitmap >> 3] + BigInt(port >> 3)
  let bits = 0
  for (let index = 0; index < 2; index++) {
    const at = BigInt.asUintN(64, start + BigInt(index))
    const host = tables.kernelAddress(Number(at & 0xffffffffn), Number(BigInt.asIntN(32, at >> 32n)))
    bits |= (host < 0 ? 0xff : memory.bytes[host]) << (index * 8)
  }
  return ((bits >> (port & 7)) & ((1 << bytes) - 1)) === 0
}
