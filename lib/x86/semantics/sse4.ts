/**
 * SSE4.1 and PCMPGTQ: blends, inserts and extracts, widening moves, and the integer operations that SSE2 left out. Rounding and dot products are
 * with the other floating-point arithmetic, the text comparisons in string-compare.ts, CRC32 in polynomials.ts.
 *
 * Source: SDM vol. 2.
 */
import type {Builder, Operand, Value} from '../ir/builder.js'
import {state} from '../state.js'
import {type FormOptions, form, type Instruction, instruction} from './instruction.js'
import {byteNumbers, type Combine, packed} from './packed.js'
import {elements, lane, readAligned, register, setRegister, shuffle, zeroExtended} from './sse-common.js'
import {doubleOrQuad, extractByIndex, insertByIndex} from './sse-moves.js'

const sse41 = {feature: 'sse4_1'}

function define(
  mnemonic: string,
  opcode: string,
  operands: readonly string[],
  execute: Instruction['execute'],
): Instruction {
  const forms = [form(`66 0F ${opcode} /r`, ...operands, sse41)]
  return instruction(mnemonic, {source: `SDM vol. 2 ${mnemonic}`, forms, execute})
}

const binary = (mnemonic: string, opcode: string, operation: Combine | string, feature = 'sse4_1') =>
  packed(mnemonic, opcode, operation, {feature, mmx: false})

const control = (s: Builder, operand: Operand): Value => s.zeroExtend(s.read(operand), 32)

/** A vector of small constants, one per lane of `bytes` bytes. */
function lanes(s: Builder, bytes: number, values: readonly number[]): Value {
  const all = new Uint8Array(16)
  for (const [index, value] of values.entries()) all[index * bytes] = value
  return s.vector(all)
}

/** All ones in the lanes whose bit of the control byte is set. */
function laneMask(s: Builder, immediate: Operand, bytes: 2 | 4 | 8): Value {
  const shape = {2: 'i16x8', 4: 'i32x4', 8: 'i64x2'}[bytes]
  const bits = lanes(
    s,
    bytes,
    Array.from({length: 16 / bytes}, (_, index) => 1 << index),
  )
  const value = control(s, immediate)
  const spread = s.wasm(`${shape}.splat`, [bytes === 8 ? s.zeroExtend(value, 64) : value])
  return s.wasm(`${shape}.eq`, [s.wasm('v128.and', [spread, bits]), bits])
}

function blend(mnemonic: string, opcode: string, bytes: 2 | 4 | 8): Instruction {
  return define(mnemonic, opcode, ['Vx', 'Wx', 'Ib'], (s, target, source, immediate) => {
    const other = readAligned(s, source)
    setRegister(s, target, s.wasm('v128.bitselect', [other, register(s, target), laneMask(s, immediate, bytes)]))
  })
}

/** The signs of XMM0's lanes choose. */
function blendBySign(mnemonic: string, opcode: string, shape: string, bits: number): Instruction {
  return define(mnemonic, opcode, ['Vx', 'Wx', 'XMM0'], (s, target, source) => {
    const other = readAligned(s, source)
    const mask = s.wasm(`${shape}.shr_s`, [s.register({fixed: state.xmm}, 128), s.constant(32, bits - 1)])
    setRegister(s, target, s.wasm('v128.bitselect', [other, register(s, target), mask]))
  })
}

/** PEXTRB PEXTRW PEXTRD EXTRACTPS: a narrow element fills a register of 32 bits, but only its own bytes of memory. */
function extract(
  mnemonic: string,
  opcode: string,
  operands: string[],
  bits: number,
  options: FormOptions = sse41,
): Instruction {
  const execute: Instruction['execute'] = (s, target, source, index) => {
    const size = bits < 32 ? bits : target.bits
    const shape = {8: 'i8x16', 16: 'i16x8', 32: 'i32x4', 64: 'i64x2'}[size]
    const operation = `${shape}.extract_lane${size < 32 ? '_u' : ''}`
    const value = extractByIndex(s, s.read(source), index, 128 / size, operation)
    s.write(target, target.kind === 'memory' ? {...value, bits: size} : value)
  }
  const forms = operands.map(operand => form(`66 0F ${opcode} /r`, operand, 'Vx', 'Ib', options))
  return instruction(mnemonic, {source: `SDM vol. 2 ${mnemonic}`, forms, execute})
}

function insert(mnemonic: string, opcode: string, operands: string[], options: FormOptions = sse41): Instruction {
  const isByte = operands.length > 1
  const execute: Instruction['execute'] = (s, target, source, index) => {
    const value = isByte ? s.zeroExtend(s.read(source), 32) : s.read(source)
    const shape = isByte ? 'i8x16' : source.bits === 64 ? 'i64x2' : 'i32x4'
    insertByIndex(s, target, value, index, isByte ? 16 : 128 / source.bits, shape)
  }
  const forms = operands.map(operand => form(`66 0F ${opcode} /r`, 'Vx', operand, 'Ib', options))
  return instruction(mnemonic, {source: `SDM vol. 2 ${mnemonic}`, forms, execute})
}

/** One lane of the source, or memory, into one lane of the target; then lanes are cleared. */
const insertSingle = define('INSERTPS', '3A 21', ['Vx', 'Wss', 'Ib'], (s, target, source, immediate) => {
  const at = (bit: number) => s.and(s.shiftRight(control(s, immediate), s.constant(32, bit)), s.constant(32, 3))
  const numbers = lanes(s, 4, [0, 1, 2, 3])
  let value: Value
  if (source.kind === 'memory') value = s.wasm('i32x4.splat', [s.read(source)])
  else {
    const first = s.wasm('i8x16.splat', [s.shiftLeft(at(6), s.constant(32, 2))])
    const bytes = s.wasm('i8x16.add', [first, s.vector(Uint8Array.from({length: 16}, (_, index) => index & 3))])
    value = s.wasm('i8x16.swizzle', [s.register(source.ref!, 128), bytes])
  }
  const place = s.wasm('i32x4.eq', [numbers, s.wasm('i32x4.splat', [at(4)])])
  const inserted = s.wasm('v128.bitselect', [value, register(s, target), place])
  setRegister(s, target, s.wasm('v128.andnot', [inserted, laneMask(s, immediate, 4)]))
})

/** PMOVSX and PMOVZX: element sizes double from the first named to the last. */
function widen(suffix: string, digit: number, source: string, steps: readonly number[]): Instruction[] {
  return (['s', 'u'] as const).map(sign =>
    define(
      `PMOV${sign === 's' ? 'S' : 'Z'}X${suffix}`,
      `38 ${sign === 's' ? 2 : 3}${digit}`,
      ['Vx', source],
      (s, target, from) => {
        const value = s.read(from)
        let wide = s.wasm(`${value.type}x${value.type === 'i64' ? 2 : 4}.splat`, [value])
        for (const bits of steps) {
          const half = bits / 2
          wide = s.wasm(`i${bits}x${128 / bits}.extend_low_i${half}x${128 / half}_${sign}`, [wide])
        }
        setRegister(s, target, wide)
      },
    ),
  )
}

/** Sums of four absolute byte differences at eight places of the target. */
const differencesAtPlaces = define('MPSADBW', '3A 42', ['Vx', 'Wx', 'Ib'], (s, target, source, immediate) => {
  const right = readAligned(s, source)
  const left = register(s, target)
  const value = control(s, immediate)
  const byte = (count: Value) => s.wasm('i8x16.splat', [count])
  const leftStart = s.and(value, s.constant(32, 4))
  const rightStart = s.shiftLeft(s.and(value, s.constant(32, 3)), s.constant(32, 2))
  const sums = [0, 1, 2, 3].map(index => {
    const step = s.constant(32, index)
    const moving = s.wasm('i8x16.swizzle', [left, s.wasm('i8x16.add', [byteNumbers(s), byte(s.add(leftStart, step))])])
    const fixed = s.wasm('i8x16.swizzle', [right, byte(s.add(rightStart, step))])
    const difference = s.wasm('i8x16.sub', [
      s.wasm('i8x16.max_u', [moving, fixed]),
      s.wasm('i8x16.min_u', [moving, fixed]),
    ])
    return s.wasm('i16x8.extend_low_i8x16_u', [difference])
  })
  setRegister(
    s,
    target,
    sums.reduce((one, other) => s.wasm('i16x8.add', [one, other])),
  )
})

/** The smallest word and its place: words with their numbers below them, so that the first of equals is the smallest. */
const smallestWord = define('PHMINPOSUW', '38 41', ['Vx', 'Wx'], (s, target, source) => {
  const value = readAligned(s, source)
  const numbered = (half: 'low' | 'high', first: number) =>
    s.wasm('v128.or', [
      s.wasm('i32x4.shl', [s.wasm(`i32x4.extend_${half}_i16x8_u`, [value]), s.constant(32, 3)]),
      lanes(s, 4, [first, first + 1, first + 2, first + 3]),
    ])
  let least = s.wasm('i32x4.min_u', [numbered('low', 0), numbered('high', 4)])
  for (const order of [
    [2, 3, 0, 1],
    [1, 0, 3, 2],
  ])
    least = s.wasm('i32x4.min_u', [least, shuffle(s, least, least, elements(4, order))])
  const found = lane(s, least, 32, 0)
  const place = s.shiftLeft(s.and(found, s.constant(32, 7)), s.constant(32, 16))
  setRegister(s, target, zeroExtended(s, s.or(s.shiftRight(found, s.constant(32, 3)), place)))
})

/** ZF: no bit in common; CF: no bit of the source outside the target. */
const test = define('PTEST', '38 17', ['Vx', 'Wx'], (s, target, source) => {
  const right = readAligned(s, source)
  const left = register(s, target)
  const none = (value: Value) => s.isZero(s.wasm('v128.any_true', [value]))
  const zero = s.shiftLeft(none(s.wasm('v128.and', [left, right])), s.constant(32, 6))
  s.setFlags('explicit', 32, {a: s.or(zero, none(s.wasm('v128.andnot', [right, left])))})
})

/** Signed products of the even 32-bit lanes. */
const multiplySigned: Combine = (s, target, source) => {
  const even = (value: Value) => shuffle(s, value, value, elements(4, [0, 2, 0, 2]))
  return s.wasm('i64x2.extmul_low_i32x4_s', [even(target), even(source)])
}

export const sse4: Instruction[] = [
  blend('BLENDPS', '3A 0C', 4),
  blend('BLENDPD', '3A 0D', 8),
  blend('PBLENDW', '3A 0E', 2),
  blendBySign('PBLENDVB', '38 10', 'i8x16', 8),
  blendBySign('BLENDVPS', '38 14', 'i32x4', 32),
  blendBySign('BLENDVPD', '38 15', 'i64x2', 64),
  extract('PEXTRB', '3A 14', ['Rd', 'Mb'], 8),
  extract('PEXTRW', '3A 15', ['Rd', 'Mw'], 16),
  extract('PEXTRD', '3A 16', ['Ey'], 32, {...sse41, names: doubleOrQuad('PEXTR')}),
  extract('EXTRACTPS', '3A 17', ['Ed'], 32),
  insert('PINSRB', '3A 20', ['Rd', 'Mb']),
  insert('PINSRD', '3A 22', ['Ey'], {...sse41, names: doubleOrQuad('PINSR')}),
  insertSingle,
  ...widen('BW', 0, 'Wsd', [16]),
  ...widen('BD', 1, 'Wss', [16, 32]),
  ...widen('BQ', 2, 'Ww', [16, 32, 64]),
  ...widen('WD', 3, 'Wsd', [32]),
  ...widen('WQ', 4, 'Wss', [32, 64]),
  ...widen('DQ', 5, 'Wsd', [64]),
  define('MOVNTDQA', '38 2A', ['Vx', 'Mx'], (s, target, source) => setRegister(s, target, readAligned(s, source))),
  differencesAtPlaces,
  smallestWord,
  test,
  binary('PMULDQ', '38 28', multiplySigned),
  binary('PCMPEQQ', '38 29', 'i64x2.eq'),
  binary('PACKUSDW', '38 2B', 'i16x8.narrow_i32x4_u'),
  binary('PCMPGTQ', '38 37', 'i64x2.gt_s', 'sse4_2'),
  binary('PMINSB', '38 38', 'i8x16.min_s'),
  binary('PMINSD', '38 39', 'i32x4.min_s'),
  binary('PMINUW', '38 3A', 'i16x8.min_u'),
  binary('PMINUD', '38 3B', 'i32x4.min_u'),
  binary('PMAXSB', '38 3C', 'i8x16.max_s'),
  binary('PMAXSD', '38 3D', 'i32x4.max_s'),
  binary('PMAXUW', '38 3E', 'i16x8.max_u'),
  binary('PMAXUD', '38 3F', 'i32x4.max_u'),
  binary('PMULLD', '38 40', 'i32x4.mul'),
]
