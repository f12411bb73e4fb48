/**
 * Bit tests and scans: BT BTS BTR BTC, BSF BSR, POPCNT LZCNT TZCNT, and BMI1/BMI2.
 *
 * With a register offset BT* on memory reach beyond the operand: the bit string starts at the address, so the offset's upper part moves
 * it. Source: SDM vol. 2A BT … BTS, vol. 2B, vol. 2A ANDN … BZHI.
 */
import type {Builder, Operand, Value} from '../ir/builder.js'
import {setFlagsSome} from './flag-writers.js'
import {form, type Instruction, instruction} from './instruction.js'

type Change = 'none' | 'set' | 'reset' | 'complement'

function changed(s: Builder, value: Value, mask: Value, change: Change): Value {
  if (change === 'set') return s.or(value, mask)
  if (change === 'reset') return s.and(value, s.not(mask))
  return s.xor(value, mask)
}

/** The bit (0 or 1, i32) at `index` below the width, and the mask that selects it. */
function selectBit(s: Builder, value: Value, index: Value): {bit: Value; mask: Value} {
  const {bits} = value
  const arithmetic = bits === 64 ? 64 : 32
  const at = s.and(s.resize(index, arithmetic), s.constant(arithmetic, bits - 1))
  const shifted = s.wasm(`${value.type}.shr_u`, [value, at])
  const bit = s.and(value.type === 'i64' ? s.wasm('i32.wrap_i64', [shifted]) : shifted, s.constant(32, 1))
  const mask = {...s.wasm(`${value.type}.shl`, [s.constant(arithmetic, 1), at]), bits}
  return {bit, mask}
}

function bitTest(change: Change) {
  return (s: Builder, target: Operand, index: Operand) => {
    const offset = s.read(index)
    const {bits} = target
    if (target.kind === 'memory' && index.kind === 'register') {
      // The word that holds the bit: offset / bits words away, rounded down.
      const signed = s.signExtend(offset, 64)
      const byteOffset = s.shiftLeft(
        s.shiftRightSigned(signed, s.constant(64, Math.log2(bits))),
        s.constant(64, Math.log2(bits / 8)),
      )
      const address = s.addressPlus(byteOffset)
      const {value, write} = s.modify(bits, address, change !== 'none')
      const {bit, mask} = selectBit(s, value, offset)
      if (change !== 'none') write(changed(s, value, mask, change))
      return setFlagsSome(s, 1, bit)
    }
    const value = s.read(target)
    const {bit, mask} = selectBit(s, value, s.resize(offset, Math.max(bits, 32)))
    if (change !== 'none') s.write(target, changed(s, value, mask, change))
    setFlagsSome(s, 1, bit)
  }
}

function bitTests(): Instruction[] {
  const list: [string, Change, string, number][] = [
    ['BT', 'none', '0F A3 /r', 4],
    ['BTS', 'set', '0F AB /r', 5],
    ['BTR', 'reset', '0F B3 /r', 6],
    ['BTC', 'complement', '0F BB /r', 7],
  ]
  return list.map(([mnemonic, change, encoding, digit]) =>
    instruction(mnemonic, {
      source: `SDM vol. 2A ${mnemonic}`,
      forms: [
        form(encoding, 'Ev', 'Gv', change === 'none' ? {} : {lock: true}),
        form(`0F BA /${digit}`, 'Ev', 'Ib', change === 'none' ? {} : {lock: true}),
      ],
      undefinedFlags: ['OF', 'SF', 'AF', 'PF'],
      execute: bitTest(change),
    }),
  )
}

/** Count instructions at the operand's width; `zero` is the count for a zero operand. */
function count(s: Builder, name: 'clz' | 'ctz' | 'popcnt', value: Value): Value {
  const {bits} = value
  if (bits >= 32) return {...s.wasm(`${value.type}.${name}`, [value]), bits}
  const wide = {...value, bits: 32}
  if (name === 'clz') return {...s.subtract(s.wasm('i32.clz', [wide]), s.constant(32, 32 - bits)), bits}
  if (name === 'ctz') return {...s.wasm('i32.ctz', [s.or(wide, s.constant(32, 2 ** bits))]), bits}
  return {...s.wasm('i32.popcnt', [wide]), bits}
}

function scan(direction: 'forward' | 'reverse') {
  return (s: Builder, target: Operand, source: Operand) => {
    const value = s.read(source)
    const {bits} = value
    const found =
      direction === 'forward' ? count(s, 'ctz', value) : s.subtract(s.constant(bits, bits - 1), count(s, 'clz', value))
    // A zero source leaves the target as it was (documented by AMD, true of Intel processors); a 32-bit target keeps its upper half too.
    s.if(
      s.isZero(value),
      () => {},
      () => s.write(target, found),
    )
    s.setFlags('logic', bits, {r: value})
  }
}

function counting(name: 'clz' | 'ctz' | 'popcnt') {
  return (s: Builder, target: Operand, source: Operand) => {
    const value = s.read(source)
    const result = count(s, name, value)
    s.write(target, result)
    const zero = s.shiftLeft(s.isZero(name === 'popcnt' ? value : result), s.constant(32, 6))
    if (name === 'popcnt') return s.setFlags('explicit', 32, {a: zero})
    s.setFlags('explicit', 32, {a: s.or(zero, s.isZero(value))})
  }
}

const scans: Instruction[] = [
  instruction('BSF', {
    source: 'SDM vol. 2A BSF',
    forms: [form('0F BC /r', 'Gv', 'Ev')],
    undefinedFlags: ['CF', 'OF', 'SF', 'AF', 'PF'],
    execute: scan('forward'),
  }),
  instruction('BSR', {
    source: 'SDM vol. 2A BSR',
    forms: [form('0F BD /r', 'Gv', 'Ev')],
    undefinedFlags: ['CF', 'OF', 'SF', 'AF', 'PF'],
    execute: scan('reverse'),
  }),
  instruction('TZCNT', {
    source: 'SDM vol. 2B TZCNT',
    forms: [form('F3 0F BC /r', 'Gv', 'Ev', {feature: 'bmi1'})],
    undefinedFlags: ['OF', 'SF', 'AF', 'PF'],
    execute: counting('ctz'),
  }),
  instruction('LZCNT', {
    source: 'SDM vol. 2A LZCNT',
    forms: [form('F3 0F BD /r', 'Gv', 'Ev', {feature: 'lzcnt'})],
    undefinedFlags: ['OF', 'SF', 'AF', 'PF'],
    execute: counting('clz'),
  }),
  instruction('POPCNT', {
    source: 'SDM vol. 2B POPCNT',
    forms: [form('F3 0F B8 /r', 'Gv', 'Ev', {feature: 'popcnt'})],
    execute: counting('popcnt'),
  }),
]

/** ZF and SF from the result, OF clear, CF given. */
function setBmiFlags(s: Builder, result: Value, carry: Value): void {
  s.setFlags('result', result.bits, {a: result.bits === 64 ? s.zeroExtend(carry, 64) : carry, r: result})
}

const zeroFlag = (s: Builder): Value => s.constant(32, 0)
const bmi = {feature: 'bmi1'}
const bmi2 = {feature: 'bmi2'}

/** BLSR BLSMSK BLSI: the lowest set bit. */
function lowestBit(combine: (s: Builder, value: Value) => Value, carryWhenZero: boolean) {
  return (s: Builder, target: Operand, source: Operand) => {
    const value = s.read(source)
    const result = combine(s, value)
    s.write(target, result)
    const isZero = s.isZero(value)
    setBmiFlags(s, result, carryWhenZero ? isZero : s.xor(isZero, s.constant(32, 1)))
  }
}

/** SARX SHLX SHRX: no flags. */
function plainShift(name: 'shl' | 'shr_u' | 'shr_s') {
  return (s: Builder, target: Operand, source: Operand, amount: Operand) => {
    const value = s.read(source)
    s.write(target, s.wasm(`${value.type}.${name}`, [value, s.read(amount)], {bits: value.bits}))
  }
}

/** PDEP and PEXT bit by bit; `deposit` chooses the direction. */
function scatter(deposit: boolean) {
  return (s: Builder, target: Operand, source: Operand, maskOperand: Operand) => {
    const value = s.read(source)
    const {bits, type} = value
    const rest = s.declare(type)
    const bit = s.declare(type)
    const result = s.declare(type)
    s.assign(rest, s.read(maskOperand))
    s.assign(bit, s.constant(bits, 1))
    s.assign(result, s.constant(bits, 0))
    const zero = s.constant(bits, 0)
    const remaining = () => s.variable(rest, bits)
    s.if(s.notEqual(remaining(), zero), () =>
      s.loop(() => {
        const lowest = s.and(remaining(), s.negate(remaining()))
        const taken = deposit ? s.and(value, s.variable(bit, bits)) : s.and(value, lowest)
        const put = deposit ? lowest : s.variable(bit, bits)
        s.if(s.notEqual(taken, zero), () => s.assign(result, s.or(s.variable(result, bits), put)))
        s.assign(rest, s.and(remaining(), s.subtract(remaining(), s.constant(bits, 1))))
        s.assign(bit, s.shiftLeft(s.variable(bit, bits), s.constant(bits, 1)))
        return s.notEqual(remaining(), zero)
      }),
    )
    s.write(target, s.variable(result, bits))
  }
}

const manipulation: Instruction[] = [
  instruction('ANDN', {
    source: 'SDM vol. 2A ANDN',
    forms: [form('VEX.LZ.NP.0F38 F2 /r', 'Gy', 'By', 'Ey', bmi)],
    undefinedFlags: ['AF', 'PF'],
    execute(s, target, inverted, source) {
      const result = s.and(s.not(s.read(inverted)), s.read(source))
      s.write(target, result)
      setBmiFlags(s, result, zeroFlag(s))
    },
  }),
  instruction('BEXTR', {
    source: 'SDM vol. 2A BEXTR',
    forms: [form('VEX.LZ.NP.0F38 F7 /r', 'Gy', 'Ey', 'By', bmi)],
    undefinedFlags: ['SF', 'AF', 'PF'],
    execute(s, target, source, control) {
      const value = s.read(source)
      const {bits} = value
      const byte = (at: number) => s.and(s.shiftRight(s.read(control), s.constant(bits, at)), s.constant(bits, 0xff))
      const start = byte(0)
      const length = byte(8)
      const size = s.constant(bits, bits)
      const shifted = s.select(s.below(start, size), s.shiftRight(value, start), s.constant(bits, 0))
      const mask = s.subtract(s.shiftLeft(s.constant(bits, 1), length), s.constant(bits, 1))
      const result = s.select(s.below(length, size), s.and(shifted, mask), shifted)
      s.write(target, result)
      setBmiFlags(s, result, zeroFlag(s))
    },
  }),
  instruction('BLSI', {
    source: 'SDM vol. 2A BLSI',
    forms: [form('VEX.LZ.NP.0F38 F3 /3', 'By', 'Ey', bmi)],
    undefinedFlags: ['AF', 'PF'],
    execute: lowestBit((s, value) => s.and(value, s.negate(value)), false),
  }),
  instruction('BLSMSK', {
    source: 'SDM vol. 2A BLSMSK',
    forms: [form('VEX.LZ.NP.0F38 F3 /2', 'By', 'Ey', bmi)],
    undefinedFlags: ['AF', 'PF'],
    execute: lowestBit((s, value) => s.xor(value, s.subtract(value, s.constant(value.bits, 1))), true),
  }),
  instruction('BLSR', {
    source: 'SDM vol. 2A BLSR',
    forms: [form('VEX.LZ.NP.0F38 F3 /1', 'By', 'Ey', bmi)],
    undefinedFlags: ['AF', 'PF'],
    execute: lowestBit((s, value) => s.and(value, s.subtract(value, s.constant(value.bits, 1))), true),
  }),
  instruction('BZHI', {
    source: 'SDM vol. 2A BZHI',
    forms: [form('VEX.LZ.NP.0F38 F5 /r', 'Gy', 'Ey', 'By', bmi2)],
    undefinedFlags: ['AF', 'PF'],
    execute(s, target, source, index) {
      const value = s.read(source)
      const {bits} = value
      const at = s.and(s.read(index), s.constant(bits, 0xff))
      const inside = s.below(at, s.constant(bits, bits))
      const mask = s.subtract(s.shiftLeft(s.constant(bits, 1), at), s.constant(bits, 1))
      const result = s.select(inside, s.and(value, mask), value)
      s.write(target, result)
      setBmiFlags(s, result, s.isZero(inside))
    },
  }),
  instruction('MULX', {
    source: 'SDM vol. 2B MULX',
    forms: [form('VEX.LZ.F2.0F38 F6 /r', 'Gy', 'By', 'Ey', bmi2)],
    execute(s, high, low, source) {
      const {low: lowResult, high: highResult} = s.multiplyWide(s.gpr('rdx', source.bits), s.read(source), false)
      s.write(low, lowResult)
      s.write(high, highResult)
    },
  }),
  instruction('PDEP', {
    source: 'SDM vol. 2B PDEP',
    forms: [form('VEX.LZ.F2.0F38 F5 /r', 'Gy', 'By', 'Ey', bmi2)],
    execute: scatter(true),
  }),
  instruction('PEXT', {
    source: 'SDM vol. 2B PEXT',
    forms: [form('VEX.LZ.F3.0F38 F5 /r', 'Gy', 'By', 'Ey', bmi2)],
    execute: scatter(false),
  }),
  instruction('RORX', {
    source: 'SDM vol. 2B RORX',
    forms: [form('VEX.LZ.F2.0F3A F0 /r', 'Gy', 'Ey', 'Ib', bmi2)],
    execute(s, target, source, amount) {
      const value = s.read(source)
      s.write(target, s.wasm(`${value.type}.rotr`, [value, s.resize(s.read(amount), value.bits)], {bits: value.bits}))
    },
  }),
  instruction('SARX', {
    source: 'SDM vol. 2B SARX',
    forms: [form('VEX.LZ.F3.0F38 F7 /r', 'Gy', 'Ey', 'By', bmi2)],
    execute: plainShift('shr_s'),
  }),
  instruction('SHLX', {
    source: 'SDM vol. 2B SHLX',
    forms: [form('VEX.LZ.66.0F38 F7 /r', 'Gy', 'Ey', 'By', bmi2)],
    execute: plainShift('shl'),
  }),
  instruction('SHRX', {
    source: 'SDM vol. 2B SHRX',
    forms: [form('VEX.LZ.F2.0F38 F7 /r', 'Gy', 'Ey', 'By', bmi2)],
    execute: plainShift('shr_u'),
  }),
]

export const bits: Instruction[] = [...bitTests(), ...scans, ...manipulation]
