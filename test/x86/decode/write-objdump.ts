/**
 * Writes data/objdump.br anew: what objdump prints for instructions of the test vectors, and for every form with a register and with memory, at
 * each operand size. Needs binutils (2.40 was used).
 *
 *   node dist/test/x86/decode/write-objdump.js
 */
import {execFileSync} from 'node:child_process'
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {brotliCompressSync} from 'node:zlib'
import {offered} from '../../../lib/x86/cpuid.js'
import {OpcodeMap, type ParsedForm, Source} from '../../../lib/x86/decode/opcode-map.js'
import {decode} from '../../../lib/x86/instruction-set.js'
import {instructions} from '../../../lib/x86/semantics/index.js'
import {readVectorFile, vectorFamilies} from '../../support/vectors.js'
import {dataFile, firstAddress, isKept, slotBytes} from './objdump.js'

const nop = 0x90

/** What objdump prints: offset from the first address, bytes in hex, text. */
function disassembled(codes: readonly Buffer[], bits: 64 | 32): [offset: number, hex: string, text: string][] {
  const folder = mkdtempSync(join(tmpdir(), 'objdump-'))
  const file = join(folder, 'code')
  const all = Buffer.alloc(codes.length * slotBytes, nop)
  for (const [index, code] of codes.entries()) all.set(code, index * slotBytes)
  writeFileSync(file, all)
  const first = BigInt.asUintN(64, BigInt(firstAddress[bits]))
  const machine = bits === 64 ? 'i386:x86-64' : 'i386'
  const options = ['-M', 'intel', `--adjust-vma=0x${first.toString(16)}`, '--insn-width=15']
  const text = execFileSync('objdump', ['-D', '-b', 'binary', '-m', machine, ...options, file], {maxBuffer: 1 << 30})
  rmSync(folder, {recursive: true})
  const rows = text.toString().matchAll(/^ *([\da-f]+):\t([\da-f ]+?) *\t(.*)$/gm)
  return [...rows].map(([, at, hex, words]) => [
    Number(BigInt(`0x${at}`) - first),
    hex.replaceAll(' ', ''),
    words.trimEnd(),
  ])
}

/** The instructions in the code of the vectors. */
function fromVectors(bits: 64 | 32): string[] {
  const codes = new Map<string, Buffer>()
  for (const family of vectorFamilies())
    for (const group of readVectorFile(family).groups) {
      const code = Buffer.from(group.code)
      if (group.bits === bits && code.length < slotBytes) codes.set(code.toString('hex'), code)
    }
  const list = [...codes.values()]
  const inside = disassembled(list, bits).filter(
    ([at, hex]) => (at % slotBytes) + hex.length / 2 <= list[Math.floor(at / slotBytes)].length,
  )
  return inside.map(([, hex]) => hex)
}

const prefixBytes: Record<string, number[]> = {NP: [], 66: [0x66], F2: [0xf2], F3: [0xf3]}
/** ModRM and what follows it: two registers, [rbx], [rbp-0x10], [rsp+rcx*4+0x12345678], [rip+0x1234] or [0x1234]. */
const operands = ['ca', 'fd', '03', '45f0', '848c78563412', '0534120000']

/** Every form: with REX or VEX bits and 66 or without, with registers and memory. */
function* fromForms(bits: 64 | 32): Generator<string> {
  const forms = new OpcodeMap(instructions, offered).all()
  for (const form of forms)
    for (const [narrow, wide] of [
      [false, 0],
      [true, 0],
      [false, 0x48],
      [false, 0x45],
    ] as const)
      for (const tail of form.modrm && form.fixedModrm < 0 ? operands : [''])
        for (const start of form.vex ? [vexOf(form, wide)] : legacyOf(form, narrow, wide)) {
          const modrm = Buffer.from(tail, 'hex')
          if (form.fixedModrm >= 0) modrm.fill(form.fixedModrm)
          else if (form.digit >= 0 && modrm.length > 0) modrm[0] = (modrm[0] & 0xc7) | (form.digit << 3)
          const opcode = form.opcode + (form.plusR ? 3 : 0)
          const fixed = form.fixedModrm >= 0 ? [form.fixedModrm] : [...modrm]
          const immediate = form.ops.some(({source}) => source >= Source.offset && source <= Source.farPointer)
          const bytes = Buffer.from([
            ...start,
            opcode,
            ...fixed,
            ...(immediate ? [7, 0, 0, 0x80, 0x11, 0x22, 0x33, 0x44] : []),
          ])
          const decoded = decode(Buffer.concat([bytes, Buffer.alloc(15)]), 0, 0, bits)
          if (typeof decoded !== 'string' && decoded.form === form.form)
            yield bytes.subarray(0, decoded.length).toString('hex')
        }
}

function legacyOf({prefix, map}: ParsedForm, narrow: boolean, rex: number): number[][] {
  const size = narrow && prefix !== '66' ? [0x66] : []
  const start = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]][map]
  return [[...size, ...(prefixBytes[prefix ?? 'NP'] ?? []), ...(rex === 0 ? [] : [rex]), ...start]]
}

function vexOf({prefix, map}: ParsedForm, rex: number): number[] {
  const extend = rex & 1 ? 0x40 : 0xe0
  return [0xc4, extend | map, (rex & 8 ? 0x80 : 0) | 0x50 | ['NP', '66', 'F3', 'F2'].indexOf(prefix!)]
}

/** A text with its registers and numbers left out. */
const shapeOf = (text: string): string =>
  text
    .replace(/\b([re]?([abcd]x|[sb]p|[sd]i)|[abcd][lh]|[sb]pl|[sd]il|r\d+[bwd]?|x?mm\d+)\b/g, 'r')
    .replace(/0x[\da-f]+/g, 'n')

const lines: string[] = []
for (const bits of [64, 32] as const) {
  const hexes = [...new Set([...fromForms(bits), ...fromVectors(bits)])]
  const known = (codes: readonly string[]) =>
    disassembled(
      codes.map(hex => Buffer.from(hex, 'hex')),
      bits,
    ).filter(([at]) => at % slotBytes === 0)
  // Of instructions whose text differs in registers and numbers only, one is kept.
  const seen = new Map<unknown, Set<string>>()
  const chosen: string[] = []
  for (const [at, hex, text] of known(hexes)) {
    if (hex !== hexes[at / slotBytes] || !isKept(bits, text)) continue
    const decoded = decode(Buffer.concat([Buffer.from(hex, 'hex'), Buffer.alloc(15)]), 0, 0, bits)
    if (typeof decoded === 'string') continue
    const shape = shapeOf(text)
    const shapes = seen.get(decoded.form) ?? new Set()
    seen.set(decoded.form, shapes)
    if (shapes.has(shape)) continue
    shapes.add(shape)
    chosen.push(hex)
  }
  for (const [, hex, text] of known(chosen)) lines.push(`${bits} ${hex} ${text}`)
  console.log(`${bits}-bit code: ${chosen.length} instructions`)
}
const file = brotliCompressSync(`${lines.join('\n')}\n`)
writeFileSync(dataFile, file)
console.log(`${file.length} bytes`)
