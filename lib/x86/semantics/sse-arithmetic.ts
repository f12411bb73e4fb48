/**
 * Floating-point arithmetic and comparisons of XMM registers. Operations that cannot raise anything but a sticky bit already set are done by the
 * host's instructions (sse-plain.ts says when); all others exactly, flags included, by float/sse-exact.ts on the registers' bytes.
 *
 * Source: SDM vol. 1 10.2.3 (MXCSR), 11.5 (exceptions), vol. 2.
 */
import type {Builder, Operand, Value} from '../ir/builder.js'
import {type Form, form, type Instruction, instruction} from './instruction.js'
import {lane, readAligned, register, setRegister} from './sse-common.js'
import {bytesOf, exact, fromFloat, inScratch, numberWith, type OperationName, toFloat} from './sse-exact.js'
import {
  areOrderedLanes,
  arePlainLanes,
  arePositiveLanes,
  type Bits,
  isNormal,
  isNormalOperation,
  isOrdered,
  isPlainMode,
  isZeroOperation,
  type Operator,
} from './sse-plain.js'

const floatType = (bits: Bits) => (bits === 64 ? 'f64' : 'f32')
const shapeOf = (bits: Bits) => (bits === 64 ? 'f64x2' : 'f32x4')

/** What an operation does on plain numbers: values of both operands → the result, and when that is all there is to do. */
interface Plain {
  scalar(
    s: Builder,
    bits: Bits,
    left: Value,
    right: Value,
  ): {
    result: Value
    when: Value
    /** Asked only where `when` does not hold. */
    orWhen?(): Value
  }
  packed(s: Builder, bits: Bits, left: Value, right: Value): {result: Value; when: Value}
}

/** ADD SUB MUL DIV. */
function arithmetic(operator: Operator): Plain {
  return {
    scalar(s, bits, left, right) {
      const floats = [toFloat(s, left), toFloat(s, right)]
      const result = s.hold(fromFloat(s, s.wasm(`${floatType(bits)}.${operator}`, floats)))
      const when = isNormalOperation(s, left, right, result)
      return {result, when, orWhen: () => isZeroOperation(s, operator, left, right, result)}
    },
    packed(s, bits, left, right) {
      const result = s.hold(s.wasm(`${shapeOf(bits)}.${operator}`, [left, right]))
      return {result, when: arePlainLanes(s, bits, operator, left, right, result)}
    },
  }
}

/** MIN MAX: the source wins unless the target is strictly smaller or larger. */
function extreme(comparison: 'lt' | 'gt'): Plain {
  return {
    scalar(s, bits, left, right) {
      const wins = s.wasm(`${floatType(bits)}.${comparison}`, [toFloat(s, left), toFloat(s, right)])
      return {result: s.select(wins, left, right), when: s.and(isOrdered(s, left), isOrdered(s, right))}
    },
    packed(s, bits, left, right) {
      const wins = s.wasm(`${shapeOf(bits)}.${comparison}`, [left, right])
      return {result: s.wasm('v128.bitselect', [left, right, wins]), when: areOrderedLanes(s, bits, left, right)}
    },
  }
}

/** SQRT of the source. */
const squareRoot: Plain = {
  scalar(s, bits, _left, right) {
    const result = fromFloat(s, s.wasm(`${floatType(bits)}.sqrt`, [toFloat(s, right)]))
    const positive = s.and(isNormal(s, right), s.less(s.constant(bits, 0), right))
    return {result, when: s.and(isPlainMode(s), positive)}
  },
  packed: (s, bits, _left, right) => ({
    result: s.wasm(`${shapeOf(bits)}.sqrt`, [right]),
    when: arePositiveLanes(s, bits, right),
  }),
}

/** One operation in its four shapes: PS PD SS SD. */
function fourShapes(
  mnemonic: string,
  opcode: string,
  operations: Record<Bits, OperationName>,
  plain: Plain,
): Instruction[] {
  const packed = (suffix: string, prefix: string, bits: Bits) =>
    instruction(mnemonic + suffix, {
      source: `SDM vol. 2 ${mnemonic}${suffix}`,
      forms: [form(`${prefix} 0F ${opcode} /r`, 'Vx', 'Wx', {feature: 'sse2'})],
      execute(s, target, source) {
        const right = s.hold(readAligned(s, source))
        const left = s.hold(register(s, target))
        const {result, when} = plain.packed(s, bits, left, right)
        s.if(
          when,
          () => setRegister(s, target, result),
          () => exact(s, operations[bits], s.registerAddress(target.ref!), inScratch(s, right), 128 / bits),
        )
      },
    })
  const scalar = (suffix: string, prefix: string, size: string, bits: Bits) =>
    instruction(mnemonic + suffix, {
      source: `SDM vol. 2 ${mnemonic}${suffix}`,
      forms: [form(`${prefix} 0F ${opcode} /r`, `V${size}`, `W${size}`, {feature: 'sse2'})],
      execute(s, target, source) {
        const right = s.hold(s.read(source))
        const left = s.hold(s.read({...target, bits}))
        const {result, when, orWhen} = plain.scalar(s, bits, left, right)
        const take = () => s.setRegister(target.ref!, bits, result, 0, true)
        const slow = () => exact(s, operations[bits], s.registerAddress(target.ref!), inScratch(s, right), 1)
        s.if(when, take, orWhen === undefined ? slow : () => s.if(orWhen(), take, slow))
      },
    })
  return [packed('PS', 'NP', 32), packed('PD', '66', 64), scalar('SS', 'F3', 'ss', 32), scalar('SD', 'F2', 'sd', 64)]
}

/** Truth of a predicate (i32 of three bits) for numbers in order: of EQ LT LE and never, or its opposite. */
function predicateTruth(s: Builder, predicate: Value, equal: Value, less: Value, never: Value): Value {
  const at = (bit: number) => s.and(s.shiftRight(predicate, s.constant(32, bit)), s.constant(32, 1))
  const or = (one: Value, other: Value) => (one.type === 'v128' ? s.wasm('v128.or', [one, other]) : s.or(one, other))
  const high = s.select(at(0), never, or(less, equal))
  return s.select(at(1), high, s.select(at(0), less, equal))
}

/** Predicates of CMPPS and its kin by number. */
const predicates = ['EQ', 'LT', 'LE', 'UNORD', 'NEQ', 'NLT', 'NLE', 'ORD']

/** CMPPS and its kin: the predicate comes from the immediate's low three bits. */
function compares(): Instruction[] {
  const names = (mnemonic: string) => ({...predicates.map(predicate => mnemonic.replace('CMP', `CMP${predicate}`))})
  const one = (
    mnemonic: string,
    prefix: string,
    operands: string[],
    operation: OperationName,
    bits: Bits,
    run: (s: Builder, target: Operand, left: Value, right: Value, which: Value, slow: () => void) => void,
  ) =>
    instruction(mnemonic, {
      source: 'SDM vol. 2A CMPPS … CMPSD',
      forms: [form(`${prefix} 0F C2 /r`, ...operands, 'Ib', {feature: 'sse2', immediateNames: names(mnemonic)})],
      execute(s, target, source, predicate) {
        const isPacked = target.bits === 128
        const right = s.hold(isPacked ? readAligned(s, source) : s.read(source))
        const left = s.hold(s.read(target))
        const which = s.hold(s.and(s.zeroExtend(s.read(predicate), 32), s.constant(32, 7)))
        const lanes = isPacked ? 128 / bits : 1
        run(s, target, left, right, which, () =>
          exact(s, numberWith(s, operation, which), s.registerAddress(target.ref!), inScratch(s, right), lanes),
        )
      },
    })
  const isOpposite = (s: Builder, which: Value) => s.shiftRight(which, s.constant(32, 2))
  const packed = (mnemonic: string, prefix: string, operation: OperationName, bits: Bits) =>
    one(mnemonic, prefix, ['Vx', 'Wx'], operation, bits, (s, target, left, right, which, slow) => {
      const compare = (name: string) => s.wasm(`${shapeOf(bits)}.${name}`, [left, right])
      const truth = predicateTruth(s, which, compare('eq'), compare('lt'), s.vector(new Uint8Array(16)))
      const inverted = s.wasm('i32x4.splat', [s.negate(isOpposite(s, which))])
      s.if(
        areOrderedLanes(s, bits, left, right),
        () => setRegister(s, target, s.wasm('v128.xor', [truth, inverted])),
        slow,
      )
    })
  const scalar = (mnemonic: string, prefix: string, size: string, operation: OperationName, bits: Bits) =>
    one(mnemonic, prefix, [`V${size}`, `W${size}`], operation, bits, (s, target, left, right, which, slow) => {
      const compare = (name: string) => s.wasm(`${floatType(bits)}.${name}`, [toFloat(s, left), toFloat(s, right)])
      const truth = predicateTruth(s, which, compare('eq'), compare('lt'), s.constant(32, 0))
      const mask = s.negate(s.zeroExtend(s.xor(truth, isOpposite(s, which)), bits))
      const isPlain = s.and(isOrdered(s, left), isOrdered(s, right))
      s.if(isPlain, () => s.setRegister(target.ref!, bits, mask, 0, true), slow)
    })
  return [
    packed('CMPPS', 'NP', 'compareSingle', 32),
    packed('CMPPD', '66', 'compareDouble', 64),
    scalar('CMPSS', 'F3', 'ss', 'compareSingle', 32),
    scalar('CMPSD', 'F2', 'sd', 'compareDouble', 64),
  ]
}

/** COMISS … UCOMISD: ZF PF CF. */
function ordered(
  mnemonic: string,
  prefix: string,
  opcode: string,
  size: string,
  bits: Bits,
  quiet: number,
): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2 ${mnemonic}`,
    forms: [form(`${prefix} 0F ${opcode} /r`, `V${size}`, `W${size}`, {feature: 'sse2'})],
    execute(s, first, second) {
      const right = s.hold(s.read(second))
      const left = s.hold(s.read(first))
      const compare = (name: string) => s.wasm(`${floatType(bits)}.${name}`, [toFloat(s, left), toFloat(s, right)])
      const flags = s.declare('i32')
      s.if(
        s.and(isOrdered(s, left), isOrdered(s, right)),
        () => s.assign(flags, s.or(s.shiftLeft(compare('eq'), s.constant(32, 6)), compare('lt'))),
        () => {
          const kind = s.constant(32, (bits === 64 ? 1 : 0) | (quiet << 1))
          const answer = s.call('sseCompare', [kind, s.registerAddress(first.ref!), inScratch(s, right)], 'i32')!
          s.if(s.less(answer, s.constant(32, 0)), () => s.fault(19))
          s.assign(flags, answer)
        },
      )
      s.setFlags('explicit', 32, {a: s.variable(flags, 32)})
    },
  })
}

/** Sums across lanes, and dot products, whose immediate goes to the exact operation. */
function across(mnemonic: string, encoding: string, operation: OperationName, lanes: number): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2 ${mnemonic}`,
    forms: [form(encoding, 'Vx', 'Wx', {feature: 'sse3'})],
    execute: (s, target, source) => exact(s, operation, s.registerAddress(target.ref!), bytesOf(s, source), lanes),
  })
}

function dotProduct(mnemonic: string, opcode: string, operation: OperationName, lanes: number): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2A ${mnemonic}`,
    forms: [form(`66 0F 3A ${opcode} /r`, 'Vx', 'Wx', 'Ib', {feature: 'sse4_1'})],
    execute(s, target, source, immediate) {
      const number = numberWith(s, operation, s.zeroExtend(s.read(immediate), 32))
      exact(s, number, s.registerAddress(target.ref!), bytesOf(s, source), lanes)
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
        if (lanes === 4) return setRegister(s, target, compute(s, readAligned(s, source)))
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
  ...fourShapes('ADD', '58', {32: 'addSingle', 64: 'addDouble'}, arithmetic('add')),
  ...fourShapes('MUL', '59', {32: 'multiplySingle', 64: 'multiplyDouble'}, arithmetic('mul')),
  ...fourShapes('SUB', '5C', {32: 'subtractSingle', 64: 'subtractDouble'}, arithmetic('sub')),
  ...fourShapes('MIN', '5D', {32: 'minimumSingle', 64: 'minimumDouble'}, extreme('lt')),
  ...fourShapes('DIV', '5E', {32: 'divideSingle', 64: 'divideDouble'}, arithmetic('div')),
  ...fourShapes('MAX', '5F', {32: 'maximumSingle', 64: 'maximumDouble'}, extreme('gt')),
  ...fourShapes('SQRT', '51', {32: 'squareRootSingle', 64: 'squareRootDouble'}, squareRoot),
  ...compares(),
  across('HADDPS', 'F2 0F 7C /r', 'horizontalAddSingle', 4),
  across('HADDPD', '66 0F 7C /r', 'horizontalAddDouble', 2),
  across('HSUBPS', 'F2 0F 7D /r', 'horizontalSubtractSingle', 4),
  across('HSUBPD', '66 0F 7D /r', 'horizontalSubtractDouble', 2),
  across('ADDSUBPS', 'F2 0F D0 /r', 'addSubtractSingle', 4),
  across('ADDSUBPD', '66 0F D0 /r', 'addSubtractDouble', 2),
  dotProduct('DPPS', '40', 'dotProductSingle', 4),
  dotProduct('DPPD', '41', 'dotProductDouble', 2),
  ordered('UCOMISS', 'NP', '2E', 'ss', 32, 1),
  ordered('UCOMISD', '66', '2E', 'sd', 64, 1),
  ordered('COMISS', 'NP', '2F', 'ss', 32, 0),
  ordered('COMISD', '66', '2F', 'sd', 64, 0),
  ...approximate('RCP', '53', (s, value) => flush(s, s.wasm('f32x4.div', [s.vector(one), flush(s, value)]))),
  ...approximate('RSQRT', '52', (s, value) =>
    s.wasm('f32x4.div', [s.vector(one), s.wasm('f32x4.sqrt', [flush(s, value)])]),
  ),
]
