/**
 * MMX moves, unpacks, inserts and conversions; arithmetic that XMM registers have too is in sse-integer.ts and ssse3.ts.
 *
 * Source: SDM vol. 1 9.6, vol. 2.
 */
import type {Builder, Operand, Value} from '../ir/builder.js'
import {state} from '../state.js'
import {type Form, form, type Instruction, instruction} from './instruction.js'
import {combineMmx, enterMmx, readMmx, waitForX87, writeMmx} from './packed.js'
import {elements, lane, setRegister, shuffle, withLane, zeroExtended} from './sse-common.js'
import {bytesOf, exact, type OperationName} from './sse-exact.js'
import {
  control,
  doubleOrQuad,
  elementOf,
  extractByIndex,
  interleave,
  storeChosen,
  swizzleBy,
  wordInserts,
} from './sse-moves.js'

type Execute = Instruction['execute']

const base = {feature: 'mmx'}
const sse = {feature: 'sse'}
const sse2 = {feature: 'sse2'}

/** An instruction that waits for x87, runs, and leaves the unit in MMX state; `execute` calls what it is given once it cannot fault. */
function define(
  mnemonic: string,
  forms: Form[],
  execute: (s: Builder, enter: () => void, ...operands: Operand[]) => void,
): Instruction {
  const run: Execute = (s, ...given) => {
    waitForX87(s)
    execute(s, () => enterMmx(s), ...given)
  }
  return instruction(mnemonic, {source: `SDM vol. 2 ${mnemonic}`, forms, execute: run})
}

/** A value into an MMX register. */
function load(
  mnemonic: string,
  forms: Form[],
  compute: (s: Builder, target: Operand, ...sources: Operand[]) => Value,
): Instruction {
  return define(mnemonic, forms, (s, enter, target, ...sources) => {
    const value = s.hold(compute(s, target, ...sources))
    enter()
    writeMmx(s, target, value)
  })
}

/** A value out of one. */
function read(
  mnemonic: string,
  forms: Form[],
  compute: (s: Builder, target: Operand, ...sources: Operand[]) => Value,
): Instruction {
  return define(mnemonic, forms, (s, enter, target, ...sources) => {
    const value = s.hold(compute(s, target, ...sources))
    if (target.kind === 'memory') s.write(target, value)
    enter()
    if (target.kind !== 'memory') s.write(target, value)
  })
}

/** PUNPCKL and PUNPCKH: the interleaved low halves of both, of which the low or the high half is wanted. */
function unpack(mnemonic: string, opcode: string, bytes: number, high: boolean): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2B ${mnemonic}`,
    forms: [form(`NP 0F ${opcode} /r`, 'Pq', high ? 'Qq' : 'Qd', {feature: 'mmx'})],
    execute: (s, target, source) =>
      combineMmx(
        s,
        target,
        source,
        (_, left, right) => shuffle(s, left, right, elements(bytes, interleave(bytes, false))),
        high ? 'upper' : 'lanes',
      ),
  })
}

/** Two numbers of an XMM register or memory → two integers. */
function toIntegers(mnemonic: string, prefix: string, opcode: string, source: string, operation: OperationName) {
  return define(mnemonic, [form(`${prefix} 0F ${opcode} /r`, 'Pq', source, sse2)], (s, enter, target, from) => {
    exact(s, operation, s.stateAddress(state.scratch + 32), bytesOf(s, from), 2)
    const value = s.hold(s.state('i64.load', state.scratch + 32))
    enter()
    writeMmx(s, target, value)
  })
}

/**
 * Two integers of an MMX register or memory → two numbers. From memory they have nothing to do with MMX registers (so on AMD's processors; on
 * Intel's CVTPI2PS has).
 */
function fromIntegers(mnemonic: string, prefix: string, operation: OperationName): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2A ${mnemonic}; what an EPYC does`,
    forms: [form(`${prefix} 0F 2A /r`, 'Vx', 'Qq', {feature: 'sse2'})],
    execute(s, target, source) {
      const enters = source.kind !== 'memory'
      if (enters) waitForX87(s)
      exact(s, operation, s.registerAddress(target.ref!), bytesOf(s, source), 2)
      if (enters) enterMmx(s)
    },
  })
}

const narrowed = (s: Builder, target: Operand, value: Value) => s.resize(value, target.bits)

export const mmx: Instruction[] = [
  load('MOVD', [form('NP 0F 6E /r', 'Pq', 'Ey', {...base, names: doubleOrQuad('MOV')})], (s, _, source) =>
    s.zeroExtend(s.read(source), 64),
  ),
  read('MOVD', [form('NP 0F 7E /r', 'Ey', 'Pq', {...base, names: doubleOrQuad('MOV')})], (s, target, source) =>
    narrowed(s, target, s.read(source)),
  ),
  load('MOVQ', [form('NP 0F 6F /r', 'Pq', 'Qq', base)], (s, _, source) => s.read(source)),
  define('MOVQ', [form('NP 0F 7F /r', 'Qq', 'Pq', base)], (s, enter, target, source) => {
    const value = s.hold(s.read(source))
    if (target.kind === 'memory') s.write(target, value)
    enter()
    if (target.kind !== 'memory') writeMmx(s, target, value)
  }),
  read('MOVNTQ', [form('NP 0F E7 /r', 'Mq', 'Pq', sse)], (s, _, source) => s.read(source)),
  load('MOVDQ2Q', [form('F2 0F D6 /r', 'Pq', 'Ux', sse2)], (s, _, source) => lane(s, s.read(source), 64, 0)),
  define('MOVQ2DQ', [form('F3 0F D6 /r', 'Vx', 'Nq', sse2)], (s, enter, target, source) => {
    setRegister(s, target, zeroExtended(s, s.read(source)))
    enter()
  }),
  unpack('PUNPCKLBW', '60', 1, false),
  unpack('PUNPCKLWD', '61', 2, false),
  unpack('PUNPCKLDQ', '62', 4, false),
  unpack('PUNPCKHBW', '68', 1, true),
  unpack('PUNPCKHWD', '69', 2, true),
  unpack('PUNPCKHDQ', '6A', 4, true),
  load('PSHUFW', [form('NP 0F 70 /r', 'Pq', 'Qq', 'Ib', sse)], (s, _, source, order) =>
    lane(s, swizzleBy(s, readMmx(s, source), control(s, order), 2, 0), 64, 0),
  ),
  load('PINSRW', wordInserts('NP 0F C4 /r', 'Pq', sse), (s, target, source, index) => {
    const shift = s.zeroExtend(s.shiftLeft(elementOf(s, index, 4), s.constant(32, 4)), 64)
    const mask = s.shiftLeft(s.constant(64, 0xffff), shift)
    const word = s.and(s.zeroExtend(s.read(source), 64), s.constant(64, 0xffff))
    return s.or(s.and(s.read(target), s.not(mask)), s.shiftLeft(word, shift))
  }),
  read('PEXTRW', [form('NP 0F C5 /r', 'Gd', 'Nq', 'Ib', sse)], (s, target, source, index) => {
    // Of eight elements the upper four are those of the lower half again.
    const both = withLane(s, readMmx(s, source), 64, 1, s.read(source))
    return narrowed(s, target, extractByIndex(s, both, index, 8, 'i16x8.extract_lane_u'))
  }),
  read('PMOVMSKB', [form('NP 0F D7 /r', 'Gy', 'Nq', sse)], (s, target, source) =>
    narrowed(s, target, s.wasm('i8x16.bitmask', [readMmx(s, source)])),
  ),
  define('MASKMOVQ', [form('NP 0F F7 /r', 'Pq', 'Nq', {...sse, usesAddress: true})], (s, enter, source, mask) => {
    storeChosen(s, readMmx(s, source), readMmx(s, mask), 8)
    enter()
  }),
  toIntegers('CVTTPS2PI', 'NP', '2C', 'Wsd', 'singleTruncateInt32'),
  toIntegers('CVTPS2PI', 'NP', '2D', 'Wsd', 'singleToInt32'),
  toIntegers('CVTTPD2PI', '66', '2C', 'Wx', 'doubleTruncateInt32'),
  toIntegers('CVTPD2PI', '66', '2D', 'Wx', 'doubleToInt32'),
  fromIntegers('CVTPI2PS', 'NP', 'int32ToSingle'),
  fromIntegers('CVTPI2PD', '66', 'int32ToDouble'),
]
