/**
 * Text in Intel's syntax → bytes: the forms read backwards. Of the forms and operand sizes that fit the shortest is taken, the first of equals.
 * Memory operands say their size where no register does.
 *
 *   const assemble = createAssembler(instructions, offered)
 *   assemble('lock cmpxchg QWORD PTR [rdi+0x10],rsi')
 *
 * Source: SDM vol. 2A chapter 2.
 */
import type {Instruction} from '../semantics/instruction.js'
import {littleEndian, modrmOf} from './modrm-bytes.js'
import {OpcodeMap, type OperandSpec, type ParsedForm, Source} from './opcode-map.js'
import {type MemoryText, type OperandText, parseOperand} from './operand-text.js'
import {bitsOfSize, generalName, nameOf, sizeName} from './spelling.js'
import {widthOf} from './variant.js'

/** Where an instruction is to stand; by default in 64-bit code at 0. */
export interface Place {
  readonly bits?: 64 | 32
  readonly rip?: number
}

export type Assemble = (text: string, place?: Place) => Uint8Array

/** The assembler for these instructions. Errors: text that is no instruction throws, with the text. */
export function createAssembler(instructions: readonly Instruction[], offered: (feature: string) => boolean): Assemble {
  const forms = new OpcodeMap(instructions, offered).all()
  const byName = new Map<string, ParsedForm[]>()
  for (const form of forms) for (const name of namesOf(form)) byName.set(name, [...(byName.get(name) ?? []), form])
  return (text, {bits = 64, rip = 0} = {}) => {
    const {prefixes, addressBits, name, operands} = parseText(text, byName)
    let best: Uint8Array | undefined
    for (const form of byName.get(name)!)
      for (const operandBits of operandSizes(form, bits))
        for (const size of addressBits ?? [bits, bits / 2]) {
          const bytes = new Encoding({form, operandBits, addressBits: size, bits, rip, prefixes}).encode(name, operands)
          if (bytes !== undefined && bytes.length < (best?.length ?? 16)) best = bytes
        }
    if (best === undefined) throw new Error(`no instruction: "${text}"`)
    return best
  }
}

/** Everything a form can be called. */
function namesOf({instruction, form: {options}}: ParsedForm): Set<string> {
  const {names, addressNames, immediateNames = {}} = options
  const all = [...(names ?? addressNames ?? [instruction.mnemonic.split(' ')[0]]), ...Object.values(immediateNames)]
  return new Set(all.map(name => name.toLowerCase()))
}

const prefixBytes: Record<string, number> = {lock: 0xf0, rep: 0xf3, repz: 0xf3, repe: 0xf3, repnz: 0xf2, repne: 0xf2}

function parseText(text: string, known: ReadonlyMap<string, unknown>) {
  const words = text.replace(/#.*/, '').trim().toLowerCase().split(/\s+/)
  const prefixes: number[] = []
  const addressBits = /^addr(16|32)$/.test(words[0]) ? [Number(words.shift()!.slice(4))] : undefined
  while (words[0] in prefixBytes) prefixes.push(prefixBytes[words.shift()!])
  const name = words.shift() ?? ''
  if (!known.has(name)) throw new Error(`no instruction: "${text}"`)
  const rest = words.join(' ')
  const operands = rest === '' ? [] : rest.split(',').map(operand => parseOperand(operand.trim()))
  return {prefixes, addressBits, name, operands}
}

/** Operand sizes a form can be encoded with, the one without prefixes first. */
function operandSizes({form: {options}, vex, prefix}: ParsedForm, bits: 64 | 32): number[] {
  if (options.long !== undefined && (options.long === 'only') !== (bits === 64)) return []
  if (options.operandBits !== undefined) return [options.operandBits]
  const narrow = prefix === '66' || prefix === 'NP' || vex ? [] : [16]
  if (bits === 32) return [32, ...narrow]
  if (options.size64 === 'forced') return [64]
  return options.size64 === 'default' ? [64, ...narrow] : [32, ...narrow, 64]
}

const classes: Record<number, string> = {
  [Source.xmmReg]: 'xmm',
  [Source.xmmRm]: 'xmm',
  [Source.mmxReg]: 'mmx',
  [Source.mmxRm]: 'mmx',
  [Source.segmentReg]: 'segment',
  [Source.x87Rm]: 'x87',
}

/** What is tried: a form at an operand and an address size. */
interface Choice {
  readonly form: ParsedForm
  readonly operandBits: number
  readonly addressBits: number
  readonly bits: 64 | 32
  readonly rip: number
  readonly prefixes: readonly number[]
}

/** One try. */
class Encoding {
  private reg = 0
  private rm: number | MemoryText | undefined
  private opcodeRegister = 0
  private vvvv = 0
  private segment = -1
  private needsRex = false
  private forbidsRex = false
  private readonly immediates: {value: bigint; bytes: number; relative?: boolean}[] = []

  constructor(private readonly choice: Choice) {
    const {form} = choice
    if (form.digit >= 0) this.reg = form.digit
    if (form.fixedModrm >= 0) {
      this.reg = (form.fixedModrm >> 3) & 7
      this.rm = form.fixedModrm & 7
    }
  }

  /** The bytes, if name and operands are this form's. */
  encode(name: string, operands: readonly OperandText[]): Uint8Array | undefined {
    const {instruction, form, ops} = this.choice.form
    const {operandBits, addressBits, prefixes} = this.choice
    const implied = Object.entries(form.options.immediateNames ?? {}).find(([, it]) => it.toLowerCase() === name)
    const given = [...operands]
    if (implied !== undefined) given.push({kind: 'number', value: BigInt(implied[0]), text: implied[0]})
    if (given.length !== ops.length) return undefined
    const isLockable = form.options.lock === true && operands[0]?.kind === 'memory'
    if (prefixes.includes(prefixBytes.lock) && !isLockable) return undefined
    const hasRegister = operands.some(operand => operand.kind === 'register')
    if (!ops.every((op, index) => this.take(op, given[index], hasRegister))) return undefined
    if (implied === undefined && nameOf(instruction, form, operandBits, addressBits) !== name) return undefined
    return this.bytes()
  }

  /** Takes an operand into its place; false when it does not fit there. */
  private take(op: OperandSpec, operand: OperandText, hasRegister: boolean): boolean {
    const {form, operandBits, bits} = this.choice
    const width = widthOf(op.size, form, {operandBits, codeBits: bits, wide: operandBits === 64})
    switch (operand.kind) {
      case 'far':
        if (op.source !== Source.farPointer || operand.offset >> BigInt(operandBits)) return false
        this.immediates.push({value: operand.offset, bytes: operandBits / 8}, {value: operand.selector, bytes: 2})
        return true
      case 'number':
        return this.takeNumber(op, operand)
      case 'memory':
        return this.takeMemory(op, operand, width, hasRegister)
    }
    if (op.source === Source.form) return operand.number === fixedNumber(op, operand.class, operand.bits, operandBits)
    const wanted =
      classes[op.source] ?? (op.source === Source.controlReg ? (op.letter === 'C' ? 'control' : 'debug') : '')
    if (wanted === '') {
      if (operand.class !== 'general' && operand.class !== 'high') return false
      if (operand.bits !== width) return false
      if (operand.class === 'high') this.forbidsRex = true
      else if (width === 8 && operand.number >= 4 && operand.number < 8) this.needsRex = true
    } else if (operand.class !== wanted) return false
    if (operand.number > 7 && bits === 32) return false
    return this.place(op, operand.number)
  }

  /** Puts a register's number where the operand has it. */
  private place(op: OperandSpec, number: number): boolean {
    switch (op.source) {
      case Source.modrmRm:
      case Source.xmmRm:
      case Source.mmxRm:
      case Source.x87Rm:
        // CR and DR moves have the general register here.
        this.rm = number
        return true
      case Source.opcode:
        this.opcodeRegister = number
        return true
      case Source.vvvv:
        this.vvvv = number
        return true
      case Source.modrmReg:
      case Source.xmmReg:
      case Source.mmxReg:
      case Source.segmentReg:
      case Source.controlReg:
        this.reg = number
        return true
      default:
        return false
    }
  }

  private takeNumber({source, text, size, byte}: OperandSpec, number: {value: bigint; text: string}): boolean {
    const {operandBits} = this.choice
    const {value} = number
    // 0x1 is an immediate, 1 the constant of a form.
    if (source === Source.form) return text === number.text
    if (source === Source.relative) {
      if (operandBits === 16 && value >> 16n) return false
      this.immediates.push({value, bytes: byte ? 1 : operandBits === 16 ? 2 : 4, relative: true})
      return true
    }
    if (source !== Source.immediate) return false
    const [bits, bytes] = byte
      ? [8, 1]
      : size === 'bs'
        ? [operandBits, 1]
        : size === 'w'
          ? [16, 2]
          : [operandBits, size === 'v' ? operandBits / 8 : Math.min(operandBits / 8, 4)]
    const signed = BigInt.asIntN(bits, value)
    // Written with or without a sign, it fits.
    if (value !== signed && value !== BigInt.asUintN(bits, value)) return false
    if (signed !== BigInt.asIntN(bytes * 8, signed)) return false
    this.immediates.push({value: signed, bytes})
    return true
  }

  private takeMemory(op: OperandSpec, memory: MemoryText, width: number, hasRegister: boolean): boolean {
    const {form, operandBits, addressBits} = this.choice
    const {base, index, displacement, segment, bits} = memory
    const size = sizeName(op.text, width, operandBits)
    if (bits === undefined ? size !== undefined && !hasRegister : size === undefined || bitsOfSize(size) !== bits)
      return false
    if ((memory.addressBits ?? addressBits) !== addressBits) return false
    if (op.source === Source.string) {
      const expected = op.letter === 'Y' ? 7 : form.instruction.mnemonic === 'XLAT' ? 3 : 6
      if (op.letter === 'X' && segment !== 3) this.segment = segment
      return base === expected && index < 0 && displacement === 0n
    }
    const byDefault = base === 4 || base === 5 ? 2 : 3
    if (segment >= 0 && segment !== byDefault) this.segment = segment
    if (op.source === Source.offset) {
      if (base >= 0 || index >= 0 || memory.ripRelative) return false
      this.immediates.push({value: displacement, bytes: addressBits / 8})
      return BigInt.asUintN(addressBits, displacement) === displacement
    }
    if (![Source.modrmRm, Source.memory, Source.xmmRm, Source.mmxRm].some(source => source === op.source)) return false
    if ('RUN'.includes(op.letter) || index === 4) return false
    this.rm = memory
    const isShort = BigInt.asIntN(32, displacement) === BigInt.asIntN(64, displacement)
    if (addressBits === 64 || memory.ripRelative) return isShort
    return (
      displacement === BigInt.asUintN(addressBits, displacement) ||
      displacement === BigInt.asIntN(addressBits, displacement)
    )
  }

  private bytes(): Uint8Array | undefined {
    const {rm} = this
    const {form, bits, operandBits, addressBits, rip, prefixes} = this.choice
    const {options} = form.form
    const out: number[] = []
    if (this.segment >= 0) out.push([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65][this.segment])
    if (addressBits !== bits) out.push(0x67)
    out.push(...prefixes)
    const isNarrow = operandBits === 16 && options.operandBits === undefined
    if (!form.vex && (isNarrow || form.prefix === '66')) out.push(0x66)
    if (!form.vex && (form.prefix === 'F2' || form.prefix === 'F3')) out.push(Number.parseInt(form.prefix, 16))
    const memory = typeof rm === 'object' ? rm : undefined
    const low = memory ? Math.max(memory.base, 0) : typeof rm === 'number' ? rm : this.opcodeRegister
    const isWide =
      operandBits === 64 && bits === 64 && options.size64 === undefined && options.operandBits === undefined
    const extend = [isWide ? 1 : 0, this.reg >> 3, memory ? Math.max(memory.index, 0) >> 3 : 0, low >> 3]
    const rex = 0x40 | (extend[0] << 3) | (extend[1] << 2) | (extend[2] << 1) | extend[3]
    if (form.vex) {
      const [w, r, x, b] = extend
      const prefix = ['NP', '66', 'F3', 'F2'].indexOf(form.prefix!)
      const first = ((r ^ 1) << 7) | ((x ^ 1) << 6) | ((b ^ 1) << 5) | form.map
      out.push(0xc4, first, (w << 7) | ((~this.vvvv & 15) << 3) | prefix)
    } else {
      if (rex !== 0x40 || this.needsRex) {
        if (this.forbidsRex || bits === 32) return undefined
        out.push(rex)
      }
      out.push(...[[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]][form.map])
    }
    out.push(form.opcode + (form.plusR ? this.opcodeRegister & 7 : 0))
    const immediateBytes = this.immediates.reduce((sum, {bytes}) => sum + bytes, 0)
    if (form.modrm) {
      const reg = (this.reg & 7) << 3
      if (memory) out.push(...modrmOf(memory, reg, addressBits, bits))
      else if (typeof rm === 'number') out.push(0xc0 | reg | (rm & 7))
      else return undefined
    }
    const end = rip + out.length + immediateBytes
    for (const {value, bytes, relative} of this.immediates) {
      const distance = relative ? BigInt.asIntN(isNarrow ? 16 : bits, value - BigInt(end)) : value
      if (relative && distance !== BigInt.asIntN(bytes * 8, distance)) return undefined
      out.push(...littleEndian(distance, bytes))
    }
    return Uint8Array.from(out)
  }
}

/** The number of the register that an operand of the form names, if class and width are its own; else -1. */
function fixedNumber({text}: OperandSpec, kind: string, bits: number, operandBits: number): number {
  const width = text[0] === 'r' ? operandBits : text[0] === 'e' ? Math.min(operandBits, 32) : 0
  const name = width > 0 ? generalName(text === 'rDX' ? 2 : 0, width) : text.toLowerCase()
  const named = name === '1' ? undefined : parseOperand(name)
  return named?.kind === 'register' && named.class === kind && named.bits === bits ? named.number : -1
}
