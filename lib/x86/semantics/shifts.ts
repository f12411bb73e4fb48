/**
 * Shifts and rotates, double shifts, and the rotates through carry.
 *
 * Counts are masked to 5 bits (6 for 64-bit operands); a masked count of 0 changes no flag. For immediate counts that case is a variant
 * of its own (`zeroCount`), so that the usual one sets flags without a test.
 * OF is defined for single shifts only; for others it has the value that processors give in practice, and is masked in tests.
 * Source: SDM vol. 2B SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD.
 */
import type {Builder, Operand, Value} from '../ir/builder.js'
import {setFlagsResult, setFlagsSome, topBit} from './flag-writers.js'
import {type Form, form, type Instruction, instruction} from './instruction.js'

function groupTwo(digit: number): Form[] {
  return [
    form(`C0 /${digit}`, 'Eb', 'Ib', {shiftCount: true}),
    form(`C1 /${digit}`, 'Ev', 'Ib', {shiftCount: true}),
    form(`D0 /${digit}`, 'Eb', '1'),
    form(`D1 /${digit}`, 'Ev', '1'),
    form(`D2 /${digit}`, 'Eb', 'CL'),
    form(`D3 /${digit}`, 'Ev', 'CL'),
  ]
}

/** The masked count at the width of arithmetic on `bits`-bit operands (32 or 64). */
function maskedCount(s: Builder, count: Operand, bits: number): Value {
  const wide = bits === 64 ? 64 : 32
  return s.and(s.resize(s.read(count), wide), s.constant(wide, bits === 64 ? 63 : 31))
}

/** Runs `write` and sets flags; by CL the flags are set only when the count is not 0. */
function guarded(s: Builder, countOperand: Operand, count: Value, flags: () => void): void {
  if (s.variant.zeroCount) return
  if (countOperand.kind === 'immediate') return flags()
  s.if(s.notEqual(count, s.constant(count.bits, 0)), flags)
}

/** 0 or 1 from bit `index` of the value (index of the value's width class). */
function bitAt(s: Builder, value: Value, index: Value): Value {
  const shifted = s.wasm(`${value.type}.shr_u`, [value, index])
  return s.and(value.type === 'i64' ? s.wasm('i32.wrap_i64', [shifted]) : shifted, s.constant(32, 1))
}

/** The operand as an arithmetic-width value (i32 or i64) and back. */
const wide = (value: Value): Value => ({...value, bits: value.type === 'i64' ? 64 : 32})

function shift(kind: 'shl' | 'shr' | 'sar') {
  return (s: Builder, target: Operand, countOperand: Operand) => {
    const {bits} = target
    const old = s.read(target)
    const count = maskedCount(s, countOperand, bits)
    const source = kind === 'sar' ? s.signExtend(old, Math.max(32, bits)) : wide(old)
    const one = s.constant(source.bits, 1)
    let result: Value
    if (kind === 'shl') result = s.narrow(wide(s.wasm(`${source.type}.shl`, [source, count])), bits)
    else if (kind === 'shr') result = {...s.wasm(`${source.type}.shr_u`, [source, count]), bits}
    else result = s.narrow(wide(s.wasm(`${source.type}.shr_s`, [source, count])), bits)
    s.write(target, result)
    guarded(s, countOperand, count, () => {
      // The last bit shifted out: bit count-1 going right, bit size-count going left. Counts above an 8- or 16-bit size shift out zeros.
      const last =
        kind === 'shl'
          ? bitAt(
              s,
              bits < 32 ? s.wasm('i32.shl', [source, s.subtract(count, one)]) : source,
              bits < 32 ? s.constant(32, bits - 1) : s.subtract(s.constant(source.bits, bits), count),
            )
          : bitAt(s, source, s.subtract(count, one))
      const top = topBit(s, result)
      const overflow = kind === 'shl' ? s.xor(top, last) : kind === 'shr' ? topBit(s, old) : s.constant(32, 0)
      setFlagsResult(s, result, last, overflow)
    })
  }
}

function rotate(kind: 'rol' | 'ror') {
  return (s: Builder, target: Operand, countOperand: Operand) => {
    const {bits} = target
    const old = s.read(target)
    const count = maskedCount(s, countOperand, bits)
    let result: Value
    if (bits >= 32) result = s.wasm(`${old.type}.${kind === 'rol' ? 'rotl' : 'rotr'}`, [old, count], {bits})
    else {
      // Doubled (quadrupled) up to 32 bits, a rotate of 8 or 16 bits is one of 32.
      const doubled =
        bits === 16
          ? s.multiply(wide(old), s.constant(32, 0x00010001))
          : s.multiply(wide(old), s.constant(32, 0x01010101))
      result = s.narrow(s.wasm(kind === 'rol' ? 'i32.rotl' : 'i32.rotr', [doubled, count]), bits)
    }
    s.write(target, result)
    guarded(s, countOperand, count, () => {
      const low = s.and(s.narrow(s.resize(result, 32), 32), s.constant(32, 1))
      const top = topBit(s, result)
      const carry = kind === 'rol' ? low : top
      const overflow =
        kind === 'rol' ? s.xor(top, low) : s.xor(top, topBit(s, s.shiftLeft(result, s.constant(bits, 1))))
      setFlagsSome(s, 0x801, s.or(carry, s.shiftLeft(overflow, s.constant(32, 11))))
    })
  }
}

/** RCL and RCR: one bit at a time through CF; rare enough for a slow path. */
function rotateThroughCarry(kind: 'rcl' | 'rcr') {
  return (s: Builder, target: Operand, countOperand: Operand) => {
    const {bits} = target
    const old = s.declare(bits === 64 ? 'i64' : 'i32')
    s.assign(old, s.read(target))
    const turns = s.declare('i32')
    const carry = s.declare('i32')
    const masked = s.narrow(s.resize(maskedCount(s, countOperand, bits), 32), 32)
    s.assign(turns, masked)
    s.assign(carry, s.condition(2))
    const again = () => s.variable(turns, 32)
    s.if(again(), () =>
      s.loop(() => {
        const value = s.variable(old, bits)
        const incoming = s.resize({...s.variable(carry, 32), bits: 32}, bits)
        if (kind === 'rcl') {
          const out = topBit(s, value)
          s.assign(old, s.or(s.shiftLeft(value, s.constant(bits, 1)), incoming))
          s.assign(carry, keep(s, out))
        } else {
          const out = s.and(s.narrow(s.resize(value, 32), 32), s.constant(32, 1))
          const kept = keep(s, out)
          s.assign(
            old,
            s.or(s.shiftRight(value, s.constant(bits, 1)), s.shiftLeft(incoming, s.constant(bits, bits - 1))),
          )
          s.assign(carry, kept)
        }
        s.assign(turns, s.subtract(again(), s.constant(32, 1)))
        return again()
      }),
    )
    const result = s.variable(old, bits)
    s.write(target, result)
    const flags = () => {
      const top = topBit(s, s.variable(old, bits))
      const other =
        kind === 'rcl' ? s.variable(carry, 32) : topBit(s, s.shiftLeft(s.variable(old, bits), s.constant(bits, 1)))
      setFlagsSome(s, 0x801, s.or(s.variable(carry, 32), s.shiftLeft(s.xor(top, other), s.constant(32, 11))))
    }
    s.if(masked, flags)
  }
}

/** Computes the value now, before a variable it depends on changes. */
function keep(s: Builder, value: Value): Value {
  const variable = s.declare('i32')
  s.assign(variable, value)
  return s.variable(variable, 32)
}

/** SHLD and SHRD. 16-bit counts above 16 are undefined; they act on target:source:target as processors do. */
function doubleShift(kind: 'left' | 'right') {
  return (s: Builder, target: Operand, fill: Operand, countOperand: Operand) => {
    const {bits} = target
    const old = s.read(target)
    const other = s.read(fill)
    const count = maskedCount(s, countOperand, bits)
    const size = s.constant(count.bits, bits)
    let result: Value
    let last: Value
    if (bits === 16) {
      // target:source:target in 48 bits, so that counts to 31 need no case of their own.
      const high = s.zeroExtend(kind === 'left' ? old : old, 64)
      const middle = s.zeroExtend(other, 64)
      const long = s.zeroExtend(count, 64)
      const join = (a: Value, b: Value, c: Value) =>
        s.or(s.or(s.shiftLeft(a, s.constant(64, 32)), s.shiftLeft(b, s.constant(64, 16))), c)
      const joined = join(high, middle, high)
      const moved =
        kind === 'left' ? s.shiftRight(s.shiftLeft(joined, long), s.constant(64, 32)) : s.shiftRight(joined, long)
      result = s.narrow(moved, 16)
      last =
        kind === 'left'
          ? bitAt(s, joined, s.subtract(s.constant(64, 48), long))
          : bitAt(s, joined, s.subtract(long, s.constant(64, 1)))
    } else {
      const [near, far] = kind === 'left' ? ['shl', 'shr_u'] : ['shr_u', 'shl']
      const moved = s.wasm(`${old.type}.${near}`, [old, count])
      // A count of 0 would shift the filler by the full size, which WebAssembly takes as 0: select instead.
      const filler = s.wasm(`${old.type}.${far}`, [other, s.subtract(size, count)])
      result = s.select(s.isZero(count), old, {...s.wasm(`${old.type}.or`, [moved, filler]), bits})
      last = bitAt(s, old, kind === 'left' ? s.subtract(size, count) : s.subtract(count, s.constant(count.bits, 1)))
    }
    s.write(target, result)
    guarded(s, countOperand, count, () => {
      setFlagsResult(s, result, last, s.xor(topBit(s, result), topBit(s, old)))
    })
  }
}

const source = 'SDM vol. 2B SAL/SAR/SHL/SHR'
const rotates = 'SDM vol. 2B RCL/RCR/ROL/ROR'

export const shifts: Instruction[] = [
  instruction('ROL', {source: rotates, forms: groupTwo(0), undefinedFlags: ['OF'], execute: rotate('rol')}),
  instruction('ROR', {source: rotates, forms: groupTwo(1), undefinedFlags: ['OF'], execute: rotate('ror')}),
  instruction('RCL', {source: rotates, forms: groupTwo(2), undefinedFlags: ['OF'], execute: rotateThroughCarry('rcl')}),
  instruction('RCR', {source: rotates, forms: groupTwo(3), undefinedFlags: ['OF'], execute: rotateThroughCarry('rcr')}),
  instruction('SHL', {
    source,
    forms: [...groupTwo(4), ...groupTwo(6)],
    undefinedFlags: ['OF', 'AF'],
    execute: shift('shl'),
  }),
  instruction('SHR', {source, forms: groupTwo(5), undefinedFlags: ['OF', 'AF'], execute: shift('shr')}),
  instruction('SAR', {source, forms: groupTwo(7), undefinedFlags: ['AF'], execute: shift('sar')}),
  instruction('SHLD', {
    source: 'SDM vol. 2B SHLD',
    forms: [form('0F A4 /r', 'Ev', 'Gv', 'Ib', {shiftCount: true}), form('0F A5 /r', 'Ev', 'Gv', 'CL')],
    undefinedFlags: ['OF', 'AF'],
    execute: doubleShift('left'),
  }),
  instruction('SHRD', {
    source: 'SDM vol. 2B SHRD',
    forms: [form('0F AC /r', 'Ev', 'Gv', 'Ib', {shiftCount: true}), form('0F AD /r', 'Ev', 'Gv', 'CL')],
    undefinedFlags: ['OF', 'AF'],
    execute: doubleShift('right'),
  }),
]
