/**
 * REP STOS and REP MOVS upward in 64-bit code, the way kernels clear and copy memory: page after page in plain numbers. What is out of the
 * ordinary (an element that spans two pages, a fault, a page with decoded code) is left to strings.ts, which goes on from the registers.
 *
 * Source: SDM vol. 2B MOVS, STOS, REP.
 */
import {AccessKind} from '../mmu/refill.js'
import {state} from '../state.js'
import type {Vcpu} from '../vcpu.js'

/** Word indices of the low halves of the registers involved, in the vCPU's state. */
const rax = state.gpr >>> 2
const rcx = (state.gpr + 8) >>> 2
const rsi = (state.gpr + 48) >>> 2
const rdi = (state.gpr + 56) >>> 2

/** Elements done before pending work is looked at. */
const burst = 65_536

/** Copies this short are made word by word: a call would cost more. */
const shortBytes = 64

function advance(words: Uint32Array, register: number, by: number): void {
  const sum = words[register] + by
  words[register] = sum
  if (sum >= 2 ** 32) words[register + 1]++
}

/** Elements of `size` bytes that fit between a place and the end of its page. */
function inPage(low: number, size: number): number {
  return Math.floor((4096 - (low & 0xfff)) / size)
}

/** Fills with elements of `size` bytes of RAX as far as it goes; no segment base is added. */
export function fillUpward(vcpu: Vcpu, size: number): void {
  const {bytes, view, uint32: words} = vcpu.memory
  const base = vcpu.base >>> 2
  for (let left = burst; left > 0 && words[base + rcx + 1] === 0; ) {
    const low = words[base + rdi]
    const count = Math.min(words[base + rcx], left, inPage(low, size))
    if (count === 0) return
    const to = vcpu.access.host(low, words[base + rdi + 1] | 0, AccessKind.write)
    if (to === 0) return
    const length = count * size
    if (size === 1) bytes.fill(words[base + rax] & 0xff, to, to + length)
    else if (words[base + rax] === 0 && (size < 8 || words[base + rax + 1] === 0) && length > shortBytes)
      bytes.fill(0, to, to + length)
    else
      for (let at = to; at < to + length; at += size) {
        if (size === 2) view.setUint16(at, words[base + rax], true)
        else view.setUint32(at, words[base + rax], true)
        if (size === 8) view.setUint32(at + 4, words[base + rax + 1], true)
      }
    advance(words, base + rdi, length)
    words[base + rcx] -= count
    left -= count
  }
}

/** Copies elements of `size` bytes as far as it goes; no segment base is added. */
export function copyUpward(vcpu: Vcpu, size: number): void {
  const {bytes, uint32: words} = vcpu.memory
  const base = vcpu.base >>> 2
  for (let left = burst; left > 0 && words[base + rcx + 1] === 0; ) {
    const [source, target] = [words[base + rsi], words[base + rdi]]
    const count = Math.min(words[base + rcx], left, inPage(source, size), inPage(target, size))
    if (count === 0) return
    const from = vcpu.access.host(source, words[base + rsi + 1] | 0, AccessKind.read)
    const to = vcpu.access.host(target, words[base + rdi + 1] | 0, AccessKind.write)
    if (from === 0 || to === 0) return
    const length = count * size
    // An overlap that feeds on itself must go element by element.
    if (to > from && to < from + length) return
    bytes.copyWithin(to, from, from + length)
    advance(words, base + rsi, length)
    advance(words, base + rdi, length)
    words[base + rcx] -= count
    left -= count
  }
}
