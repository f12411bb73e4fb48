/**
 * Moves, shuffles, unpacks, inserts and extracts of XMM registers.
 *
 * Source: SDM vol. 2A/2B.
 */
import type {Builder, Operand, Value} from '../ir/builder.js'
import {type Form, type FormOptions, form, type Instruction, instruction} from './instruction.js'
import {
  checkAligned,
  elements,
  lane,
  readAligned,
  register,
  setRegister,
  shuffle,
  whole,
  withLane,
  zeroExtended,
} from './sse-common.js'

const sse = {feature: 'sse'}
const sse2 = {feature: 'sse2'}
const sse3 = {feature: 'sse3'}

function define(mnemonic: string, forms: Form[], execute: Instruction['execute']): Instruction {
  return instruction(mnemonic, {source: `SDM vol. 2 ${mnemonic}`, forms, execute})
}

/** A 16-byte move; `aligned` ones check memory operands. */
function fullMove(mnemonic: string, load: string, store: string, feature: object, aligned: boolean): Instruction {
  return define(mnemonic, [form(load, 'Vx', 'Wx', feature), form(store, 'Wx', 'Vx', feature)], (s, target, source) => {
    if (aligned) {
      checkAligned(s, target)
      checkAligned(s, source)
    }
    s.write(target, s.read(source))
  })
}

/** MOVSS and MOVSD: from memory the rest is cleared, between registers it stays. */
function scalarMove(mnemonic: string, prefix: string, size: string, feature: object): Instruction {
  return define(
    mnemonic,
    [
      form(`${prefix} 0F 10 /r`, `V${size}`, `W${size}`, feature),
      form(`${prefix} 0F 11 /r`, `W${size}`, `V${size}`, feature),
    ],
    (s, target, source) => {
      const value = s.read(source)
      if (source.kind === 'memory') return setRegister(s, target, zeroExtended(s, value))
      s.write(target, value)
    },
  )
}

/** MOVLPS MOVHPS MOVLPD MOVHPD: 64 bits between memory and one half. */
function halfMove(mnemonic: string, prefix: string, opcode: number, half: 0 | 1, feature: object): Instruction {
  const hex = opcode.toString(16).toUpperCase()
  const next = (opcode + 1).toString(16).toUpperCase()
  return define(
    mnemonic,
    [form(`${prefix} 0F ${hex} /r`, 'Vx', 'Mq', feature), form(`${prefix} 0F ${next} /r`, 'Mq', 'Vx', feature)],
    (s, target, source) => {
      if (target.kind === 'memory') return s.write(target, lane(s, s.read(source), 64, half))
      const value = s.read(source)
      setRegister(s, target, withLane(s, register(s, target), 64, half, value))
    },
  )
}

/** Result = a fixed shuffle of target and source. */
function fixedShuffle(
  mnemonic: string,
  encoding: string,
  feature: object,
  bytes: number,
  order: readonly number[],
): Instruction {
  return define(mnemonic, [form(encoding, 'Vx', 'Wx', feature)], (s, target, source) => {
    const other = readAligned(s, source)
    setRegister(s, target, shuffle(s, register(s, target), other, elements(bytes, order)))
  })
}

/** Elements of both operands in turn, from the low or the high half. */
export function interleave(bytes: number, high: boolean): number[] {
  const count = 16 / bytes
  const start = high ? count / 2 : 0
  return Array.from({length: count}, (_, index) => start + (index >> 1) + (index & 1) * count)
}

const unpacks: Instruction[] = [
  ['PUNPCKLBW', '66 0F 60 /r', 1, false],
  ['PUNPCKLWD', '66 0F 61 /r', 2, false],
  ['PUNPCKLDQ', '66 0F 62 /r', 4, false],
  ['PUNPCKHBW', '66 0F 68 /r', 1, true],
  ['PUNPCKHWD', '66 0F 69 /r', 2, true],
  ['PUNPCKHDQ', '66 0F 6A /r', 4, true],
  ['PUNPCKLQDQ', '66 0F 6C /r', 8, false],
  ['PUNPCKHQDQ', '66 0F 6D /r', 8, true],
  ['UNPCKLPS', 'NP 0F 14 /r', 4, false],
  ['UNPCKHPS', 'NP 0F 15 /r', 4, true],
  ['UNPCKLPD', '66 0F 14 /r', 8, false],
  ['UNPCKHPD', '66 0F 15 /r', 8, true],
].map(([mnemonic, encoding, bytes, high]) =>
  fixedShuffle(
    mnemonic as string,
    encoding as string,
    sse2,
    bytes as number,
    interleave(bytes as number, high as boolean),
  ),
)

/** Element `selector` (an i32 value of 2 bits) of four 32-bit lanes, as i32. */
function chooseLane(s: Builder, value: Value, selector: Value, lanes: readonly number[]): Value {
  const pick = (index: number) => lane(s, value, 32, lanes[index])
  const bit = (at: number) => s.and(s.shiftRight(selector, s.constant(32, at)), s.constant(32, 1))
  const low = s.select(bit(0), pick(1), pick(0))
  const high = s.select(bit(0), pick(3), pick(2))
  return s.select(bit(1), high, low)
}

/** Byte indices for i8x16.swizzle from an immediate that picks four elements. */
export function swizzleBy(s: Builder, value: Value, control: Value, bytes: 2 | 4, offset: number): Value {
  // index byte = ((control >> 2*element) & 3) * bytes + offset + byte: built as four 32-bit (or two 64-bit) lanes.
  const spread = bytes === 4 ? 0x04040404 : 0x0202
  const base = bytes === 4 ? 0x03020100 : 0x0100
  let indices = s.vector(Uint8Array.from({length: 16}, (_, index) => index))
  const shape = bytes === 4 ? 'i32x4' : 'i16x8'
  for (let element = 0; element < 4; element++) {
    const selected = s.and(s.shiftRight(control, s.constant(32, element * 2)), s.constant(32, 3))
    const index = s.add(
      s.multiply(selected, s.constant(32, spread)),
      s.constant(32, base + offset * (bytes === 4 ? 0x01010101 : 0x0101)),
    )
    indices = s.wasm(`${shape}.replace_lane`, [indices, index], {lanes: [element + (bytes === 2 ? offset / 2 : 0)]})
  }
  return s.wasm('i8x16.swizzle', [value, indices])
}

/** A control byte as i32. */
export const control = (s: Builder, operand: Operand): Value => s.zeroExtend(s.read(operand), 32)

const shuffles: Instruction[] = [
  define('PSHUFD', [form('66 0F 70 /r', 'Vx', 'Wx', 'Ib', sse2)], (s, target, source, order) => {
    setRegister(s, target, swizzleBy(s, readAligned(s, source), control(s, order), 4, 0))
  }),
  define('PSHUFLW', [form('F2 0F 70 /r', 'Vx', 'Wx', 'Ib', sse2)], (s, target, source, order) => {
    setRegister(s, target, swizzleBy(s, readAligned(s, source), control(s, order), 2, 0))
  }),
  define('PSHUFHW', [form('F3 0F 70 /r', 'Vx', 'Wx', 'Ib', sse2)], (s, target, source, order) => {
    setRegister(s, target, swizzleBy(s, readAligned(s, source), control(s, order), 2, 8))
  }),
  define('SHUFPS', [form('NP 0F C6 /r', 'Vx', 'Wx', 'Ib', sse)], (s, target, source, order) => {
    const other = s.hold(readAligned(s, source))
    const own = s.hold(register(s, target))
    const selector = control(s, order)
    let result = own
    for (let element = 0; element < 4; element++) {
      const picked = chooseLane(
        s,
        element < 2 ? own : other,
        s.shiftRight(selector, s.constant(32, element * 2)),
        [0, 1, 2, 3],
      )
      result = withLane(s, result, 32, element, picked)
    }
    setRegister(s, target, result)
  }),
  define('SHUFPD', [form('66 0F C6 /r', 'Vx', 'Wx', 'Ib', sse2)], (s, target, source, order) => {
    const other = s.hold(readAligned(s, source))
    const own = s.hold(register(s, target))
    const selector = control(s, order)
    const low = s.select(s.and(selector, s.constant(32, 1)), lane(s, own, 64, 1), lane(s, own, 64, 0))
    const high = s.select(s.and(selector, s.constant(32, 2)), lane(s, other, 64, 1), lane(s, other, 64, 0))
    setRegister(s, target, withLane(s, withLane(s, own, 64, 0, low), 64, 1, high))
  }),
]

/** Bits of lane signs into a general register. */
function signs(mnemonic: string, encoding: string, operation: string): Instruction {
  return define(mnemonic, [form(encoding, 'Gy', 'Ux', sse2)], (s, target, source) => {
    s.write(target, s.resize(s.wasm(operation, [s.read(source)]), target.bits))
  })
}

/** Names that tell operands of 64 bits from smaller ones by their last letter. */
export const doubleOrQuad = (name: string): [string, string, string] => [`${name}D`, `${name}D`, `${name}Q`]

/** PINSRW: a 32-bit register, but 16 bits of memory. */
export function wordInserts(encoding: string, target: string, feature: FormOptions): Form[] {
  return [form(encoding, target, 'Rd', 'Ib', feature), form(encoding, target, 'Mw', 'Ib', feature)]
}

/** MOVNTPS and its kin: aligned stores. */
function nonTemporal(mnemonic: string, encoding: string, feature: FormOptions): Instruction {
  return define(mnemonic, [form(encoding, 'Mx', 'Vx', feature)], (s, target, source) => {
    checkAligned(s, target)
    s.write(target, s.read(source))
  })
}

const transfers: Instruction[] = [
  define('MOVD', [form('66 0F 6E /r', 'Vx', 'Ey', {...sse2, names: doubleOrQuad('MOV')})], (s, target, source) =>
    setRegister(s, target, zeroExtended(s, s.read(source))),
  ),
  define('MOVD', [form('66 0F 7E /r', 'Ey', 'Vx', {...sse2, names: doubleOrQuad('MOV')})], (s, target, source) => {
    s.write(target, s.register(source.ref!, target.bits))
  }),
  define('MOVQ', [form('F3 0F 7E /r', 'Vx', 'Wsd', sse2)], (s, target, source) =>
    setRegister(s, target, zeroExtended(s, s.read(source))),
  ),
  define('MOVQ', [form('66 0F D6 /r', 'Wsd', 'Vx', sse2)], (s, target, source) => {
    const value = s.register(source.ref!, 64)
    if (target.kind === 'memory') return s.write(target, value)
    setRegister(s, target, zeroExtended(s, value))
  }),
  define('MOVHLPS', [form('NP 0F 12 /r', 'Vx', 'Ux', sse)], (s, target, source) => {
    setRegister(s, target, withLane(s, register(s, target), 64, 0, lane(s, s.read(source), 64, 1)))
  }),
  define('MOVLHPS', [form('NP 0F 16 /r', 'Vx', 'Ux', sse)], (s, target, source) => {
    setRegister(s, target, withLane(s, register(s, target), 64, 1, lane(s, s.read(source), 64, 0)))
  }),
  define('MOVDDUP', [form('F2 0F 12 /r', 'Vx', 'Wsd', sse3)], (s, target, source) =>
    setRegister(s, target, s.wasm('i64x2.splat', [s.read(source)])),
  ),
  define('MOVSLDUP', [form('F3 0F 12 /r', 'Vx', 'Wx', sse3)], (s, target, source) => {
    const value = readAligned(s, source)
    setRegister(s, target, shuffle(s, value, value, elements(4, [0, 0, 2, 2])))
  }),
  define('MOVSHDUP', [form('F3 0F 16 /r', 'Vx', 'Wx', sse3)], (s, target, source) => {
    const value = readAligned(s, source)
    setRegister(s, target, shuffle(s, value, value, elements(4, [1, 1, 3, 3])))
  }),
  define('LDDQU', [form('F2 0F F0 /r', 'Vx', 'M', sse3)], (s, target, source) =>
    setRegister(s, target, s.read({...source, bits: 128})),
  ),
  nonTemporal('MOVNTPS', 'NP 0F 2B /r', sse),
  nonTemporal('MOVNTPD', '66 0F 2B /r', sse2),
  nonTemporal('MOVNTDQ', '66 0F E7 /r', sse2),
  define('PINSRW', wordInserts('66 0F C4 /r', 'Vx', sse2), (s, target, source, index) =>
    insertByIndex(s, target, s.zeroExtend(s.read(source), 32), index, 8, 'i16x8'),
  ),
  define('PEXTRW', [form('66 0F C5 /r', 'Gd', 'Ux', 'Ib', sse2)], (s, target, source, index) => {
    s.write(target, s.resize(extractByIndex(s, s.read(source), index, 8, 'i16x8.extract_lane_u'), target.bits))
  }),
  define('MASKMOVDQU', [form('66 0F F7 /r', 'Vx', 'Ux', {...sse2, usesAddress: true})], (s, source, mask) => {
    storeChosen(s, s.read(source), s.read(mask), 16)
  }),
  signs('MOVMSKPS', 'NP 0F 50 /r', 'i32x4.bitmask'),
  signs('MOVMSKPD', '66 0F 50 /r', 'i64x2.bitmask'),
  signs('PMOVMSKB', '66 0F D7 /r', 'i8x16.bitmask'),
]

/** Stores the bytes whose mask byte has its sign set at rDI. Only they are touched: the others may lie in a page that is not there. */
export function storeChosen(s: Builder, source: Value, mask: Value, count: number): void {
  const value = s.hold(source)
  const chosen = s.hold(s.wasm('i8x16.bitmask', [mask]))
  const base = s.hold(s.add(s.zeroExtend(s.gpr('rdi', s.variant.addressBits), 64), s.address()))
  for (let index = 0; index < count; index++) {
    s.if(s.and(chosen, s.constant(32, 1 << index)), () => {
      const byte = s.wasm('i8x16.extract_lane_u', [value], {bits: 8, lanes: [index]})
      s.store(8, s.add(base, s.constant(64, index)), byte)
    })
  }
}

/** The element an immediate names, as an i32 below `count`. */
export const elementOf = (s: Builder, index: Operand, count: number) =>
  s.and(control(s, index), s.constant(32, count - 1))

/** Replaces the element an immediate names. */
export function insertByIndex(
  s: Builder,
  target: Operand,
  value: Value,
  index: Operand,
  count: number,
  shape: string,
): void {
  const at = elementOf(s, index, count)
  const numbers = new Uint8Array(16)
  for (let element = 0; element < count; element++) numbers[(element * 16) / count] = element
  const place = s.wasm(`${shape}.splat`, [count === 2 ? s.zeroExtend(at, 64) : at])
  const mask = s.wasm(`${shape}.eq`, [s.vector(numbers), place])
  const spread = s.wasm(`${shape}.splat`, [value])
  setRegister(s, whole(target), s.wasm('v128.bitselect', [spread, register(s, target), mask]))
}

/** The element an immediate names. */
export function extractByIndex(s: Builder, vector: Value, index: Operand, count: number, operation: string): Value {
  const first = s.multiply(elementOf(s, index, count), s.constant(32, 16 / count))
  const bytes = s.wasm('i8x16.add', [
    s.wasm('i8x16.splat', [first]),
    s.vector(Uint8Array.from({length: 16}, (_, at) => at % (16 / count))),
  ])
  return s.wasm(operation, [s.wasm('i8x16.swizzle', [vector, bytes])], {lanes: [0]})
}

export const sseMoves: Instruction[] = [
  fullMove('MOVUPS', 'NP 0F 10 /r', 'NP 0F 11 /r', sse, false),
  fullMove('MOVUPD', '66 0F 10 /r', '66 0F 11 /r', sse2, false),
  fullMove('MOVAPS', 'NP 0F 28 /r', 'NP 0F 29 /r', sse, true),
  fullMove('MOVAPD', '66 0F 28 /r', '66 0F 29 /r', sse2, true),
  fullMove('MOVDQA', '66 0F 6F /r', '66 0F 7F /r', sse2, true),
  fullMove('MOVDQU', 'F3 0F 6F /r', 'F3 0F 7F /r', sse2, false),
  scalarMove('MOVSS', 'F3', 'ss', sse),
  scalarMove('MOVSD', 'F2', 'sd', sse2),
  halfMove('MOVLPS', 'NP', 0x12, 0, sse),
  halfMove('MOVLPD', '66', 0x12, 0, sse2),
  halfMove('MOVHPS', 'NP', 0x16, 1, sse),
  halfMove('MOVHPD', '66', 0x16, 1, sse2),
  ...unpacks,
  ...shuffles,
  ...transfers,
]
