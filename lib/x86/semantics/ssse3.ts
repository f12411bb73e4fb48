/**
 * SSSE3: byte shuffles, horizontal sums, signs, absolute values, of XMM and MMX registers.
 *
 * Source: SDM vol. 2.
 */
import type {Builder, Value} from '../ir/builder.js'
import {form, type Instruction, instruction} from './instruction.js'
import {
  byteNumbers,
  type Combine,
  clamped,
  enterMmx,
  type Narrowing,
  packed,
  readMmx,
  waitForX87,
  writeMmx,
} from './packed.js'
import {elements, lane, readAligned, register, setRegister, shuffle, withLane} from './sse-common.js'

const vector16 = (s: Builder, value: number) => s.wasm('i16x8.splat', [s.constant(32, value)])
const zero = (s: Builder) => s.vector(new Uint8Array(16))

function define(mnemonic: string, opcode: string, combine: Combine, narrowing: Narrowing = 'lanes'): Instruction {
  return packed(mnemonic, opcode, combine, {feature: 'ssse3', mmx: 'ssse3', narrowing})
}

/** An index with bit 7 set gives zero, others count modulo the register's bytes. */
function shuffleBytes(mask: number): Combine {
  return (s, target, source) => {
    const indices = s.wasm('v128.and', [source, s.vector(new Uint8Array(16).fill(mask))])
    return s.wasm('i8x16.swizzle', [target, indices])
  }
}

/** Neighbouring elements combined: the target's, then the source's. */
function horizontal(bytes: 2 | 4, operation: string): Combine {
  const count = 16 / bytes
  const every = (first: number) => Array.from({length: count}, (_, index) => first + index * 2)
  return (s, target, source) =>
    s.wasm(operation, [
      shuffle(s, target, source, elements(bytes, every(0))),
      shuffle(s, target, source, elements(bytes, every(1))),
    ])
}

/** Unsigned bytes of the target times signed bytes of the source, neighbours added. */
const multiplyAddBytes: Combine = (s, target, source) => {
  const eight = s.constant(32, 8)
  const even = s.wasm('i16x8.mul', [
    s.wasm('v128.and', [target, vector16(s, 0xff)]),
    s.wasm('i16x8.shr_s', [s.wasm('i16x8.shl', [source, eight]), eight]),
  ])
  const odd = s.wasm('i16x8.mul', [s.wasm('i16x8.shr_u', [target, eight]), s.wasm('i16x8.shr_s', [source, eight])])
  return s.wasm('i16x8.add_sat_s', [even, odd])
}

/** Rounded upper halves of products; WebAssembly's saturates the one case that wraps here. */
const multiplyRound: Combine = (s, target, source) => {
  const least = vector16(s, -0x8000)
  const wraps = s.wasm('v128.and', [s.wasm('i16x8.eq', [target, least]), s.wasm('i16x8.eq', [source, least])])
  return s.wasm('v128.xor', [s.wasm('i16x8.q15mulr_sat_s', [target, source]), wraps])
}

/** The target's elements negated, cleared or kept as the source's are negative, zero or positive. */
function sign(shape: string): Combine {
  return (s, target, source) => {
    const kept = s.wasm(`${shape}.gt_s`, [source, zero(s)])
    const negated = s.wasm(`${shape}.gt_s`, [zero(s), source])
    return s.wasm('v128.or', [
      s.wasm('v128.and', [target, kept]),
      s.wasm('v128.and', [s.wasm(`${shape}.neg`, [target]), negated]),
    ])
  }
}

const absolute =
  (shape: string): Combine =>
  (s, _target, source) =>
    s.wasm(`${shape}.abs`, [source])

/** Bytes `count` to `count` + 15 of low and, beyond it, high; what lies beyond both is zero. */
function shiftedOut(s: Builder, low: Value, high: Value | undefined, count: Value): Value {
  const from = s.wasm('i8x16.add', [byteNumbers(s), s.wasm('i8x16.splat', [count])])
  const below = s.wasm('i8x16.swizzle', [low, from])
  if (high === undefined) return below
  const above = s.wasm('i8x16.sub', [from, s.vector(new Uint8Array(16).fill(16))])
  return s.wasm('v128.or', [below, s.wasm('i8x16.swizzle', [high, above])])
}

const align = instruction('PALIGNR', {
  source: 'SDM vol. 2B PALIGNR',
  forms: [
    form('66 0F 3A 0F /r', 'Vx', 'Wx', 'Ib', {feature: 'ssse3'}),
    form('NP 0F 3A 0F /r', 'Pq', 'Qq', 'Ib', {feature: 'ssse3'}),
  ],
  execute(s, target, source, amount) {
    const count = clamped(s, amount, 32)
    if (target.bits === 128) {
      const low = readAligned(s, source)
      return setRegister(s, target, shiftedOut(s, low, register(s, target), count))
    }
    waitForX87(s)
    const joined = withLane(s, readMmx(s, source), 64, 1, s.read(target))
    const result = s.hold(lane(s, shiftedOut(s, joined, undefined, count), 64, 0))
    enterMmx(s)
    writeMmx(s, target, result)
  },
})

export const ssse3: Instruction[] = [
  packed('PSHUFB', '38 00', shuffleBytes(0x8f), {feature: 'ssse3', mmx: 'ssse3', mmxCombine: shuffleBytes(0x87)}),
  define('PHADDW', '38 01', horizontal(2, 'i16x8.add'), 'joined'),
  define('PHADDD', '38 02', horizontal(4, 'i32x4.add'), 'joined'),
  define('PHADDSW', '38 03', horizontal(2, 'i16x8.add_sat_s'), 'joined'),
  define('PMADDUBSW', '38 04', multiplyAddBytes),
  define('PHSUBW', '38 05', horizontal(2, 'i16x8.sub'), 'joined'),
  define('PHSUBD', '38 06', horizontal(4, 'i32x4.sub'), 'joined'),
  define('PHSUBSW', '38 07', horizontal(2, 'i16x8.sub_sat_s'), 'joined'),
  define('PSIGNB', '38 08', sign('i8x16')),
  define('PSIGNW', '38 09', sign('i16x8')),
  define('PSIGND', '38 0A', sign('i32x4')),
  define('PMULHRSW', '38 0B', multiplyRound),
  define('PABSB', '38 1C', absolute('i8x16')),
  define('PABSW', '38 1D', absolute('i16x8')),
  define('PABSD', '38 1E', absolute('i32x4')),
  align,
]
