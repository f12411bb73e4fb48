/**
 * Links: how a translation goes on to another one without a search. Each CALL, and each jump out of a region, has a cell that remembers where it
 * led the last time:
 *
 *   0   u32  translation: function-table slot | entry number << 16
 *   4   u32  codeEpoch when that was found; all code dropped since makes it worthless
 *   8   u32  addend of the fetch TLB's entry of the target's page: the page must still lie there
 *   16  i64  target: a cell of an indirect jump has met another one
 *   24  u32  linkEpoch when all of that was last looked at: it changes with every flush of the TLB, and with codeEpoch
 *
 * When all of that still holds, the next translation is called at once, else the dispatcher searches, and fills the cell (`linkCell` in state).
 * A guest CALL is a call here, so that the translation goes on where it was when the callee's RET leads there; a jump is a tail call.
 * 64-bit code only; everything else goes by way of the dispatcher.
 */
import {Code, type Module} from '../wasm/builder.js'
import {Status} from './interpret.js'
import {fetchTable, pushIsMapped, pushPlace, toEntryOffset} from './mmu/probe.js'
import {pushPreempted} from './preemption.js'
import {AccessKind, state} from './state.js'

export const linkCell = {bytes: 32, translation: 0, epoch: 4, addend: 8, target: 16, checked: 24} as const

/** No code has it: both epochs of a cell that holds nothing. */
export const neverEpoch = 0xffffffff

/** Calls inside each other: what V8's stack of a thread holds with room to spare. */
const deepest = 64

/**
 * Parameters of a region's function: entry number, and three that are of no meaning: the function keeps flags there, and parameters, other than
 * locals, need not be zeroed.
 */
export const regionParameters = ['i32', 'i64', 'i64', 'i64'] as const

/** Pushes what an indirect call of a translation takes: the parameters and the table slot. `word` is a local with slot | entry number << 16. */
export function pushTranslation(code: Code, word: number): void {
  code.localGet(word)
  code.i32Const(16)
  code.op('i32.shr_u')
  for (let flag = 0; flag < 3; flag++) code.i64Const(0)
  code.localGet(word)
  code.i32Const(0xffff)
  code.op('i32.and')
}

/** Names of the functions, by MMU mode. */
export const callNames = ['callSupervisor', 'callUser'] as const
export const jumpNames = ['jumpSupervisor', 'jumpUser'] as const

/** Indices of what the functions need. */
export interface LinkContext {
  readonly cpuBase: number
  /** Type of a region's function. */
  readonly regionType: number
  /** dispatch(returnRip, returnPlace, mode, epoch) → status. */
  readonly dispatch: number
  /** refill(address, kind of access) → page, 0 when that is not simple. */
  readonly refill: number
}

/**
 * Adds `call…(target, cell, returnRip, returnPlace) → status`: Status.next when RIP is `returnRip`, at `returnPlace` in linear memory, and all code
 * is still what it was; else what the caller has to return; and `jump…(target, cell) → status`, which the caller returns;
 * `leave(rip)` and `stop(rip)`, the same without a link, and for a reason that is in state.
 */
export function addLinks(module: Module, context: LinkContext): void {
  module.function('leave', ['i64'], ['i32'], leaveCode(context.cpuBase, Status.blockEnd))
  module.function('stop', ['i64'], ['i32'], leaveCode(context.cpuBase, Status.exit))
  for (const mode of [0, 1] as const) {
    module.function(callNames[mode], ['i64', 'i32', 'i64', 'i32'], ['i32'], callCode(context, mode))
    module.function(jumpNames[mode], ['i64', 'i32'], ['i32'], jumpCode(context, mode))
  }
}

/** Sets RIP and gives a status. */
function leaveCode(cpuBase: number, status: number): Code {
  const code = new Code(['i64'])
  code.i32Const(cpuBase)
  code.localGet(0)
  code.memory('i64.store', state.rip)
  code.i32Const(status)
  return code
}

/** First parameters of both. */
const [target, cell] = [0, 1]

/** Sets `entry` to the fetch TLB's entry of an address; branches to label 1 when that cannot be had. */
function leaveUnlessMapped(code: Code, {cpuBase, entry, refill}: Locals, address: number, mode: number): void {
  code.localGet(address)
  toEntryOffset(code)
  code.localSet(entry)
  pushIsMapped(code, entry, cpuBase + fetchTable(mode), address)
  code.op('i32.eqz')
  code.unlikely()
  code.if()
  code.localGet(address)
  code.i32Const(AccessKind.fetch)
  code.call(refill)
  code.op('i32.eqz')
  code.brIf(2)
  code.end()
}

/** What both functions look with: i32 locals, the vCPU area's address, and the index of a function. */
interface Locals {
  readonly cpuBase: number
  readonly cpu: number
  readonly entry: number
  readonly epochs: Epochs
  readonly refill: number
}

/** Locals with codeEpoch and linkEpoch as they were at the start. */
interface Epochs {
  readonly code: number
  readonly links: number
}

/** Branches to label 0 unless the cell is right and nothing waits. */
function leaveUnlessLinked(code: Code, locals: Locals, mode: number): void {
  const {cpuBase, cpu, entry, epochs} = locals
  code.localGet(cell)
  code.memory('i64.load', linkCell.target)
  code.localGet(target)
  code.op('i64.ne')
  code.brIf(0)
  code.block()
  code.localGet(cell)
  code.memory('i32.load', linkCell.checked)
  code.localGet(epochs.links)
  code.op('i32.eq')
  code.brIf(0)
  leaveUnlessMapped(code, locals, target, mode)
  code.localGet(cell)
  code.memory('i32.load', linkCell.epoch)
  code.localGet(epochs.code)
  code.op('i32.ne')
  code.brIf(1)
  code.localGet(cell)
  code.memory('i32.load', linkCell.addend)
  code.localGet(entry)
  code.memory('i32.load', cpuBase + fetchTable(mode) + 8)
  code.op('i32.ne')
  code.brIf(1)
  code.localGet(cell)
  code.localGet(epochs.links)
  code.memory('i32.store', linkCell.checked)
  code.end()
  pushPreempted(code, cpu, entry)
  code.brIf(0)
}

/** Reads the epochs. */
function readEpochs(code: Code, cpu: number): Epochs {
  const epochs = {code: code.local('i32'), links: code.local('i32')}
  code.localGet(cpu)
  code.memory('i32.load', state.codeEpoch)
  code.localSet(epochs.code)
  code.localGet(cpu)
  code.memory('i32.load', state.linkEpoch)
  code.localSet(epochs.links)
  return epochs
}

/** Makes the target's page the one whose code runs; pushes what an indirect call of the cell's translation takes. `word` is an i32 local. */
function enterTarget(code: Code, cpu: number, word: number): void {
  code.localGet(cpu)
  code.localGet(cell)
  code.memory('i32.load', linkCell.addend)
  code.localGet(target)
  code.op('i32.wrap_i64')
  code.op('i32.add')
  code.i32Const(-4096)
  code.op('i32.and')
  code.memory('i32.store', state.currentPage)
  code.localGet(cell)
  code.memory('i32.load', linkCell.translation)
  code.localSet(word)
  pushTranslation(code, word)
}

/** Leaves word for the dispatcher: where to go, and which cell to fill. */
function askDispatcher(code: Code, cpu: number): void {
  code.localGet(cpu)
  code.localGet(target)
  code.memory('i64.store', state.rip)
  code.localGet(cpu)
  code.localGet(cell)
  code.memory('i32.store', state.linkCell)
}

function jumpCode({cpuBase, regionType, refill}: LinkContext, mode: number): Code {
  const code = new Code(['i64', 'i32'])
  const cpu = code.local('i32')
  const entry = code.local('i32')
  code.i32Const(cpuBase)
  code.localSet(cpu)
  const epochs = readEpochs(code, cpu)
  code.block()
  leaveUnlessLinked(code, {cpuBase, cpu, entry, epochs, refill}, mode)
  enterTarget(code, cpu, entry)
  code.returnCallIndirect(regionType)
  code.end()
  askDispatcher(code, cpu)
  code.i32Const(Status.blockEnd)
  return code
}

function callCode({cpuBase, regionType, dispatch, refill}: LinkContext, mode: number): Code {
  const code = new Code(['i64', 'i32', 'i64', 'i32'])
  const [returnRip, returnPlace] = [2, 3]
  const cpu = code.local('i32')
  const entry = code.local('i32')
  const depth = code.local('i32')
  code.i32Const(cpuBase)
  code.localSet(cpu)
  const epochs = readEpochs(code, cpu)
  const locals = {cpuBase, cpu, entry, epochs, refill}
  /** The caller's page runs again. */
  const enterReturnPage = () => {
    code.localGet(cpu)
    code.localGet(returnPlace)
    code.i32Const(-4096)
    code.op('i32.and')
    code.memory('i32.store', state.currentPage)
  }
  const dispatchOn = () => {
    code.localGet(returnRip)
    code.localGet(returnPlace)
    code.i32Const(64 | mode)
    code.localGet(epochs.code)
    code.call(dispatch)
  }
  code.localGet(cpu)
  code.memory('i32.load', state.callDepth)
  code.localSet(depth)
  code.block()
  code.localGet(depth)
  code.i32Const(deepest)
  code.op('i32.ge_u')
  code.brIf(0)
  leaveUnlessLinked(code, locals, mode)
  code.localGet(cpu)
  code.localGet(depth)
  code.i32Const(1)
  code.op('i32.add')
  code.memory('i32.store', state.callDepth)
  enterTarget(code, cpu, entry)
  code.callIndirect(regionType)
  code.localSet(entry)
  code.localGet(cpu)
  code.localGet(depth)
  code.memory('i32.store', state.callDepth)
  code.localGet(entry)
  code.i32Const(Status.blockEnd)
  code.op('i32.ne')
  code.if()
  code.localGet(entry)
  code.return()
  code.end()
  // Back where the call's translation goes on?
  code.block()
  code.localGet(cpu)
  code.memory('i64.load', state.rip)
  code.localGet(returnRip)
  code.op('i64.ne')
  code.brIf(0)
  code.localGet(cpu)
  code.memory('i32.load', state.mmuMode)
  code.localGet(cpu)
  code.memory('i32.load', state.codeBits)
  code.op('i32.or')
  code.i32Const(64 | mode)
  code.op('i32.ne')
  code.brIf(0)
  code.block()
  code.localGet(cpu)
  code.memory('i32.load', state.linkEpoch)
  code.localGet(epochs.links)
  code.op('i32.eq')
  code.brIf(0)
  code.localGet(cpu)
  code.memory('i32.load', state.codeEpoch)
  code.localGet(epochs.code)
  code.op('i32.ne')
  code.brIf(1)
  leaveUnlessMapped(code, locals, returnRip, mode)
  pushPlace(code, entry, cpuBase + fetchTable(mode), returnRip)
  code.localGet(returnPlace)
  code.op('i32.ne')
  code.brIf(1)
  code.end()
  enterReturnPage()
  code.i32Const(Status.next)
  code.return()
  code.end()
  dispatchOn()
  code.return()
  code.end()
  askDispatcher(code, cpu)
  // Too deep: the dispatcher outside goes on with the target.
  code.localGet(depth)
  code.i32Const(deepest)
  code.op('i32.ge_u')
  code.if()
  code.i32Const(Status.blockEnd)
  code.return()
  code.end()
  dispatchOn()
  return code
}
