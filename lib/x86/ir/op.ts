/**
 * What a semantic description is made of: a list of operations over typed values, each value defined once. Both tiers lower the
 * same list to WebAssembly; they differ only in where an operand comes from (a decoded record or a constant) and where a register
 * lives (memory or a local).
 *
 * Guest values of 8, 16 and 32 bits are i32, zero-extended; 64 bits are i64; XMM operands are v128; truth values are i32 0 or 1.
 * A register is named by its byte offset in the vCPU state (state.gpr + 8n, + 1 for AH CH DH BH, state.xmm + 16n): either fixed,
 * or the content of one of the record's operand slots.
 */

import type {FlagKindName} from '../flags.js'
import type {MemoryOp, WasmType} from './types.js'

/** The index of a value in a template. */
export type ValueId = number

/** A register: a fixed state offset, or operand slot 0 to 2 of the instruction. */
export type RegisterRef = {readonly fixed: number} | {readonly slot: 0 | 1 | 2}

export type Op =
  | {kind: 'pure'; code: number; args: ValueId[]; out: ValueId; lanes?: readonly number[]}
  | {kind: 'const'; value: number | bigint | Uint8Array; out: ValueId}
  /** The instruction's immediate operand. */
  | {kind: 'immediate'; out: ValueId}
  /** Linear address of this or the next instruction (i64). */
  | {kind: 'rip'; next: boolean; out: ValueId}
  /** `bits` of the register at ref + offset; 8, 16, 32 zero-extend. */
  | {kind: 'get-register'; ref: RegisterRef; bits: number; offset: number; out: ValueId}
  /** Writes `bits`; a 32-bit write to a general register clears its upper half, 8 and 16 keep the rest. */
  | {kind: 'set-register'; ref: RegisterRef; bits: number; offset: number; value: ValueId; vector?: boolean}
  /** Plain access to vCPU state that is no general register, and to the scratch area. */
  | {kind: 'get-state'; access: MemoryOp; offset: number; out: ValueId}
  | {kind: 'set-state'; access: MemoryOp; offset: number; value: ValueId}
  /** A constant table of the vCPU area at a byte offset. */
  | {kind: 'lookup'; access: MemoryOp; table: number; offset: ValueId; out: ValueId}
  /** Address of a register's bytes in linear memory (i32), for helpers that work in place. */
  | {kind: 'register-address'; ref: RegisterRef; out: ValueId}
  /** The memory operand's linear address (i64), or its effective address (no segment base). */
  | {kind: 'address'; segment: boolean; out: ValueId}
  /** Guest memory. A fault leaves the instruction. `host` receives the byte offset in linear memory for a later store-back. */
  | {kind: 'load'; access: MemoryOp; bytes: number; address: ValueId; out: ValueId; host?: ValueId; locked?: boolean}
  | {kind: 'store'; access: MemoryOp; bytes: number; address: ValueId; value: ValueId}
  /** Completes a read-modify-write: stores to the address `host` of the load that opened it. */
  | {kind: 'store-back'; access: MemoryOp; bytes: number; host: ValueId; old: ValueId; value: ValueId; locked: boolean}
  /** Records how the status flags follow; unused inputs are absent. Values are of `bits` and get sign-extended. */
  | {kind: 'set-flags'; flags: FlagKindName; bits: number; a?: ValueId; b?: ValueId; r?: ValueId}
  /** One condition of Jcc (0 to 15) as 0 or 1. */
  | {kind: 'condition'; code: number; out: ValueId}
  /** The status flags as RFLAGS bits (i32). */
  | {kind: 'status-flags'; out: ValueId}
  | {kind: 'if'; condition: ValueId}
  | {kind: 'else'}
  | {kind: 'end'}
  | {kind: 'loop'}
  /** Continues the innermost loop when the condition holds. */
  | {kind: 'continue-if'; condition: ValueId}
  /** A variable inside this instruction. */
  | {kind: 'declare'; variable: number; type: WasmType}
  | {kind: 'set-variable'; variable: number; value: ValueId}
  | {kind: 'get-variable'; variable: number; out: ValueId}
  /** Ends the block at RIP = target. */
  | {kind: 'jump'; target: ValueId; call?: boolean; return?: boolean}
  /** Ends the block: RIP = the instruction's relative target when the condition holds, else the next instruction. */
  | {kind: 'branch'; condition: ValueId}
  /** Raises an exception at this instruction. */
  | {kind: 'fault'; vector: number; errorCode?: number}
  /** Calls the slow path `name` with every register in state memory; it may fault, move RIP, or change anything. */
  | {kind: 'system'; name: string}
  /** Calls an imported function of numbers; it neither faults nor touches general registers. */
  | {kind: 'call'; name: string; args: ValueId[]; out?: ValueId}

/** A recorded description: its operations, the type of each value, how often each is used. */
export interface Template {
  readonly ops: readonly Op[]
  readonly types: readonly WasmType[]
  /** The operation that defines each value. */
  readonly definitions: readonly (Op | undefined)[]
  readonly uses: readonly number[]
  /** True where the value can be computed at its only use instead of at its definition. */
  readonly inline: readonly boolean[]
  readonly readsFlags: boolean
  /** Among them CF. */
  readonly readsCarry: boolean
  /** Sets all flags but CF, which it has to carry along. */
  readonly keepsCarry: boolean
  /** Flags are set on every path through the template. */
  readonly setsFlags: boolean
  /** Flags are set on some paths only: they must then live in memory. */
  readonly maySetFlags: boolean
  /** Some operation can leave the instruction early, with the flags it found. */
  readonly canFault: boolean
  /** The template ends its basic block (jump, branch, system call that may move RIP, fault). */
  readonly endsBlock: boolean
}
