/**
 * The shape of every generated module: functions `(i32) → i32`, which import the domain's memory, the vCPU's address, and the table of
 * functions they may call.
 */
import {type Code, Module} from '../wasm/builder.js'
import {callable, callableNames} from './callable.js'
import type {CallHelper} from './lower.js'

/** Writes one function's code; `cpu` is the index of the global with the vCPU's address. */
export type WriteFunction = (callHelper: CallHelper, cpu: number) => Code

/** The module's binary form; `pages` is the size of the domain's memory. */
export function generatedModule(
  pages: number,
  functions: readonly (readonly [name: string, write: WriteFunction])[],
): Uint8Array<ArrayBuffer> {
  const module = new Module(pages)
  module.importTable('callable')
  const cpu = module.importGlobal('cpu', 'i32')
  const callHelper: CallHelper = (code, name, tail = false) => {
    const index = callableNames.indexOf(name)
    if (index < 0) throw new Error(`bug: no function ${name} for generated code`)
    code.i32Const(index)
    const type = module.type(...callable[name])
    if (tail) code.returnCallIndirect(type)
    else code.callIndirect(type)
  }
  for (const [name, write] of functions) module.function(name, ['i32'], ['i32'], write(callHelper, cpu))
  return module.bytes()
}
