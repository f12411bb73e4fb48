/**
 * Integer arithmetic, comparisons, logic and shifts of XMM and MMX registers: nearly all of it is one WebAssembly SIMD operation each.
 *
 * Source: SDM vol. 2.
 */
import type {Builder, Operand, Value} from '../ir/builder.js'
import {form, type Instruction, instruction} from './instruction.js'
import {type Combine, enterMmx, packed, readMmx, waitForX87, writeMmx} from './packed.js'
import {elements, lane, readAligned, register, setRegister, shuffle, zeroExtended} from './sse-common.js'

// biome-ignore format: a table
const direct: [mnemonic: string, opcode: string, operation: string][] = [
  ['PADDB', 'FC', 'i8x16.add'], ['PADDW', 'FD', 'i16x8.add'], ['PADDD', 'FE', 'i32x4.add'], ['PADDQ', 'D4', 'i64x2.add'],
  ['PSUBB', 'F8', 'i8x16.sub'], ['PSUBW', 'F9', 'i16x8.sub'], ['PSUBD', 'FA', 'i32x4.sub'], ['PSUBQ', 'FB', 'i64x2.sub'],
  ['PADDSB', 'EC', 'i8x16.add_sat_s'], ['PADDSW', 'ED', 'i16x8.add_sat_s'], ['PADDUSB', 'DC', 'i8x16.add_sat_u'], ['PADDUSW', 'DD', 'i16x8.add_sat_u'],
  ['PSUBSB', 'E8', 'i8x16.sub_sat_s'], ['PSUBSW', 'E9', 'i16x8.sub_sat_s'], ['PSUBUSB', 'D8', 'i8x16.sub_sat_u'], ['PSUBUSW', 'D9', 'i16x8.sub_sat_u'],
  ['PMULLW', 'D5', 'i16x8.mul'], ['PMADDWD', 'F5', 'i32x4.dot_i16x8_s'],
  ['PAVGB', 'E0', 'i8x16.avgr_u'], ['PAVGW', 'E3', 'i16x8.avgr_u'],
  ['PMINUB', 'DA', 'i8x16.min_u'], ['PMINSW', 'EA', 'i16x8.min_s'], ['PMAXUB', 'DE', 'i8x16.max_u'], ['PMAXSW', 'EE', 'i16x8.max_s'],
  ['PCMPEQB', '74', 'i8x16.eq'], ['PCMPEQW', '75', 'i16x8.eq'], ['PCMPEQD', '76', 'i32x4.eq'],
  ['PCMPGTB', '64', 'i8x16.gt_s'], ['PCMPGTW', '65', 'i16x8.gt_s'], ['PCMPGTD', '66', 'i32x4.gt_s'],
  ['PACKSSWB', '63', 'i8x16.narrow_i16x8_s'], ['PACKSSDW', '6B', 'i16x8.narrow_i32x4_s'], ['PACKUSWB', '67', 'i8x16.narrow_i16x8_u'],
  ['PAND', 'DB', 'v128.and'], ['POR', 'EB', 'v128.or'], ['PXOR', 'EF', 'v128.xor'],
]

// biome-ignore format: a table
const logicals: [mnemonic: string, prefix: string, opcode: string, operation: string][] = [
  ['ANDPS', 'NP', '54', 'v128.and'], ['ANDPD', '66', '54', 'v128.and'],
  ['ORPS', 'NP', '56', 'v128.or'], ['ORPD', '66', '56', 'v128.or'],
  ['XORPS', 'NP', '57', 'v128.xor'], ['XORPD', '66', '57', 'v128.xor'],
]

/** Logic by the names of floating-point instructions: XMM registers only. */
function floatLogic(mnemonic: string, prefix: string, opcode: string, combine: Combine): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2 ${mnemonic}`,
    forms: [form(`${prefix} 0F ${opcode} /r`, 'Vx', 'Wx', {feature: 'sse'})],
    execute(s, target, source) {
      const other = readAligned(s, source)
      setRegister(s, target, combine(s, register(s, target), other))
    },
  })
}

/** Those whose MMX form came with SSE or SSE2. */
const mmxFeature: Record<string, string> = {
  ...Object.fromEntries(
    ['PAVGB', 'PAVGW', 'PMINUB', 'PMINSW', 'PMAXUB', 'PMAXSW', 'PMULHUW', 'PSADBW'].map(name => [name, 'sse']),
  ),
  PADDQ: 'sse2',
  PSUBQ: 'sse2',
  PMULUDQ: 'sse2',
}

function both(mnemonic: string, opcode: string, operation: Combine | string): Instruction {
  const narrowing = mnemonic.startsWith('PACK') ? 'joined' : 'lanes'
  return packed(mnemonic, opcode, operation, {mmx: mmxFeature[mnemonic] ?? 'mmx', narrowing})
}

/** ~target & source. */
const andNot: Combine = (s, target, source) => s.wasm('v128.andnot', [source, target])

/** Upper halves of 16-bit products. */
function multiplyHigh(sign: 's' | 'u'): Combine {
  return (s, target, source) => {
    const low = s.wasm(`i32x4.extmul_low_i16x8_${sign}`, [target, source])
    const high = s.wasm(`i32x4.extmul_high_i16x8_${sign}`, [target, source])
    return shuffle(s, low, high, elements(2, [1, 3, 5, 7, 9, 11, 13, 15]))
  }
}

/** Products of the even 32-bit lanes. */
const multiplyUnsigned: Combine = (s, target, source) => {
  const even = (value: Value) => shuffle(s, value, value, elements(4, [0, 2, 0, 2]))
  return s.wasm('i64x2.extmul_low_i32x4_u', [even(target), even(source)])
}

/** Sums of absolute byte differences, one per half. */
const sumDifferences: Combine = (s, target, source) => {
  const larger = s.wasm('i8x16.max_u', [target, source])
  const smaller = s.wasm('i8x16.min_u', [target, source])
  const pairs = s.wasm('i16x8.extadd_pairwise_i8x16_u', [s.wasm('i8x16.sub', [larger, smaller])])
  const quads = s.hold(s.wasm('i32x4.extadd_pairwise_i16x8_u', [pairs]))
  const sum = (first: number) => s.zeroExtend(s.add(lane(s, quads, 32, first), lane(s, quads, 32, first + 1)), 64)
  return s.wasm('i64x2.replace_lane', [zeroExtended(s, sum(0)), sum(2)], {lanes: [1]})
}

/** Shifts of every lane by one count; a count of the lane's width or more clears it, or fills it with signs. */
function shift(
  mnemonic: string,
  shape: 'i16x8' | 'i32x4' | 'i64x2',
  kind: 'shl' | 'shr_u' | 'shr_s',
  byRegister: string,
  byImmediate: string,
): Instruction {
  const width = {i16x8: 16, i32x4: 32, i64x2: 64}[shape]
  const shifted = (s: Builder, value: Value, count: Value): Value => {
    const inside = s.below(count, s.constant(64, width))
    const low = s.wasm('i32.wrap_i64', [count])
    if (kind === 'shr_s') return s.wasm(`${shape}.shr_s`, [value, s.select(inside, low, s.constant(32, width - 1))])
    return s.select(inside, s.wasm(`${shape}.${kind}`, [value, low]), s.vector(new Uint8Array(16)))
  }
  return instruction(mnemonic, {
    source: `SDM vol. 2B ${mnemonic}`,
    forms: [
      form(`66 0F ${byRegister} /r`, 'Vx', 'Wx', {feature: 'sse2'}),
      form(`66 0F ${byImmediate}`, 'Ux', 'Ib', {feature: 'sse2'}),
      form(`NP 0F ${byRegister} /r`, 'Pq', 'Qq', {feature: 'mmx'}),
      form(`NP 0F ${byImmediate}`, 'Nq', 'Ib', {feature: 'mmx'}),
    ],
    execute(s, target, amount) {
      const isMmx = target.bits === 64
      if (isMmx) waitForX87(s)
      const read = (): Value => {
        if (amount.kind === 'immediate') return s.zeroExtend(s.read(amount), 64)
        return isMmx ? s.read(amount) : lane(s, readAligned(s, amount), 64, 0)
      }
      const count = s.hold(read())
      if (!isMmx) return setRegister(s, target, shifted(s, register(s, target), count))
      const result = s.hold(lane(s, shifted(s, readMmx(s, target), count), 64, 0))
      enterMmx(s)
      writeMmx(s, target, result)
    },
  })
}

/** PSLLDQ and PSRLDQ: whole bytes, zeros coming in. */
function byteShift(mnemonic: string, digit: number, left: boolean): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2B ${mnemonic}`,
    forms: [form(`66 0F 73 /${digit}`, 'Ux', 'Ib', {feature: 'sse2'})],
    execute(s: Builder, target: Operand, amount: Operand) {
      const raw = s.zeroExtend(s.read(amount), 32)
      const count = s.select(s.below(raw, s.constant(32, 16)), raw, s.constant(32, 16))
      const indices = s.vector(Uint8Array.from({length: 16}, (_, index) => index))
      const offset = s.wasm('i8x16.splat', [count])
      // An index outside 0 to 15 swizzles in a zero; 8-bit wrap-around makes negative ones large.
      const from = s.wasm(left ? 'i8x16.sub' : 'i8x16.add', [indices, offset])
      setRegister(s, target, s.wasm('i8x16.swizzle', [register(s, target), from]))
    },
  })
}

export const sseInteger: Instruction[] = [
  ...direct.map(([mnemonic, opcode, operation]) => both(mnemonic, opcode, operation)),
  ...logicals.map(([mnemonic, prefix, opcode, operation]) =>
    floatLogic(mnemonic, prefix, opcode, (s, target, source) => s.wasm(operation, [target, source])),
  ),
  both('PANDN', 'DF', andNot),
  floatLogic('ANDNPS', 'NP', '55', andNot),
  floatLogic('ANDNPD', '66', '55', andNot),
  both('PMULHW', 'E5', multiplyHigh('s')),
  both('PMULHUW', 'E4', multiplyHigh('u')),
  both('PMULUDQ', 'F4', multiplyUnsigned),
  both('PSADBW', 'F6', sumDifferences),
  shift('PSLLW', 'i16x8', 'shl', 'F1', '71 /6'),
  shift('PSLLD', 'i32x4', 'shl', 'F2', '72 /6'),
  shift('PSLLQ', 'i64x2', 'shl', 'F3', '73 /6'),
  shift('PSRLW', 'i16x8', 'shr_u', 'D1', '71 /2'),
  shift('PSRLD', 'i32x4', 'shr_u', 'D2', '72 /2'),
  shift('PSRLQ', 'i64x2', 'shr_u', 'D3', '73 /2'),
  shift('PSRAW', 'i16x8', 'shr_s', 'E1', '71 /4'),
  shift('PSRAD', 'i32x4', 'shr_s', 'E2', '72 /4'),
  byteShift('PSLLDQ', 7, true),
  byteShift('PSRLDQ', 3, false),
]
