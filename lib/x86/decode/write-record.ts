/**
 * Writes a decoded instruction as a record for the interpreter and the slow paths. See record.ts for the layout.
 */
import {state} from '../state.js'
import type {DecodedInstruction} from './instruction-record.js'
import {record} from './record.js'

/** Writes a 64-bit two's-complement integer. */
export function setSigned64(view: DataView, at: number, value: number | bigint): void {
  if (typeof value === 'bigint') return view.setBigInt64(at, BigInt.asIntN(64, value), true)
  view.setInt32(at, value, true)
  view.setInt32(at + 4, Math.floor(value / 2 ** 32), true)
}

export function writeRecord(
  view: DataView,
  at: number,
  decoded: DecodedInstruction,
  rip: number,
  handler: number,
): void {
  const {memory, slots, variant} = decoded
  view.setUint16(at + record.handler, handler, true)
  view.setUint8(at + record.length, decoded.length)
  view.setUint8(at + record.segment, memory ? memory.segment : 0xff)
  view.setUint16(at + record.operands[0], slots[0], true)
  view.setUint16(at + record.operands[1], slots[1], true)
  view.setUint16(at + record.operands[2], slots[2], true)
  view.setUint16(at + record.base, memory ? memory.base : state.zero, true)
  view.setUint16(at + record.index, memory ? memory.index : state.zero, true)
  view.setUint8(at + record.scale, memory ? memory.scale : 0)
  view.setUint8(at + 15, variant.codeBits)
  setSigned64(view, at + record.immediate, decoded.immediate)
  setSigned64(view, at + record.displacement, memory ? memory.displacement : 0)
  setSigned64(view, at + record.rip, rip)
  view.setUint16(
    at + record.segmentBase,
    memory?.addsSegmentBase ? state.segmentBase + memory.segment * 8 : state.zero,
    true,
  )
  view.setUint8(at + record.opcode, decoded.opcode)
  view.setUint8(at + record.modrm, decoded.modrm)
  view.setUint8(at + record.operandBits, variant.operandBits)
  view.setUint8(at + record.addressBits, variant.addressBits)
  view.setUint8(at + record.prefixes, decoded.prefixes)
  view.setUint8(at + record.map, decoded.map)
}
