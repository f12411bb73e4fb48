/**
 * The dispatcher: finds where RIP lies (fetch TLB) and what is decoded there (jump cache); runs the translation if there is one, else the
 * records, one handler after the other; goes on until something asks to return to the run loop. A block's head (48 bytes before its first
 * record):
 *
 *   0  i32  countdown to translation      4  u32  byte offset of the page it lies in
 *   8  u32  translation: function-table slot | entry number << 16, 0 none
 *   12 u32  byte offset of the page after it, when the last instruction reaches into it; else 0
 *   16 u64  RIP of its first instruction  24 u32  mode it was decoded for
 *
 * A guest CALL in a translation is a call here (links.ts): when its target has to be searched, or its RET leads elsewhere (to another stack), a
 * dispatcher inside the dispatcher goes on, and comes back when RIP is where the guest's RET should lead. Whatever makes the run loop look
 * ends all of them.
 */

import {Code, type Module} from '../wasm/builder.js'
import {blockHead} from './block-head.js'
import {record, recordBytes} from './decode/record.js'
import {Status} from './interpret.js'
import {linkCell, neverEpoch, pushTranslation, regionParameters} from './links.js'
import {fetchTable, pushIsMapped, pushModeBase, pushPlace, toEntryOffset} from './mmu/probe.js'
import {pushPreempted} from './preemption.js'
import {AccessKind, ExitReason, jumpCache, state} from './state.js'

/** No guest address: the outermost dispatcher never comes back by a RET. */
const nowhere = -(2n ** 63n)

/**
 * Adds `run() → void`, which runs until something asks to return to the run loop, and gives the index of
 * `dispatch(returnRip, returnPlace, mode, epoch) → status`: 0 when RIP is `returnRip`, at `returnPlace` in linear memory, in that mode, and no
 * code has been dropped since the epoch; else what the caller has to return.
 */
export function addDispatcher(module: Module, cpu: number, refill: number): {dispatch: number; regionType: number} {
  const regionType = module.type(regionParameters, ['i32'])
  const handlerType = module.type(['i32'], ['i32'])
  const dispatch = module.function(
    'dispatch',
    ['i64', 'i32', 'i32', 'i32'],
    ['i32'],
    dispatcher(cpu, regionType, handlerType, refill),
  )
  module.function('run', [], [], outermost(cpu, dispatch))
  return {dispatch, regionType}
}

function outermost(cpuBase: number, dispatch: number): Code {
  const code = new Code()
  for (const field of [state.callDepth, state.linkCell]) {
    code.i32Const(cpuBase)
    code.i32Const(0)
    code.memory('i32.store', field)
  }
  code.i64Const(nowhere)
  code.i32Const(0)
  code.i32Const(0)
  code.i32Const(0)
  code.call(dispatch)
  code.drop()
  return code
}

function dispatcher(cpuBase: number, regionType: number, handlerType: number, refill: number): Code {
  const code = new Code(['i64', 'i32', 'i32', 'i32'])
  const [returnRip, returnPlace, callerMode, callerEpoch] = [0, 1, 2, 3]
  const cpu = code.local('i32')
  const entry = code.local('i32')
  const at = code.local('i32')
  const place = code.local('i32')
  const status = code.local('i32')
  const budget = code.local('i32')
  const mode = code.local('i32')
  const head = code.local('i32')
  const depth = code.local('i32')
  const cell = code.local('i32')
  const rip = code.local('i64')
  const next = code.local('i64')
  /** Returns the status on the stack. */
  const comeBack = () => {
    code.localGet(cpu)
    code.localGet(depth)
    code.memory('i32.store', state.callDepth)
    code.return()
  }
  const leave = (reason: number) => {
    code.localGet(cpu)
    code.i32Const(reason)
    code.memory('i32.store', state.exitReason)
    code.i32Const(Status.exit)
    comeBack()
  }
  /** Pushes the mode of the code that would run now. */
  const currentMode = () => {
    code.localGet(cpu)
    code.memory('i32.load', state.mmuMode)
    code.localGet(cpu)
    code.memory('i32.load', state.codeBits)
    code.op('i32.or')
  }
  const preempted = () => pushPreempted(code, cpu, budget)
  /** Sets `entry` to the fetch TLB's entry of an address. */
  const findEntry = (address: number) => {
    pushModeBase(code, cpu)
    code.localGet(address)
    toEntryOffset(code)
    code.op('i32.add')
    code.localSet(entry)
  }
  const entryIsOf = (address: number) => pushIsMapped(code, entry, fetchTable(0), address)
  const placeOf = (address: number) => pushPlace(code, entry, fetchTable(0), address)
  /** Runs the translation whose word is in `entry`; pushes its status. */
  const runTranslation = () => {
    pushTranslation(code, entry)
    code.callIndirect(regionType)
  }
  /** A link that led here remembers the translation whose word is in `entry`. */
  const fillCell = () => {
    code.localGet(cpu)
    code.memory('i32.load', state.linkCell)
    code.localTee(cell)
    code.if()
    code.localGet(cell)
    code.localGet(entry)
    code.memory('i32.store', linkCell.translation)
    code.localGet(cell)
    code.localGet(cpu)
    code.memory('i32.load', state.codeEpoch)
    code.memory('i32.store', linkCell.epoch)
    code.localGet(cell)
    code.i32Const(neverEpoch)
    code.memory('i32.store', linkCell.checked)
    code.localGet(cell)
    code.localGet(place)
    code.localGet(rip)
    code.op('i32.wrap_i64')
    code.op('i32.sub')
    code.memory('i32.store', linkCell.addend)
    code.localGet(cell)
    code.localGet(rip)
    code.memory('i64.store', linkCell.target)
    code.localGet(cpu)
    code.i32Const(0)
    code.memory('i32.store', state.linkCell)
    code.end()
  }
  /** Pushes whether the page after RIP's lies elsewhere than the block at `at` has it. */
  const secondPageMoved = () => {
    code.localGet(rip)
    code.i64Const(-4096)
    code.op('i64.and')
    code.i64Const(4096)
    code.op('i64.add')
    code.localSet(next)
    findEntry(next)
    entryIsOf(next)
    code.if('i32')
    placeOf(next)
    code.else()
    code.localGet(next)
    code.i32Const(AccessKind.fetch)
    code.call(refill)
    code.end()
    code.localGet(at)
    code.memory('i32.load', blockHead.secondPage)
    code.op('i32.ne')
  }
  code.i32Const(cpuBase)
  code.localTee(cpu)
  code.memory('i32.load', state.callDepth)
  code.localSet(depth)
  code.localGet(cpu)
  code.localGet(depth)
  code.i32Const(1)
  code.op('i32.add')
  code.memory('i32.store', state.callDepth)
  code.loop()
  preempted()
  code.if()
  leave(ExitReason.preempt)
  code.end()
  // Where RIP lies: the fetch TLB's entry of this mode, refilled when it is another page's.
  code.localGet(cpu)
  code.memory('i64.load', state.rip)
  code.localSet(rip)
  findEntry(rip)
  entryIsOf(rip)
  code.if('i32')
  placeOf(rip)
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
  code.localTee(place)
  code.localSet(at)
  currentMode()
  code.localSet(mode)
  // Back where the caller waits?
  code.localGet(rip)
  code.localGet(returnRip)
  code.op('i64.eq')
  code.if()
  code.localGet(at)
  code.localGet(returnPlace)
  code.op('i32.eq')
  code.localGet(mode)
  code.localGet(callerMode)
  code.op('i32.eq')
  code.op('i32.and')
  code.localGet(cpu)
  code.memory('i32.load', state.codeEpoch)
  code.localGet(callerEpoch)
  code.op('i32.eq')
  code.op('i32.and')
  code.if()
  code.localGet(cpu)
  code.localGet(returnPlace)
  code.i32Const(-4096)
  code.op('i32.and')
  code.memory('i32.store', state.currentPage)
  code.i32Const(Status.next)
  comeBack()
  code.end()
  code.end()
  // The jump cache: one way of the place's set names a block that was decoded for this RIP and mode.
  code.localGet(cpu)
  code.localGet(at)
  code.i32Const((jumpCache.sets - 1) * jumpCache.setBytes)
  code.op('i32.and')
  code.op('i32.add')
  code.localSet(entry)
  code.block()
  for (let way = 0; way < jumpCache.ways; way++) {
    const offset = jumpCache.start + way * jumpCache.wayBytes
    code.localGet(entry)
    code.memory('i32.load', offset)
    code.localGet(at)
    code.op('i32.eq')
    code.if()
    code.localGet(entry)
    code.memory('i32.load', offset + 4)
    code.localTee(head)
    code.memory('i64.load', blockHead.rip)
    code.localGet(rip)
    code.op('i64.eq')
    code.localGet(head)
    code.memory('i32.load', blockHead.mode)
    code.localGet(mode)
    code.op('i32.eq')
    code.op('i32.and')
    code.brIf(1)
    code.end()
  }
  leave(ExitReason.lookup)
  code.end()
  // The last instruction of the block may reach into the next page, which must still be where it was.
  code.localGet(head)
  code.localTee(at)
  code.memory('i32.load', blockHead.secondPage)
  code.if()
  secondPageMoved()
  code.if()
  leave(ExitReason.lookup)
  code.end()
  code.end()
  // Code of its page runs now.
  code.localGet(cpu)
  code.localGet(at)
  code.memory('i32.load', blockHead.page)
  code.memory('i32.store', state.currentPage)
  // A translation? Its word is table slot | entry number << 16.
  code.localGet(at)
  code.memory('i32.load', blockHead.translation)
  code.localTee(entry)
  code.if()
  fillCell()
  runTranslation()
  code.localTee(status)
  code.i32Const(Status.blockEnd)
  code.op('i32.eq')
  code.brIf(1)
  code.localGet(status)
  comeBack()
  code.end()
  code.localGet(cpu)
  code.i32Const(0)
  code.memory('i32.store', state.linkCell)
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
  code.i32Const(Status.blockEnd)
  code.op('i32.eq')
  code.brIf(0)
  code.end()
  code.localGet(cpu)
  code.localGet(depth)
  code.memory('i32.store', state.callDepth)
  code.localGet(status)
  return code
}
