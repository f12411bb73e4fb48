/**
 * Floating-point arithmetic, comparisons and conversions of XMM registers. Every operation is done exactly, flags included, by
 * float/sse-exact.ts on the registers' bytes in vCPU state; plain cases that cannot raise anything but a sticky bit already set are done
 * inline (see fast()).
 *
 * Source: SDM vol. 1 10.2.3 (MXCSR), 11.5 (exceptions), vol. 2.
 */
import {SseOperation} from '../float/sse-exact.js'
import type {Builder, Operand, Value} from '../ir/builder.js'
import {state} from '../state.js'
import {type Form, form, type Instruction, instruction} from './instruction.js'
import {checkAligned, lane, register, setRegister, withLane} from './sse-common.js'

/** An exact operation by name. */
export type OperationName = keyof typeof SseOperation

/** Address of an operand's bytes: the register itself, or a copy of memory in scratch. */
export function bytesOf(s: Builder, operand: Operand): Value {
  if (operand.kind !== 'memory') return s.registerAddress(operand.ref!)
  if (operand.bits === 128) checkAligned(s, operand)
  const access = ({32: 'i32.store', 64: 'i64.store', 128: 'v128.store'} as const)[operand.bits]!
  s.setState(access, state.scratch, s.read(operand))
  return s.stateAddress(state.scratch)
}

/** Calls the exact operation; raises #XM when it says so. */
export function exact(s: Builder, operation: Value | OperationName, target: Value, source: Value, lanes: number): void {
  const number = typeof operation === 'string' ? s.constant(32, SseOperation[operation]) : operation
  const result = s.call('sseExact', [number, target, source, s.constant(32, lanes)], 'i32')!
  s.if(result, () => s.fault(19))
}

/**
 * True when MXCSR is the plain one (round to nearest, everything masked, no DAZ, no FTZ) and PE is already set, and value and operands are
 * normal numbers: then the host's operation gives the same result and changes no flag.
 */
function fast(s: Builder, bits: 32 | 64, values: readonly Value[], plain: () => void, slow: () => void): void {
  const control = s.and(s.state('i32.load', state.mxcsr), s.constant(32, 0xffe0))
  let ok = s.equal(control, s.constant(32, 0x1fa0))
  for (const value of values) {
    // exponent - 1 < 0x7fe (0xfe): neither 0 nor all ones.
    const shifted =
      bits === 64
        ? s.narrow(s.shiftRight(s.shiftLeft(value, s.constant(64, 1)), s.constant(64, 53)), 32)
        : s.shiftRight(s.shiftLeft(value, s.constant(32, 1)), s.constant(32, 24))
    ok = s.and(ok, s.below(s.subtract(shifted, s.constant(32, 1)), s.constant(32, bits === 64 ? 0x7fe : 0xfe)))
  }
  s.if(ok, plain, slow)
}

/** One arithmetic operation in its four shapes: PS PD SS SD. */
function arithmetic(
  mnemonic: string,
  opcode: string,
  single: OperationName,
  double: OperationName,
  host?: string,
): Instruction[] {
  const packed = (suffix: string, prefix: string, operation: OperationName, lanes: number) =>
    instruction(mnemonic + suffix, {
      source: `SDM vol. 2 ${mnemonic}${suffix}`,
      forms: [form(`${prefix} 0F ${opcode} /r`, 'Vx', 'Wx', {feature: 'sse2'})],
      execute: (s, target, source) => exact(s, operation, s.registerAddress(target.ref!), bytesOf(s, source), lanes),
    })
  const scalar = (suffix: string, prefix: string, size: string, bits: 32 | 64, operation: OperationName) =>
    instruction(mnemonic + suffix, {
      source: `SDM vol. 2 ${mnemonic}${suffix}`,
      forms: [form(`${prefix} 0F ${opcode} /r`, `V${size}`, `W${size}`, {feature: 'sse2'})],
      execute(s, target, source) {
        const slow = (from: Value) => exact(s, operation, s.registerAddress(target.ref!), from, 1)
        if (host === undefined) return slow(bytesOf(s, source))
        const right = s.hold(s.read(source))
        const left = s.hold(s.read({...target, bits}))
        const type = bits === 64 ? 'f64' : 'f32'
        const wide = bits === 64 ? 'i64' : 'i32'
        const result = s.hold(
          s.wasm(`${wide}.reinterpret_${type}`, [
            s.wasm(`${type}.${host}`, [
              s.wasm(`${type}.reinterpret_${wide}`, [left]),
              s.wasm(`${type}.reinterpret_${wide}`, [right]),
            ]),
          ]),
        )
        fast(
          s,
          bits,
          [left, right, result],
          () => s.setRegister(target.ref!, bits, result, 0, true),
          () => {
            s.setState(bits === 64 ? 'i64.store' : 'i32.store', state.scratch, right)
            slow(s.stateAddress(state.scratch))
          },
        )
      },
    })
  return [
    packed('PS', 'NP', single, 4),
    packed('PD', '66', double, 2),
    scalar('SS', 'F3', 'ss', 32, single),
    scalar('SD', 'F2', 'sd', 64, double),
  ]
}

/** CMPPS and its kin: the predicate comes from the immediate's low three bits. */
function compares(): Instruction[] {
  const one = (mnemonic: string, prefix: string, operands: string[], operation: OperationName, lanes: number) =>
    instruction(mnemonic, {
      source: 'SDM vol. 2A CMPPS … CMPSD',
      forms: [form(`${prefix} 0F C2 /r`, ...operands, 'Ib', {feature: 'sse2'})],
      execute(s, target, source, predicate) {
        const which = s.and(s.zeroExtend(s.read(predicate), 32), s.constant(32, 7))
        const number = s.or(s.shiftLeft(which, s.constant(32, 8)), s.constant(32, SseOperation[operation]))
        exact(s, number, s.registerAddress(target.ref!), bytesOf(s, source), lanes)
      },
    })
  return [
    one('CMPPS', 'NP', ['Vx', 'Wx'], 'compareSingle', 4),
    one('CMPPD', '66', ['Vx', 'Wx'], 'compareDouble', 2),
    one('CMPSS', 'F3', ['Vss', 'Wss'], 'compareSingle', 1),
    one('CMPSD', 'F2', ['Vsd', 'Wsd'], 'compareDouble', 1),
  ]
}

/** Sums across lanes; and those whose immediate goes to the exact operation: dot products, roundings. */
function across(mnemonic: string, encoding: string, operation: OperationName, lanes: number): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2 ${mnemonic}`,
    forms: [form(encoding, 'Vx', 'Wx', {feature: 'sse3'})],
    execute: (s, target, source) => exact(s, operation, s.registerAddress(target.ref!), bytesOf(s, source), lanes),
  })
}

function controlled(
  mnemonic: string,
  opcode: string,
  size: string,
  operation: OperationName,
  lanes: number,
): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2 ${mnemonic}`,
    forms: [form(`66 0F 3A ${opcode} /r`, `V${size}`, `W${size}`, 'Ib', {feature: 'sse4_1'})],
    execute(s, target, source, immediate) {
      const shifted = s.shiftLeft(s.zeroExtend(s.read(immediate), 32), s.constant(32, 8))
      const number = s.or(shifted, s.constant(32, SseOperation[operation]))
      exact(s, number, s.registerAddress(target.ref!), bytesOf(s, source), lanes)
    },
  })
}

/** COMISS … UCOMISD: ZF PF CF. */
function ordered(
  mnemonic: string,
  prefix: string,
  opcode: string,
  size: string,
  isDouble: number,
  quiet: number,
): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2 ${mnemonic}`,
    forms: [form(`${prefix} 0F ${opcode} /r`, `V${size}`, `W${size}`, {feature: 'sse2'})],
    execute(s, first, second) {
      const flags = s.call(
        'sseCompare',
        [s.constant(32, isDouble | (quiet << 1)), s.registerAddress(first.ref!), bytesOf(s, second)],
        'i32',
      )!
      s.if(s.less(flags, s.constant(32, 0)), () => s.fault(19))
      s.setFlags('explicit', 32, {a: flags})
    },
  })
}

/** Register to register conversions that write `lanes` results and, if `clear`, zero the upper half. */
function convert(
  mnemonic: string,
  encoding: string,
  operands: [string, string],
  operation: OperationName,
  lanes: number,
  clear = false,
): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2A ${mnemonic}`,
    forms: [form(encoding, ...operands, {feature: 'sse2'})],
    execute(s, target, source) {
      exact(s, operation, s.registerAddress(target.ref!), bytesOf(s, source), lanes)
      if (clear) setRegister(s, target, withLane(s, register(s, target), 64, 1, s.constant(64, 0)))
    },
  })
}

/** CVTSI2SS, CVTSI2SD: from a general register or memory of 32 or 64 bits. */
function fromInteger(mnemonic: string, prefix: string, narrow: OperationName, wide: OperationName): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2A ${mnemonic}`,
    forms: [form(`${prefix} 0F 2A /r`, 'Vx', 'Ey', {feature: 'sse2'})],
    execute(s, target, source) {
      const value = s.read(source)
      s.setState(value.bits === 64 ? 'i64.store' : 'i32.store', state.scratch, value)
      exact(s, value.bits === 64 ? wide : narrow, s.registerAddress(target.ref!), s.stateAddress(state.scratch), 1)
    },
  })
}

/** CVT(T)SS2SI, CVT(T)SD2SI: to a general register. */
function toInteger(
  mnemonic: string,
  prefix: string,
  opcode: string,
  size: string,
  narrow: OperationName,
  wide: OperationName,
): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2A ${mnemonic}`,
    forms: [form(`${prefix} 0F ${opcode} /r`, 'Gy', `W${size}`, {feature: 'sse2'})],
    execute(s, target, source) {
      const from = bytesOf(s, source)
      const operation = s.constant(32, SseOperation[target.bits === 64 ? wide : narrow])
      const result = s.call(
        'sseExact',
        [operation, s.stateAddress(state.scratch + 32), from, s.constant(32, 1)],
        'i32',
      )!
      s.if(result, () => s.fault(19))
      s.write(target, s.state(target.bits === 64 ? 'i64.load' : 'i32.load', state.scratch + 32))
    },
  })
}

/** RCPPS RSQRTPS and their scalar forms: 12-bit approximations, done by the host's division. */
function approximate(mnemonic: string, opcode: string, compute: (s: Builder, value: Value) => Value): Instruction[] {
  const forms: [string, Form, number][] = [
    [`${mnemonic}PS`, form(`NP 0F ${opcode} /r`, 'Vx', 'Wx', {feature: 'sse'}), 4],
    [`${mnemonic}SS`, form(`F3 0F ${opcode} /r`, 'Vss', 'Wss', {feature: 'sse'}), 1],
  ]
  return forms.map(([name, encoding, lanes]) =>
    instruction(name, {
      source: `SDM vol. 2B ${name}`,
      forms: [encoding],
      execute(s, target, source) {
        if (lanes === 4) {
          checkAligned(s, source)
          return setRegister(s, target, compute(s, s.read(source)))
        }
        const spread = s.wasm('i32x4.splat', [s.read(source)])
        s.setRegister(target.ref!, 32, lane(s, compute(s, spread), 32, 0), 0, true)
      },
    }),
  )
}

/** Numbers below the normal range become zeros of their sign, as the approximations treat them. */
function flush(s: Builder, value: Value): Value {
  const held = s.hold(value)
  const word = (bits: number) => s.wasm('i32x4.splat', [s.constant(32, bits)])
  const normal = s.wasm('i32x4.ne', [s.wasm('v128.and', [held, word(0x7f800000)]), word(0)])
  return s.wasm('v128.and', [held, s.wasm('v128.or', [normal, word(0x80000000 | 0)])])
}

const one = Uint8Array.from([0, 0, 0x80, 0x3f, 0, 0, 0x80, 0x3f, 0, 0, 0x80, 0x3f, 0, 0, 0x80, 0x3f])

export const sseArithmetic: Instruction[] = [
  ...arithmetic('ADD', '58', 'addSingle', 'addDouble', 'add'),
  ...arithmetic('MUL', '59', 'multiplySingle', 'multiplyDouble', 'mul'),
  ...arithmetic('SUB', '5C', 'subtractSingle', 'subtractDouble', 'sub'),
  ...arithmetic('MIN', '5D', 'minimumSingle', 'minimumDouble'),
  ...arithmetic('DIV', '5E', 'divideSingle', 'divideDouble', 'div'),
  ...arithmetic('MAX', '5F', 'maximumSingle', 'maximumDouble'),
  ...arithmetic('SQRT', '51', 'squareRootSingle', 'squareRootDouble'),
  ...compares(),
  across('HADDPS', 'F2 0F 7C /r', 'horizontalAddSingle', 4),
  across('HADDPD', '66 0F 7C /r', 'horizontalAddDouble', 2),
  across('HSUBPS', 'F2 0F 7D /r', 'horizontalSubtractSingle', 4),
  across('HSUBPD', '66 0F 7D /r', 'horizontalSubtractDouble', 2),
  across('ADDSUBPS', 'F2 0F D0 /r', 'addSubtractSingle', 4),
  across('ADDSUBPD', '66 0F D0 /r', 'addSubtractDouble', 2),
  controlled('DPPS', '40', 'x', 'dotProductSingle', 4),
  controlled('DPPD', '41', 'x', 'dotProductDouble', 2),
  controlled('ROUNDPS', '08', 'x', 'roundSingle', 4),
  controlled('ROUNDPD', '09', 'x', 'roundDouble', 2),
  controlled('ROUNDSS', '0A', 'ss', 'roundSingle', 1),
  controlled('ROUNDSD', '0B', 'sd', 'roundDouble', 1),
  ordered('UCOMISS', 'NP', '2E', 'ss', 0, 1),
  ordered('UCOMISD', '66', '2E', 'sd', 1, 1),
  ordered('COMISS', 'NP', '2F', 'ss', 0, 0),
  ordered('COMISD', '66', '2F', 'sd', 1, 0),
  convert('CVTSS2SD', 'F3 0F 5A /r', ['Vx', 'Wss'], 'singleToDouble', 1),
  convert('CVTSD2SS', 'F2 0F 5A /r', ['Vx', 'Wsd'], 'doubleToSingle', 1),
  convert('CVTPS2PD', 'NP 0F 5A /r', ['Vx', 'Wsd'], 'singleToDouble', 2),
  convert('CVTPD2PS', '66 0F 5A /r', ['Vx', 'Wx'], 'doubleToSingle', 2, true),
  convert('CVTDQ2PS', 'NP 0F 5B /r', ['Vx', 'Wx'], 'int32ToSingle', 4),
  convert('CVTPS2DQ', '66 0F 5B /r', ['Vx', 'Wx'], 'singleToInt32', 4),
  convert('CVTTPS2DQ', 'F3 0F 5B /r', ['Vx', 'Wx'], 'singleTruncateInt32', 4),
  convert('CVTDQ2PD', 'F3 0F E6 /r', ['Vx', 'Wsd'], 'int32ToDouble', 2),
  convert('CVTPD2DQ', 'F2 0F E6 /r', ['Vx', 'Wx'], 'doubleToInt32', 2, true),
  convert('CVTTPD2DQ', '66 0F E6 /r', ['Vx', 'Wx'], 'doubleTruncateInt32', 2, true),
  fromInteger('CVTSI2SS', 'F3', 'int32ToSingle', 'int64ToSingle'),
  fromInteger('CVTSI2SD', 'F2', 'int32ToDouble', 'int64ToDouble'),
  toInteger('CVTSS2SI', 'F3', '2D', 'ss', 'singleToInt32', 'singleToInt64'),
  toInteger('CVTSD2SI', 'F2', '2D', 'sd', 'doubleToInt32', 'doubleToInt64'),
  toInteger('CVTTSS2SI', 'F3', '2C', 'ss', 'singleTruncateInt32', 'singleTruncateInt64'),
  toInteger('CVTTSD2SI', 'F2', '2C', 'sd', 'doubleTruncateInt32', 'doubleTruncateInt64'),
  ...approximate('RCP', '53', (s, value) => flush(s, s.wasm('f32x4.div', [s.vector(one), flush(s, value)]))),
  ...approximate('RSQRT', '52', (s, value) =>
    s.wasm('f32x4.div', [s.vector(one), s.wasm('f32x4.sqrt', [flush(s, value)])]),
  ),
]
