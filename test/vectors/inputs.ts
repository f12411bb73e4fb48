/**
 * What a group of test vectors is, and how the input states of its cases follow from its seed.
 *
 * A group is one piece of code (mostly one instruction) run `count` times with different inputs. Inputs are random except where
 * a patch pins them: `word = (word & and) | or`, applied last, on 32-bit words of the state. So a base register points into the
 * data window, a divisor is small, and so on. Regions a group does not use hold fixed values.
 */
import {OperandValues, Random, type ValueKind, Values} from './random.js'
import {address, dataBytes, offset, stackBytes, stateWords, type VectorState} from './state.js'

/** Pins bits of one 32-bit word of every input of a group. */
export interface Patch {
  readonly word: number
  readonly and: number
  readonly or: number
}

/** Which parts of the inputs vary. General registers and status flags always do. */
export interface InputKinds {
  readonly xmm: ValueKind
  /** extended = random stack of 80-bit numbers; integer = MMX registers. */
  readonly x87: ValueKind
  readonly data: ValueKind
  readonly stack: ValueKind
  /** MXCSR: rounding, DAZ, FTZ, sticky flags vary, rarely also the masks. */
  readonly mxcsr: boolean
  /** x87 control and status words vary in the same way. */
  readonly control: boolean
}

/** The inputs of one group of cases. */
export interface GroupInputs {
  readonly bits: 64 | 32
  readonly seed: number
  readonly kinds: InputKinds
  readonly patches: readonly Patch[]
}

const word = (byteOffset: number) => byteOffset >> 2

/** RFLAGS of every input: interrupts on, bit 1 set; the status flags and DF vary. */
const fixedRflags = 0x202
const variableRflags = 0xcd5

/** Makes the inputs of one group after the other in a state block. */
export class InputGenerator {
  private readonly random = new Random(0)
  private readonly values: OperandValues
  private group: GroupInputs | undefined

  constructor(readonly state: VectorState) {
    this.values = new OperandValues(this.random, state.words)
  }

  /** Starts a group: fixed regions get their fixed values. */
  begin(group: GroupInputs): void {
    this.group = group
    this.random.reseed(group.seed)
    this.state.words.fill(0)
    const {words} = this.state
    words[word(offset.fcw)] = 0x037f
    words[word(offset.mxcsr)] = 0x1f80
    words[word(offset.selectors)] = 0x2b | ((group.bits === 64 ? 0x33 : 0x23) << 16)
    words[word(offset.selectors) + 1] = 0x2b002b
    if (group.kinds.xmm === Values.fixed) {
      for (let i = 0; i < 64; i++) words[word(offset.xmm) + i] = 0x3f800000 + i
    }
  }

  /** The next case of the group. */
  next(): void {
    const {random, values, state} = this
    const {words} = state
    const group = this.group!
    const {kinds} = group
    if (group.bits === 64) values.fill(Values.integer, 0, 32)
    else {
      values.fill(Values.integer, 0, 8)
      for (let register = 7; register >= 0; register--) {
        words[register * 2] = words[register]
        words[register * 2 + 1] = 0
      }
    }
    words[word(offset.rflags)] = fixedRflags | (random.next() & variableRflags)
    values.fill(kinds.xmm, word(offset.xmm), group.bits === 64 ? 64 : 32)
    if (kinds.mxcsr) this.mxcsr()
    if (kinds.x87 !== Values.fixed) this.x87(kinds)
    values.fill(kinds.data, word(offset.data), dataBytes / 4)
    values.fill(kinds.stack, word(offset.stack), stackBytes / 4)
    for (const {word: at, and, or} of group.patches) words[at] = (words[at] & and) | or
  }

  private mxcsr(): void {
    const bits = this.random.next()
    let mxcsr = 0x1f80 | (bits & 0x6000)
    if ((bits & 0x30000) === 0) mxcsr |= 0x0040
    if ((bits & 0xc0000) === 0) mxcsr |= 0x8000
    if (bits & 0x100000) mxcsr |= (bits >>> 24) & 0x3f
    if ((bits & 0xe00000) === 0) mxcsr &= ~((this.random.next() & 0x3f) << 7)
    this.state.words[word(offset.mxcsr)] = mxcsr
  }

  private x87(kinds: InputKinds): void {
    const {random, values, state} = this
    const st = word(offset.st)
    const bits = random.next()
    let top = 0
    let status = 0
    let control = 0x037f
    let tags = 0xff
    if (kinds.x87 === Values.integer) {
      for (let register = 0; register < 8; register++) {
        values.integer64(st + register * 4)
        state.words[st + register * 4 + 2] = 0xffff
        state.words[st + register * 4 + 3] = 0
      }
    } else {
      values.fill(Values.extended, st, 32)
      top = bits & 0x3800
      status = bits & 0x4700
      if ((bits & 0x30000) === 0) tags = (bits >>> 18) & 0xff
    }
    if (kinds.control) {
      const more = random.next()
      control |= more & 0xc00
      if ((more & 0x300000) === 0) control &= more & 0x10000 ? ~0x300 : ~0x100
      if ((more & 0xf0000) === 0) control &= ~((more >>> 22) & 0x3f)
      if (more & 0x10) status |= (more >>> 4) & control & 0x3f
    }
    state.words[word(offset.fcw)] = control | ((status | top) << 16)
    state.words[word(offset.ftw)] = tags
  }
}

/** Seed of group number `index` of a file. */
export function groupSeed(fileSeed: number, index: number): number {
  return Math.imul(fileSeed ^ (index * 0x9e3779b1), 0x85ebca6b) ^ index
}

/** Patches that give general register `register` a value; `width` bits are pinned, the others stay random. */
export function pinRegister(register: number, value: bigint, width: 64 | 32 | 16 | 8 = 64): Patch[] {
  const low = Number(value & 0xffffffffn) | 0
  const high = Number((value >> 32n) & 0xffffffffn) | 0
  if (width === 64) {
    return [
      {word: register * 2, and: 0, or: low},
      {word: register * 2 + 1, and: 0, or: high},
    ]
  }
  const mask = width === 32 ? -1 : (1 << width) - 1
  return [{word: register * 2, and: ~mask, or: low & mask}]
}

/** Patches that put RSP near the top of the stack window. */
export function pinStack(bits: 64 | 32, delta = 0): Patch[] {
  return pinRegister(4, BigInt(address.stackTop + delta), bits)
}

/** Checks that a patch stays inside the state. */
export function validPatch(patch: Patch): boolean {
  return patch.word >= 0 && patch.word < stateWords
}
