/**
 * The types that semantics share with the WebAssembly writer, so that a family imports them from one place.
 */
import type {MemoryOp} from '../../wasm/builder.js'

export type {WasmType} from '../../wasm/opcodes.js'
export type {MemoryOp}

const loads: Record<number, MemoryOp> = {
  8: 'i32.load8_u',
  16: 'i32.load16_u',
  32: 'i32.load',
  64: 'i64.load',
  128: 'v128.load',
}
const stores: Record<number, MemoryOp> = {
  8: 'i32.store8',
  16: 'i32.store16',
  32: 'i32.store',
  64: 'i64.store',
  128: 'v128.store',
}

/** How memory of a guest width is read: 8 and 16 bits zero-extend. */
export function loadOf(bits: number): MemoryOp {
  return loads[bits]
}
/** How memory of a guest width is written. */
export function storeOf(bits: number): MemoryOp {
  return stores[bits]
}
