/**
 * Stack instructions that are rare or awkward: POPF, POP to memory, PUSHA POPA, segment pushes and pops, ENTER.
 *
 * Source: SDM vol. 2A ENTER, vol. 2B POP, POPA, POPF, PUSHA.
 */
import {Rflags} from '../registers.js'
import {Segment, state} from '../state.js'
import type {Vcpu} from '../vcpu.js'
import {
  advance,
  exit,
  immediate,
  linearAddress,
  load,
  moveStack,
  next,
  opcode,
  operandBits,
  push,
  type SlowPath,
  stackAddress,
  stackBits,
  store,
  writeRegister,
} from './operand.js'

const statusAndControl = 0xfd5 | 0x4000 | 0x40000 | 0x200000 // status, TF, DF, OF, NT, AC, ID

/** What POPF and IRET may change at a privilege level: IF and IOPL need rights. */
export function writableFlags(vcpu: Vcpu): number {
  const cpl = vcpu.u32(state.cpl)
  const iopl = (vcpu.u32(state.rflags) >> 12) & 3
  let mask = statusAndControl & ~Rflags.if
  if (cpl <= iopl) mask |= Rflags.if
  if (cpl === 0) mask |= Rflags.iopl
  return mask
}

function popf(vcpu: Vcpu, at: number): number {
  const bits = operandBits(vcpu, at)
  const value = load(vcpu, stackAddress(vcpu, 0), bits / 8)
  if (value === undefined) return exit
  moveStack(vcpu, bits / 8)
  const mask = writableFlags(vcpu) & (bits === 16 ? 0xffff : -1)
  vcpu.changeFlags(mask | Rflags.rf, Number(value & 0xffffffffn) & ~Rflags.rf)
  vcpu.noticeTrapFlag()
  return advance(vcpu, at)
}

function popMemory(vcpu: Vcpu, at: number): number {
  const bytes = operandBits(vcpu, at) / 8
  const value = load(vcpu, stackAddress(vcpu, 0), bytes)
  if (value === undefined) return exit
  // With RSP as base register the address counts from the moved pointer.
  moveStack(vcpu, bytes)
  if (store(vcpu, linearAddress(vcpu, at), bytes, value)) return next
  moveStack(vcpu, -bytes)
  return exit
}

const segmentOfPush: Record<number, number> = {
  6: Segment.es,
  14: Segment.cs,
  22: Segment.ss,
  30: Segment.ds,
  160: Segment.fs,
  168: Segment.gs,
}
const segmentOfPop: Record<number, number> = {
  7: Segment.es,
  23: Segment.ss,
  31: Segment.ds,
  161: Segment.fs,
  169: Segment.gs,
}

function pushSegment(vcpu: Vcpu, at: number): number {
  const selector = vcpu.selector(segmentOfPush[opcode(vcpu, at)])
  return push(vcpu, operandBits(vcpu, at) / 8, BigInt(selector)) ? next : exit
}

function popSegment(vcpu: Vcpu, at: number): number {
  const bytes = operandBits(vcpu, at) / 8
  const value = load(vcpu, stackAddress(vcpu, 0), bytes)
  if (value === undefined) return exit
  const fault = vcpu.loadSegment(segmentOfPop[opcode(vcpu, at)], Number(value & 0xffffn))
  if (fault) {
    vcpu.raise(fault)
    return exit
  }
  moveStack(vcpu, bytes)
  return advance(vcpu, at)
}

function pusha(vcpu: Vcpu, at: number): number {
  const bits = operandBits(vcpu, at)
  const bytes = bits / 8
  const values = [0, 1, 2, 3, 4, 5, 6, 7].map(register => vcpu.gpr(register))
  for (const [index, value] of values.entries()) {
    if (!store(vcpu, stackAddress(vcpu, -bytes * (index + 1)), bytes, value)) return exit
  }
  moveStack(vcpu, -bytes * 8)
  return next
}

function popa(vcpu: Vcpu, at: number): number {
  const bits = operandBits(vcpu, at)
  const bytes = bits / 8
  const values: bigint[] = []
  for (let index = 0; index < 8; index++) {
    const value = load(vcpu, stackAddress(vcpu, bytes * index), bytes)
    if (value === undefined) return exit
    values.push(value)
  }
  moveStack(vcpu, bytes * 8)
  for (const [index, value] of values.entries()) if (index !== 3) writeRegister(vcpu, (7 - index) * 8, bits, value)
  return next
}

/** ENTER with its nesting level; rBP and rSP change when everything is in place. */
function enter(vcpu: Vcpu, at: number): number {
  const both = Number(immediate(vcpu, at) & 0xffffffn)
  const size = both & 0xffff
  const level = (both >> 16) & 31
  const bits = operandBits(vcpu, at)
  const bytes = bits / 8
  const wide = stackBits(vcpu)
  const framePointer = BigInt.asUintN(wide, vcpu.gpr(4) - BigInt(bytes))
  let pushed = 0
  const put = (value: bigint) => store(vcpu, stackAddress(vcpu, -bytes * ++pushed), bytes, value)
  if (!put(BigInt.asUintN(bits, vcpu.gpr(5)))) return exit
  // Copying the outer frames reads and writes in turn: they may overlap.
  for (let index = 1; index < level; index++) {
    const pointer = BigInt.asUintN(wide, vcpu.gpr(5) - BigInt(bytes * index))
    const value = load(vcpu, wide === 64 ? pointer : BigInt.asUintN(32, pointer + vcpu.segmentBase(2)), bytes)
    if (value === undefined || !put(value)) return exit
  }
  if (level > 0 && !put(framePointer)) return exit
  moveStack(vcpu, -bytes * pushed - size)
  writeRegister(vcpu, 5 * 8, bits, framePointer)
  return advance(vcpu, at)
}

export const stackPaths: Record<string, SlowPath> = {
  popf,
  'pop-memory': popMemory,
  'push-segment': pushSegment,
  'pop-segment': popSegment,
  pusha,
  popa,
  enter,
}
