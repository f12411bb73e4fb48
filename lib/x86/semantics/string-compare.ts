/**
 * PCMPESTRI PCMPESTRM PCMPISTRI PCMPISTRM: lengths and operands are gathered here, the comparison is helpers/string-compare.ts.
 *
 * The E forms take the strings' lengths from rAX and rDX (their absolute values), the I forms end a string before its first zero. The memory
 * operand need not be aligned.
 * Source: SDM vol. 2B PCMPESTRI … PCMPISTRM and 4.1.
 */
import type {Builder, Value} from '../ir/builder.js'
import type {Gpr} from '../registers.js'
import {state} from '../state.js'
import {form, type Instruction, instruction} from './instruction.js'

/** More than any register holds: longer lengths count as this. */
const longest = 16

/** The absolute value of a length register, at most `longest`. */
function explicitLength(s: Builder, register: keyof typeof Gpr, bits: number): Value {
  const value = s.gpr(register, bits)
  const zero = s.constant(bits, 0)
  const magnitude = s.select(s.less(value, zero), s.negate(value), value)
  const limit = s.constant(bits, longest)
  return s.narrow(s.select(s.below(magnitude, limit), magnitude, limit), 32)
}

/** Two strings of bytes that end before their first zero, element by element: flags | index << 16. */
function compareBytesEach(s: Builder, control: Value, first: Value, second: Value): Value {
  const number = (value: number) => s.constant(32, value)
  const bytes = number(0xffff)
  const equalBytes = (one: Value, other: Value) =>
    s.wasm('i8x16.bitmask', [s.wasm('i8x16.eq', [one, other])], {bits: 32})
  /** A bit for each byte before the first zero. */
  const valid = (text: Value) => {
    const zeros = s.hold(s.or(equalBytes(text, s.vector(new Uint8Array(16))), number(0x10000)))
    return s.hold(s.subtract(s.and(zeros, s.negate(zeros)), number(1)))
  }
  const inFirst = valid(first)
  const inSecond = valid(second)
  const both = s.and(inFirst, inSecond)
  const none = s.xor(s.or(inFirst, inSecond), bytes)
  const wanted = (bit: number) => s.notEqual(s.and(control, number(bit)), number(0))
  const inverted = s.select(wanted(0x10), s.select(wanted(0x20), inSecond, bytes), number(0))
  const bits = s.hold(s.xor(s.or(s.and(equalBytes(first, second), both), none), inverted))
  const lowest = s.wasm('i32.ctz', [s.or(bits, number(0x10000))], {bits: 32})
  const highest = s.select(s.isZero(bits), number(16), s.subtract(number(31), s.wasm('i32.clz', [bits], {bits: 32})))
  const index = s.select(wanted(0x40), highest, lowest)
  const flag = (condition: Value, bit: number) => s.select(condition, number(bit), number(0))
  const flags = [
    flag(s.notEqual(bits, number(0)), 0x01),
    flag(s.notEqual(inSecond, bytes), 0x40),
    flag(s.notEqual(inFirst, bytes), 0x80),
    flag(s.notEqual(s.and(bits, number(1)), number(0)), 0x800),
  ]
  return flags.reduce((all, each) => s.or(all, each), s.shiftLeft(index, number(16)))
}

function compare(mnemonic: string, opcode: string, explicit: boolean, mask: boolean): Instruction {
  // With REX.W the lengths are RAX and RDX.
  const names = [mnemonic, mnemonic, `${mnemonic}Q`] as const
  return instruction(mnemonic, {
    source: `SDM vol. 2B ${mnemonic}`,
    forms: [form(`66 0F 3A ${opcode} /r`, 'Vx', 'Wx', 'Ib', {feature: 'sse4_2', ...(explicit ? {names} : {})})],
    execute(s, first, second, immediate) {
      const control = s.zeroExtend(s.read(immediate), 32)
      const text = s.hold(s.read(second))
      s.setState('v128.store', state.scratch, text)
      const bits = s.variant.operandBits === 64 ? 64 : 32
      const lengths = explicit
        ? [explicitLength(s, 'rax', bits), explicitLength(s, 'rdx', bits)]
        : [s.constant(32, -1), s.constant(32, -1)]
      const operands = [control, s.registerAddress(first.ref!), s.stateAddress(state.scratch), ...lengths]
      if (mask) {
        const flags = s.call('compareForMask', [...operands, s.registerAddress({fixed: state.xmm})], 'i32')!
        return s.setFlags('explicit', 32, {a: flags})
      }
      const found = s.declare('i32')
      const general = () => s.assign(found, s.call('compareForIndex', operands, 'i32')!)
      if (explicit) general()
      else {
        // What C libraries compare strings with, and look for characters with.
        const kind = s.hold(s.and(control, s.constant(32, 0x0d)))
        const each = () => s.assign(found, compareBytesEach(s, control, s.hold(s.read(first)), text))
        const any = () => s.assign(found, s.call('compareAnyBytes', operands.slice(0, 3), 'i32')!)
        s.if(s.equal(kind, s.constant(32, 0x08)), each, () => s.if(s.isZero(kind), any, general))
      }
      const result = s.variable(found, 32)
      s.setGpr('rcx', s.shiftRight(result, s.constant(32, 16)))
      s.setFlags('explicit', 32, {a: s.and(result, s.constant(32, 0xffff))})
    },
  })
}

export const stringCompares: Instruction[] = [
  compare('PCMPESTRM', '60', true, true),
  compare('PCMPESTRI', '61', true, false),
  compare('PCMPISTRM', '62', false, true),
  compare('PCMPISTRI', '63', false, false),
]
