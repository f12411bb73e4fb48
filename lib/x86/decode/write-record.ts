/**
 * Writes a decoded instruction as a record for the interpreter and the slow paths. See record.ts for the layout.
 */
import {state} from '../state.js'
import type {DecodedInstruction} from './instruction-record.js'
import {record} from './record.js'

export function writeRecord(
  view: DataView,
  at: number,
  decoded: DecodedInstruction,
  rip: bigint,
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
  view.setBigInt64(at + record.immediate, decoded.immediate, true)
  view.setBigInt64(at + record.displacement, memory ? memory.displacement : 0n, true)
  view.setBigUint64(at + record.rip, BigInt.asUintN(64, rip), true)
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
