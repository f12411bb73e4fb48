/**
 * How the assembler's text spells registers, sizes and mnemonics: what disassembler and assembler share.
 *
 * Source: SDM vol. 1 3.4, 3.7; GNU binutils 2.40 for the names of sizes.
 */
import type {Form, Instruction} from '../semantics/instruction.js'

/** By the number of `Segment`. */
export const segmentNames = ['es', 'cs', 'ss', 'ds', 'fs', 'gs']

const legacyNames = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di']

/** AH CH DH BH by the number of the register that they are a part of. */
export const highByteNames = ['ah', 'ch', 'dh', 'bh']

/** A general register of 8, 16, 32 or 64 bits. */
export function generalName(number: number, bits: number): string {
  if (number >= 8) return `r${number}${{8: 'b', 16: 'w', 32: 'd'}[bits] ?? ''}`
  const name = legacyNames[number]
  if (bits === 8) return number < 4 ? `${name[0]}l` : `${name}l`
  return bits === 16 ? name : `${bits === 64 ? 'r' : 'e'}${name}`
}

const sizeNames = new Map(
  Object.entries({BYTE: 8, WORD: 16, DWORD: 32, FWORD: 48, QWORD: 64, TBYTE: 80, OWORD: 128, XMMWORD: 128}),
)

/** Bits of a memory operand by the word before it. */
export const bitsOfSize = (name: string): number | undefined => sizeNames.get(name.toUpperCase())

/** The word before a memory operand with the size letters of a form; undefined where the instruction leaves its size open. */
export function sizeName(letters: string, bits: number, operandBits: number): string | undefined {
  if (letters === 'M' || letters[0] === 'O') return undefined
  switch (letters.slice(1)) {
    case 'o':
      return operandBits === 64 ? 'OWORD' : 'QWORD'
    case 'x':
      return 'XMMWORD'
    case 't':
      return 'TBYTE'
  }
  const actual = letters === 'Ma' ? operandBits * 2 : letters === 'Mp' ? operandBits + 16 : bits
  return [...sizeNames].find(([, size]) => size === actual)![0]
}

/** What an assembler calls a form at these sizes, its immediate's names left out. */
export function nameOf({mnemonic}: Instruction, {options}: Form, operandBits: number, addressBits: number): string {
  const name = options.names?.[operandBits >> 5] ?? options.addressNames?.[addressBits >> 5] ?? mnemonic.split(' ')[0]
  return name.toLowerCase()
}
