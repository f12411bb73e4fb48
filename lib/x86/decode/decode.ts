/**
 * Bytes → decoded instruction: prefixes, opcode, the form that fits, ModRM and its operands, immediates. Everything a form says was taken
 * apart beforehand (opcode-map.ts); what depends on the variant alone (operand list, variant) is made once and shared.
 *
 * Source: SDM vol. 2A chapter 2.
 */
import type {Operand, Variant} from '../ir/builder.js'
import type {Instruction} from '../semantics/instruction.js'
import {state} from '../state.js'
import type {DecodedInstruction, DecodeFailure} from './instruction-record.js'
import {opcodeMap, type ParsedForm} from './opcode-map.js'

interface Shared {
  variant: Variant
  operands: Operand[]
  variantKey: number
}

/** The decoder for these instructions; those of features not offered are unknown to it. */
export function createDecoder(instructions: readonly Instruction[], offered: (feature: string) => boolean) {
  const {tables, needsModrm} = opcodeMap(instructions, offered)
  const shared = new Map<number, Shared>()
  let nextKey = 1

  return function decode(
    bytes: Uint8Array,
    offset: number,
    rip: bigint,
    codeBits: 64 | 32 | 16,
  ): DecodedInstruction | DecodeFailure {
    const long = codeBits === 64
    const end = Math.min(bytes.length, offset + 15)
    const short = bytes.length - offset < 15
    let at = offset
    let rex = 0
    let p66 = false
    let p67 = false
    let rep = 0
    let lock = false
    let seg = -1
    const more = (): DecodeFailure => (short ? 'more-bytes' : 'too-long')
    let byte = 0
    for (;;) {
      if (at >= end) return more()
      byte = bytes[at++]
      if (byte === 0x66) p66 = true
      else if (byte === 0x67) p67 = true
      else if (byte === 0xf2 || byte === 0xf3) rep = byte
      else if (byte === 0xf0) lock = true
      else if (byte === 0x26 || byte === 0x2e || byte === 0x36 || byte === 0x3e) {
        if (!long || seg < 4) seg = (byte - 0x26) >> 3
      } else if (byte === 0x64 || byte === 0x65) seg = byte - 0x60
      else if (long && byte >= 0x40 && byte <= 0x4f) {
        rex = byte
        continue
      } else break
      rex = 0
    }
    let vex = false
    let vvvv = 0
    let map = 0
    let opcode = byte
    let w = (rex & 8) !== 0
    let rx = ((rex & 4) << 1) | 0
    let xx = (rex & 2) << 2
    let bx = (rex & 1) << 3
    let prefixText: string | undefined
    if ((byte === 0xc4 || byte === 0xc5) && at < end && (long || bytes[at] >= 0xc0)) {
      if (rex || p66 || rep || lock) return 'undefined'
      vex = true
      const b1 = bytes[at++]
      let last = b1
      rx = b1 & 0x80 ? 0 : 8
      xx = 0
      bx = 0
      map = 1
      w = false
      if (byte === 0xc4) {
        if (at >= end) return more()
        xx = b1 & 0x40 ? 0 : 8
        bx = b1 & 0x20 ? 0 : 8
        map = b1 & 31
        last = bytes[at++]
        w = (last & 0x80) !== 0
      }
      if (!long) rx = xx = bx = 0
      if (map < 1 || map > 3 || last & 4) return 'undefined'
      vvvv = (~last >> 3) & (long ? 15 : 7)
      prefixText = ['NP', '66', 'F3', 'F2'][last & 3]
      if (at >= end) return more()
      opcode = bytes[at++]
    } else if (byte === 0x0f) {
      if (at >= end) return more()
      opcode = bytes[at++]
      map = 1
      if (opcode === 0x38 || opcode === 0x3a) {
        map = opcode === 0x38 ? 2 : 3
        if (at >= end) return more()
        opcode = bytes[at++]
      }
    }
    const candidates = tables[map][opcode]
    let modrm = 0
    const hasModrm = needsModrm[map][opcode]
    if (hasModrm) {
      if (at >= end) return more()
      modrm = bytes[at]
    }
    const mod = modrm >> 6
    const mandatory = vex ? prefixText! : rep === 0xf3 ? 'F3' : rep === 0xf2 ? 'F2' : p66 ? '66' : 'NP'
    let found: ParsedForm | undefined
    for (const p of candidates) {
      const o = p.form.options
      if (p.vex !== vex) continue
      if (o.long !== undefined && (o.long === 'only') !== long) continue
      // 66 beside a mandatory F2 or F3 is an operand-size prefix.
      if (p.prefix !== undefined && p.prefix !== mandatory) continue
      // Behind 0F38 and 0F3A, F2 and F3 always choose another instruction.
      if (p.prefix === undefined && map >= 2 && rep !== 0) continue
      if (p.modrm) {
        if (p.fixedModrm >= 0) {
          if (modrm !== p.fixedModrm) continue
        } else {
          if (p.digit >= 0 && ((modrm >> 3) & 7) !== p.digit) continue
          if (p.memoryOnly && mod === 3) continue
          if (p.registerOnly && mod !== 3) continue
        }
      } else if (
        p.map === 0 &&
        p.opcode === 0x90 &&
        opcode === 0x90 &&
        p.prefix === undefined &&
        p.plusR !== ((rex & 1) !== 0)
      )
        continue
      found = p
      break
    }
    if (found === undefined) return 'undefined'
    const {form, ops} = found
    const o = form.options
    // sizes
    let operandBits = codeBits === 16 ? (p66 ? 32 : 16) : p66 && found.prefix !== '66' ? 16 : 32
    if (long) {
      if (w) operandBits = 64
      else if (o.size64 === 'forced') operandBits = 64
      else if (o.size64 === 'default' && !p66) operandBits = 64
    }
    if (vex) operandBits = long && w ? 64 : 32
    if (o.operandBits !== undefined) operandBits = o.operandBits
    const addressBits = long ? (p67 ? 32 : 64) : codeBits === 32 ? (p67 ? 16 : 32) : p67 ? 32 : 16
    // modrm operand
    let memory:
      | {base: number; index: number; scale: number; displacement: bigint; segment: number; addsSegmentBase: boolean}
      | undefined
    let ripRelative = false
    let isMemory = false
    if (found.modrm) {
      at++
      if (mod !== 3 && found.fixedModrm < 0) {
        isMemory = true
        let base: number = state.zero
        let index: number = state.zero
        let scale = 0
        let segment = 3
        let dispBytes = mod === 1 ? 1 : mod === 2 ? (addressBits === 16 ? 2 : 4) : 0
        const rm = modrm & 7
        if (addressBits === 16) {
          const b = [3, 3, 5, 5, -1, -1, 5, 3][rm]
          const i = [6, 7, 6, 7, 6, 7, -1, -1][rm]
          if (rm === 6 && mod === 0) dispBytes = 2
          else {
            if (b >= 0) base = b * 8
            if (b === 5) segment = 2
          }
          if (i >= 0) index = i * 8
        } else {
          let b = rm | bx
          if (rm === 4) {
            if (at >= end) return more()
            const sib = bytes[at++]
            scale = sib >> 6
            const i = ((sib >> 3) & 7) | xx
            if (i !== 4) index = i * 8
            else scale = 0
            b = (sib & 7) | bx
            if ((sib & 7) === 5 && mod === 0) {
              b = -1
              dispBytes = 4
            }
          } else if (rm === 5 && mod === 0) {
            b = -1
            dispBytes = 4
            ripRelative = long
          }
          if (b >= 0) {
            base = b * 8
            if (b === 4 || b === 5) segment = 2
          }
        }
        if (at + dispBytes > end) return more()
        let disp = 0
        if (dispBytes === 1) disp = (bytes[at] << 24) >> 24
        else if (dispBytes === 2) disp = ((bytes[at] | (bytes[at + 1] << 8)) << 16) >> 16
        else if (dispBytes === 4)
          disp = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)
        at += dispBytes
        if (seg >= 0) segment = seg
        memory = {base, index, scale, displacement: BigInt(disp), segment, addsSegmentBase: !long || segment >= 4}
      }
    }
    if (lock && (!o.lock || !isMemory)) return 'undefined'
    const slots: [number, number, number] = [0, 0, 0]
    let slotCount = 0
    let immediate = 0n
    let immediates = 0
    const gpr = (n: number, bits: number) => (bits === 8 && !rex && n >= 4 && n < 8 && !vex ? (n - 4) * 8 + 1 : n * 8)
    const bitsOf = (size: string): number => {
      switch (size) {
        case 'b':
          return 8
        case 'bs':
          return operandBits
        case 'w':
          return 16
        case 'd':
          return 32
        case 'q':
          return 64
        case 'v':
          return operandBits
        case 'z':
          return operandBits === 16 ? 16 : 32
        case 'y':
          return long && w ? 64 : vex ? 32 : o.size64 === 'forced' && long ? 64 : 32
        case 'x':
          return 128
        case 'ss':
          return 32
        case 'sd':
          return 64
        default:
          return operandBits
      }
    }
    for (const op of ops) {
      const bits = bitsOf(op.size)
      switch (op.letter) {
        case 'E':
        case 'R':
          if (isMemory) break
          slots[slotCount++] = gpr((modrm & 7) | bx, bits)
          break
        case 'G':
          slots[slotCount++] = gpr(((modrm >> 3) & 7) | rx, bits)
          break
        case 'Z':
          slots[slotCount++] = gpr((opcode & 7) | bx, bits)
          break
        case 'B':
          slots[slotCount++] = gpr(vvvv, bits)
          break
        case 'V':
          slots[slotCount++] = state.xmm + 16 * (((modrm >> 3) & 7) | rx)
          break
        case 'W':
        case 'U':
          if (isMemory) break
          slots[slotCount++] = state.xmm + 16 * ((modrm & 7) | bx)
          break
        case 'P':
          slots[slotCount++] = state.x87 + 16 * ((modrm >> 3) & 7)
          break
        case 'Q':
        case 'N':
          if (isMemory) break
          slots[slotCount++] = state.x87 + 16 * (modrm & 7)
          break
        case 'S':
          // There are six segment registers; CS cannot be loaded.
          if (((modrm >> 3) & 7) > 5) return 'undefined'
          slots[slotCount++] = state.selector + 2 * ((modrm >> 3) & 7)
          break
        case 'C':
        case 'D':
          slots[slotCount++] = ((modrm >> 3) & 7) | rx
          break
        case 'X':
        case 'Y':
          if (memory === undefined || op.letter === 'X') {
            const segment = seg >= 0 ? seg : 3
            memory = {
              base: state.zero,
              index: state.zero,
              scale: 0,
              displacement: 0n,
              segment,
              addsSegmentBase: !long || segment >= 4,
            }
          }
          break
        case 'O': {
          const n = addressBits / 8
          if (at + n > end) return more()
          let v = 0n
          for (let i = n - 1; i >= 0; i--) v = (v << 8n) | BigInt(bytes[at + i])
          at += n
          const segment = seg >= 0 ? seg : 3
          memory = {
            base: state.zero,
            index: state.zero,
            scale: 0,
            displacement: v,
            segment,
            addsSegmentBase: !long || segment >= 4,
          }
          break
        }
        case 'I':
        case 'J': {
          const n =
            op.size === 'b' || op.size === 'bs'
              ? 1
              : op.size === 'w'
                ? 2
                : op.size === 'v'
                  ? operandBits / 8
                  : operandBits === 16
                    ? 2
                    : 4
          if (at + n > end) return more()
          let value: bigint
          if (n === 8) {
            const lo = (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0
            const hi = bytes[at + 4] | (bytes[at + 5] << 8) | (bytes[at + 6] << 16) | (bytes[at + 7] << 24)
            value = (BigInt(hi) << 32n) | BigInt(lo)
          } else {
            const v =
              n === 1
                ? (bytes[at] << 24) >> 24
                : n === 2
                  ? ((bytes[at] | (bytes[at + 1] << 8)) << 16) >> 16
                  : bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)
            value = BigInt(v)
          }
          at += n
          if (immediates++ > 0) immediate = (immediate & 0xffffn) | ((value & 0xffn) << 16n)
          else immediate = value
          break
        }
        case 'A': {
          const n = operandBits === 16 ? 4 : 6
          if (at + n > end) return more()
          let v = 0n
          for (let i = n - 3; i >= 0; i--) v = (v << 8n) | BigInt(bytes[at + i])
          immediate = v | (BigInt(bytes[at + n - 2] | (bytes[at + n - 1] << 8)) << 32n)
          at += n
          break
        }
      }
    }
    const length = at - offset
    if (ops[0]?.letter === 'J') {
      const next = rip + BigInt(length)
      immediate = long
        ? BigInt.asIntN(64, next + immediate)
        : BigInt.asUintN(operandBits === 16 ? 16 : 32, next + immediate)
    }
    if (ripRelative && memory) {
      memory.displacement = BigInt.asIntN(64, memory.displacement + rip + BigInt(length))
      if (addressBits === 32) memory.displacement = BigInt.asUintN(32, memory.displacement)
    }
    const zeroCount =
      o.shiftCount === true && (immediate & (operandBits === 64 && !ops[0].size.startsWith('b') ? 63n : 31n)) === 0n
    const repKind = o.rep ? (rep === 0xf3 ? 1 : rep === 0xf2 ? 2 : 0) : 0
    const addressMatters = isMemory || found.usesAddress
    const segOfModrm = isMemory ? 1 : 0
    const key =
      found.id * 4096 +
      (operandBits >> 5) +
      (addressMatters ? (addressBits >> 5) * 4 : 12) +
      (codeBits >> 5) * 16 +
      (lock ? 64 : 0) +
      repKind * 128 +
      segOfModrm * 512 +
      (zeroCount ? 1024 : 0) +
      (w ? 2048 : 0)
    let share = shared.get(key)
    if (share === undefined) {
      const variant: Variant = {
        operandBits,
        addressBits,
        codeBits,
        locked: lock,
        rep: repKind === 1 ? 'rep' : repKind === 2 ? 'repne' : 'none',
        zeroCount,
      }
      let slot: 0 | 1 | 2 = 0
      const operands = ops.map((op): Operand => {
        const bits = op.letter === 'I' && op.size === 'z' ? operandBits : bitsOf(op.size)
        if (op.letter === 'fixed') {
          switch (op.text) {
            case '1':
              return {bits: 8, kind: 'immediate', constant: 1}
            case 'AL':
              return {bits: 8, kind: 'register', ref: {fixed: 0}}
            case 'CL':
              return {bits: 8, kind: 'register', ref: {fixed: 8}}
            case 'DX':
              return {bits: 16, kind: 'register', ref: {fixed: 16}}
            case 'eAX':
              return {bits: Math.min(operandBits, 32), kind: 'register', ref: {fixed: 0}}
            case 'rDX':
              return {bits: operandBits, kind: 'register', ref: {fixed: 16}}
            default:
              return {bits: operandBits, kind: 'register', ref: {fixed: 0}}
          }
        }
        if ('ERMWUQN'.includes(op.letter) && isMemory) return {bits, kind: 'memory'}
        if (op.letter === 'O') return {bits, kind: 'memory'}
        if ('XY'.includes(op.letter)) return {bits, kind: 'fixed'}
        if ('IJA'.includes(op.letter)) return {bits: op.letter === 'J' ? 64 : bits, kind: 'immediate'}
        const vector = 'VWUPQN'.includes(op.letter)
        return {
          bits: op.letter === 'S' ? 16 : bits,
          kind: 'register',
          ref: {slot: slot++ as 0 | 1 | 2},
          ...(vector ? {vector} : {}),
        }
      })
      share = {variant, operands, variantKey: nextKey++}
      shared.set(key, share)
    }
    return {
      instruction: found.instruction,
      form,
      variant: share.variant,
      operands: share.operands,
      variantKey: share.variantKey,
      length,
      slots,
      ...(memory ? {memory} : {}),
      immediate,
      opcode,
      modrm,
      prefixes: (rep === 0xf3 ? 1 : 0) | (rep === 0xf2 ? 2 : 0) | (lock ? 4 : 0) | (p66 ? 8 : 0) | (w ? 16 : 0),
      map,
    }
  }
}
