/**
 * What the semantics are recorded for: operand list and variant of a form at one operand size, address size, prefix set. Made once for each
 * combination met and shared by all instructions that have it; its key names the interpreter handler and the template.
 */
import type {Operand, Variant} from '../ir/builder.js'
import {type OperandSpec, type ParsedForm, Source} from './opcode-map.js'

/** Features whose instructions touch x87, MMX or SSE state. */
const fpuFeatures = /^(x87|mmx|fxsr|sse|ssse|aes|pclmul|sha)/

/** What instructions of one variant have in common. */
export interface Shared {
  readonly variant: Variant
  readonly operands: readonly Operand[]
  readonly variantKey: number
  readonly variantId: number
  readonly usesFpu: boolean
}

/** Everything that makes two instructions of a form different for the semantics. */
export interface Sizes {
  readonly operandBits: number
  readonly addressBits: number
  readonly codeBits: number
  readonly lock: boolean
  /** 0 none, 1 REP, 2 REPNE: only for forms that have a meaning for it. */
  readonly rep: number
  readonly isMemory: boolean
  readonly zeroCount: boolean
  /** REX.W or VEX.W. */
  readonly wide: boolean
}

/** Keeps the variants met so far. */
export class Variants {
  private readonly known = new Map<number, Shared>()

  /** The parameters are those of {@link Sizes}: an object for each instruction would be garbage. */
  get(
    form: ParsedForm,
    operandBits: number,
    addressBits: number,
    codeBits: number,
    lock: boolean,
    rep: number,
    isMemory: boolean,
    zeroCount: boolean,
    wide: boolean,
  ): Shared {
    const key =
      form.id * 4096 +
      (operandBits >> 5) +
      (isMemory || form.usesAddress ? (addressBits >> 5) * 4 : 12) +
      (codeBits >> 5) * 16 +
      (lock ? 64 : 0) +
      rep * 128 +
      (isMemory ? 512 : 0) +
      (zeroCount ? 1024 : 0) +
      (wide ? 2048 : 0)
    let shared = this.known.get(key)
    if (shared === undefined) {
      const sizes = {operandBits, addressBits, codeBits, lock, rep, isMemory, zeroCount, wide}
      shared = makeShared(form, sizes, this.known.size + 1, key)
      this.known.set(key, shared)
    }
    return shared
  }
}

function makeShared(form: ParsedForm, sizes: Sizes, variantKey: number, variantId: number): Shared {
  const {operandBits, addressBits, codeBits, lock, rep, isMemory, zeroCount} = sizes
  let slot = 0
  const operands = form.ops.map((op): Operand => {
    const bits = op.letter === 'I' && op.size === 'z' ? operandBits : widthOf(op.size, form, sizes)
    switch (op.source) {
      case Source.form:
        return fixedOperand(op, operandBits)
      case Source.memory:
      case Source.offset:
        return {bits, kind: 'memory'}
      case Source.string:
      case Source.x87Rm:
        return {bits, kind: 'fixed'}
      case Source.immediate:
      case Source.farPointer:
        return {bits, kind: 'immediate'}
      case Source.relative:
        return {bits: 64, kind: 'immediate'}
      case Source.modrmRm:
      case Source.xmmRm:
      case Source.mmxRm:
        if (isMemory) return {bits, kind: 'memory'}
    }
    const vector = op.source >= Source.xmmReg && op.source <= Source.mmxRm
    return {
      bits: op.source === Source.segmentReg ? 16 : bits,
      kind: 'register',
      ref: {slot: slot++ as 0 | 1 | 2},
      ...(vector ? {vector} : {}),
    }
  })
  const repName = (['none', 'rep', 'repne'] as const)[rep]
  const variant = {operandBits, addressBits, codeBits, locked: lock, rep: repName, zeroCount}
  const usesFpu = fpuFeatures.test(form.form.options.feature ?? '')
  return {variant, operands, variantKey, variantId, usesFpu}
}

/** Bits of an operand by its size letters. */
export function widthOf(
  size: string,
  form: ParsedForm,
  {operandBits, codeBits, wide}: Pick<Sizes, 'operandBits' | 'codeBits' | 'wide'>,
): number {
  switch (size) {
    case 'b':
      return 8
    case 'w':
      return 16
    case 'd':
    case 'ss':
      return 32
    case 'q':
    case 'sd':
      return 64
    case 'x':
      return 128
    case 'z':
      return operandBits === 16 ? 16 : 32
    case 'y': {
      const long = codeBits === 64
      return long && (wide || (!form.vex && form.form.options.size64 === 'forced')) ? 64 : 32
    }
    default:
      return operandBits
  }
}

function fixedOperand(op: OperandSpec, operandBits: number): Operand {
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
    case 'rAX':
      return {bits: operandBits, kind: 'register', ref: {fixed: 0}}
    default:
      return {bits: operandBits, kind: 'fixed'}
  }
}
