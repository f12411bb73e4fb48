/**
 * The shape of every generated module: functions `(i32) → i32`, which import the domain's memory, the vCPU's address, and the table of
 * functions they may call.
 */
import {type Code, Module} from '../wasm/builder.js'
import {callable, callableNames} from './callable.js'
import type {CallHelper} from './lower.js'

/** Writes a handler's code; `cpu` is the index of the global with the vCPU's address. */
export type WriteHandler = (callHelper: CallHelper, cpu: number) => Code

/** Writes a region's code, for one vCPU. */
export type WriteRegion = (callHelper: CallHelper) => Code

/** Interpreter handlers call by way of the table `callable`: every import would cost their many small modules. They go with any size of memory. */
export function handlerModule(
  functions: readonly (readonly [name: string, write: WriteHandler])[],
): Uint8Array<ArrayBuffer> {
  const module = new Module()
  module.importTable('callable')
  const cpu = module.importGlobal('cpu', 'i32')
  const callHelper: CallHelper = (code, name) => {
    const index = callableNames.indexOf(name)
    if (index < 0) throw new Error(`bug: no function ${name} for generated code`)
    code.i32Const(index)
    code.callIndirect(module.type(...callable[name]))
  }
  for (const [name, write] of functions) add(module, name, write(callHelper, cpu))
  return module.bytes()
}

/** Regions import what they call: a call by a table is three times as long. `pages` is the size of the domain's memory. */
export function regionModule(
  pages: number,
  functions: readonly (readonly [name: string, write: WriteRegion])[],
): Uint8Array<ArrayBuffer> {
  const module = new Module(pages)
  const imported = new Map<string, number>()
  const callHelper: CallHelper = (code, name, tail = false) => {
    const index = imported.get(name) ?? module.import(name, ...callable[name])
    imported.set(name, index)
    if (tail) code.returnCall(index)
    else code.call(index)
  }
  for (const [name, write] of functions) add(module, name, write(callHelper))
  return module.bytes()
}

function add(module: Module, name: string, code: Code): void {
  module.function(name, code.parameters, ['i32'], code)
}
