/**
 * Conversions between floating-point formats and integers, and roundings to integral numbers, of XMM registers. As in sse-arithmetic.ts, plain
 * cases are done by the host's instructions, all others exactly.
 *
 * Source: SDM vol. 1 11.5, vol. 2.
 */
import type {Builder, Value} from '../ir/builder.js'
import {state} from '../state.js'
import {form, type Instruction, instruction} from './instruction.js'
import {checkAligned, register, setRegister, withLane, zeroExtended} from './sse-common.js'
import {bytesOf, exact, fromFloat, inScratch, numberWith, type OperationName, toFloat} from './sse-exact.js'
import {
  areOrderedLanes,
  areSmallLanes,
  type Bits,
  isInexactSeen,
  isNormal,
  isOrdered,
  isPlainMode,
  isZeroNumber,
} from './sse-plain.js'

/** The host's result, and when it is the guest's. */
type Plain = (s: Builder, source: Value) => {result: Value; when: Value}

/** Register to register conversions that write `lanes` results; `plain` gives a whole register, or the low lane's bits. */
function convert(
  mnemonic: string,
  encoding: string,
  operands: [string, string],
  operation: OperationName,
  lanes: number,
  plain?: Plain,
): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2A ${mnemonic}`,
    forms: [form(encoding, ...operands, {feature: 'sse2'})],
    execute(s, target, source) {
      const address = () => s.registerAddress(target.ref!)
      if (plain === undefined) return exact(s, operation, address(), bytesOf(s, source), lanes)
      if (source.bits === 128) checkAligned(s, source)
      const value = s.hold(s.read(source))
      const {result, when} = plain(s, value)
      s.if(
        when,
        () => s.setRegister(target.ref!, result.bits, result, 0, true),
        () => exact(s, operation, address(), inScratch(s, value), lanes),
      )
    },
  })
}

/** Two results in the low half, zeros above. */
function convertNarrow(mnemonic: string, encoding: string, operation: OperationName): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2A ${mnemonic}`,
    forms: [form(encoding, 'Vx', 'Wx', {feature: 'sse2'})],
    execute(s, target, source) {
      exact(s, operation, s.registerAddress(target.ref!), bytesOf(s, source), 2)
      setRegister(s, target, withLane(s, register(s, target), 64, 1, s.constant(64, 0)))
    },
  })
}

const widen: Plain = (s, source) => ({
  result: fromFloat(s, s.wasm('f64.promote_f32', [toFloat(s, source)])),
  when: isOrdered(s, source),
})

const narrow: Plain = (s, source) => {
  const result = s.hold(fromFloat(s, s.wasm('f32.demote_f64', [toFloat(s, source)])))
  const isNormalBoth = s.and(isNormal(s, source), isNormal(s, result))
  return {result, when: s.or(s.and(isPlainMode(s), isNormalBoth), isZeroNumber(s, source))}
}

const widenPair: Plain = (s, source) => {
  const value = s.hold(zeroExtended(s, source))
  return {result: s.wasm('f64x2.promote_low_f32x4', [value]), when: areOrderedLanes(s, 32, value)}
}

const fromIntegers: Plain = (s, source) => ({
  result: s.wasm('f32x4.convert_i32x4_s', [source]),
  when: isPlainMode(s),
})

const truncateAll: Plain = (s, source) => ({
  result: s.wasm('i32x4.trunc_sat_f32x4_s', [source]),
  when: s.and(isInexactSeen(s), areSmallLanes(s, source)),
})

/** CVTDQ2PD: always exact. */
const pairOfIntegers = instruction('CVTDQ2PD', {
  source: 'SDM vol. 2A CVTDQ2PD',
  forms: [form('F3 0F E6 /r', 'Vx', 'Wsd', {feature: 'sse2'})],
  execute: (s, target, source) =>
    setRegister(s, target, s.wasm('f64x2.convert_low_i32x4_s', [zeroExtended(s, s.read(source))])),
})

/** CVTSI2SS, CVTSI2SD: from a general register or memory of 32 or 64 bits. Integers that fit into the significand are exact. */
function fromInteger(
  mnemonic: string,
  prefix: string,
  bits: Bits,
  narrow: OperationName,
  wide: OperationName,
): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2A ${mnemonic}`,
    forms: [form(`${prefix} 0F 2A /r`, 'Vx', 'Ey', {feature: 'sse2'})],
    execute(s, target, source) {
      const value = s.hold(s.read(source))
      const result = fromFloat(s, s.wasm(`f${bits}.convert_${value.type}_s`, [value]))
      const take = () => s.setRegister(target.ref!, bits, result, 0, true)
      if (bits === 64 && value.bits === 32) return take()
      const largest = bits === 64 ? 2n ** 53n : 2n ** 24n
      const inRange = s.below(s.add(value, s.constant(value.bits, largest)), s.constant(value.bits, largest * 2n + 1n))
      s.if(s.or(inRange, isPlainMode(s)), take, () =>
        exact(s, value.bits === 64 ? wide : narrow, s.registerAddress(target.ref!), inScratch(s, value), 1),
      )
    },
  })
}

/** A power of two as the host's number. */
function power(s: Builder, bits: Bits, exponent: number, negative: boolean): Value {
  const field = bits === 64 ? BigInt(1023 + exponent) << 52n : BigInt(127 + exponent) << 23n
  const sign = negative ? 1n << BigInt(bits - 1) : 0n
  return toFloat(s, s.constant(bits, BigInt.asIntN(bits, field | sign)))
}

/** CVT(T)SS2SI, CVT(T)SD2SI: to a general register. */
function toInteger(
  mnemonic: string,
  prefix: string,
  opcode: string,
  bits: Bits,
  narrow: OperationName,
  wide: OperationName,
): Instruction {
  const truncates = mnemonic.startsWith('CVTT')
  const type = `f${bits}`
  return instruction(mnemonic, {
    source: `SDM vol. 2A ${mnemonic}`,
    forms: [form(`${prefix} 0F ${opcode} /r`, 'Gy', bits === 64 ? 'Wsd' : 'Wss', {feature: 'sse2'})],
    execute(s, target, source) {
      const value = s.hold(s.read(source))
      const integer = target.bits === 64 ? 'i64' : 'i32'
      const number = toFloat(s, value)
      const rounded = truncates ? number : s.wasm(`${type}.nearest`, [number])
      const above = s.wasm(`${type}.ge`, [rounded, power(s, bits, target.bits - 1, true)])
      const below = s.wasm(`${type}.lt`, [rounded, power(s, bits, target.bits - 1, false)])
      const result = s.declare(integer)
      s.if(
        s.and(s.and(above, below), truncates ? isInexactSeen(s) : isPlainMode(s)),
        () => s.assign(result, s.wasm(`${integer}.trunc_${type}_s`, [rounded])),
        () => {
          const operation = target.bits === 64 ? wide : narrow
          exact(s, operation, s.stateAddress(state.scratch + 32), inScratch(s, value), 1)
          s.assign(result, s.state(`${integer}.load`, state.scratch + 32))
        },
      )
      s.write(target, s.variable(result, target.bits))
    },
  })
}

/** ROUNDPS ROUNDPD: exactly. ROUNDSS ROUNDSD, which C's floor and its kin are made of: by the host where that is the same. */
function round(mnemonic: string, opcode: string, size: string, operation: OperationName, lanes: number): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2B ${mnemonic}`,
    forms: [form(`66 0F 3A ${opcode} /r`, `V${size}`, `W${size}`, 'Ib', {feature: 'sse4_1'})],
    execute(s, target, source, immediate) {
      const control = s.hold(s.zeroExtend(s.read(immediate), 32))
      const slow = (from: Value) =>
        exact(s, numberWith(s, operation, control), s.registerAddress(target.ref!), from, lanes)
      if (lanes > 1) return slow(bytesOf(s, source))
      const value = s.hold(s.read(source))
      s.if(
        s.and(isPlainMode(s), isOrdered(s, value)),
        () => s.setRegister(target.ref!, value.bits, roundedBy(s, value, control), 0, true),
        () => slow(inScratch(s, value)),
      )
    },
  })
}

/** The number rounded as an immediate says; bit 2 stands for MXCSR's mode, which is to nearest here. */
function roundedBy(s: Builder, value: Value, control: Value): Value {
  const number = toFloat(s, value)
  const by = (name: string) => fromFloat(s, s.wasm(`f${value.bits}.${name}`, [number]))
  const bit = (at: number) => s.and(control, s.constant(32, 1 << at))
  const down = s.select(bit(0), by('floor'), by('nearest'))
  const up = s.select(bit(0), by('trunc'), by('ceil'))
  return s.select(bit(2), by('nearest'), s.select(bit(1), up, down))
}

export const sseConversions: Instruction[] = [
  convert('CVTSS2SD', 'F3 0F 5A /r', ['Vx', 'Wss'], 'singleToDouble', 1, widen),
  convert('CVTSD2SS', 'F2 0F 5A /r', ['Vx', 'Wsd'], 'doubleToSingle', 1, narrow),
  convert('CVTPS2PD', 'NP 0F 5A /r', ['Vx', 'Wsd'], 'singleToDouble', 2, widenPair),
  convertNarrow('CVTPD2PS', '66 0F 5A /r', 'doubleToSingle'),
  convert('CVTDQ2PS', 'NP 0F 5B /r', ['Vx', 'Wx'], 'int32ToSingle', 4, fromIntegers),
  convert('CVTPS2DQ', '66 0F 5B /r', ['Vx', 'Wx'], 'singleToInt32', 4),
  convert('CVTTPS2DQ', 'F3 0F 5B /r', ['Vx', 'Wx'], 'singleTruncateInt32', 4, truncateAll),
  pairOfIntegers,
  convertNarrow('CVTPD2DQ', 'F2 0F E6 /r', 'doubleToInt32'),
  convertNarrow('CVTTPD2DQ', '66 0F E6 /r', 'doubleTruncateInt32'),
  fromInteger('CVTSI2SS', 'F3', 32, 'int32ToSingle', 'int64ToSingle'),
  fromInteger('CVTSI2SD', 'F2', 64, 'int32ToDouble', 'int64ToDouble'),
  toInteger('CVTSS2SI', 'F3', '2D', 32, 'singleToInt32', 'singleToInt64'),
  toInteger('CVTSD2SI', 'F2', '2D', 64, 'doubleToInt32', 'doubleToInt64'),
  toInteger('CVTTSS2SI', 'F3', '2C', 32, 'singleTruncateInt32', 'singleTruncateInt64'),
  toInteger('CVTTSD2SI', 'F2', '2C', 64, 'doubleTruncateInt32', 'doubleTruncateInt64'),
  round('ROUNDPS', '08', 'x', 'roundSingle', 4),
  round('ROUNDPD', '09', 'x', 'roundDouble', 2),
  round('ROUNDSS', '0A', 'ss', 'roundSingle', 1),
  round('ROUNDSD', '0B', 'sd', 'roundDouble', 1),
]
