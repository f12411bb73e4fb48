/**
 * The core module: the dispatcher that runs blocks, and the functions that generated code calls. Written by hand in WebAssembly, because
 * every guest instruction passes here or near here.
 *
 * Dispatcher: find where RIP lies (fetch TLB), what is decoded there (jump cache); run the translation if there is one, else the records, one
 * handler after the other; go on until something asks to return to the run loop. A block's head (48 bytes before its first record):
 *
 *   0  i32  countdown to translation      4  u32  byte offset of the page it lies in
 *   8  u32  translation: function-table slot | entry number << 16, 0 none
 *   12 u32  byte offset of the page after it, when the last instruction reaches into it; else 0
 */
import {Code, Module} from '../wasm/builder.js'
import {conditionNames, type Signature, slowSignatures} from './callable.js'
import {condition, statusFlags} from './conditions.js'
import {record, recordBytes} from './decode/record.js'
import {slowPathNumber} from './instruction-set.js'
import {Status} from './interpret.js'
import {AccessKind, addRefill} from './mmu/refill.js'
import {ExitReason, jumpCache, state, tlb} from './state.js'
import {addStringRuns} from './string-runs.js'

/** The block head's fields. */
export const blockHead = {countdown: 0, page: 4, translation: 8, secondPage: 12} as const

/**
 * The module; exports `run() → void` and everything in callable.ts. Imports memory, table `handlers`, global `cpu`, the slow functions, and those
 * for misses that are not simple.
 */
export function coreModule(pages: number): Uint8Array<ArrayBuffer> {
  const module = new Module(pages)
  module.importTable('handlers')
  const cpu = module.importGlobal('cpu', 'i32')
  const fault = (name: string) => module.import(name, ['i32', 'i32', 'i32'], ['i32'])
  const misses = {
    faultRead: fault('faultRead'),
    faultModify: fault('faultModify'),
    faultWrite: fault('faultWrite'),
  }
  const slow = Object.entries(slowSignatures).map(
    ([name, signature]) => [name, signature, module.import(name, ...signature)] as const,
  )
  const handlerType = module.type(['i32'], ['i32'])
  const conditions = conditionNames.map((name, code) => module.function(name, [], ['i32'], condition(code, cpu)))
  module.function('statusFlags', [], ['i32'], statusFlags(cpu, conditions))
  const refill = addRefill(module, cpu, misses)
  const runs = addStringRuns(module, cpu, refill)
  for (const [name, signature, imported] of slow)
    module.function(name, ...signature, name === 'system' ? system(imported, runs) : passOn(signature, imported))
  module.function('run', [], [], dispatcher(cpu, handlerType, refill))
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

function dispatcher(cpuGlobal: number, handlerType: number, refill: number): Code {
  const code = new Code()
  const cpu = code.local('i32')
  const entry = code.local('i32')
  const at = code.local('i32')
  const status = code.local('i32')
  const budget = code.local('i32')
  const mode = code.local('i32')
  const rip = code.local('i64')
  const next = code.local('i64')
  const leave = (reason: number) => {
    code.localGet(cpu)
    code.i32Const(reason)
    code.memory('i32.store', state.exitReason)
    code.return()
  }
  /** Pushes whether the page after RIP's lies elsewhere than the block at `at` has it. */
  const secondPageMoved = () => {
    code.localGet(rip)
    code.i64Const(-4096)
    code.op('i64.and')
    code.i64Const(4096)
    code.op('i64.add')
    code.localSet(next)
    code.localGet(cpu)
    code.localGet(cpu)
    code.memory('i32.load', state.mmuMode)
    code.i32Const(tlb.kinds * tlb.tableBytes)
    code.op('i32.mul')
    code.op('i32.add')
    code.localGet(next)
    code.op('i32.wrap_i64')
    code.i32Const(8)
    code.op('i32.shr_u')
    code.i32Const((tlb.entries - 1) * tlb.entryBytes)
    code.op('i32.and')
    code.op('i32.add')
    code.localTee(entry)
    code.memory('i64.load', tlb.start + AccessKind.fetch * tlb.tableBytes)
    code.localGet(next)
    code.op('i64.eq')
    code.if('i32')
    code.localGet(entry)
    code.memory('i32.load', tlb.start + AccessKind.fetch * tlb.tableBytes + 8)
    code.localGet(next)
    code.op('i32.wrap_i64')
    code.op('i32.add')
    code.else()
    code.localGet(next)
    code.i32Const(AccessKind.fetch)
    code.call(refill)
    code.end()
    code.localGet(at)
    code.memory('i32.load', blockHead.secondPage)
    code.op('i32.ne')
  }
  code.globalGet(cpuGlobal)
  code.localSet(cpu)
  code.loop()
  // Budget and pending work.
  code.localGet(cpu)
  code.localGet(cpu)
  code.memory('i32.load', state.budget)
  code.i32Const(1)
  code.op('i32.sub')
  code.localTee(budget)
  code.memory('i32.store', state.budget)
  code.localGet(budget)
  code.i32Const(0)
  code.op('i32.lt_s')
  code.localGet(cpu)
  code.memory('i32.atomic.load', state.pending)
  code.op('i32.or')
  code.if()
  leave(ExitReason.preempt)
  code.end()
  // Where RIP lies: the fetch TLB's entry of this mode, refilled when it is another page's.
  code.localGet(cpu)
  code.memory('i64.load', state.rip)
  code.localSet(rip)
  code.localGet(cpu)
  code.localGet(cpu)
  code.memory('i32.load', state.mmuMode)
  code.localTee(mode)
  code.i32Const(tlb.kinds * tlb.tableBytes)
  code.op('i32.mul')
  code.op('i32.add')
  code.localGet(rip)
  code.op('i32.wrap_i64')
  code.i32Const(8)
  code.op('i32.shr_u')
  code.i32Const((tlb.entries - 1) * tlb.entryBytes)
  code.op('i32.and')
  code.op('i32.add')
  code.localTee(entry)
  code.memory('i64.load', tlb.start + AccessKind.fetch * tlb.tableBytes)
  code.localGet(rip)
  code.i64Const(-4096)
  code.op('i64.and')
  code.op('i64.eq')
  code.if('i32')
  code.localGet(entry)
  code.memory('i32.load', tlb.start + AccessKind.fetch * tlb.tableBytes + 8)
  code.localGet(rip)
  code.op('i32.wrap_i64')
  code.op('i32.add')
  code.else()
  code.localGet(rip)
  code.i32Const(AccessKind.fetch)
  code.call(refill)
  code.localTee(at)
  code.op('i32.eqz')
  code.if()
  leave(ExitReason.lookup)
  code.end()
  code.localGet(at)
  code.localGet(rip)
  code.op('i32.wrap_i64')
  code.i32Const(0xfff)
  code.op('i32.and')
  code.op('i32.add')
  code.end()
  code.localTee(at)
  // One of the jump cache's two entries of that place must be for this RIP, page and mode.
  code.localGet(at)
  code.i32Const(12)
  code.op('i32.shr_u')
  code.op('i32.xor')
  code.i32Const(jumpCache.entries - 1)
  code.op('i32.and')
  code.i32Const(4)
  code.op('i32.shl')
  code.localGet(cpu)
  code.op('i32.add')
  code.localSet(entry)
  code.localGet(at)
  code.i32Const(-4096)
  code.op('i32.and')
  code.localGet(mode)
  code.op('i32.or')
  code.localGet(cpu)
  code.memory('i32.load', state.codeBits)
  code.op('i32.or')
  code.localSet(mode)
  const differs = () => {
    code.localGet(entry)
    code.memory('i64.load', jumpCache.start)
    code.localGet(rip)
    code.op('i64.ne')
    code.localGet(entry)
    code.memory('i32.load', jumpCache.start + 8)
    code.localGet(mode)
    code.op('i32.ne')
    code.op('i32.or')
  }
  differs()
  code.if()
  code.localGet(entry)
  code.i32Const(jumpCache.entries * jumpCache.entryBytes)
  code.op('i32.add')
  code.localSet(entry)
  differs()
  code.if()
  leave(ExitReason.lookup)
  code.end()
  code.end()
  // The last instruction of the block may reach into the next page, which must still be where it was.
  code.localGet(entry)
  code.memory('i32.load', jumpCache.start + 12)
  code.localTee(at)
  code.memory('i32.load', blockHead.secondPage)
  code.if()
  secondPageMoved()
  code.if()
  leave(ExitReason.lookup)
  code.end()
  code.end()
  // A translation? Its word is table slot | entry number << 16.
  code.localGet(at)
  code.memory('i32.load', blockHead.translation)
  code.localTee(entry)
  code.if()
  code.localGet(entry)
  code.i32Const(16)
  code.op('i32.shr_u')
  code.localGet(entry)
  code.i32Const(0xffff)
  code.op('i32.and')
  code.callIndirect(handlerType)
  code.i32Const(2)
  code.op('i32.eq')
  code.brIf(1)
  code.return()
  code.end()
  // Records. The head counts down to translation.
  code.localGet(at)
  code.localGet(at)
  code.memory('i32.load', blockHead.countdown)
  code.i32Const(1)
  code.op('i32.sub')
  code.localTee(budget)
  code.memory('i32.store', blockHead.countdown)
  code.localGet(budget)
  code.op('i32.eqz')
  code.if()
  code.localGet(cpu)
  code.localGet(at)
  code.memory('i32.store', state.exitDetail)
  leave(ExitReason.hot)
  code.end()
  code.localGet(cpu)
  code.localGet(at)
  code.memory('i32.load', blockHead.page)
  code.memory('i32.store', state.currentPage)
  code.loop()
  code.localGet(at)
  code.i32Const(recordBytes)
  code.op('i32.add')
  code.localTee(at)
  code.localGet(at)
  code.memory('i32.load16_u', record.handler)
  code.callIndirect(handlerType)
  code.localTee(status)
  code.op('i32.eqz')
  code.brIf(0)
  code.end()
  code.localGet(status)
  code.i32Const(2)
  code.op('i32.eq')
  code.brIf(0)
  code.end()
  return code
}
