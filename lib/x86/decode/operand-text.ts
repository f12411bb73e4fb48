/**
 * Operands as the assembler reads them: registers, memory, numbers, in Intel's syntax.
 *
 * Source: SDM vol. 1 3.7.
 */
import {bitsOfSize, generalName, highByteNames, segmentNames} from './spelling.js'

/** A memory operand; a register is a number, an absent one -1. */
export interface MemoryText {
  readonly kind: 'memory'
  /** Undefined where the text does not say. */
  readonly bits: number | undefined
  readonly segment: number
  readonly base: number
  readonly index: number
  readonly scale: number
  readonly displacement: bigint
  /** A displacement is there, if only of 0. */
  readonly isWritten: boolean
  /** Of the registers in the brackets. */
  readonly addressBits: number | undefined
  /** The displacement counts from the end of the instruction. */
  readonly ripRelative: boolean
}

export type OperandText =
  | MemoryText
  | {readonly kind: 'register'; readonly class: string; readonly number: number; readonly bits: number}
  | {readonly kind: 'number'; readonly value: bigint; readonly text: string}
  | {readonly kind: 'far'; readonly selector: bigint; readonly offset: bigint}

interface Register {
  readonly class: string
  readonly number: number
  readonly bits: number
}

const registers = new Map<string, Register>()
for (let number = 0; number < 16; number++) {
  for (const bits of [8, 16, 32, 64]) registers.set(generalName(number, bits), {class: 'general', number, bits})
  registers.set(`xmm${number}`, {class: 'xmm', number, bits: 128})
  registers.set(`cr${number}`, {class: 'control', number, bits: 64})
  registers.set(`dr${number}`, {class: 'debug', number, bits: 64})
}
for (let number = 0; number < 8; number++) {
  registers.set(`mm${number}`, {class: 'mmx', number, bits: 64})
  registers.set(`st(${number})`, {class: 'x87', number, bits: 80})
}
registers.set('st', {class: 'x87 top', number: 0, bits: 80})
for (const [number, name] of highByteNames.entries()) registers.set(name, {class: 'high', number: number + 4, bits: 8})
for (const [number, name] of segmentNames.entries()) registers.set(name, {class: 'segment', number, bits: 16})

const numberText = /^-?(0x[\da-f]+|\d+)$/

function numberOf(text: string): bigint | undefined {
  if (!numberText.test(text)) return undefined
  return text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text)
}

/** Reads one operand, lower case, without spaces around it. Errors: what is none throws. */
export function parseOperand(text: string): OperandText {
  const register = registers.get(text)
  if (register !== undefined) return {kind: 'register', ...register}
  const value = numberOf(text)
  if (value !== undefined) return {kind: 'number', value, text}
  const [selector, offset] = text.split(':').map(numberOf)
  if (selector !== undefined && offset !== undefined) return {kind: 'far', selector, offset}
  const memory = /^(?:([a-z]+)(?: +ptr)? +|(?=\[|[a-z]s:))(?:([a-z]s):)?(?:\[([^\]]+)\]|(\w+))$/.exec(text)
  const bits = memory?.[1] === undefined ? undefined : bitsOfSize(memory[1])
  if (memory === null || (memory[1] !== undefined && bits === undefined)) throw new Error(`no operand: "${text}"`)
  return {...parseAddress(memory[3] ?? memory[4]), bits, segment: segmentNames.indexOf(memory[2])}
}

function parseAddress(text: string): Omit<MemoryText, 'bits' | 'segment'> {
  let [base, index, scale, displacement, isWritten, ripRelative] = [-1, -1, 0, 0n, false, false]
  const sizes = new Set<number>()
  let isAddress = true
  for (const term of text.replaceAll(' ', '').replaceAll('-', '+-').split('+')) {
    const [name, factor] = term.split('*')
    const register = registers.get(name)
    const value = numberOf(term)
    if (value !== undefined) {
      displacement += value
      isWritten = true
    } else if (name === 'rip' || name === 'eip') {
      ripRelative = true
      sizes.add(name === 'rip' ? 64 : 32)
    } else if (register?.class !== 'general') isAddress = false
    else {
      sizes.add(register.bits)
      if (factor === undefined && base < 0) base = register.number
      else {
        isAddress &&= index < 0
        index = register.number
        scale = ['1', '2', '4', '8'].indexOf(factor ?? '1')
      }
    }
  }
  const isRelativeToMore = ripRelative && (base >= 0 || index >= 0)
  if (!isAddress || scale < 0 || sizes.size > 1 || isRelativeToMore) throw new Error(`no address: "[${text}]"`)
  const [addressBits] = sizes
  return {kind: 'memory', base, index, scale, displacement, isWritten, addressBits, ripRelative}
}
