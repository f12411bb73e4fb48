/**
 * The stored form of test vectors. A file is brotli over
 *
 *   u32 header bytes, header (JSON: where the vectors come from, the forms), then four sections, each u32 bytes + content:
 *   groups   per group, in LEB128: form, count, code bytes, addresses, input kinds, patches
 *   flags    per case u16: low half of RFLAGS, output xor input (the high half counts as changed word)
 *   places   per case: 0 = the same words change as in the case before; else n + 1 and n word numbers, as distances
 *   words    per changed word its new value
 *
 * Inputs are not stored: they follow from the seed (inputs.ts). x87 registers are compared in physical order. RIP counts as changed when it is not just after the code. FIP, FDP
 * and FOP of the x87 are not recorded.
 */
import {brotliCompressSync, brotliDecompressSync, constants} from 'node:zlib'
import type {FormInfo, Group} from './generator.js'
import {groupSeed, InputGenerator, type Patch} from './inputs.js'
import {type ValueKind, Values} from './random.js'
import {address, dataWindows, offset, stateBytes, stateWords, VectorState} from './state.js'

/** The processor that made a set of vectors. */
export interface Processor {
  readonly vendor: string
  readonly name: string
  readonly family: number
  readonly model: number
  readonly stepping: number
  readonly microcode: string
  readonly kernel: string
  /** Feature names as /proc/cpuinfo spells them. */
  readonly features: readonly string[]
}

export interface Header {
  readonly format: 1
  readonly family: string
  readonly processor: Processor
  readonly seed: number
  readonly cases: number
  /** Hash over all inputs, to notice a reader that generates other inputs than the writer did. */
  readonly inputHash: number
  readonly forms: readonly FormInfo[]
}

/** A decoded file: header and groups, with a way through the cases. */
export interface VectorFile {
  readonly header: Header
  readonly groups: readonly Group[]
  readonly flags: Uint16Array
  readonly places: Uint8Array
  readonly words: Uint32Array
}

/** Words of the FXSAVE image that hold FOP, FIP and FDP. */
const pointerWords = {first: (offset.fx >> 2) + 2, count: 4}
const ripWord = offset.rip >> 2
const rflagsWord = offset.rflags >> 2
const tagWord = offset.ftw >> 2

/** A growing list of bytes with LEB128 numbers. */
class ByteList {
  private bytes = new Uint8Array(1 << 16)
  length = 0
  byte(value: number): void {
    if (this.length === this.bytes.length) {
      const larger = new Uint8Array(this.bytes.length * 2)
      larger.set(this.bytes)
      this.bytes = larger
    }
    this.bytes[this.length++] = value
  }
  number(value: number): void {
    let rest = value >>> 0
    while (rest > 127) {
      this.byte((rest & 127) | 128)
      rest >>>= 7
    }
    this.byte(rest)
  }
  result(): Uint8Array {
    return this.bytes.subarray(0, this.length)
  }
}

/** What InputGenerator makes of the groups, hashed. */
export function hashInputs(groups: readonly Group[]): number {
  const generator = new InputGenerator(new VectorState())
  const {words} = generator.state
  let hash = 0x811c9dc5
  for (const group of groups) {
    generator.begin(group)
    for (let i = 0; i < group.count; i++) {
      generator.next()
      for (let at = 0; at < stateWords; at++) hash = Math.imul(hash ^ words[at], 0x01000193)
    }
  }
  return hash >>> 0
}

/** Encodes groups with the output states, which follow one another in `outputs`; `quality` is brotli's. */
export function encodeFile(
  family: string,
  processor: Processor,
  seed: number,
  groups: Group[],
  outputs: Buffer,
  quality = 10,
): Buffer {
  const forms = [...new Set(groups.map(group => group.form))]
  const formNumbers = new Map(forms.map((form, number) => [form, number]))
  const groupList = new ByteList()
  const places = new ByteList()
  const cases = groups.reduce((sum, group) => sum + group.count, 0)
  const flags = new Uint16Array(cases)
  const words: number[] = []
  const generator = new InputGenerator(new VectorState())
  const input = generator.state.words
  let at = 0
  for (const group of groups) {
    writeGroup(groupList, group, formNumbers.get(group.form)!)
    generator.begin(group)
    const end = group.codeAddress + group.code.length
    let previous: number[] = []
    for (let i = 0; i < group.count; i++) {
      generator.next()
      const output = new Uint32Array(outputs.buffer, outputs.byteOffset + at * stateBytes, stateWords).slice()
      if (group.kinds.x87 !== Values.fixed) {
        turnStack(input, 1)
        turnStack(output, 1)
      }
      const changed: number[] = []
      flags[at++] = output[rflagsWord] ^ input[rflagsWord]
      const highFlagsChanged = (output[rflagsWord] ^ input[rflagsWord]) >>> 16 !== 0
      input[ripWord] = end
      for (let word = 0; word < stateWords; word++) {
        if (
          output[word] !== input[word] &&
          (word !== rflagsWord || highFlagsChanged) &&
          !isPointer(word, output, input)
        )
          changed.push(word)
      }
      if (changed.length === previous.length && changed.every((word, place) => word === previous[place]))
        places.number(0)
      else {
        places.number(changed.length + 1)
        let last = 0
        for (const word of changed) {
          places.number(word - last)
          last = word
        }
      }
      for (const word of changed) words.push(word === tagWord ? output[word] & 0xffff : output[word])
      previous = changed
    }
  }
  const header: Header = {format: 1, family, processor, seed, cases, inputHash: hashInputs(groups), forms}
  const sections = [
    Buffer.from(JSON.stringify(header)),
    Buffer.from(groupList.result()),
    Buffer.from(flags.buffer),
    Buffer.from(places.result()),
    Buffer.from(Uint32Array.from(words).buffer),
  ].flatMap(section => [Buffer.from(Uint32Array.of(section.length).buffer), section])
  const plain = Buffer.concat(sections)
  return brotliCompressSync(plain, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: quality,
      [constants.BROTLI_PARAM_LGWIN]: 24,
      [constants.BROTLI_PARAM_SIZE_HINT]: plain.length,
    },
  })
}

/**
 * Turns the x87 registers of an FXSAVE image, which stand in stack order, by `direction` × TOP places: +1 to physical order, -1 back.
 * In physical order a push or pop changes one register; in stack order it moves all eight.
 */
export function turnStack(words: Uint32Array, direction: 1 | -1): void {
  const top = (words[offset.fcw >> 2] >>> 27) & 7
  if (top === 0) return
  const first = offset.st >> 2
  const copy = words.slice(first, first + 32)
  for (let register = 0; register < 8; register++) {
    const to = first + ((register + direction * top) & 7) * 4
    for (let word = 0; word < 4; word++) words[to + word] = copy[register * 4 + word]
  }
}

/** FOP shares its word with the tags: only its half is left out. */
function isPointer(word: number, output: Uint32Array, input: Uint32Array): boolean {
  if (word === tagWord) return (output[word] & 0xffff) === (input[word] & 0xffff)
  return word >= pointerWords.first && word < pointerWords.first + pointerWords.count
}

function writeGroup(list: ByteList, group: Group, form: number): void {
  const {kinds} = group
  list.number(form)
  list.number(group.count)
  list.byte(
    (group.bits === 64 ? 1 : 0) |
      (kinds.mxcsr ? 2 : 0) |
      (kinds.control ? 4 : 0) |
      (dataWindows.indexOf(group.dataAddress) << 3),
  )
  list.byte(kinds.xmm | (kinds.x87 << 4))
  list.byte(kinds.data | (kinds.stack << 4))
  list.number(group.codeAddress - address.code)
  list.number(group.code.length)
  for (const byte of group.code) list.byte(byte)
  list.number(group.patches.length)
  for (const patch of group.patches) {
    list.number(patch.word)
    list.number(patch.and)
    list.number(patch.or)
  }
}

/** Decodes a file; the cases are walked by CaseReader. */
export function decodeFile(compressed: Uint8Array): VectorFile {
  const plain = brotliDecompressSync(compressed)
  const sections: Uint8Array[] = []
  for (let at = 0; at < plain.length; ) {
    const bytes = plain.readUInt32LE(at)
    sections.push(plain.subarray(at + 4, at + 4 + bytes))
    at += 4 + bytes
  }
  const [headerBytes, groupBytes, flagBytes, places, wordBytes] = sections
  const header = JSON.parse(Buffer.from(headerBytes).toString()) as Header
  return {
    header,
    groups: readGroups(groupBytes, header),
    flags: new Uint16Array(new Uint8Array(flagBytes).buffer),
    places,
    words: new Uint32Array(new Uint8Array(wordBytes).buffer),
  }
}

function readGroups(bytes: Uint8Array, header: Header): Group[] {
  let at = 0
  const number = () => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++]
      value |= (byte & 127) << shift
      if (byte < 128) return value >>> 0
    }
  }
  const groups: Group[] = []
  while (at < bytes.length) {
    const form = header.forms[number()]
    const count = number()
    const bits = bytes[at++]
    const first = bytes[at++]
    const second = bytes[at++]
    const codeAddress = address.code + number()
    const codeLength = number()
    const code = bytes.slice(at, at + codeLength)
    at += codeLength
    const patches: Patch[] = []
    for (let left = number(); left > 0; left--) patches.push({word: number(), and: number(), or: number()})
    groups.push({
      form,
      count,
      bits: bits & 1 ? 64 : 32,
      seed: groupSeed(header.seed, groups.length),
      kinds: {
        xmm: (first & 15) as ValueKind,
        x87: (first >> 4) as ValueKind,
        data: (second & 15) as ValueKind,
        stack: (second >> 4) as ValueKind,
        mxcsr: (bits & 2) !== 0,
        control: (bits & 4) !== 0,
      },
      dataAddress: dataWindows[bits >> 3],
      codeAddress,
      code,
      patches,
    })
  }
  return groups
}
