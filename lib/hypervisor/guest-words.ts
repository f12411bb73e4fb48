/**
 * Small records of the guest without allocations: looked at where they lie in linear memory, as 32-bit words. What another processor may change
 * at any time is read once only. A record that spans two pages is copied to a place in the machine record first.
 */
import type {Vcpu} from '../x86/vcpu.js'
import {field} from './record.js'

/** Most bytes that `peek` can show. */
export const mostPeeked = 80

/** Word offset in linear memory of a small record of the guest, or -1; good until the next call. Each word of it may be read once only. */
export function peek(vcpu: Vcpu, low: number, high: number, length: number): number {
  if ((low & 3) === 0 && (low & 0xfff) + length <= 4096) {
    const at = vcpu.hostAddress(low, high, 'read')
    return at < 0 ? -1 : at >>> 2
  }
  const bytes = vcpu.readBytes((BigInt(high >>> 0) << 32n) | BigInt(low), length)
  if (bytes === undefined) return -1
  vcpu.memory.bytes.set(bytes, field.copied)
  return field.copied >>> 2
}

/** Stores a 32-bit word for the guest; false when it may not be written. */
export function poke(vcpu: Vcpu, low: number, high: number, value: number): boolean {
  return store(vcpu, low, high, 4, value, 0)
}

/** Stores 64 bits for the guest; false when they may not be written. */
export function poke64(vcpu: Vcpu, low: number, high: number, value: number, valueHigh: number): boolean {
  return store(vcpu, low, high, 8, value, valueHigh)
}

function store(vcpu: Vcpu, low: number, high: number, size: number, first: number, second: number): boolean {
  if ((low & (size - 1)) === 0) {
    const at = vcpu.hostAddress(low, high, 'write')
    if (at < 0) return false
    if (!vcpu.code.hasCode((at & ~0xfff) >>> 0)) {
      vcpu.memory.uint32[at >>> 2] = first
      if (size === 8) vcpu.memory.uint32[(at >>> 2) + 1] = second
      return true
    }
  }
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, first, true)
  if (size === 8) view.setUint32(4, second, true)
  return vcpu.writeBytes((BigInt(high >>> 0) << 32n) | BigInt(low), bytes)
}
