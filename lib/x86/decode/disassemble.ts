/**
 * Decoded instruction → text in Intel's syntax, as `objdump -d -M intel` prints it. Names, operands and their order are those of the form; what
 * stands here is how addresses and numbers are written. Prefixes without effect are not, and neither is an index that is none (objdump's RIZ).
 *
 * Source: GNU binutils 2.40, by its output.
 */
import {state} from '../state.js'
import type {DecodedInstruction} from './instruction-record.js'
import {RecordPrefix} from './record.js'
import {generalName, highByteNames, nameOf, segmentNames, sizeName} from './spelling.js'

/** The text of an instruction that stands at `rip`, a linear address, signed. */
export function disassemble(decoded: DecodedInstruction, rip: number): string {
  const {form, variant, instruction, memory} = decoded
  const nameByImmediate = form.options.immediateNames?.[Number(BigInt.asUintN(8, BigInt(decoded.immediate)))]
  let slot = 0
  let immediates = 0
  const operands: string[] = []
  for (const [index, letters] of form.operands.entries()) {
    const {kind, bits, ref, constant} = decoded.operands[index]
    if (kind === 'memory') operands.push(memoryOperand(letters, bits, decoded, rip))
    else if (kind === 'fixed') operands.push(fixed(letters, bits, decoded))
    else if (kind === 'register')
      operands.push(register(letters, ref && 'fixed' in ref ? ref.fixed : decoded.slots[slot++], bits))
    else if (constant !== undefined) operands.push(`${constant}`)
    else if (nameByImmediate === undefined) operands.push(immediate(letters, bits, immediates++, decoded))
  }
  const name = nameByImmediate?.toLowerCase() ?? nameOf(instruction, form, variant.operandBits, variant.addressBits)
  const whole = prefixes(decoded) + name
  const target = memory !== undefined && isRipRelative(decoded) ? `        # ${hex(memory.displacement, 64)}` : ''
  return operands.length === 0 ? whole : `${whole.padEnd(6)} ${operands.join(',')}${target}`
}

function prefixes({form, variant, instruction, prefixes}: DecodedInstruction): string {
  const {usesAddress, addressNames} = form.options
  if (variant.locked) return 'lock '
  if (usesAddress && !addressNames && variant.addressBits !== variant.codeBits) return `addr${variant.addressBits} `
  const isString = form.operands.some(isStringOperand) && instruction.mnemonic !== 'XLAT'
  if (!isString || (prefixes & (RecordPrefix.rep | RecordPrefix.repne)) === 0) return ''
  if (prefixes & RecordPrefix.repne) return 'repnz '
  return /^(CMPS|SCAS)$/.test(instruction.mnemonic) ? 'repz ' : 'rep '
}

const isStringOperand = (letters: string): boolean => /^[XY][a-z]$/.test(letters)

/** A number as so many bits hold it. */
function hex(value: number | bigint, bits: number): string {
  return `0x${BigInt.asUintN(bits, BigInt(value)).toString(16)}`
}

/** A register operand by its state offset; control and debug registers by their number. */
function register(letters: string, offset: number, bits: number): string {
  if (/^[VWU]/.test(letters)) return `xmm${(offset - state.xmm) / 16}`
  if (/^[PQN]/.test(letters)) return `mm${(offset - state.x87) / 16}`
  if (letters === 'Cy' || letters === 'Dy') return `${letters[0].toLowerCase()}r${offset}`
  if (letters === 'Sw') return segmentNames[(offset - state.selector) / 2]
  return offset & 1 ? highByteNames[offset >> 3] : generalName(offset >> 3, bits)
}

/** An operand that the form names. */
function fixed(letters: string, bits: number, {instruction, memory, modrm, variant}: DecodedInstruction): string {
  if (letters === 'STi') return `st(${modrm & 7})`
  if (!isStringOperand(letters)) return letters.toLowerCase()
  const isTarget = letters[0] === 'Y'
  const pointer = generalName(isTarget ? 7 : instruction.mnemonic === 'XLAT' ? 3 : 6, variant.addressBits)
  return `${sizeName(letters, bits, bits)} PTR ${isTarget ? 'es' : segmentNames[memory!.segment]}:[${pointer}]`
}

function immediate(letters: string, bits: number, index: number, {immediate, variant}: DecodedInstruction): string {
  if (letters[0] === 'J') return hex(immediate, variant.codeBits)
  if (letters[0] === 'A') return `${hex(BigInt(immediate) >> 32n, 16)}:${hex(immediate, variant.operandBits)}`
  // ENTER's second one stands above the first.
  return hex(index === 0 ? immediate : Number(immediate) >> 16, bits)
}

const isRipRelative = ({memory, modrm, variant}: DecodedInstruction): boolean =>
  memory !== undefined && variant.codeBits === 64 && (modrm & 0xc7) === 5

/** The memory operand of ModRM, or of an address in the instruction. */
function memoryOperand(letters: string, bits: number, decoded: DecodedInstruction, rip: number): string {
  const {variant, modrm, memory} = decoded
  const {base, index, scale, displacement, segment, addsSegmentBase} = memory!
  const {addressBits} = variant
  const size = sizeName(letters, bits, variant.operandBits)
  const isStack = base === state.gpr + 4 * 8 || base === state.gpr + 5 * 8
  const override = addsSegmentBase && segment !== (isStack ? 2 : 3) ? `${segmentNames[segment]}:` : ''
  const front = (size === undefined ? '' : `${size} PTR `) + override
  if (isRipRelative(decoded)) {
    const distance = BigInt.asIntN(32, BigInt(displacement) - BigInt(rip + decoded.length))
    return `${front}[${addressBits === 64 ? 'rip' : 'eip'}+${hex(distance, 64)}]`
  }
  const terms: string[] = []
  if (base !== state.zero) terms.push(generalName(base >> 3, addressBits))
  if (index !== state.zero)
    terms.push(generalName(index >> 3, addressBits) + (addressBits === 16 ? '' : `*${1 << scale}`))
  if (terms.length === 0) return `${front}${override === '' ? 'ds:' : ''}${hex(displacement, addressBits)}`
  const isWritten = displacement !== 0 || modrm >= 0x40 || (base === state.zero && addressBits > 16)
  const distance = displacement < 0 ? `-${hex(-displacement, 64)}` : `+${hex(displacement, 64)}`
  return `${front}[${terms.join('+')}${isWritten ? distance : ''}]`
}
