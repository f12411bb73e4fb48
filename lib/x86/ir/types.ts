/**
 * The types that semantics share with the WebAssembly writer, so that a family imports them from one place.
 */
export type {MemoryOp} from '../../wasm/builder.js'
export type {WasmType} from '../../wasm/opcodes.js'
