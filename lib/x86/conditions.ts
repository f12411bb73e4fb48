/**
 * Conditions and status flags from the lazy flags, as functions of the core module: what generated code asks when it does not know the kind
 * of the flags. The formulas by kind are those of flags.ts.
 *
 * Source: SDM vol. 1 3.4.3.1, appendix B.
 */
import {Code} from '../wasm/builder.js'
import {FlagKind} from './flags.js'
import {state} from './state.js'

/** All six status flags as RFLAGS bits; the conditions are functions 0 to 15 of this module. */
export function statusFlags(cpuBase: number, conditions: readonly number[]): Code {
  const code = new Code()
  const cpu = code.local('i32')
  const kind = code.local('i32')
  code.i32Const(cpuBase)
  code.localTee(cpu)
  code.memory('i32.load', state.flagKind)
  code.localTee(kind)
  code.op('i32.eqz')
  code.if()
  code.localGet(cpu)
  code.memory('i32.load', state.flagA)
  code.i32Const(0x8d5)
  code.op('i32.and')
  code.return()
  code.end()
  for (const [conditionCode, bit] of [
    [0, 11],
    [2, 0],
    [4, 6],
    [8, 7],
    [10, 2],
  ]) {
    code.call(conditions[conditionCode])
    code.i32Const(bit)
    code.op('i32.shl')
  }
  for (let count = 0; count < 4; count++) code.op('i32.or')
  const low = (field: 'flagA' | 'flagB' | 'flagR') => {
    code.localGet(cpu)
    code.memory('i32.load', state[field])
  }
  const isKind = (wanted: number) => {
    code.localGet(kind)
    code.i32Const(wanted)
    code.op('i32.eq')
  }
  /** AF where R's low four bits have a value. */
  const lowBits = (value: number) => {
    low('flagR')
    code.i32Const(15)
    code.op('i32.and')
    code.i32Const(value)
    code.op('i32.eq')
    code.i32Const(4)
    code.op('i32.shl')
  }
  isKind(FlagKind.logic)
  code.if('i32')
  code.i32Const(0)
  code.else()
  isKind(FlagKind.inc)
  code.if('i32')
  lowBits(0)
  code.else()
  isKind(FlagKind.dec)
  code.if('i32')
  lowBits(15)
  code.else()
  low('flagA')
  low('flagB')
  low('flagR')
  code.op('i32.xor')
  code.i32Const(0)
  isKind(FlagKind.result)
  code.op('i32.eqz')
  code.select()
  code.op('i32.xor')
  code.i32Const(0x10)
  code.op('i32.and')
  code.end()
  code.end()
  code.end()
  code.op('i32.or')
  return code
}

/** One condition of Jcc from the lazy flags. Odd codes negate the even one before them. */
export function condition(conditionCode: number, cpuBase: number): Code {
  const code = new Code()
  const cpu = code.local('i32')
  const kind = code.local('i32')
  code.i32Const(cpuBase)
  code.localTee(cpu)
  code.memory('i32.load', state.flagKind)
  code.localSet(kind)
  const word = (field: 'flagA' | 'flagB' | 'flagR') => {
    code.localGet(cpu)
    code.memory('i64.load', state[field])
  }
  const explicitBit = (bit: number) => {
    word('flagA')
    code.i64Const(bit)
    code.op('i64.shr_u')
    code.op('i32.wrap_i64')
    code.i32Const(1)
    code.op('i32.and')
  }
  const ifExplicit = (bit: number, otherwise: () => void) => {
    code.localGet(kind)
    code.op('i32.eqz')
    code.if('i32')
    explicitBit(bit)
    code.else()
    otherwise()
    code.end()
  }
  const zero = () =>
    ifExplicit(6, () => {
      word('flagR')
      code.op('i64.eqz')
    })
  const sign = () =>
    ifExplicit(7, () => {
      word('flagR')
      code.i64Const(0)
      code.op('i64.lt_s')
    })
  const parity = () =>
    ifExplicit(2, () => {
      word('flagR')
      code.i64Const(0xff)
      code.op('i64.and')
      code.op('i64.popcnt')
      code.op('i32.wrap_i64')
      code.i32Const(1)
      code.op('i32.and')
      code.op('i32.eqz')
    })
  const isKind = (...kinds: number[]) => {
    kinds.forEach((wanted, index) => {
      code.localGet(kind)
      code.i32Const(wanted)
      code.op('i32.eq')
      if (index > 0) code.op('i32.or')
    })
  }
  const negative = () => {
    code.i64Const(0)
    code.op('i64.lt_s')
  }
  const invert = () => {
    code.i64Const(-1)
    code.op('i64.xor')
  }
  const majority = (invertA: boolean) => {
    word('flagA')
    if (invertA) invert()
    word('flagB')
    code.op('i64.and')
    word('flagA')
    if (invertA) invert()
    word('flagB')
    code.op('i64.or')
    word('flagR')
    if (!invertA) invert()
    code.op('i64.and')
    code.op('i64.or')
    negative()
  }
  const carry = () => {
    isKind(FlagKind.sub, FlagKind.sbb)
    code.if('i32')
    majority(true)
    code.else()
    isKind(FlagKind.add, FlagKind.adc)
    code.if('i32')
    majority(false)
    code.else()
    // logic: 0; everything else keeps CF in bit 0 of A.
    explicitBit(0)
    isKind(FlagKind.logic)
    code.op('i32.eqz')
    code.op('i32.and')
    code.end()
    code.end()
  }
  const overflow = () => {
    isKind(FlagKind.sub, FlagKind.sbb, FlagKind.add, FlagKind.adc)
    code.if('i32')
    word('flagA')
    word('flagR')
    code.op('i64.xor')
    word('flagB')
    word('flagR')
    word('flagA')
    isKind(FlagKind.add, FlagKind.adc)
    code.select()
    code.op('i64.xor')
    code.op('i64.and')
    negative()
    code.else()
    isKind(FlagKind.inc, FlagKind.dec)
    code.if('i32')
    word('flagR')
    word('flagB')
    code.op('i64.eq')
    code.else()
    explicitBit(11)
    isKind(FlagKind.logic)
    code.op('i32.eqz')
    code.op('i32.and')
    code.end()
    code.end()
  }
  const lessThan = () => {
    sign()
    overflow()
    code.op('i32.xor')
  }
  const either = (one: () => void, other: () => void) => {
    one()
    other()
    code.op('i32.or')
  }
  const positive = [
    overflow,
    carry,
    zero,
    () => either(carry, zero),
    sign,
    parity,
    lessThan,
    () => either(lessThan, zero),
  ]
  positive[conditionCode >> 1]()
  if (conditionCode & 1) code.op('i32.eqz')
  return code
}
