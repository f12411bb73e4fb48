/**
 * A memory operand as bytes: ModRM, SIB, displacement, each as short as it can be. REX or VEX have the fourth bits of the registers.
 *
 * Source: SDM vol. 2A 2.1.5, tables 2-1 to 2-3.
 */
import type {MemoryText} from './operand-text.js'

/** The lowest bytes of a number in two's complement. */
export function littleEndian(value: bigint, bytes: number): number[] {
  return Array.from({length: bytes}, (_, index) => Number((value >> BigInt(8 * index)) & 0xffn))
}

/** Rows of the 16-bit ModRM table: base and index. Source: SDM vol. 2A table 2-1. */
const rows16 = ['3 6', '3 7', '5 6', '5 7', '6 -1', '7 -1', '5 -1', '3 -1']

/** ModRM with a memory operand, SIB and displacement; `reg` is ModRM.reg in its place. */
export function modrmOf(memory: MemoryText, reg: number, addressBits: number, bits: number): number[] {
  const {base, index, scale, ripRelative} = memory
  const displacement = BigInt.asIntN(addressBits === 16 ? 16 : 32, memory.displacement)
  const wide = addressBits === 16 ? 2 : 4
  if (ripRelative) return [reg | 5, ...littleEndian(displacement, 4)]
  if (base < 0 && addressBits === 16 && index < 0) return [reg | 6, ...littleEndian(displacement, 2)]
  if (base < 0 && addressBits > 16) {
    const rest = littleEndian(displacement, 4)
    if (index < 0 && bits === 32) return [reg | 5, ...rest]
    return [reg | 4, (scale << 6) | ((index < 0 ? 4 : index & 7) << 3) | 5, ...rest]
  }
  const row = addressBits === 16 ? rows16.indexOf(`${base} ${index}`) : 0
  const needsOne = addressBits === 16 ? row === 6 : (base & 7) === 5
  const size = !memory.isWritten && !needsOne ? 0 : BigInt.asIntN(8, displacement) === displacement ? 1 : wide
  const mod = size === 0 ? 0 : size === 1 ? 0x40 : 0x80
  const rest = littleEndian(displacement, size)
  if (addressBits === 16) return [mod | reg | row, ...rest]
  if (index < 0 && (base & 7) !== 4) return [mod | reg | (base & 7), ...rest]
  return [mod | reg | 4, (scale << 6) | ((index < 0 ? 4 : index & 7) << 3) | (base & 7), ...rest]
}
