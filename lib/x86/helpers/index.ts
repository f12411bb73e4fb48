/**
 * Functions of numbers that generated code imports by name.
 */
import type {WasmType} from '../../wasm/opcodes.js'
import type {LinearMemory} from '../memory.js'

/** Parameters and results of each helper. */
export const helperSignatures: Record<string, [WasmType[], WasmType[]]> = {}

/** The helpers of the vCPU whose area starts at `base`. */
export function helpers(_memory: LinearMemory, _base: number): Record<string, (...args: number[]) => number> {
  return {}
}
