/**
 * Integer operations that exist for XMM and for MMX registers: one meaning on 128 bits, from which the 64-bit one follows.
 *
 *   lanes    works lane by lane: on zero-extended operands, the result's low half
 *   joined   puts results of the target below those of the source: both operands are the two halves of one vector, which meets itself
 *
 * An MMX instruction waits for a pending x87 exception, then makes every x87 register valid and TOP 0; a register that it writes gets an exponent of
 * all ones. MMn is the significand of Rn.
 * Source: SDM vol. 1 9.6, vol. 2.
 */
import {Status, x87State} from '../float/x87-state.js'
import type {Builder, Operand, Value} from '../ir/builder.js'
import {state} from '../state.js'
import {type Form, form, type Instruction, instruction} from './instruction.js'
import {lane, readAligned, register, setRegister, withLane, zeroExtended} from './sse-common.js'

export type Combine = (s: Builder, target: Value, source: Value) => Value

/** How the 64-bit form follows from the 128-bit one; `upper` takes the upper half of a result by lanes. */
export type Narrowing = 'lanes' | 'joined' | 'upper'

const statusAt = state.x87 + x87State.offset.status

/** #MF when an x87 exception is pending: the first step of an MMX instruction. */
export function waitForX87(s: Builder): void {
  const pending = s.and(s.state('i32.load16_u', statusAt), s.constant(32, Status.summary))
  s.if(pending, () => s.fault(16))
}

/** The second step, when nothing can fault any more. */
export function enterMmx(s: Builder): void {
  const status = s.and(s.state('i32.load16_u', statusAt), s.constant(32, 0xffff & ~Status.top))
  s.setState('i32.store16', statusAt, status)
  s.setState('i32.store8', state.x87 + x87State.offset.tags, s.constant(32, 0xff))
}

/** An MMX register or memory operand as the low half of a vector. */
export function readMmx(s: Builder, operand: Operand): Value {
  return zeroExtended(s, s.zeroExtend(s.read(operand), 64))
}

/** Writes 64 bits to an MMX register. */
export function writeMmx(s: Builder, operand: Operand, value: Value): void {
  s.setRegister(operand.ref!, 64, value, 0, true)
  s.setRegister(operand.ref!, 16, s.narrow(s.constant(32, 0xffff), 16), 8, true)
}

/** The MMX form of an operation. */
export function combineMmx(
  s: Builder,
  target: Operand,
  source: Operand,
  combine: Combine,
  narrowing: Narrowing = 'lanes',
): void {
  waitForX87(s)
  const right = readMmx(s, source)
  const left = readMmx(s, target)
  const joined = narrowing === 'joined' ? withLane(s, left, 64, 1, lane(s, right, 64, 0)) : undefined
  const result = joined ? combine(s, joined, joined) : combine(s, left, right)
  const value = s.hold(lane(s, result, 64, narrowing === 'upper' ? 1 : 0))
  enterMmx(s)
  writeMmx(s, target, value)
}

/** What sets an operation apart. */
export interface PackedOptions {
  /** CPUID feature of the XMM form. */
  readonly feature?: string
  /** Of the MMX form; false: there is none. */
  readonly mmx?: string | false
  readonly narrowing?: Narrowing
  /** The MMX form's meaning, where it does not follow. */
  readonly mmxCombine?: Combine
  /** The MMX source operand. */
  readonly mmxSource?: string
}

/** An operation by its opcode bytes after 0F. */
export function packed(
  mnemonic: string,
  opcode: string,
  operation: Combine | string,
  options: PackedOptions = {},
): Instruction {
  const {feature = 'sse2', mmx = 'mmx', narrowing = 'lanes', mmxSource = 'Qq'} = options
  const combine: Combine =
    typeof operation === 'string' ? (s, target, source) => s.wasm(operation, [target, source]) : operation
  const forms: Form[] = [form(`66 0F ${opcode} /r`, 'Vx', 'Wx', {feature})]
  if (mmx !== false) forms.push(form(`NP 0F ${opcode} /r`, 'Pq', mmxSource, {feature: mmx}))
  return instruction(mnemonic, {
    source: `SDM vol. 2 ${mnemonic}`,
    forms,
    execute(s, target, source) {
      if (target.bits === 64) return combineMmx(s, target, source, options.mmxCombine ?? combine, narrowing)
      const other = s.hold(readAligned(s, source))
      setRegister(s, target, combine(s, s.hold(register(s, target)), other))
    },
  })
}

/** The byte lanes' own numbers. */
export function byteNumbers(s: Builder): Value {
  return s.vector(Uint8Array.from({length: 16}, (_, index) => index))
}

/** The smaller of an unsigned immediate and a limit, as i32. */
export function clamped(s: Builder, operand: Operand, limit: number): Value {
  const raw = s.zeroExtend(s.read(operand), 32)
  return s.select(s.below(raw, s.constant(32, limit)), raw, s.constant(32, limit))
}
