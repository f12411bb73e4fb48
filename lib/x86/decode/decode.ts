/**
 * Bytes → decoded instruction: prefixes, opcode, the form that fits, ModRM and its operands, immediates. Everything a form says was taken
 * apart beforehand (opcode-map.ts); what depends on the variant alone is made once and shared (variant.ts).
 *
 * The decoder works on its own fields, one instruction at a time; a step that finds no instruction leaves the reason in `failure`. Linear
 * addresses are signed numbers: canonical ones are exact.
 *
 * Source: SDM vol. 2A chapter 2.
 */
import type {Instruction} from '../semantics/instruction.js'
import {Segment, state} from '../state.js'
import {Cursor} from './cursor.js'
import type {DecodedInstruction, DecodeFailure, MemoryOperand} from './instruction-record.js'
import {type OpcodeEntry, OpcodeMap, type OperandSpec, type ParsedForm, Source} from './opcode-map.js'
import {Variants} from './variant.js'

/** Decodes the instruction at an offset; `rip` is its linear address, signed. */
export type Decode = (
  bytes: Uint8Array,
  offset: number,
  rip: number,
  codeBits: 64 | 32 | 16,
) => DecodedInstruction | DecodeFailure

/** The decoder for these instructions; those of features not offered are unknown to it. */
export function createDecoder(instructions: readonly Instruction[], offered: (feature: string) => boolean): Decode {
  const decoder = new Decoder(new OpcodeMap(instructions, offered))
  return (bytes, offset, rip, codeBits) => decoder.decode(bytes, offset, rip, codeBits)
}

/** Mandatory prefixes as an index. */
const mandatoryNames = ['NP', '66', 'F3', 'F2'] as const

/** Base and index of the 16-bit addressing forms, as register numbers; -1 none. Source: SDM vol. 2A table 2-1. */
const bases16 = [3, 3, 5, 5, -1, -1, 5, 3]
const indices16 = [6, 7, 6, 7, 6, 7, -1, -1]

class Decoder extends Cursor {
  private readonly variants = new Variants()
  /** By everything that chooses a form, once looked up: 2 + its place among its opcode's forms, 1 for none. */
  private readonly chosen = new Uint8Array(1 << 18)
  private failure: DecodeFailure = 'undefined'

  private long = false
  private codeBits = 64

  private rex = 0
  private operandPrefix = false
  private addressPrefix = false
  /** 0, 0xf2 or 0xf3. */
  private rep = 0
  private lock = false
  private segment = -1

  private map = 0
  private opcode = 0
  private vex = false
  private vexPrefix = 0
  private vvvv = 0
  private wide = false
  /** What REX or VEX add to ModRM.reg, SIB.index and ModRM.rm: 8 or 0. */
  private extendReg = 0
  private extendIndex = 0
  private extendRm = 0

  private modrm = 0
  private isMemory = false
  private ripRelative = false
  private memory: MemoryOperand | undefined
  private slotCount = 0
  private slots: [number, number, number] = [0, 0, 0]
  private immediate: number | bigint = 0
  private immediates = 0

  constructor(private readonly opcodes: OpcodeMap) {
    super()
  }

  decode(bytes: Uint8Array, offset: number, rip: number, codeBits: 64 | 32 | 16): DecodedInstruction | DecodeFailure {
    this.open(bytes, offset)
    this.long = codeBits === 64
    this.codeBits = codeBits
    const first = this.readPrefixes()
    if (first < 0 || !this.readOpcode(first)) return this.failure
    const entry = this.opcodes.entry(this.map, this.opcode)
    const hasModrm = entry.needsModrm
    if (hasModrm && this.at >= this.end) return this.more()
    this.modrm = hasModrm ? bytes[this.at] : 0
    const form = this.chooseForm(entry)
    if (form === undefined) return 'undefined'
    const operandBits = this.operandSize(form)
    const addressBits = this.addressSize()
    this.memory = undefined
    this.isMemory = this.ripRelative = false
    if (form.modrm) {
      this.at++
      if (this.modrm < 0xc0 && form.fixedModrm < 0 && !this.readMemory(addressBits)) return this.failure
    }
    if (this.lock && !(form.lockable && this.isMemory)) return 'undefined'
    this.slots = [0, 0, 0]
    this.immediate = this.slotCount = this.immediates = 0
    for (const op of form.ops) if (!this.readOperand(op, operandBits, addressBits)) return this.failure
    return this.finish(form, offset, rip, operandBits, addressBits)
  }

  private fail(reason: DecodeFailure): false {
    this.failure = reason
    return false
  }

  /** Legacy prefixes and REX; gives the first byte after them, or -1. */
  private readPrefixes(): number {
    this.rex = 0
    this.operandPrefix = this.addressPrefix = this.lock = false
    this.rep = 0
    this.segment = -1
    const {bytes, long} = this
    for (;;) {
      if (this.at >= this.end) {
        this.failure = this.more()
        return -1
      }
      const byte = bytes[this.at++]
      switch (byte) {
        case 0x66:
          this.operandPrefix = true
          break
        case 0x67:
          this.addressPrefix = true
          break
        case 0xf2:
        case 0xf3:
          this.rep = byte
          break
        case 0xf0:
          this.lock = true
          break
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
          // In 64-bit code they do nothing, and do not undo FS or GS.
          if (!long || this.segment < Segment.fs) this.segment = (byte - 0x26) >> 3
          break
        case 0x64:
        case 0x65:
          this.segment = byte - 0x60
          break
        default:
          if (!long || (byte & 0xf0) !== 0x40) return byte
          this.rex = byte
          continue
      }
      // REX counts only right before the opcode.
      this.rex = 0
    }
  }

  /** Opcode map and byte, behind VEX or escape bytes. */
  private readOpcode(first: number): boolean {
    const {bytes, rex, end} = this
    this.vex = false
    this.vvvv = 0
    this.map = 0
    this.opcode = first
    this.wide = (rex & 8) !== 0
    this.extendReg = (rex & 4) << 1
    this.extendIndex = (rex & 2) << 2
    this.extendRm = (rex & 1) << 3
    if ((first === 0xc4 || first === 0xc5) && this.at < end && (this.long || bytes[this.at] >= 0xc0))
      return this.readVex(first)
    if (first !== 0x0f) return true
    if (this.at >= end) return this.fail(this.more())
    this.opcode = bytes[this.at++]
    this.map = 1
    if (this.opcode !== 0x38 && this.opcode !== 0x3a) return true
    this.map = this.opcode === 0x38 ? 2 : 3
    if (this.at >= end) return this.fail(this.more())
    this.opcode = bytes[this.at++]
    return true
  }

  private readVex(first: number): boolean {
    const {bytes, end, long} = this
    if (this.rex || this.operandPrefix || this.rep || this.lock) return this.fail('undefined')
    this.vex = true
    const one = bytes[this.at++]
    let last = one
    this.extendReg = one & 0x80 ? 0 : 8
    this.extendIndex = this.extendRm = 0
    this.map = 1
    this.wide = false
    if (first === 0xc4) {
      if (this.at >= end) return this.fail(this.more())
      this.extendIndex = one & 0x40 ? 0 : 8
      this.extendRm = one & 0x20 ? 0 : 8
      this.map = one & 31
      last = bytes[this.at++]
      this.wide = (last & 0x80) !== 0
    }
    if (!long) this.extendReg = this.extendIndex = this.extendRm = 0
    if (this.map < 1 || this.map > 3 || last & 4) return this.fail('undefined')
    this.vvvv = (~last >> 3) & (long ? 15 : 7)
    this.vexPrefix = last & 3
    if (this.at >= end) return this.fail(this.more())
    this.opcode = bytes[this.at++]
    return true
  }

  /** Index into mandatoryNames of the prefix that chooses between forms. */
  private mandatory(): number {
    if (this.vex) return this.vexPrefix
    return this.rep === 0xf3 ? 2 : this.rep === 0xf2 ? 3 : this.operandPrefix ? 1 : 0
  }

  private chooseForm({forms, isSpecial}: OpcodeEntry): ParsedForm | undefined {
    const {map, opcode, modrm} = this
    if (isSpecial) return forms.find(form => this.fits(form))
    const key =
      (((map << 8) | opcode) << 8) |
      (this.mandatory() << 6) |
      (this.vex ? 32 : 0) |
      (this.long ? 16 : 0) |
      ((modrm >> 2) & 14) |
      (modrm >= 0xc0 ? 1 : 0)
    let chosen = this.chosen[key]
    if (chosen === 0) this.chosen[key] = chosen = 2 + forms.findIndex(form => this.fits(form))
    return chosen === 1 ? undefined : forms[chosen - 2]
  }

  /** The form goes with prefixes, mode and ModRM. */
  private fits(form: ParsedForm): boolean {
    const {map, opcode, modrm, long} = this
    const {options} = form.form
    if (form.vex !== this.vex) return false
    if (options.long !== undefined && (options.long === 'only') !== long) return false
    // 66 beside a mandatory F2 or F3 is an operand-size prefix.
    if (form.prefix !== undefined && form.prefix !== mandatoryNames[this.mandatory()]) return false
    // Behind 0F38 and 0F3A, F2 and F3 always choose another instruction.
    if (form.prefix === undefined && map >= 2 && this.rep !== 0) return false
    if (!form.modrm) {
      // 90 is XCHG only with REX.B, else NOP.
      return opcode !== 0x90 || map !== 0 || form.prefix !== undefined || form.plusR === ((this.rex & 1) !== 0)
    }
    if (form.fixedModrm >= 0) return modrm === form.fixedModrm
    if (form.digit >= 0 && ((modrm >> 3) & 7) !== form.digit) return false
    return modrm >= 0xc0 ? !form.memoryOnly : !form.registerOnly
  }

  private operandSize(form: ParsedForm): number {
    if (form.operandBits !== 0) return form.operandBits
    if (this.vex) return this.long && this.wide ? 64 : 32
    if (this.codeBits === 16) return this.operandPrefix ? 32 : 16
    const prefixed = this.operandPrefix && form.prefix !== '66'
    if (!this.long) return prefixed ? 16 : 32
    if (this.wide || form.size64 === 'forced') return 64
    if (form.size64 === 'default' && !this.operandPrefix) return 64
    return prefixed ? 16 : 32
  }

  private addressSize(): number {
    if (this.long) return this.addressPrefix ? 32 : 64
    return (this.codeBits === 16) !== this.addressPrefix ? 16 : 32
  }

  /** The memory operand of ModRM: SIB and displacement. */
  private readMemory(addressBits: number): boolean {
    const {bytes, modrm, end} = this
    const mod = modrm >> 6
    const rm = modrm & 7
    let base = -1
    let index = -1
    let scale = 0
    let displacementBytes = mod === 1 ? 1 : mod === 2 ? (addressBits === 16 ? 2 : 4) : 0
    if (addressBits === 16) {
      index = indices16[rm]
      if (rm === 6 && mod === 0) displacementBytes = 2
      else base = bases16[rm]
    } else if (rm === 4) {
      if (this.at >= end) return this.fail(this.more())
      const sib = bytes[this.at++]
      index = ((sib >> 3) & 7) | this.extendIndex
      if (index === 4) index = -1
      else scale = sib >> 6
      if ((sib & 7) === 5 && mod === 0) displacementBytes = 4
      else base = (sib & 7) | this.extendRm
    } else if (rm === 5 && mod === 0) {
      displacementBytes = 4
      this.ripRelative = this.long
    } else base = rm | this.extendRm
    if (this.at + displacementBytes > end) return this.fail(this.more())
    const displacement = this.signed(displacementBytes)
    const byDefault = base === 4 || base === 5 ? Segment.ss : Segment.ds
    const segment = this.segment >= 0 ? this.segment : byDefault
    this.isMemory = true
    this.memory = {
      base: base < 0 ? state.zero : state.gpr + base * 8,
      index: index < 0 ? state.zero : state.gpr + index * 8,
      scale,
      displacement,
      segment,
      addsSegmentBase: !this.long || segment >= Segment.fs,
    }
    return true
  }

  private general(number: number, byte: boolean): void {
    const highByte = byte && !this.rex && number >= 4 && number < 8 && !this.vex
    this.slots[this.slotCount++] = highByte ? state.gpr + (number - 4) * 8 + 1 : state.gpr + number * 8
  }

  private readOperand(op: OperandSpec, operandBits: number, addressBits: number): boolean {
    const reg = (this.modrm >> 3) & 7
    const rm = this.modrm & 7
    switch (op.source) {
      case Source.form:
      case Source.memory:
      case Source.x87Rm:
        return true
      case Source.modrmRm:
        if (!this.isMemory) this.general(rm | this.extendRm, op.byte)
        return true
      case Source.modrmReg:
        this.general(reg | this.extendReg, op.byte)
        return true
      case Source.opcode:
        this.general((this.opcode & 7) | this.extendRm, op.byte)
        return true
      case Source.vvvv:
        this.general(this.vvvv, op.byte)
        return true
      case Source.xmmReg:
        this.slots[this.slotCount++] = state.xmm + 16 * (reg | this.extendReg)
        return true
      case Source.xmmRm:
        if (!this.isMemory) this.slots[this.slotCount++] = state.xmm + 16 * (rm | this.extendRm)
        return true
      case Source.mmxReg:
        this.slots[this.slotCount++] = state.x87 + 16 * reg
        return true
      case Source.mmxRm:
        if (!this.isMemory) this.slots[this.slotCount++] = state.x87 + 16 * rm
        return true
      case Source.segmentReg:
        // There are six segment registers.
        if (reg > Segment.gs) return this.fail('undefined')
        this.slots[this.slotCount++] = state.selector + 2 * reg
        return true
      case Source.controlReg:
        this.slots[this.slotCount++] = reg | this.extendReg
        return true
      case Source.string:
        if (this.memory === undefined || op.letter === 'X') this.setAbsolute(0)
        return true
      case Source.offset: {
        if (this.at + addressBits / 8 > this.end) return this.fail(this.more())
        if (addressBits === 64) this.setAbsolute(this.signed64())
        else this.setAbsolute(addressBits === 32 ? this.signed(4) >>> 0 : this.signed(2) & 0xffff)
        return true
      }
      case Source.immediate:
      case Source.relative:
        return this.readImmediate(op, operandBits)
      default:
        return this.readFarPointer(operandBits)
    }
  }

  /** A memory operand without ModRM. */
  private setAbsolute(displacement: number | bigint): void {
    const segment = this.segment >= 0 ? this.segment : Segment.ds
    const addsSegmentBase = !this.long || segment >= Segment.fs
    this.memory = {base: state.zero, index: state.zero, scale: 0, displacement, segment, addsSegmentBase}
  }

  private readImmediate(op: OperandSpec, operandBits: number): boolean {
    const {size} = op
    const wide = operandBits === 16 ? 2 : 4
    const count = op.byte || size === 'bs' ? 1 : size === 'w' ? 2 : size === 'v' ? operandBits / 8 : wide
    if (this.at + count > this.end) return this.fail(this.more())
    const value = count === 8 ? this.signed64() : this.signed(count)
    // ENTER has two: 16 bits, then 8.
    if (this.immediates++ > 0) this.immediate = (Number(this.immediate) & 0xffff) | ((Number(value) & 0xff) << 16)
    else this.immediate = value
    return true
  }

  /** Offset in the low 32 bits, selector above. */
  private readFarPointer(operandBits: number): boolean {
    const offsetBytes = operandBits === 16 ? 2 : 4
    if (this.at + offsetBytes + 2 > this.end) return this.fail(this.more())
    const offset = offsetBytes === 2 ? this.signed(2) & 0xffff : this.signed(4) >>> 0
    this.immediate = (this.signed(2) & 0xffff) * 2 ** 32 + offset
    return true
  }

  private finish(
    form: ParsedForm,
    from: number,
    rip: number,
    operandBits: number,
    addressBits: number,
  ): DecodedInstruction {
    const {rep, lock, wide, isMemory, codeBits, operandPrefix} = this
    const [destination] = form.ops
    const length = this.at - from
    let {immediate, memory} = this
    if (destination?.source === Source.relative) {
      const target = rip + length + Number(immediate)
      immediate = this.long ? target : operandBits === 16 ? target & 0xffff : target >>> 0
    }
    if (this.ripRelative && memory !== undefined) {
      const address = Number(memory.displacement) + rip + length
      memory = {...memory, displacement: addressBits === 32 ? address >>> 0 : address}
    }
    const countMask = operandBits === 64 && !destination?.byte ? 63 : 31
    const repKind = form.repeatable && rep !== 0 ? 0xf4 - rep : 0
    const zeroCount = form.shiftCount && (Number(immediate) & countMask) === 0
    const {variant, operands, variantKey, variantId, usesFpu} = this.variants.get(
      form,
      operandBits,
      addressBits,
      codeBits,
      lock,
      repKind,
      isMemory,
      zeroCount,
      wide,
    )
    return {
      instruction: form.instruction,
      form: form.form,
      variant,
      operands,
      variantKey,
      variantId,
      usesFpu,
      length,
      slots: this.slots,
      memory,
      immediate,
      opcode: this.opcode,
      modrm: this.modrm,
      prefixes:
        (rep === 0xf3 ? 1 : 0) | (rep === 0xf2 ? 2 : 0) | (lock ? 4 : 0) | (operandPrefix ? 8 : 0) | (wide ? 16 : 0),
      map: this.map,
    }
  }
}
