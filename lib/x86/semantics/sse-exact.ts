/**
 * How semantics hand a floating-point operation to float/sse-exact.ts: operands as addresses of their bytes, flags and #XM from there.
 *
 * Source: SDM vol. 1 11.5.
 */
import {SseOperation} from '../float/sse-exact.js'
import type {Builder, Operand, Value} from '../ir/builder.js'
import {state} from '../state.js'
import {checkAligned} from './sse-common.js'

/** An exact operation by name. */
export type OperationName = keyof typeof SseOperation

/** Address of an operand's bytes: the register itself, or a copy of memory in scratch. */
export function bytesOf(s: Builder, operand: Operand): Value {
  if (operand.kind !== 'memory') return s.registerAddress(operand.ref!)
  if (operand.bits === 128) checkAligned(s, operand)
  return inScratch(s, s.read(operand))
}

/** Address of a copy of the value. */
export function inScratch(s: Builder, value: Value): Value {
  const access = `${value.type}.store` as 'i32.store' | 'i64.store' | 'v128.store'
  s.setState(access, state.scratch, value)
  return s.stateAddress(state.scratch)
}

/** Calls the exact operation; raises #XM when it says so. */
export function exact(s: Builder, operation: Value | OperationName, target: Value, source: Value, lanes: number): void {
  const number = typeof operation === 'string' ? s.constant(32, SseOperation[operation]) : operation
  const result = s.call('sseExact', [number, target, source, s.constant(32, lanes)], 'i32')!
  s.if(result, () => s.fault(19))
}

/** The operation's number with an immediate or predicate. */
export function numberWith(s: Builder, operation: OperationName, control: Value): Value {
  return s.or(s.shiftLeft(control, s.constant(32, 8)), s.constant(32, SseOperation[operation]))
}

/** A scalar's bits as the host's number, and back. */
export function toFloat(s: Builder, value: Value): Value {
  return s.wasm(value.type === 'i64' ? 'f64.reinterpret_i64' : 'f32.reinterpret_i32', [value])
}
export function fromFloat(s: Builder, value: Value): Value {
  return s.wasm(value.type === 'f64' ? 'i64.reinterpret_f64' : 'i32.reinterpret_f32', [value])
}
