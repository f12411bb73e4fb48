/**
 * The core module: the dispatcher that runs blocks, and the functions that generated code calls. Written by hand in WebAssembly, because
 * every guest instruction passes here or near here.
 */
import {Code, Module} from '../wasm/builder.js'
import {addByteSets} from './byte-sets.js'
import {conditionNames, type Signature, slowSignatures} from './callable.js'
import {condition, statusFlags} from './conditions.js'
import {addDispatcher} from './dispatcher.js'
import {slowPathNumber} from './instruction-set.js'
import {Status} from './interpret.js'
import {addLinks} from './links.js'
import {addAccessors} from './mmu/accessors.js'
import {addRefill} from './mmu/refill.js'
import {addHotList} from './preemption.js'
import {addStringRuns} from './string-runs.js'

/**
 * The module for the vCPU whose area lies at `cpu`; exports `run() → void` and everything in callable.ts. Imports memory, table `handlers`, the slow
 * functions, and those for misses that are not simple. Goes with any size of memory: it is written when the project is built.
 */
export function coreModule(cpu: number): Uint8Array<ArrayBuffer> {
  const module = new Module()
  module.importTable('handlers')
  const fault = (name: string) => module.import(name, ['i32', 'i32', 'i32'], ['i32'])
  const misses = {
    faultRead: fault('faultRead'),
    faultModify: fault('faultModify'),
    faultWrite: fault('faultWrite'),
  }
  const slow = Object.entries(slowSignatures).map(
    ([name, signature]) => [name, signature, module.import(name, ...signature)] as const,
  )
  const conditions = conditionNames.map((name, code) => module.function(name, [], ['i32'], condition(code, cpu)))
  module.function('statusFlags', [], ['i32'], statusFlags(cpu, conditions))
  const {refill, slow: slowAccess} = addRefill(module, cpu, misses)
  addAccessors(module, cpu, slowAccess)
  const runs = addStringRuns(module, cpu, refill)
  for (const [name, signature, imported] of slow)
    module.function(name, ...signature, name === 'system' ? system(imported, runs) : passOn(signature, imported))
  addHotList(module, cpu)
  addByteSets(module)
  addLinks(module, {cpuBase: cpu, refill, ...addDispatcher(module, cpu, refill)})
  return module.bytes()
}

/** A WebAssembly function in front of an imported one. */
function passOn([parameters]: Signature, imported: number): Code {
  const code = new Code(parameters)
  for (const index of parameters.keys()) code.localGet(index)
  code.call(imported)
  return code
}

/** A slow path by its number; repeated MOVS and STOS are tried here first. */
function system(imported: number, {moveRun, storeRun}: {moveRun: number; storeRun: number}): Code {
  const code = new Code(['i32', 'i32'])
  for (const [path, run] of [
    ['rep-movs', moveRun],
    ['rep-stos', storeRun],
  ] as const) {
    code.localGet(1)
    code.i32Const(slowPathNumber(path))
    code.op('i32.eq')
    code.if()
    code.localGet(0)
    code.call(run)
    code.if()
    code.i32Const(Status.next)
    code.return()
    code.end()
    code.end()
  }
  code.localGet(0)
  code.localGet(1)
  code.call(imported)
  return code
}
