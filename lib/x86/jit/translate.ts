/**
 * Region → one WebAssembly function `(entry) → status`. Blocks stand in address order behind a `br_table` on the entry number; a jump
 * forward is a plain branch, a jump backward goes through the loop at the top, which also counts the budget down so that no loop holds the
 * vCPU for ever.
 *
 *   block $leave                      write registers back, return blockEnd
 *     block $fault                    the same and the fault site, return exit
 *       loop $top
 *         block $b(n-1) … block $b0
 *           br_table $b0 … $b(n-1) by `next`
 *         end … code of b0 … end … code of b1 …
 */
import {Code} from '../../wasm/builder.js'
import type {DecodedInstruction} from '../decode/instruction-record.js'
import {Status} from '../interpret.js'
import {withoutFlags} from '../ir/template.js'
import type {CallHelper} from '../lower.js'
import {state} from '../state.js'
import {type Exits, type Site, Translator} from './lower.js'
import {Flags, type Region, type RegionBlock} from './region.js'

/** Backward jumps before a region returns to the dispatcher. */
const loopBudget = 2000

export interface TranslationContext {
  readonly callHelper: CallHelper
  readonly cpuGlobal: number
  readonly mmuMode: number
  /** Byte offset of the page the region lies in. */
  readonly page: number
  /** Registers a fault site; its number. */
  addSite(site: Site): number
  /** Address of a permanent record of the instruction. */
  recordAddress(decoded: DecodedInstruction, rip: number): number
  systemNumber(name: string): number
}

/** Bit masks of the general registers a region reads or changes. */
function registerUse(region: Region): {used: number; changed: number} {
  let used = 0
  let changed = 0
  for (const block of region.blocks)
    for (const {decoded, template} of block.instructions) {
      const bit = (offset: number) => (offset < state.rip ? 1 << (offset >> 3) : 0)
      if (decoded.memory) used |= bit(decoded.memory.base) | bit(decoded.memory.index)
      for (const op of template.ops) {
        if (op.kind !== 'get-register' && op.kind !== 'set-register') continue
        const mask = bit('fixed' in op.ref ? op.ref.fixed : decoded.slots[op.ref.slot])
        used |= mask
        if (op.kind === 'set-register') changed |= mask
      }
    }
  return {used, changed}
}

/** The function's code. `entries` are the indices of blocks that can be entered, by their number in the region. */
export function translate(region: Region, context: TranslationContext): Code {
  const {blocks, index} = region
  const code = new Code(['i32'])
  const cpu = code.local('i32')
  const budget = code.local('i32')
  const site = code.local('i32')
  const {used, changed} = registerUse(region)
  const count = blocks.length
  let current = 0

  /** Label depths from inside block `current`. */
  const labelOf = (block: number) => block - current - 1
  const top = () => count - 1 - current
  const fault = () => top() + 1
  const leave = () => top() + 2

  let instruction: {decoded: DecodedInstruction; rip: number} | undefined

  const exits: Exits = {
    goTo(rip, depth) {
      const target = index.get(rip)
      if (target === undefined) {
        translator.flushFlags()
        code.localGet(cpu)
        code.i64Const(rip)
        code.memory('i64.store', state.rip)
        return code.br(leave() + depth)
      }
      if (!inherits(blocks, current, target) && blocks[target].flagsBefore === Flags.live) translator.flushFlags()
      if (target > current) return code.br(labelOf(target) + depth)
      // Backward: count down, leave when used up.
      code.localGet(budget)
      code.i32Const(1)
      code.op('i32.sub')
      code.localTee(budget)
      code.op('i32.eqz')
      code.unlikely()
      code.if()
      code.localGet(cpu)
      code.i64Const(rip)
      code.memory('i64.store', state.rip)
      code.br(leave() + depth + 1)
      code.end()
      code.i32Const(target)
      code.localSet(0)
      code.br(top() + depth)
    },
    leave: depth => code.br(leave() + depth),
    fault(where, depth) {
      code.i32Const(context.addSite(where))
      code.localSet(site)
      code.br(fault() + depth)
    },
    recordAddress: () => context.recordAddress(instruction!.decoded, instruction!.rip),
    systemNumber: name => context.systemNumber(name),
  }
  const translator = new Translator(code, cpu, context.callHelper, context.mmuMode, used, changed, exits)

  code.globalGet(context.cpuGlobal)
  code.localSet(cpu)
  code.i32Const(loopBudget)
  code.localSet(budget)
  code.localGet(cpu)
  code.i32Const(context.page)
  code.memory('i32.store', state.currentPage)
  translator.loadRegisters()
  code.block()
  code.block()
  code.loop()
  for (let at = 0; at < count; at++) code.block()
  code.localGet(0)
  code.brTable(
    blocks.map((_, at) => at),
    0,
  )
  for (current = 0; current < count; current++) {
    code.end()
    const block = blocks[current]
    if (current === 0 || !inherits(blocks, current - 1, current)) translator.flags = undefined
    for (const {decoded, template, rip, flagsAfter} of block.instructions) {
      instruction = {decoded, rip}
      const next = rip + decoded.length
      const costly = template.maySetFlags || template.ops.some(op => op.kind === 'status-flags')
      const wanted = flagsAfter === Flags.live || (flagsAfter === Flags.faults && !costly)
      translator.instruction(wanted ? template : withoutFlags(template), {decoded, rip, next, flagsWanted: wanted})
    }
    const last = block.instructions.at(-1)!
    if (!last.template.endsBlock) exits.goTo(block.end, 0)
  }
  code.end()
  code.unreachable()
  code.end()
  translator.storeFaultFlags()
  code.localGet(cpu)
  code.localGet(site)
  code.memory('i32.store', state.site)
  translator.storeRegisters()
  code.i32Const(Status.exit)
  code.return()
  code.end()
  translator.storeRegisters()
  code.i32Const(Status.blockEnd)
  return code
}

/** The flags of block `from` reach its physical successor `to` in locals: nothing else leads there. */
function inherits(blocks: readonly RegionBlock[], from: number, to: number): boolean {
  const target = blocks[to]
  return to === from + 1 && !target.entry && target.predecessors === 1 && blocks[from].successors.includes(target.rip)
}
