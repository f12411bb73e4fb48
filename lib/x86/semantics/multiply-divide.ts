/**
 * MUL IMUL DIV IDIV, and the decimal adjustments of 32-bit code.
 *
 * The full 128-bit product and the 128-by-64 division are slow paths; everything narrower is done in one 64-bit operation.
 * Source: SDM vol. 2A DIV, IDIV, IMUL, vol. 2B MUL, vol. 2A AAA … DAS.
 */
import type {Builder, Operand, Value} from '../ir/builder.js'
import {setFlagsResult} from './flag-writers.js'
import {form, type Instruction, instruction} from './instruction.js'

/** rDX:rAX (AX for bytes) = rAX * source. CF and OF say that the upper half matters. */
function multiply(signed: boolean) {
  return (s: Builder, source: Operand) => {
    const {bits} = source
    const factor = s.read(source)
    const accumulator = s.gpr('rax', bits)
    const {low, high} = s.multiplyWide(accumulator, factor, signed)
    const fill = signed ? s.shiftRightSigned(low, s.constant(bits, bits - 1)) : s.constant(bits, 0)
    const significant = s.notEqual(high, fill)
    if (bits === 8) s.setGpr('rax', s.or(s.shiftLeft(s.resize(high, 16), s.constant(16, 8)), s.resize(low, 16)))
    else {
      s.setGpr('rax', low)
      s.setGpr('rdx', high)
    }
    setFlagsResult(s, low, significant, significant)
  }
}

/** Target = low half of a signed product. */
function signedProduct(s: Builder, target: Operand, left: Value, right: Value): void {
  const {bits} = left
  const {low, high} = s.multiplyWide(left, right, true)
  const significant = s.notEqual(high, s.shiftRightSigned(low, s.constant(bits, bits - 1)))
  s.write(target, low)
  setFlagsResult(s, low, significant, significant)
}

/** Quotient and remainder of rDX:rAX; #DE for a zero divisor or a quotient that does not fit. */
function divide(signed: boolean) {
  return (s: Builder, source: Operand) => {
    const {bits} = source
    const divisor = s.read(source)
    if (bits === 64) return divideSlow(s, divisor, signed)
    s.if(s.isZero(divisor), () => s.fault(0))
    const join = () => {
      if (bits === 8) return s.gpr('rax', 16)
      const high = s.shiftLeft(s.zeroExtend(s.gpr('rdx', bits), 64), s.constant(64, bits))
      return s.or(high, s.zeroExtend(s.gpr('rax', bits), 64))
    }
    const raw = join()
    const dividend = signed ? s.signExtend(bits === 16 ? s.narrow(raw, 32) : raw, 64) : s.zeroExtend(raw, 64)
    const by = signed ? s.signExtend(divisor, 64) : s.zeroExtend(divisor, 64)
    const suffix = signed ? 's' : 'u'
    // The one division WebAssembly itself refuses: the most negative dividend by -1.
    if (signed && bits === 32) {
      const overflows = s.and(s.equal(dividend, s.constant(64, -(1n << 63n))), s.equal(by, s.constant(64, -1)))
      s.if(overflows, () => s.fault(0))
    }
    const quotient = s.wasm(`i64.div_${suffix}`, [dividend, by])
    const remainder = s.wasm(`i64.rem_${suffix}`, [dividend, by])
    const low = s.narrow(quotient, bits)
    const back = signed ? s.signExtend(low, 64) : s.zeroExtend(low, 64)
    s.if(s.notEqual(back, quotient), () => s.fault(0))
    if (bits === 8) {
      const high = s.shiftLeft(s.resize(s.narrow(remainder, 8), 16), s.constant(16, 8))
      return s.setGpr('rax', s.or(high, s.resize(low, 16)))
    }
    const rest = s.narrow(remainder, bits)
    s.setGpr('rax', low)
    s.setGpr('rdx', rest)
  }
}

/** 64-bit divisors: one WebAssembly division while rDX:rAX fits 64 bits, else the slow path. */
function divideSlow(s: Builder, divisor: Value, signed: boolean): void {
  s.if(s.isZero(divisor), () => s.fault(0))
  const low = s.gpr('rax', 64)
  const high = s.gpr('rdx', 64)
  const narrow = signed
    ? s.and(
        s.equal(high, s.shiftRightSigned(low, s.constant(64, 63))),
        s.isZero(s.and(s.equal(low, s.constant(64, -(1n << 63n))), s.equal(divisor, s.constant(64, -1)))),
      )
    : s.isZero(high)
  s.if(
    narrow,
    () => {
      const suffix = signed ? 's' : 'u'
      const quotient = s.hold(s.wasm(`i64.div_${suffix}`, [low, divisor]))
      const remainder = s.hold(s.wasm(`i64.rem_${suffix}`, [low, divisor]))
      s.setGpr('rax', quotient)
      s.setGpr('rdx', remainder)
    },
    () => {
      s.setState('i64.store', s.scratch, divisor)
      s.system(signed ? 'idiv64' : 'div64')
    },
  )
}

const decimal: [string, string, string][] = [
  ['DAA', '27', 'daa'],
  ['DAS', '2F', 'das'],
  ['AAA', '37', 'aaa'],
  ['AAS', '3F', 'aas'],
]

export const multiplyDivide: Instruction[] = [
  instruction('MUL', {
    source: 'SDM vol. 2B MUL',
    forms: [form('F6 /4', 'Eb'), form('F7 /4', 'Ev')],
    undefinedFlags: ['SF', 'ZF', 'AF', 'PF'],
    execute: multiply(false),
  }),
  instruction('IMUL', {
    source: 'SDM vol. 2A IMUL',
    forms: [form('F6 /5', 'Eb'), form('F7 /5', 'Ev')],
    undefinedFlags: ['SF', 'ZF', 'AF', 'PF'],
    execute: multiply(true),
  }),
  instruction('IMUL', {
    source: 'SDM vol. 2A IMUL',
    forms: [form('0F AF /r', 'Gv', 'Ev')],
    undefinedFlags: ['SF', 'ZF', 'AF', 'PF'],
    execute: (s, target, source) => signedProduct(s, target, s.read(target), s.read(source)),
  }),
  instruction('IMUL', {
    source: 'SDM vol. 2A IMUL',
    forms: [form('69 /r', 'Gv', 'Ev', 'Iz'), form('6B /r', 'Gv', 'Ev', 'Ibs')],
    undefinedFlags: ['SF', 'ZF', 'AF', 'PF'],
    execute: (s, target, source, factor) => signedProduct(s, target, s.read(source), s.read(factor)),
  }),
  instruction('DIV', {
    source: 'SDM vol. 2A DIV',
    forms: [form('F6 /6', 'Eb'), form('F7 /6', 'Ev')],
    undefinedFlags: ['CF', 'OF', 'SF', 'ZF', 'AF', 'PF'],
    execute: divide(false),
  }),
  instruction('IDIV', {
    source: 'SDM vol. 2A IDIV',
    forms: [form('F6 /7', 'Eb'), form('F7 /7', 'Ev')],
    undefinedFlags: ['CF', 'OF', 'SF', 'ZF', 'AF', 'PF'],
    execute: divide(true),
  }),
  ...decimal.map(([mnemonic, encoding, slowPath]) =>
    instruction(mnemonic, {
      source: `SDM vol. 2A ${mnemonic}`,
      forms: [form(encoding, {long: 'no'})],
      undefinedFlags: mnemonic.startsWith('A') ? ['OF', 'SF', 'ZF', 'PF'] : ['OF'],
      execute: s => s.system(slowPath),
    }),
  ),
  instruction('AAM', {
    source: 'SDM vol. 2A AAM',
    forms: [form('D4', 'Ib', {long: 'no'})],
    undefinedFlags: ['OF', 'AF', 'CF'],
    execute: s => s.system('aam'),
  }),
  instruction('AAD', {
    source: 'SDM vol. 2A AAD',
    forms: [form('D5', 'Ib', {long: 'no'})],
    undefinedFlags: ['OF', 'AF', 'CF'],
    execute: s => s.system('aad'),
  }),
]
