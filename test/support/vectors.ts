/**
 * Reads the native test vectors and says where a state differs from what the real processor did.
 *
 *   for (const group of vectors('integer-alu')) {
 *     // group.code, group.codeAddress, group.bits, group.dataAddress, group.form.name
 *     for (const {input, output} of group.cases()) {
 *       // load input, run until the INT3 after the code or an exception, read back into `actual`
 *       const wrong = differences(group, output, actual)
 *     }
 *   }
 *
 * `input` and `output` are the same two blocks for every case of a file. The memory around the code is in vectors/state.ts.
 */
import {readdirSync, readFileSync} from 'node:fs'
import {decodeFile, type Header, turnStack, type VectorFile} from '../vectors/file.js'
import type {Group} from '../vectors/generator.js'
import {InputGenerator} from '../vectors/inputs.js'
import {Values} from '../vectors/random.js'
import {offset, VectorState} from '../vectors/state.js'

const dataDirectory = new URL('../../../test/vectors/data/', import.meta.url)

/** One input and what the processor made of it. */
export interface VectorCase {
  readonly index: number
  readonly input: VectorState
  readonly output: VectorState
}

/** A group whose cases can be walked, once, in order. */
export interface VectorGroup extends Group {
  cases(): Iterable<VectorCase>
}

/** Names of the stored families. */
export function vectorFamilies(): string[] {
  return readdirSync(dataDirectory)
    .filter(name => name.endsWith('.br'))
    .map(name => name.slice(0, -3))
    .sort()
}

/** The decoded file of a family. */
export function readVectorFile(family: string): VectorFile {
  return decodeFile(readFileSync(new URL(`${family}.br`, dataDirectory)))
}

/** Where the vectors of a family come from, and their number. */
export function vectorHeader(family: string): Header {
  return readVectorFile(family).header
}

/** All groups of a stored family, in order. A group that is skipped costs nothing to its successors. */
export function vectors(family: string): Iterable<VectorGroup> {
  return groupsOf(readVectorFile(family))
}

/** All groups of a decoded file, in order. */
export function* groupsOf(file: VectorFile): Iterable<VectorGroup> {
  const cursor = new CaseReader(file)
  for (const group of file.groups) {
    const walk = cursor.walk(group)
    yield {...group, cases: () => walk}
    for (const _ of walk) {
      // Cases that the caller left are read past.
    }
  }
}

/** Applies the stored changes to the generated inputs. */
class CaseReader {
  private readonly input = new VectorState()
  private readonly output = new VectorState()
  private readonly generator = new InputGenerator(this.input)
  private caseNumber = 0
  private placeAt = 0
  private wordAt = 0

  constructor(private readonly file: VectorFile) {}

  *walk(group: Group): Generator<VectorCase, void, undefined> {
    const {input, output, generator, file} = this
    const {places, words, flags} = file
    const end = group.codeAddress + group.code.length
    const stacked = group.kinds.x87 !== Values.fixed
    const changed: number[] = []
    const result = {index: 0, input, output}
    generator.begin(group)
    for (let index = 0; index < group.count; index++) {
      generator.next()
      input.words[offset.rip >> 2] = end
      output.words.set(input.words)
      if (stacked) turnStack(output.words, 1)
      input.words[offset.rip >> 2] = group.codeAddress
      output.words[offset.rflags >> 2] ^= flags[this.caseNumber++]
      const count = this.number(places)
      if (count > 0) {
        changed.length = count - 1
        let last = 0
        for (let i = 0; i < count - 1; i++) {
          last += this.number(places)
          changed[i] = last
        }
      }
      for (let i = 0; i < changed.length; i++) output.words[changed[i]] = words[this.wordAt++]
      if (stacked) turnStack(output.words, -1)
      result.index = index
      yield result
    }
  }

  private number(bytes: Uint8Array): number {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[this.placeAt++]
      value |= (byte & 127) << shift
      if (byte < 128) return value
    }
  }
}

/** Status flags of RFLAGS by the names that undefinedFlags uses. */
export const flagBits: Readonly<Record<string, number>> = {CF: 1, PF: 4, AF: 0x10, ZF: 0x40, SF: 0x80, OF: 0x800}
const statusBits: Readonly<Record<string, number>> = {PE: 0x20, C0: 0x100, C1: 0x200, C2: 0x400, C3: 0x4000}
const registerNames = 'RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15 RIP RFLAGS FSBASE GSBASE'.split(
  ' ',
)
const fpuPointersStart = offset.fx + 8
const fpuPointersEnd = offset.fx + 24

/** Flags that a fault leaves undefined though the instruction defines them, and x87 exceptions that only this processor reports. */
const undefinedBeyond: Readonly<Record<string, {flags: number; status: number}>> = {
  'SHL Mv,1 across the edge': {flags: 0x10, status: 0},
  FYL2X: {flags: 0, status: 0x20},
}

/**
 * What differs, in words; empty when the states agree in all that the manual defines. Ignored by name: `group.form.undefinedFlags`
 * and `group.form.ignored` (C0–C3, PE, `last place` of an x87 result, `approximation` of RCPPS and the like, `data 12-27` bytes of the data window).
 */
export function differences(group: Group, expected: VectorState, actual: VectorState): string[] {
  const found: string[] = []
  const {undefinedFlags, ignored} = group.form
  const flagMask = ~undefinedFlags.reduce((mask, name) => mask | flagBits[name], 0)
  for (let word = 0; word < expected.words.length; word++) {
    const want = expected.words[word]
    const have = actual.words[word]
    if (want === have) continue
    const byte = word * 4
    if (byte === offset.rflags && ((want ^ have) & flagMask) === 0) continue
    const beyond = undefinedBeyond[group.form.name]
    if (beyond && byte === offset.rflags && ((want ^ have) & flagMask & ~beyond.flags) === 0) continue
    if (beyond && byte === offset.fcw && ((want ^ have) & ~(beyond.status << 16)) === 0) continue
    if (byte >= offset.fx && byte < offset.data && sameFloatingPoint(byte, expected, actual, ignored)) continue
    if (byte >= offset.data && byte < offset.stack && ignoredData(byte - offset.data, expected, actual, ignored))
      continue
    found.push(`${wordName(byte)} is ${hex(have)}, expected ${hex(want)}`)
  }
  return found
}

function sameFloatingPoint(
  byte: number,
  expected: VectorState,
  actual: VectorState,
  ignored: readonly string[],
): boolean {
  const want = expected.words[byte >> 2]
  const have = actual.words[byte >> 2]
  if (byte >= fpuPointersStart && byte < fpuPointersEnd) return true
  if (byte === offset.ftw) return (want & 0xffff) === (have & 0xffff)
  if (byte === offset.fcw) {
    const mask = ignored.reduce((bits, name) => bits | (statusBits[name] ?? 0), 0)
    return ((want ^ have) & ~(mask << 16)) === 0
  }
  if (ignored.includes('approximation') && byte >= offset.xmm) return approximatelyEqual(want, have)
  if (ignored.includes('last place') && byte >= offset.st && byte < offset.xmm) {
    const slot = (byte - offset.st) & ~15
    return lastPlaceApart(expected, actual, offset.st + slot)
  }
  return false
}

const singles = new Float32Array(2)
const singleWords = new Uint32Array(singles.buffer)

/** Whether two single-precision estimates are both within 1.5 × 2⁻¹² of the same value. Source: SDM vol. 2B RCPPS. */
function approximatelyEqual(want: number, have: number): boolean {
  singleWords[0] = want
  singleWords[1] = have
  return Math.abs(singles[0] - singles[1]) <= Math.abs(singles[0]) * 3 * 2 ** -12 * (1 + 2 ** -10)
}

/** Whether two 80-bit numbers are neighbours, seen as sign-magnitude integers. */
function lastPlaceApart(expected: VectorState, actual: VectorState, at: number): boolean {
  if (expected.view.getUint16(at + 8, true) >> 15 !== actual.view.getUint16(at + 8, true) >> 15) return false
  const magnitude = (state: VectorState) => {
    const exponent = BigInt(state.view.getUint16(at + 8, true) & 0x7fff)
    return (exponent << 63n) + (state.view.getBigUint64(at, true) & 0x7fffffffffffffffn)
  }
  const distance = magnitude(expected) - magnitude(actual)
  return distance >= -1n && distance <= 1n
}

function ignoredData(byte: number, expected: VectorState, actual: VectorState, ignored: readonly string[]): boolean {
  for (let i = byte; i < byte + 4; i++) {
    if (expected.data[i] === actual.data[i]) continue
    const covered = ignored.some(name => {
      const [, first, last] = /^data (\d+)-(\d+)$/.exec(name) ?? []
      return first !== undefined && i >= Number(first) && i <= Number(last)
    })
    if (!covered) return false
  }
  return true
}

function wordName(byte: number): string {
  if (byte < offset.fault) return `${registerNames[byte >> 3]}${byte & 4 ? ' (high half)' : ''}`
  if (byte === offset.fault) return 'exception'
  if (byte === offset.errorCode) return 'error code'
  if (byte < offset.selectors) return 'CR2'
  if (byte < offset.fx) return ['CS:ES', 'DS:SS', 'GS:FS'][(byte - offset.selectors) >> 2]
  if (byte >= offset.stack) return `stack+${byte - offset.stack}`
  if (byte >= offset.data) return `data+${byte - offset.data}`
  if (byte >= offset.xmm) return `XMM${(byte - offset.xmm) >> 4} word ${((byte - offset.xmm) >> 2) & 3}`
  if (byte >= offset.st) return `ST${(byte - offset.st) >> 4} word ${((byte - offset.st) >> 2) & 3}`
  return byte === offset.fcw
    ? 'FSW:FCW'
    : byte === offset.ftw
      ? 'tags'
      : byte === offset.mxcsr
        ? 'MXCSR'
        : `FXSAVE+${byte - offset.fx}`
}

const hex = (value: number) => `0x${value.toString(16).padStart(8, '0')}`

/** The code and the registers of a case, for a failure message. */
export function describeCase(group: Group, index: number, input: VectorState): string {
  const code = [...group.code].map(byte => byte.toString(16).padStart(2, '0')).join(' ')
  const registers = registerNames.map((name, i) => `${name}=${input.view.getBigUint64(i * 8, true).toString(16)}`)
  return `${group.form.name} [${code}] ${group.bits}-bit, seed ${group.seed}, case ${index}\n  ${registers.join(' ')}`
}
