/**
 * Forms taken apart and put into dispatch tables: map (one byte, 0F, 0F38, 0F3A) and opcode byte → the forms that share them. Which of them
 * it is depends on mandatory prefix, ModRM and mode, in the order of the list: forms with a mandatory prefix first, then those with a fixed
 * ModRM byte, then those with a digit. Two forms that this order leaves equal must exclude each other: a second claim on the same bytes is an
 * error when the byte is looked up.
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

/** Where a form's opcode stands, and what its encoding says besides. */
interface Place {
  vex: boolean
  prefix: string | undefined
  map: number
  opcode: number
  plusR: boolean
  /** What follows the opcode. */
  rest: readonly string[]
}

/** Reads an encoding up to its opcode. */
function place(encoding: string): Place {
  const tokens = encoding.split(' ')
  const vex = tokens[0].startsWith('VEX')
  let at = 0
  let prefix: string | undefined
  let map = 0
  if (vex) {
    const parts = tokens[at++].split('.')
    prefix = parts.find(part => ['NP', '66', 'F2', 'F3'].includes(part)) ?? 'NP'
    map = parts.includes('0F38') ? 2 : parts.includes('0F3A') ? 3 : 1
  } else {
    if (['NP', '66', 'F2', 'F3'].includes(tokens[0]) && tokens.length > 1) prefix = tokens[at++]
    if (tokens[at] === '0F') {
      at++
      map = tokens[at] === '38' ? 2 : tokens[at] === '3A' ? 3 : 1
      if (map > 1) at++
    }
  }
  const opcode = tokens[at++]
  return {vex, prefix, map, opcode: Number.parseInt(opcode, 16), plusR: opcode.endsWith('+r'), rest: tokens.slice(at)}
}

/** A form's encoding and operands, read; `id` is a number of its own. */
function parse(
  instruction: Instruction,
  form: Form,
  {vex, prefix, map, opcode, plusR, rest}: Place,
  id: number,
): ParsedForm {
  let modrm = false
  let digit = -1
  let fixedModrm = -1
  for (const token of rest) {
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

/** The forms that one opcode byte may stand for. */
export interface OpcodeEntry {
  readonly forms: readonly ParsedForm[]
  /** A byte needs a ModRM when one of its forms does. */
  readonly needsModrm: boolean
  /** Which form it is depends on all of ModRM, or on REX. */
  readonly isSpecial: boolean
}

/** The dispatch tables of every offered form, taken apart as they are needed: a guest uses some of them. */
export class OpcodeMap {
  private readonly waiting = new Map<number, {instruction: Instruction; form: Form; place: Place; id: number}[]>()
  private readonly entries = new Array<OpcodeEntry | undefined>(4 * 256)

  constructor(instructions: readonly Instruction[], offered: (feature: string) => boolean) {
    let id = 0
    for (const instruction of instructions) {
      for (const form of instruction.forms) {
        if (form.options.feature !== undefined && !offered(form.options.feature)) continue
        const one = {instruction, form, place: place(form.encoding), id}
        const first = (one.place.map << 8) | one.place.opcode
        for (let key = first; key < first + (one.place.plusR ? 8 : 1); key++)
          this.waiting.set(key, [...(this.waiting.get(key) ?? []), one])
        id++
      }
    }
  }

  /** What a byte means in a map. Errors: two forms that claim the same bytes. */
  entry(map: number, opcode: number): OpcodeEntry {
    const key = (map << 8) | opcode
    let entry = this.entries[key]
    if (entry === undefined) this.entries[key] = entry = this.make(map, opcode)
    return entry
  }

  /** Every form, by id. */
  all(): ParsedForm[] {
    const byId = new Map<number, ParsedForm>()
    for (const key of this.waiting.keys())
      for (const form of this.entry(key >> 8, key & 0xff).forms) byId.set(form.id, form)
    return [...byId.values()].sort((a, b) => a.id - b.id)
  }

  private make(map: number, opcode: number): OpcodeEntry {
    const waiting = this.waiting.get((map << 8) | opcode) ?? []
    const forms = waiting.map(({instruction, form, place, id}) => parse(instruction, form, place, id))
    forms.sort(precedence)
    refuseTwoClaims(forms, map, opcode)
    return {
      forms,
      needsModrm: forms.some(form => form.modrm),
      isSpecial: (map === 0 && opcode === 0x90) || forms.some(form => form.fixedModrm >= 0),
    }
  }
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
