/**
 * What slow paths share: the fields of a decoded record as numbers, its operands as values, and guest memory in sizes of 1 to 16 bytes.
 * A slow path is `(vcpu, record) → Status`; registers are in state memory and RIP is at the instruction. Status.next goes on with the next
 * instruction, Status.blockEnd says that RIP was set, Status.exit that an exception is in state.
 */
import {RecordPrefix, record} from '../decode/record.js'
import {Status} from '../interpret.js'
import {state} from '../state.js'
import type {Vcpu} from '../vcpu.js'

export type SlowPath = (vcpu: Vcpu, record: number) => number

export const {next, exit, blockEnd} = Status

/** Raises an exception at the instruction. */
export function raise(vcpu: Vcpu, vector: number, errorCode?: number): number {
  vcpu.access.raise(vector, errorCode ?? -1)
  return exit
}

export function lengthOf(vcpu: Vcpu, at: number): number {
  return vcpu.memory.bytes[at + record.length]
}

/** Linear address after the instruction. */
export function nextRip(vcpu: Vcpu, at: number): bigint {
  return BigInt.asUintN(64, vcpu.memory.view.getBigUint64(at + record.rip, true) + BigInt(lengthOf(vcpu, at)))
}

/** Ends the block after this instruction. */
export function advance(vcpu: Vcpu, at: number): number {
  vcpu.rip = nextRip(vcpu, at)
  return blockEnd
}

export function operandBits(vcpu: Vcpu, at: number): number {
  return vcpu.memory.bytes[at + record.operandBits]
}
export function addressBits(vcpu: Vcpu, at: number): number {
  return vcpu.memory.bytes[at + record.addressBits]
}
export function modrm(vcpu: Vcpu, at: number): number {
  return vcpu.memory.bytes[at + record.modrm]
}
export function opcode(vcpu: Vcpu, at: number): number {
  return vcpu.memory.bytes[at + record.opcode]
}
export function immediate(vcpu: Vcpu, at: number): bigint {
  return vcpu.memory.view.getBigInt64(at + record.immediate, true)
}
/** Content of an operand slot: a state offset, or a plain number for control and debug registers. */
export function slot(vcpu: Vcpu, at: number, index: 0 | 1 | 2): number {
  return vcpu.memory.view.getUint16(at + record.operands[index], true)
}
export function hasPrefix(vcpu: Vcpu, at: number, prefix: keyof typeof RecordPrefix): boolean {
  return (vcpu.memory.bytes[at + record.prefixes] & RecordPrefix[prefix]) !== 0
}
export function isMemory(vcpu: Vcpu, at: number): boolean {
  return modrm(vcpu, at) >> 6 !== 3
}

/** Linear address of the memory operand. */
export function linearAddress(vcpu: Vcpu, at: number, segment = true): bigint {
  const {view} = vcpu.memory
  const word = (field: number) => view.getBigUint64(vcpu.base + view.getUint16(at + field, true), true)
  const sum =
    word(record.base) +
    (word(record.index) << BigInt(view.getUint8(at + record.scale))) +
    view.getBigInt64(at + record.displacement, true)
  const effective = BigInt.asUintN(addressBits(vcpu, at), sum)
  if (!segment) return effective
  const linear = effective + word(record.segmentBase)
  return BigInt.asUintN(vcpu.memory.bytes[at + record.codeBits] === 64 ? 64 : 32, linear)
}

/** Base of the memory operand's segment, 0 where long mode ignores it. */
export function segmentBase(vcpu: Vcpu, at: number): bigint {
  const {view} = vcpu.memory
  return view.getBigUint64(vcpu.base + view.getUint16(at + record.segmentBase, true), true)
}

/** Byte offset of `bytes` bytes of guest memory for reading (a copy when they span pages), or 0 with a fault in state. */
export function readableAt(vcpu: Vcpu, linear: bigint, bytes: number): number {
  return vcpu.access.read(Number(linear & 0xffffffffn) | 0, Number(BigInt.asIntN(32, linear >> 32n)), bytes)
}

/** A little-endian value of 1 to 8 bytes, or undefined with a fault in state. */
export function load(vcpu: Vcpu, linear: bigint, bytes: number): bigint | undefined {
  const at = readableAt(vcpu, linear, bytes)
  if (at === 0) return undefined
  const {view} = vcpu.memory
  if (bytes === 8) return view.getBigUint64(at, true)
  return BigInt(bytes === 4 ? view.getUint32(at, true) : bytes === 2 ? view.getUint16(at, true) : view.getUint8(at))
}

/** Stores a value of 1 to 8 bytes; false with a fault in state. */
export function store(vcpu: Vcpu, linear: bigint, bytes: number, value: bigint): boolean {
  vcpu.memory.view.setBigUint64(vcpu.base + state.scratch, BigInt.asUintN(64, value), true)
  return vcpu.access.write(Number(linear & 0xffffffffn) | 0, Number(BigInt.asIntN(32, linear >> 32n)), bytes) === 0
}

/** A register operand's value by its state offset. */
export function readRegister(vcpu: Vcpu, offset: number, bits: number): bigint {
  return BigInt.asUintN(bits, vcpu.memory.view.getBigUint64(vcpu.base + offset, true))
}

/** Writes a general register as instructions do: 32 bits clear the upper half, 8 and 16 keep the rest. */
export function writeRegister(vcpu: Vcpu, offset: number, bits: number, value: bigint): void {
  const {view} = vcpu.memory
  const at = vcpu.base + offset
  if (bits === 8) view.setUint8(at, Number(value & 0xffn))
  else if (bits === 16) view.setUint16(at, Number(value & 0xffffn), true)
  else view.setBigUint64(at, BigInt.asUintN(bits, value), true)
}

/** Value of an E operand (register slot 0 or memory). Undefined with a fault in state. */
export function readE(vcpu: Vcpu, at: number, bits: number, which: 0 | 1 | 2 = 0): bigint | undefined {
  if (isMemory(vcpu, at)) return load(vcpu, linearAddress(vcpu, at), bits / 8)
  return readRegister(vcpu, slot(vcpu, at, which), bits)
}

/** Writes an E operand; false with a fault in state. */
export function writeE(vcpu: Vcpu, at: number, bits: number, value: bigint): boolean {
  if (isMemory(vcpu, at)) return store(vcpu, linearAddress(vcpu, at), bits / 8, value)
  writeRegister(vcpu, slot(vcpu, at, 0), bits, value)
  return true
}

/** Width of the stack pointer. */
export function stackBits(vcpu: Vcpu): number {
  return vcpu.u32(state.codeBits)
}

/** Linear address of SS:rSP + offset. */
export function stackAddress(vcpu: Vcpu, offset: number): bigint {
  const bits = stackBits(vcpu)
  const pointer = BigInt.asUintN(bits, vcpu.gpr(4) + BigInt(offset))
  return bits === 64 ? pointer : BigInt.asUintN(32, pointer + vcpu.segmentBase(2))
}

/** Moves rSP. */
export function moveStack(vcpu: Vcpu, by: number): void {
  const bits = stackBits(vcpu)
  const moved = BigInt.asUintN(bits, vcpu.gpr(4) + BigInt(by))
  vcpu.setGpr(4, bits === 16 ? (vcpu.gpr(4) & ~0xffffn) | moved : moved)
}

/** Pushes; false with a fault in state (rSP unchanged). */
export function push(vcpu: Vcpu, bytes: number, value: bigint): boolean {
  if (!store(vcpu, stackAddress(vcpu, -bytes), bytes, value)) return false
  moveStack(vcpu, -bytes)
  return true
}
