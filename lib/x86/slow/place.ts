/**
 * The memory operand of a decoded record without BigInt, for slow paths that programs use often: linear address and offset in the segment
 * as 32-bit halves, and bytes copied between guest memory and linear memory.
 *
 * Rule of use: `locate` gives the one Place there is; it is good until the next call.
 */
import {record} from '../decode/record.js'
import {state} from '../state.js'
import type {Vcpu} from '../vcpu.js'

/** Halves are unsigned. */
export interface Place {
  low: number
  high: number
  offsetLow: number
  offsetHigh: number
}

const place: Place = {low: 0, high: 0, offsetLow: 0, offsetHigh: 0}
const two32 = 2 ** 32

/** Where the memory operand of the record at `at` is. */
export function locate(vcpu: Vcpu, at: number): Place {
  const {view, bytes, uint32} = vcpu.memory
  const word = (field: number) => (vcpu.base + view.getUint16(at + field, true)) >>> 2
  const base = word(record.base)
  const index = word(record.index)
  const scale = 1 << bytes[at + record.scale]
  const low = uint32[base] + uint32[index] * scale + view.getUint32(at + record.displacement, true)
  const high = uint32[base + 1] + uint32[index + 1] * scale + view.getUint32(at + record.displacement + 4, true)
  const addressBits = bytes[at + record.addressBits]
  place.offsetLow = addressBits === 16 ? low & 0xffff : low >>> 0
  place.offsetHigh = addressBits === 64 ? (high + Math.floor(low / two32)) >>> 0 : 0
  const segment = word(record.segmentBase)
  const sum = place.offsetLow + uint32[segment]
  place.low = sum >>> 0
  const isLong = bytes[at + record.codeBits] === 64
  place.high = isLong ? (place.offsetHigh + uint32[segment + 1] + (sum >= two32 ? 1 : 0)) >>> 0 : 0
  return place
}

/** Calls with each piece of at most 16 bytes, its address in halves as the MMU takes them; stops at the first refusal. */
function eachPiece(
  where: Place,
  bytes: number,
  use: (low: number, high: number, done: number, part: number) => boolean,
): boolean {
  const {low, high} = where
  for (let done = 0; done < bytes; done += 16) {
    const partLow = low + done
    const partHigh = partLow >= two32 ? high + 1 : high
    if (!use(partLow | 0, partHigh | 0, done, Math.min(16, bytes - done))) return false
  }
  return true
}

/** A handful of bytes: faster than copyWithin. */
function copyFew(bytes: Uint8Array, from: number, to: number, count: number): void {
  for (let index = 0; index < count; index++) bytes[to + index] = bytes[from + index]
}

/** Copies guest memory to `to` in linear memory; false with a fault in state. */
export function fetchBytes(vcpu: Vcpu, where: Place, bytes: number, to: number): boolean {
  return eachPiece(where, bytes, (low, high, done, part) => {
    const from = vcpu.access.read(low, high, part)
    if (from === 0) return false
    copyFew(vcpu.memory.bytes, from, to + done, part)
    return true
  })
}

/** Copies from linear memory to the guest's; false with a fault in state. */
export function putBytes(vcpu: Vcpu, where: Place, bytes: number, from: number): boolean {
  return eachPiece(where, bytes, (low, high, done, part) => {
    copyFew(vcpu.memory.bytes, from + done, vcpu.base + state.scratch, part)
    return vcpu.access.write(low, high, part) === 0
  })
}

/** Faults now if a store of `bytes` bytes would. */
export function canWrite(vcpu: Vcpu, {low, high}: Place, bytes: number): boolean {
  if (vcpu.access.modify(low | 0, high | 0, 1) === 0) return false
  if ((low & 0xfff) + bytes <= 4096) return true
  // An operand that crosses faults at its second page; an environment image is probed at its last byte.
  const last = low + bytes - 1
  const second = bytes > 16 ? last : last - (last & 0xfff)
  return vcpu.access.modify(second | 0, (second >= two32 ? high + 1 : high) | 0, 1) !== 0
}
