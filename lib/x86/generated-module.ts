/**
 * The shape of every generated module: functions `(i32) → i32`, which import the domain's memory, the vCPU's address, and the table of
 * functions they may call.
 */
import {type Code, Module} from '../wasm/builder.js'
import {callable, callableNames} from './callable.js'
import type {CallHelper} from './lower.js'

/** Writes one function's code; `cpu` is the index of the global with the vCPU's address. */
export type WriteFunction = (callHelper: CallHelper, cpu: number) => Code

export type NamedFunction = readonly [name: string, write: WriteFunction]

/** Interpreter handlers call by way of the table `callable`: every import would cost their many small modules. They go with any size of memory. */
export function handlerModule(functions: readonly NamedFunction[]): Uint8Array<ArrayBuffer> {
  const module = new Module()
  module.importTable('callable')
  return finish(module, functions, (code, name) => {
    const index = callableNames.indexOf(name)
    if (index < 0) throw new Error(`bug: no function ${name} for generated code`)
    code.i32Const(index)
    code.callIndirect(module.type(...callable[name]))
  })
}

/** Regions import what they call: a call by a table is three times as long. `pages` is the size of the domain's memory. */
export function regionModule(pages: number, functions: readonly NamedFunction[]): Uint8Array<ArrayBuffer> {
  const module = new Module(pages)
  const imported = new Map<string, number>()
  return finish(module, functions, (code, name, tail = false) => {
    const index = imported.get(name) ?? module.import(name, ...callable[name])
    imported.set(name, index)
    if (tail) code.returnCall(index)
    else code.call(index)
  })
}

function finish(module: Module, functions: readonly NamedFunction[], callHelper: CallHelper): Uint8Array<ArrayBuffer> {
  const cpu = module.importGlobal('cpu', 'i32')
  for (const [name, write] of functions) {
    const code = write(callHelper, cpu)
    module.function(name, code.parameters, ['i32'], code)
  }
  return module.bytes()
}
