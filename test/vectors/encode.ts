/**
 * Turns an instruction, taken apart, into bytes: prefixes, REX or VEX, opcode, ModRM, SIB, displacement, immediate. Also picks
 * memory operands that hit the data window, with the patches that make the registers fit.
 *
 * This assembler is the test's own on purpose: it shares nothing with the decoder that it tests.
 * Source: SDM vol. 2A chapter 2.
 */
import {type Patch, pinRegister} from './inputs.js'
import type {Random} from './random.js'
import {address} from './state.js'

/** A memory operand as it is encoded. */
export interface Memory {
  readonly base?: number
  readonly index?: number
  readonly scale?: 0 | 1 | 2 | 3
  readonly displacement: number
  readonly displacementBytes: 0 | 1 | 2 | 4
  /** The displacement is the target address; the encoder makes it relative to the end of the instruction. */
  readonly ripRelative?: boolean
  /** Size of the address; unlike the mode's default it costs a 67 prefix. */
  readonly addressBits: 64 | 32 | 16
  /** Row of the 16-bit ModRM table. */
  readonly row16?: number
  /** Segment override prefix byte. */
  readonly segment?: number
}

/** An instruction taken apart. */
export interface Parts {
  readonly bits: 64 | 32
  readonly lock?: boolean
  readonly operandPrefix?: boolean
  /** Mandatory or REP prefix: 0x66, 0xf2 or 0xf3. */
  readonly prefix?: number
  readonly rexW?: boolean
  /** A REX prefix even when no bit of it is needed. */
  readonly forceRex?: boolean
  readonly opcode: readonly number[]
  /** The register in the low three bits of the opcode. */
  readonly opcodeRegister?: number
  readonly reg?: number
  /** Register number or memory operand of ModRM.rm. */
  readonly rm?: number | Memory
  readonly immediate?: readonly number[]
  readonly vex?: {readonly map: 1 | 2 | 3; readonly prefix: 0 | 1 | 2 | 3; readonly w: 0 | 1; readonly vvvv: number}
}

/** `value` as `count` little-endian bytes. */
export function littleEndian(value: number | bigint, count: number): number[] {
  const bytes: number[] = []
  let rest = BigInt(value)
  for (let i = 0; i < count; i++) {
    bytes.push(Number(rest & 0xffn))
    rest >>= 8n
  }
  return bytes
}

/** The bytes of an instruction that stands at `codeAddress`. */
export function encode(parts: Parts, codeAddress: number): number[] {
  const bytes: number[] = []
  const memory = typeof parts.rm === 'object' ? parts.rm : undefined
  const rmRegister = typeof parts.rm === 'number' ? parts.rm : 0
  if (memory?.segment !== undefined) bytes.push(memory.segment)
  if (parts.lock) bytes.push(0xf0)
  if (memory && memory.addressBits !== parts.bits) bytes.push(0x67)
  if (parts.operandPrefix) bytes.push(0x66)
  if (parts.prefix) bytes.push(parts.prefix)

  const r = (parts.reg ?? 0) >> 3
  const x = (memory?.index ?? 0) >> 3
  const b = (memory ? (memory.base ?? 0) : parts.opcodeRegister !== undefined ? parts.opcodeRegister : rmRegister) >> 3
  if (parts.vex) {
    const {map, prefix, w, vvvv} = parts.vex
    const last = (w << 7) | ((~vvvv & 15) << 3) | prefix
    bytes.push(0xc4, ((~r & 1) << 7) | ((~x & 1) << 6) | ((~b & 1) << 5) | map, last)
  } else {
    const rex = 0x40 | (parts.rexW ? 8 : 0) | (r << 2) | (x << 1) | b
    if (rex !== 0x40 || parts.forceRex) bytes.push(rex)
  }
  bytes.push(...parts.opcode)
  if (parts.opcodeRegister !== undefined) bytes[bytes.length - 1] += parts.opcodeRegister & 7

  const immediate = parts.immediate ?? []
  if (parts.rm !== undefined) {
    const reg = ((parts.reg ?? 0) & 7) << 3
    if (memory) pushMemory(bytes, memory, reg, parts.bits, codeAddress, immediate.length)
    else bytes.push(0xc0 | reg | (rmRegister & 7))
  }
  bytes.push(...immediate)
  return bytes
}

function pushMemory(
  bytes: number[],
  memory: Memory,
  reg: number,
  bits: 64 | 32,
  codeAddress: number,
  immediateBytes: number,
): void {
  const {base, index, displacement, displacementBytes} = memory
  const mod = displacementBytes === 0 ? 0 : displacementBytes === 1 ? 0x40 : 0x80
  if (memory.addressBits === 16) {
    if (memory.row16 === undefined) bytes.push(reg | 6)
    else bytes.push(mod | reg | memory.row16)
  } else if (memory.ripRelative) {
    bytes.push(reg | 5)
    bytes.push(...littleEndian(displacement - (codeAddress + bytes.length + 4 + immediateBytes), 4))
    return
  } else if (base === undefined && index === undefined && bits === 32) {
    bytes.push(reg | 5)
  } else if (base === undefined) {
    bytes.push(reg | 4, ((memory.scale ?? 0) << 6) | (((index ?? 4) & 7) << 3) | 5)
  } else if (index !== undefined || (base & 7) === 4) {
    bytes.push(mod | reg | 4, ((memory.scale ?? 0) << 6) | (((index ?? 4) & 7) << 3) | (base & 7))
  } else {
    bytes.push(mod | reg | (base & 7))
  }
  bytes.push(...littleEndian(displacement, displacementBytes))
}

/** What a memory operand must satisfy. */
export interface MemoryWish {
  readonly bits: 64 | 32
  readonly bytes: number
  /** The operand's address is a multiple of this; 0 lets it be anything, page-crossing included. */
  readonly align: number
  /** Registers whose value is spoken for. */
  readonly taken: ReadonlySet<number>
  /** The address the operand shall have, instead of one in the window. */
  readonly target?: number
  /** 16-bit addresses are possible (the low window is mapped). */
  readonly allow16?: boolean
}

export interface PlacedMemory {
  readonly memory: Memory
  readonly patches: readonly Patch[]
  readonly dataAddress: number
  readonly target: number
}

/** A random memory operand that meets the wish. */
export function placeMemory(random: Random, wish: MemoryWish): PlacedMemory {
  const small = wish.allow16 && wish.bits === 32 && wish.target === undefined && random.below(5) === 0
  const dataAddress = small ? address.lowWindow : address.dataWindow
  const target = wish.target ?? pickTarget(random, dataAddress, wish)
  if (small) return {...place16(random, target, wish.taken), dataAddress, target}
  const narrow = wish.bits === 64 && random.below(8) === 0
  const addressBits = wish.bits === 32 || narrow ? 32 : 64
  const patches: Patch[] = []
  const displacementBytes = random.pick([0, 1, 1, 4] as const)
  let displacement =
    displacementBytes === 0 ? 0 : displacementBytes === 1 ? random.next() >> 24 : random.next() >> random.below(20)
  const shape = random.below(16)
  if (shape === 0) {
    return {memory: {displacement: target, displacementBytes: 4, addressBits}, patches, dataAddress, target}
  }
  if (shape <= 2 && wish.bits === 64) {
    const memory = {displacement: target, displacementBytes: 4, ripRelative: true, addressBits} as const
    return {memory, patches, dataAddress, target}
  }
  const registers = wish.bits === 64 ? 16 : 8
  const free = () => {
    for (;;) {
      const register = random.below(registers)
      if (!wish.taken.has(register)) return register
    }
  }
  let rest = BigInt(target)
  let index: number | undefined
  let scale: 0 | 1 | 2 | 3 = 0
  if (shape >= 9) {
    index = free()
    if (index === 4) index = undefined
  }
  if (index !== undefined) {
    scale = random.below(4) as 0 | 1 | 2 | 3
    const value = BigInt(random.below(64) - 32)
    patches.push(...pinRegister(index, value, addressBits))
    rest -= value << BigInt(scale)
  }
  if (shape === 15 && index !== undefined) {
    displacement = Number(BigInt.asIntN(32, rest))
    return {memory: {index, scale, displacement, displacementBytes: 4, addressBits}, patches, dataAddress, target}
  }
  let base = free()
  while (base === index) base = free()
  const forced = displacementBytes === 0 && (base & 7) === 5
  patches.push(...pinRegister(base, BigInt.asUintN(addressBits, rest - BigInt(displacement)), addressBits))
  const memory = {
    base,
    index,
    scale,
    displacement,
    displacementBytes: forced ? 1 : displacementBytes,
    addressBits,
  } as const
  return {memory, patches, dataAddress, target}
}

/** Operands lie in the first part of the window, around the page boundary in its middle. */
const usedBytes = 512
const centreOffset = usedBytes / 2

function pickTarget(random: Random, dataAddress: number, wish: MemoryWish): number {
  const centre = dataAddress + centreOffset
  const choice = random.below(8)
  if (wish.align === 0 && choice === 0 && wish.bytes > 1) return centre - 1 - random.below(wish.bytes - 1)
  const room = Math.max(1, usedBytes - wish.bytes - 32)
  const at = dataAddress + Math.min(16, usedBytes - wish.bytes) + random.below(room)
  const align = wish.align || (choice < 4 ? Math.min(wish.bytes & -wish.bytes, 16) : 1)
  return at - (at % align)
}

/** Registers of the 16-bit ModRM rows. */
const rows16 = [[3, 6], [3, 7], [5, 6], [5, 7], [6], [7], [5], [3]] as const

function place16(random: Random, target: number, taken: ReadonlySet<number>): {memory: Memory; patches: Patch[]} {
  const patches: Patch[] = []
  const row16 = random.below(9)
  const registers = row16 === 8 ? [] : rows16[row16]
  if (row16 === 8 || registers.some(register => taken.has(register))) {
    return {memory: {displacement: target, displacementBytes: 2, addressBits: 16}, patches}
  }
  let displacementBytes = random.pick([0, 1, 2] as const)
  if (row16 === 6 && displacementBytes === 0) displacementBytes = 1
  const displacement = displacementBytes === 0 ? 0 : displacementBytes === 1 ? random.next() >> 24 : random.next() >> 16
  let rest = target - displacement
  if (registers.length === 2) {
    const part = random.next() & 0xffff
    patches.push(...pinRegister(registers[1], BigInt(part), 16))
    rest -= part
  }
  patches.push(...pinRegister(registers[0], BigInt(rest & 0xffff), 16))
  return {memory: {row16, displacement, displacementBytes, addressBits: 16}, patches}
}
