/**
 * The SHA extensions: SHA-1 and SHA-256 rounds and message schedules as 32-bit integer operations on lanes.
 *
 * Words a, b, c … of a state lie from the highest lane down; message words from the lowest lane up in SHA-256, from the highest down in SHA-1.
 * A memory operand need not be aligned: so it is on AMD's processors, which we say to be (Intel's raise #GP).
 * Source: SDM vol. 2B SHA1MSG1 … SHA256RNDS2; FIPS 180-4, sections 4.1 and 6.
 */
import type {Builder, Operand, Value} from '../ir/builder.js'
import {state} from '../state.js'
import {form, type Instruction, instruction} from './instruction.js'
import {elements, lane, register, setRegister, shuffle} from './sse-common.js'

const sha = {feature: 'sha'}

type Mix = (s: Builder, target: Value, source: Value) => Value

function vectorwise(mnemonic: string, opcode: string, mix: Mix): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2B ${mnemonic}`,
    forms: [form(`NP 0F 38 ${opcode} /r`, 'Vx', 'Wx', sha)],
    execute(s, target, source) {
      const right = s.read(source)
      setRegister(s, target, mix(s, register(s, target), right))
    },
  })
}

/** A vector of four words, lowest lane first. */
function words(s: Builder, values: readonly Value[]): Value {
  return values
    .slice(1)
    .reduce(
      (vector, value, index) => s.wasm('i32x4.replace_lane', [vector, value], {lanes: [index + 1]}),
      s.wasm('i32x4.splat', [values[0]]),
    )
}

/** The lanes `order` of two vectors: 0 to 3 of the first, 4 to 7 of the second. */
const pick = (s: Builder, first: Value, second: Value, order: readonly number[]) =>
  shuffle(s, first, second, elements(4, order))

const sum = (s: Builder, ...values: Value[]) => values.reduce((left, right) => s.add(left, right))
const xor = (s: Builder, ...values: Value[]) => values.reduce((left, right) => s.xor(left, right))
const rotateRight = (s: Builder, value: Value, count: number) => s.wasm('i32.rotr', [value, s.constant(32, count)])
const rotations = (s: Builder, value: Value, ...counts: number[]) =>
  xor(s, ...counts.map(count => rotateRight(s, value, count)))

/** (a & b) ^ (a & c) ^ (b & c). */
const majority = (s: Builder, a: Value, b: Value, c: Value) => s.xor(s.and(a, b), s.and(c, s.xor(a, b)))
/** a ? b : c, bit by bit. */
const choose = (s: Builder, a: Value, b: Value, c: Value) => s.xor(c, s.and(a, s.xor(b, c)))

/** Every lane rotated left. */
function rotateLanes(s: Builder, value: Value, left: number): Value {
  const up = s.wasm('i32x4.shl', [value, s.constant(32, left)])
  return s.wasm('v128.or', [up, s.wasm('i32x4.shr_u', [value, s.constant(32, 32 - left)])])
}

// ---- SHA-1 ----

/** The additive constants of rounds 0–19, 20–39, 40–59, 60–79. */
const sha1Constants = [0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6]

/**
 * Four rounds; the immediate names the round function. So that no branch is needed, one formula serves all three functions:
 * (b & c) ^ (d & x) with x = ~b (choose) or b ^ c (majority); for parity the first term becomes b ^ c, and x all ones.
 */
function sha1Rounds(s: Builder, target: Operand, source: Operand, immediate: Operand): void {
  const message = s.read(source)
  const before = register(s, target)
  const which = s.and(s.zeroExtend(s.read(immediate), 32), s.constant(32, 3))
  const mask = (condition: Value) => s.negate(condition)
  const chooses = mask(s.isZero(which))
  const parity = mask(s.and(which, s.constant(32, 1)))
  const constant = sha1Constants
    .map((value, index) => s.and(mask(s.equal(which, s.constant(32, index))), s.constant(32, value)))
    .reduce((left, right) => s.or(left, right))
  let [d, c, b, a] = [0, 1, 2, 3].map(index => lane(s, before, 32, index))
  let e: Value | undefined
  for (let round = 0; round < 4; round++) {
    const first = s.xor(s.and(b, c), s.and(parity, s.or(b, c)))
    const factor = s.or(s.xor(b, s.or(c, chooses)), parity)
    const mixed = s.xor(first, s.and(d, factor))
    // The first message word comes with e added to it.
    const word = lane(s, message, 32, 3 - round)
    const next = sum(s, rotateRight(s, a, 27), mixed, constant, e === undefined ? word : s.add(word, e))
    ;[a, b, c, d, e] = [next, a, rotateRight(s, b, 2), c, d]
  }
  setRegister(s, target, words(s, [d, c, b, a]))
}

/** e of the state four rounds ago, added to the first of the next message words. */
const sha1NextE: Mix = (s, target, source) =>
  s.wasm('i32x4.replace_lane', [source, s.add(lane(s, source, 32, 3), rotateRight(s, lane(s, target, 32, 3), 2))], {
    lanes: [3],
  })

const sha1First: Mix = (s, target, source) => s.wasm('v128.xor', [target, pick(s, target, source, [6, 7, 0, 1])])

const sha1Second: Mix = (s, target, source) => {
  const zero = s.vector(new Uint8Array(16))
  const rotated = rotateLanes(s, s.wasm('v128.xor', [target, pick(s, zero, source, [0, 4, 5, 6])]), 1)
  // The last word depends on the first one computed here.
  const last = s.xor(lane(s, rotated, 32, 0), rotateRight(s, lane(s, rotated, 32, 3), 31))
  return s.wasm('i32x4.replace_lane', [rotated, last], {lanes: [0]})
}

// ---- SHA-256 ----

/** Two rounds; XMM0 holds message words with their constants added. */
function sha256Rounds(s: Builder, target: Operand, source: Operand): void {
  const abef = s.read(source)
  const cdgh = register(s, target)
  const message = s.register({fixed: state.xmm}, 128)
  let [f, e, b, a] = [0, 1, 2, 3].map(index => lane(s, abef, 32, index))
  let [h, g, d, c] = [0, 1, 2, 3].map(index => lane(s, cdgh, 32, index))
  for (let round = 0; round < 2; round++) {
    const common = sum(s, h, lane(s, message, 32, round), choose(s, e, f, g), rotations(s, e, 6, 11, 25))
    const next = sum(s, common, majority(s, a, b, c), rotations(s, a, 2, 13, 22))
    ;[a, b, c, d, e, f, g, h] = [next, a, b, c, s.add(common, d), e, f, g]
  }
  setRegister(s, target, words(s, [f, e, b, a]))
}

const sha256First: Mix = (s, target, source) => {
  const after = pick(s, target, source, [1, 2, 3, 4])
  const mixed = s.wasm('v128.xor', [rotateLanes(s, after, 25), rotateLanes(s, after, 14)])
  const shifted = s.wasm('i32x4.shr_u', [after, s.constant(32, 3)])
  return s.wasm('i32x4.add', [target, s.wasm('v128.xor', [mixed, shifted])])
}

const sha256Second: Mix = (s, target, source) => {
  const mix = (word: Value) => s.xor(rotations(s, word, 17, 19), s.shiftRight(word, s.constant(32, 10)))
  const result: Value[] = []
  for (let index = 0; index < 4; index++) {
    const twoBefore = index < 2 ? lane(s, source, 32, index + 2) : result[index - 2]
    result.push(s.add(lane(s, target, 32, index), mix(twoBefore)))
  }
  return words(s, result)
}

export const shaExtensions: Instruction[] = [
  instruction('SHA1RNDS4', {
    source: 'SDM vol. 2B SHA1RNDS4',
    forms: [form('NP 0F 3A CC /r', 'Vx', 'Wx', 'Ib', sha)],
    execute: sha1Rounds,
  }),
  vectorwise('SHA1NEXTE', 'C8', sha1NextE),
  vectorwise('SHA1MSG1', 'C9', sha1First),
  vectorwise('SHA1MSG2', 'CA', sha1Second),
  instruction('SHA256RNDS2', {
    source: 'SDM vol. 2B SHA256RNDS2',
    forms: [form('NP 0F 38 CB /r', 'Vx', 'Wx', 'XMM0', sha)],
    execute: sha256Rounds,
  }),
  vectorwise('SHA256MSG1', 'CC', sha256First),
  vectorwise('SHA256MSG2', 'CD', sha256Second),
]
