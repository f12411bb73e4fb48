/**
 * The shape of every generated module: functions `(i32) → i32`, which import the domain's memory, the vCPU's address, and just those
 * functions that they call. Source of the names: slow paths and misses in engine.ts, conditions in core.ts, helpers/.
 */
import {type Code, Module} from '../wasm/builder.js'
import type {WasmType} from '../wasm/opcodes.js'
import {conditionNames} from './core.js'
import {helperSignatures} from './helpers/index.js'
import type {Imports} from './lower.js'

type Signature = [WasmType[], WasmType[]]

/** What the core module exports for generated code: name → [parameters, results]. */
export const coreExports: Record<string, Signature> = {
  slowRead: [['i64', 'i32'], ['i32']],
  slowModify: [['i64', 'i32'], ['i32']],
  slowWrite: [['i64', 'i32'], ['i32']],
  statusFlags: [[], ['i32']],
  ...Object.fromEntries(conditionNames.map(name => [name, [[], ['i32']]])),
}

const signatures: Record<string, Signature> = {
  ...coreExports,
  ...helperSignatures,
  raise: [['i32', 'i32'], []],
  commit: [['i32'], ['i32']],
  retry: [[], []],
  system: [['i32', 'i32'], ['i32']],
}

/** Writes one function's code; `cpu` is the index of the global with the vCPU's address. */
export type WriteFunction = (imports: Imports, cpu: number) => Code

/** The module's binary form; `pages` is the size of the domain's memory. */
export function generatedModule(
  pages: number,
  functions: readonly (readonly [name: string, write: WriteFunction])[],
): Uint8Array<ArrayBuffer> {
  // No table import: each instance of it would copy the whole table.
  const module = new Module(pages)
  const cpu = module.importGlobal('cpu', 'i32')
  const known = new Map<string, number>()
  const imports = (name: string) => {
    let index = known.get(name)
    if (index === undefined) {
      const signature = signatures[name]
      if (signature === undefined) throw new Error(`bug: no helper ${name}`)
      index = module.import(name, ...signature)
      known.set(name, index)
    }
    return index
  }
  const bodies = functions.map(([name, write]) => [name, write(imports, cpu)] as const)
  for (const [name, code] of bodies) module.function(name, ['i32'], ['i32'], code)
  return module.bytes()
}
