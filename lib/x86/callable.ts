/**
 * Functions that generated code calls by name. They stand in one small table, in this order, that every generated module imports: a module
 * that imports functions one by one would have V8 compile a wrapper for each of their signatures, which cost more than the module.
 *
 * `slow` functions are written in TypeScript; the core module stands between, because only WebAssembly functions fit into a table.
 */
import type {WasmType} from '../wasm/opcodes.js'
import {helperSignatures} from './helpers/index.js'
import {callNames, jumpNames} from './links.js'
import {accessorSignatures} from './mmu/accessors.js'

/** [parameters, results]. */
export type Signature = [WasmType[], WasmType[]]

/** Names of the condition functions, in condition-code order. */
export const conditionNames = Array.from({length: 16}, (_, code) => `condition${code}`)

/** Written in TypeScript: engine.ts and helpers/. */
export const slowSignatures: Record<string, Signature> = {
  raise: [['i32', 'i32'], []],
  commit: [['i32'], ['i32']],
  retry: [[], []],
  system: [['i32', 'i32'], ['i32']],
  ...helperSignatures,
}

/** All of them; those that are not slow are the core module's own. */
export const callable: Record<string, Signature> = {
  ...slowSignatures,
  slowRead: [['i64', 'i32'], ['i32']],
  slowModify: [['i64', 'i32'], ['i32']],
  slowWrite: [['i64', 'i32'], ['i32']],
  spanToRead: [['i64', 'i32'], ['i32']],
  spanToWrite: [['i64', 'i32'], ['i32']],
  ...Object.fromEntries(callNames.map(name => [name, [['i64', 'i32', 'i64', 'i32'], ['i32']]])),
  ...Object.fromEntries(jumpNames.map(name => [name, [['i64', 'i32'], ['i32']]])),
  leave: [['i64'], ['i32']],
  stop: [['i64'], ['i32']],
  noteHot: [['i32'], []],
  ...accessorSignatures,
  compareAnyBytes: [['i32', 'i32', 'i32'], ['i32']],
  statusFlags: [[], ['i32']],
  ...Object.fromEntries(conditionNames.map(name => [name, [[], ['i32']]])),
}

/** Their order in the table. */
export const callableNames = Object.keys(callable)
