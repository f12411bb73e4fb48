/**
 * MOVS STOS LODS SCAS CMPS, alone and with REP. Without a prefix they are ordinary descriptions; repeated ones work on whole pages at a time in
 * a slow path, which leaves RIP at the instruction when it is interrupted or faults half way, as the manual says.
 *
 * Source: SDM vol. 2B MOVS, STOS, LODS, SCAS, CMPS, REP.
 */
import type {Builder, Value} from '../ir/builder.js'
import {state} from '../state.js'
import {setFlagsSubtract} from './flag-writers.js'
import {form, type Instruction, instruction} from './instruction.js'

/** Linear address of DS:rSI (or its override). */
function sourceAddress(s: Builder): Value {
  const pointer = s.zeroExtend(s.gpr('rsi', s.variant.addressBits), 64)
  return wrap(s, s.add(pointer, s.address()))
}

/** Linear address of ES:rDI. */
function targetAddress(s: Builder): Value {
  const pointer = s.zeroExtend(s.gpr('rdi', s.variant.addressBits), 64)
  return s.long ? pointer : wrap(s, s.add(pointer, s.state('i64.load', state.segmentBase)))
}

function wrap(s: Builder, address: Value): Value {
  return s.long ? address : s.and(address, s.constant(64, 0xffffffffn))
}

/** Moves index registers on by one element, in the direction of DF. */
function advance(s: Builder, bits: number, ...registers: ('rsi' | 'rdi')[]): void {
  const {addressBits} = s.variant
  const bytes = bits / 8
  const backward = s.and(s.state('i32.load', state.rflags), s.constant(32, 1 << 10))
  const step = s.hold(
    s.select(
      backward,
      s.constant(addressBits, addressBits === 16 ? 0x10000 - bytes : -bytes),
      s.constant(addressBits, bytes),
    ),
  )
  for (const name of registers) s.setGpr(name, s.add(s.gpr(name, addressBits), step))
}

type Body = (s: Builder, bits: number) => void

const bodies: Record<string, Body> = {
  MOVS(s, bits) {
    s.store(bits, targetAddress(s), s.load(bits, sourceAddress(s)))
    advance(s, bits, 'rsi', 'rdi')
  },
  STOS(s, bits) {
    s.store(bits, targetAddress(s), s.gpr('rax', bits))
    advance(s, bits, 'rdi')
  },
  LODS(s, bits) {
    const value = s.load(bits, sourceAddress(s))
    advance(s, bits, 'rsi')
    s.setGpr('rax', value)
  },
  SCAS(s, bits) {
    const left = s.hold(s.gpr('rax', bits))
    const right = s.load(bits, targetAddress(s))
    advance(s, bits, 'rdi')
    setFlagsSubtract(s, left, right, s.subtract(left, right))
  },
  CMPS(s, bits) {
    const left = s.load(bits, sourceAddress(s))
    const right = s.load(bits, targetAddress(s))
    advance(s, bits, 'rsi', 'rdi')
    setFlagsSubtract(s, left, right, s.subtract(left, right))
  },
}

function string(mnemonic: string, opcode: number, byteForm: string[], wideForm: string[]): Instruction {
  const hex = (value: number) => value.toString(16).toUpperCase()
  const slowPath = `rep-${mnemonic.toLowerCase()}`
  return instruction(mnemonic, {
    source: `SDM vol. 2 ${mnemonic}, vol. 2B REP`,
    forms: [
      form(hex(opcode), ...byteForm, {rep: true, operandBits: 8}),
      form(hex(opcode + 1), ...wideForm, {rep: true}),
    ],
    execute(s, operand) {
      if (s.variant.rep === 'none') return bodies[mnemonic](s, operand.bits)
      s.setState('i32.store', s.scratch, s.constant(32, operand.bits / 8))
      s.system(slowPath, true)
    },
  })
}

export const strings: Instruction[] = [
  string('MOVS', 0xa4, ['Yb', 'Xb'], ['Yv', 'Xv']),
  string('CMPS', 0xa6, ['Xb', 'Yb'], ['Xv', 'Yv']),
  string('STOS', 0xaa, ['Yb', 'AL'], ['Yv', 'rAX']),
  string('LODS', 0xac, ['AL', 'Xb'], ['rAX', 'Xv']),
  string('SCAS', 0xae, ['AL', 'Yb'], ['rAX', 'Yv']),
]
