/**
 * Forms taken apart and put into dispatch tables: map (one byte, 0F, 0F38, 0F3A) and opcode byte → the forms that share them. Which of them
 * it is depends on mandatory prefix, ModRM and mode, in the order of the list: forms with a mandatory prefix first, then those with a fixed
 * ModRM byte, then those with a digit. Two forms that this order leaves equal must exclude each other: a second claim on the same bytes is an
 * error when the map is built.
 *
 * Source: SDM vol. 2A 2.1, vol. 2D appendix A.
 */
import type {Form, Instruction} from '../semantics/instruction.js'

/** One form, taken apart. */
export interface ParsedForm {
  instruction: Instruction
  form: Form
  map: number
  opcode: number
  plusR: boolean
  prefix: string | undefined
  modrm: boolean
  digit: number
  fixedModrm: number
  vex: boolean
  memoryOnly: boolean
  registerOnly: boolean
  id: number
  ops: OperandSpec[]
  usesAddress: boolean
  /** What its options say, in one shape for all forms: the decoder asks for each instruction. */
  lockable: boolean
  repeatable: boolean
  shiftCount: boolean
  /** 0: prefixes and mode decide. */
  operandBits: number
  size64: 'forced' | 'default' | 'none'
}

/** One operand of a form: its letter, or `fixed`, and its size letters. */
export interface OperandSpec {
  letter: string
  size: string
  text: string
  source: number
  /** An 8-bit general register: without REX, numbers 4 to 7 are AH CH DH BH. */
  byte: boolean
}

/** Where the bytes of an operand come from. */
export const Source = {
  form: 0, //          the form itself names it
  modrmReg: 1, //      general register in ModRM.reg
  modrmRm: 2, //       general register or memory in ModRM.rm
  opcode: 3, //        general register in the opcode byte
  vvvv: 4, //          general register in VEX.vvvv
  xmmReg: 5,
  xmmRm: 6,
  mmxReg: 7,
  mmxRm: 8,
  segmentReg: 9,
  controlReg: 10,
  string: 11, //       memory at rSI or rDI
  offset: 12, //       memory at an address in the instruction
  immediate: 13,
  relative: 14,
  farPointer: 15,
  memory: 16, //       memory in ModRM.rm
  x87Rm: 17, //        x87 register in ModRM.rm
} as const

// biome-ignore format: a table
const sourceOf: Record<string, number> = {
  G: Source.modrmReg, E: Source.modrmRm, R: Source.modrmRm, M: Source.memory, Z: Source.opcode, B: Source.vvvv,
  V: Source.xmmReg, W: Source.xmmRm, U: Source.xmmRm, P: Source.mmxReg, Q: Source.mmxRm, N: Source.mmxRm,
  S: Source.segmentReg, C: Source.controlReg, D: Source.controlReg,
  X: Source.string, Y: Source.string, O: Source.offset, I: Source.immediate, J: Source.relative, A: Source.farPointer,
}

/** A form's encoding and operands, read; `id` is a number of its own. */
export function parse(instruction: Instruction, form: Form, id: number): ParsedForm {
  let tokens = form.encoding.split(' ')
  let prefix: string | undefined
  let vex = false
  let map = 0
  if (tokens[0].startsWith('VEX')) {
    vex = true
    const parts = tokens[0].split('.')
    prefix = parts.find(p => ['NP', '66', 'F2', 'F3'].includes(p)) ?? 'NP'
    map = parts.includes('0F38') ? 2 : parts.includes('0F3A') ? 3 : 1
    tokens = tokens.slice(1)
  } else {
    if (['NP', '66', 'F2', 'F3'].includes(tokens[0]) && tokens.length > 1) prefix = tokens.shift()
    if (tokens[0] === '0F') {
      tokens.shift()
      map = 1
      if ((tokens[0] as string) === '38') {
        tokens.shift()
        map = 2
      } else if ((tokens[0] as string) === '3A') {
        tokens.shift()
        map = 3
      }
    }
  }
  const first = tokens.shift()!
  const plusR = first.endsWith('+r')
  const opcode = Number.parseInt(first, 16)
  let modrm = false
  let digit = -1
  let fixedModrm = -1
  for (const token of tokens) {
    if (token === '/r') modrm = true
    else if (/^\/\d$/.test(token)) {
      modrm = true
      digit = Number(token[1])
    } else if (/^[0-9A-F]{2}$/.test(token)) {
      modrm = true
      fixedModrm = Number.parseInt(token, 16)
    }
  }
  const ops = form.operands.map(text => {
    if (text === 'STi') return {letter: text, size: '', text, source: Source.x87Rm, byte: false}
    if (!/^[A-Z][a-z]{0,2}$/.test(text)) return {letter: 'fixed', size: '', text, source: Source.form, byte: false}
    const [letter, size] = [text[0], text.slice(1)]
    return {letter, size, text, source: sourceOf[letter], byte: size === 'b'}
  })
  const letters = ops.map(o => o.letter)
  const memoryOnly = letters.includes('M')
  const registerOnly = letters.some(l => ['R', 'U', 'N', 'STi'].includes(l))
  return {
    instruction,
    form,
    map,
    opcode,
    plusR,
    prefix,
    modrm,
    digit,
    fixedModrm,
    vex,
    memoryOnly,
    registerOnly,
    id,
    ops,
    usesAddress: form.options.usesAddress === true || letters.some(l => 'XYO'.includes(l)),
    lockable: form.options.lock === true,
    repeatable: form.options.rep === true,
    shiftCount: form.options.shiftCount === true,
    operandBits: form.options.operandBits ?? 0,
    size64: form.options.size64 ?? 'none',
  }
}

/** The dispatch tables of every offered form; a byte needs a ModRM when one of its forms does. */
export function opcodeMap(
  instructions: readonly Instruction[],
  offered: (feature: string) => boolean,
): {tables: ParsedForm[][][]; needsModrm: boolean[][]; special: boolean[][]} {
  const tables: ParsedForm[][][] = [0, 1, 2, 3].map(() => Array.from({length: 256}, () => []))
  let id = 0
  for (const instruction of instructions) {
    for (const form of instruction.forms) {
      if (form.options.feature !== undefined && !offered(form.options.feature)) continue
      const parsed = parse(instruction, form, id++)
      for (let r = 0; r < (parsed.plusR ? 8 : 1); r++) tables[parsed.map][parsed.opcode + r].push(parsed)
    }
  }
  const needsModrm = tables.map(table => table.map(list => list.some(p => p.modrm)))
  for (const [map, table] of tables.entries())
    for (const [opcode, list] of table.entries()) {
      list.sort(precedence)
      refuseTwoClaims(list, map, opcode)
    }
  // Which form it is depends on all of ModRM, or on REX.
  const special = tables.map((table, map) =>
    table.map((list, opcode) => (map === 0 && opcode === 0x90) || list.some(form => form.fixedModrm >= 0)),
  )
  return {tables, needsModrm, special}
}

/** Prefixed forms first, so that a mandatory prefix wins over a plain form. */
function precedence(a: ParsedForm, b: ParsedForm): number {
  const isPrefixed = ({prefix}: ParsedForm) => Number(prefix !== undefined && prefix !== 'NP')
  return (
    isPrefixed(b) - isPrefixed(a) ||
    Number(b.fixedModrm >= 0) - Number(a.fixedModrm >= 0) ||
    Number(b.digit >= 0) - Number(a.digit >= 0)
  )
}

function refuseTwoClaims(list: readonly ParsedForm[], map: number, opcode: number): void {
  for (const [index, one] of list.entries())
    for (const other of list.slice(index + 1)) {
      if (precedence(one, other) !== 0 || excludeEachOther(one, other, map, opcode)) continue
      const [first, second] = [one, other].map(({instruction, form}) => `${instruction.mnemonic} (${form.encoding})`)
      throw new Error(`bug: ${first} and ${second} claim the same bytes`)
    }
}

/** No instruction bytes fit both forms, which precedence leaves equal. */
function excludeEachOther(a: ParsedForm, b: ParsedForm, map: number, opcode: number): boolean {
  const [one, other] = [a.form.options.long, b.form.options.long]
  if (a.vex !== b.vex || (one !== undefined && other !== undefined && one !== other)) return true
  if (a.prefix !== undefined && b.prefix !== undefined && a.prefix !== b.prefix) return true
  // 90 is NOP, but with REX.B an exchange: the decoder tells them apart.
  if (map === 0 && opcode === 0x90) return a.plusR !== b.plusR
  if (!a.modrm || !b.modrm) return false
  if (a.fixedModrm !== b.fixedModrm || a.digit !== b.digit) return true
  return (a.memoryOnly && b.registerOnly) || (a.registerOnly && b.memoryOnly)
}
