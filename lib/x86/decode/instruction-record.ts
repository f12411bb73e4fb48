/**
 * What the decoder gives for one instruction, before it is written as a record. `variantKey` names the interpreter handler and the
 * template: equal keys mean equal semantics up to the record's fields.
 */
import type {Operand, Variant} from '../ir/builder.js'
import type {Form, Instruction} from '../semantics/instruction.js'

/** A memory operand; base and index are state offsets or state.zero. */
export interface MemoryOperand {
  readonly base: number
  readonly index: number
  readonly scale: number
  /** Sign-extended displacement, or the absolute linear address of a RIP-relative operand. A bigint only where a number would not be exact. */
  readonly displacement: number | bigint
  /** Segment register index, and whether its base must be added (in 64-bit code only FS and GS). */
  readonly segment: number
  readonly addsSegmentBase: boolean
}

export interface DecodedInstruction {
  readonly instruction: Instruction
  readonly form: Form
  readonly variant: Variant
  /** Operands as the builder takes them: register operands refer to slots 0 to 2 or fixed registers. */
  readonly operands: readonly Operand[]
  /** Small integer unique to (form, variant, operand kinds), stable within a process. */
  readonly variantKey: number
  /** The same in every process that knows the same forms; not small. */
  readonly variantId: number
  /** It touches x87, MMX or SSE state, which CR0.TS guards. */
  readonly usesFpu: boolean
  readonly length: number
  /** Register operand slots as state offsets; unused ones 0. */
  readonly slots: readonly [number, number, number]
  readonly memory: MemoryOperand | undefined
  /** Sign-extended immediate; for relative branches the target's linear address. A bigint only where a number would not be exact. */
  readonly immediate: number | bigint
  readonly opcode: number
  readonly modrm: number
  readonly prefixes: number
  readonly map: number
}

/** Why bytes gave no instruction. */
export type DecodeFailure =
  /** #UD at this instruction. */
  | 'undefined'
  /** More than 15 bytes: #GP(0). */
  | 'too-long'
  /** The bytes given end inside the instruction. */
  | 'more-bytes'
