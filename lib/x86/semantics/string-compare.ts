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

function compare(mnemonic: string, opcode: string, explicit: boolean, mask: boolean): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2B ${mnemonic}`,
    forms: [form(`66 0F 3A ${opcode} /r`, 'Vx', 'Wx', 'Ib', {feature: 'sse4_2'})],
    execute(s, first, second, immediate) {
      const control = s.zeroExtend(s.read(immediate), 32)
      let from: Value
      if (second.kind === 'memory') {
        s.setState('v128.store', state.scratch, s.read(second))
        from = s.stateAddress(state.scratch)
      } else from = s.registerAddress(second.ref!)
      const bits = s.variant.operandBits === 64 ? 64 : 32
      const lengths = explicit
        ? [explicitLength(s, 'rax', bits), explicitLength(s, 'rdx', bits)]
        : [s.constant(32, -1), s.constant(32, -1)]
      const operands = [control, s.registerAddress(first.ref!), from, ...lengths]
      if (mask) {
        const flags = s.call('compareForMask', [...operands, s.registerAddress({fixed: state.xmm})], 'i32')!
        return s.setFlags('explicit', 32, {a: flags})
      }
      const result = s.call('compareForIndex', operands, 'i32')!
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
