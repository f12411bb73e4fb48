/**
 * Arithmetic that WebAssembly has no operation for: 128-by-64-bit division, CMPXCHG8B/16B, decimal adjustments, random numbers.
 *
 * Source: SDM vol. 2A AAA … DAS, CMPXCHG8B/CMPXCHG16B, DIV, IDIV, vol. 2B RDRAND.
 */
import {Rflags} from '../registers.js'
import {state} from '../state.js'
import type {Vcpu} from '../vcpu.js'
import {exit, immediate, next, operandBits, raise, type SlowPath, slot, writeRegister} from './operand.js'
import {locate} from './place.js'

function divide(signed: boolean): SlowPath {
  return vcpu => {
    const {view} = vcpu.memory
    const raw = view.getBigUint64(vcpu.base + state.scratch, true)
    const joined = (vcpu.gpr(2) << 64n) | vcpu.gpr(0)
    const dividend = signed ? BigInt.asIntN(128, joined) : joined
    const divisor = signed ? BigInt.asIntN(64, raw) : raw
    if (divisor === 0n) return raise(vcpu, 0)
    const quotient = dividend / divisor
    if (quotient !== (signed ? BigInt.asIntN(64, quotient) : BigInt.asUintN(64, quotient))) return raise(vcpu, 0)
    vcpu.setGpr(0, BigInt.asUintN(64, quotient))
    vcpu.setGpr(2, BigInt.asUintN(64, dividend % divisor))
    return next
  }
}

/** Compares rDX:rAX with memory and exchanges with rCX:rBX; `bytes` is the size of one half. */
function compareExchange(bytes: 4 | 8): SlowPath {
  // Words of the registers: RAX and RDX are compared, RBX and RCX written.
  const compared = bytes === 8 ? [0, 1, 4, 5] : [0, 4]
  const written = bytes === 8 ? [6, 7, 2, 3] : [6, 2]
  return (vcpu, at) => {
    const {low, high} = locate(vcpu, at)
    if (bytes === 8 && (low & 15) !== 0) return raise(vcpu, 13, 0)
    const host = vcpu.access.modify(low | 0, high | 0, bytes * 2)
    if (host === 0) return exit
    const {view, uint32} = vcpu.memory
    const registers = vcpu.base >>> 2
    const isEqual = compared.every((word, index) => view.getUint32(host + index * 4, true) === uint32[registers + word])
    // Memory is written in both cases: the processor always does a locked write cycle.
    if (isEqual)
      for (const [index, word] of written.entries()) view.setUint32(host + index * 4, uint32[registers + word], true)
    if (host === vcpu.base + state.crossing && vcpu.access.commit(bytes * 2)) return exit
    if (!isEqual)
      for (const [index, word] of compared.entries()) {
        uint32[registers + word] = view.getUint32(host + index * 4, true)
        if (bytes === 4) uint32[registers + word + 1] = 0
      }
    vcpu.changeFlags(Rflags.zf, isEqual ? Rflags.zf : 0)
    return next
  }
}

/** ZF SF PF of a byte as RFLAGS bits. */
function byteFlags(value: number): number {
  let ones = 0
  for (let bit = 0; bit < 8; bit++) ones += (value >> bit) & 1
  return (value === 0 ? Rflags.zf : 0) | (value & 0x80 ? Rflags.sf : 0) | (ones % 2 === 0 ? Rflags.pf : 0)
}

function setStatus(vcpu: Vcpu, bits: number): void {
  vcpu.rflags = (vcpu.rflags & ~0x8d5n) | BigInt(bits)
}

function setAx(vcpu: Vcpu, value: number): void {
  writeRegister(vcpu, 0, 16, BigInt(value & 0xffff))
}

/** DAA and DAS. */
function packedAdjust(sign: 1 | -1): SlowPath {
  return vcpu => {
    const flags = Number(vcpu.rflags)
    const old = vcpu.gprLow(0) & 0xff
    let al = old
    let carry = flags & Rflags.cf
    const half = (al & 15) > 9 || (flags & Rflags.af) !== 0
    if (half) {
      const moved = al + sign * 6
      if (moved < 0 || moved > 0xff) carry = sign > 0 ? carry | (moved > 0xff ? 1 : 0) : carry | 1
      al = moved & 0xff
    }
    const wide = old > 0x99 || (flags & Rflags.cf) !== 0
    if (wide) al = (al + sign * 0x60) & 0xff
    const carryOut = wide ? 1 : sign < 0 && half ? carry & 1 : 0
    writeRegister(vcpu, 0, 8, BigInt(al))
    setStatus(vcpu, byteFlags(al) | (half ? Rflags.af : 0) | carryOut)
    return next
  }
}

/** AAA and AAS. */
function unpackedAdjust(sign: 1 | -1): SlowPath {
  return vcpu => {
    const flags = Number(vcpu.rflags)
    let ax = vcpu.gprLow(0) & 0xffff
    const adjust = (ax & 15) > 9 || (flags & Rflags.af) !== 0
    if (adjust) ax = sign > 0 ? (ax + 0x106) & 0xffff : (ax - 0x106) & 0xffff
    ax &= 0xff0f
    setAx(vcpu, ax)
    setStatus(vcpu, byteFlags(ax & 0xff) | (adjust ? Rflags.af | Rflags.cf : 0))
    return next
  }
}

function aam(vcpu: Vcpu, at: number): number {
  const base = Number(immediate(vcpu, at) & 0xffn)
  if (base === 0) return raise(vcpu, 0)
  const al = vcpu.gprLow(0) & 0xff
  const low = al % base
  setAx(vcpu, (Math.floor(al / base) << 8) | low)
  setStatus(vcpu, byteFlags(low))
  return next
}

function aad(vcpu: Vcpu, at: number): number {
  const base = Number(immediate(vcpu, at) & 0xffn)
  const ax = vcpu.gprLow(0) & 0xffff
  const low = ((ax >> 8) * base + (ax & 0xff)) & 0xff
  setAx(vcpu, low)
  setStatus(vcpu, byteFlags(low))
  return next
}

/** RDRAND and RDSEED always succeed: CF set, the other status flags clear. */
function random(vcpu: Vcpu, at: number): number {
  const bytes = new Uint8Array(8)
  vcpu.random(bytes)
  const bits = operandBits(vcpu, at)
  writeRegister(vcpu, slot(vcpu, at, 0), bits, BigInt.asUintN(bits, new DataView(bytes.buffer).getBigUint64(0, true)))
  setStatus(vcpu, Rflags.cf)
  return next
}

export const arithmeticPaths: Record<string, SlowPath> = {
  div64: divide(false),
  idiv64: divide(true),
  cmpxchg8b: compareExchange(4),
  cmpxchg16b: compareExchange(8),
  daa: packedAdjust(1),
  das: packedAdjust(-1),
  aaa: unpackedAdjust(1),
  aas: unpackedAdjust(-1),
  aam,
  aad,
  rdrand: random,
  rdseed: random,
}
