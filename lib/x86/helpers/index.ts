/**
 * Functions of numbers that generated code imports by name. They work on vCPU state and linear memory, never fault, and touch no general
 * register.
 */
import type {WasmType} from '../../wasm/opcodes.js'
import {compareSse, executeSse} from '../float/sse-exact.js'
import type {LinearMemory} from '../memory.js'
import {state} from '../state.js'
import {compareForIndex, compareForMask, compareStrings} from './string-compare.js'

/** Parameters and results of each helper. */
export const helperSignatures: Record<string, [WasmType[], WasmType[]]> = {
  /** (operation, target address, source address, lanes) → 1 to raise #XM. */
  sseExact: [['i32', 'i32', 'i32', 'i32'], ['i32']],
  /** (bit 0 double, bit 1 quiet; first address, second address) → flags, or -1 to raise #XM. */
  sseCompare: [['i32', 'i32', 'i32'], ['i32']],
  /** (control, first address, second address, first length, second length) → flags | index << 16; a length of -1 ends at a zero. */
  compareForIndex: [['i32', 'i32', 'i32', 'i32', 'i32'], ['i32']],
  /** The same and the mask's address → flags. */
  compareForMask: [['i32', 'i32', 'i32', 'i32', 'i32', 'i32'], ['i32']],
}

/** The helpers of the vCPU whose area starts at `base`. */
export function helpers(memory: LinearMemory, base: number): Record<string, (...args: number[]) => number> {
  const {view} = memory
  const mxcsr = base + state.mxcsr
  return {
    sseExact: (operation, target, source, lanes) => executeSse(view, operation, target, source, lanes, mxcsr),
    sseCompare: (kind, first, second) => compareSse(view, (kind & 1) !== 0, (kind & 2) !== 0, first, second, mxcsr),
    compareForIndex: (control, first, second, firstLength, secondLength) =>
      compareForIndex(compareStrings(view, control, first, second, firstLength, secondLength), control),
    compareForMask: (control, first, second, firstLength, secondLength, mask) =>
      compareForMask(view, compareStrings(view, control, first, second, firstLength, secondLength), control, mask),
  }
}
