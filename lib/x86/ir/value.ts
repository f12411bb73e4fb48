/**
 * What semantics handle: values with a guest width, operands, and the variant a form is recorded for.
 */
import type {RegisterRef, ValueId} from './op.js'
import type {WasmType} from './types.js'

/** A value of the description: its index, WebAssembly type, and guest width in bits. */
export interface Value {
  readonly id: ValueId
  readonly type: WasmType
  readonly bits: number
}

/** An operand as semantics see it. `bits` is its width; what it is stays with the builder. */
export interface Operand {
  readonly bits: number
  readonly kind: 'register' | 'memory' | 'immediate' | 'fixed'
  /** Register operands: which. */
  readonly ref?: RegisterRef
  /** Immediate operands given by the form itself ('1'), not by the instruction's bytes. */
  readonly constant?: number
  /** The register is an XMM or MMX register: a 32-bit write keeps the other bits. */
  readonly vector?: boolean
}

/** What a form is recorded for. */
export interface Variant {
  /** Operand size in bits: 16, 32 or 64. */
  readonly operandBits: number
  readonly addressBits: number
  /** 64 in long mode, else the code segment's size. */
  readonly codeBits: number
  readonly locked: boolean
  readonly rep: 'none' | 'rep' | 'repne'
  /** The immediate shift count is 0 after masking: no flag changes. */
  readonly zeroCount?: boolean
}
