/**
 * Region → one WebAssembly function `(entry) → status`. Blocks stand in address order, loops are loops (loops.ts); a row of blocks and loops is
 * written as nested labels, so that a jump forward inside the row, or out of a loop, is a plain branch:
 *
 *   load what the entry needs
 *   block … ways out (ways-out.ts)
 *     block $item(n-1) … block $item0
 *       br_table $item0 … $item(n-1) by `next`
 *     end … item 0 … end … item 1: loop, its parts in the same way, end …
 *
 * `next` is 1 + the block to go to where a branch cannot reach it: at the entry, and for a jump into the middle of a loop, whose head looks at
 * `next` again. Jumps back count the budget down, so that no loop holds the vCPU for ever.
 */
import {Code} from '../../wasm/builder.js'
import type {DecodedInstruction} from '../decode/instruction-record.js'
import type {FlagKindName} from '../flags.js'
import {jumpNames, regionParameters} from '../links.js'
import type {CallHelper} from '../lower.js'
import {Baseline} from './baseline.js'
import {arrangeLoops, type Item} from './loops.js'
import type {Exits} from './lower.js'
import {Optimized} from './optimized.js'
import {jumpsOf, loweredTemplate, type Region, type RegionBlock, type RegionInstruction} from './region.js'
import {planRegisters} from './registers.js'
import {planSpans} from './spans.js'
import {DirectWays, SharedWays, type WaysOut} from './ways-out.js'

/** Backward jumps before a region returns to the dispatcher. */
const loopBudget = 10_000

export interface TranslationContext {
  /** The vCPU area's address. */
  readonly cpu: number
  readonly callHelper: CallHelper
  readonly mmuMode: 0 | 1
  /** Byte offset of the page the region lies in. */
  readonly page: number
  /** Address of the region's counter, when it is its first form; else this is the optimized one. */
  readonly counter: number | undefined
  /** Address of a new cell of a link. */
  linkCell(): number
  /** Address of a permanent record of the instruction. */
  recordAddress(decoded: DecodedInstruction, rip: number): number
  systemNumber(name: string): number
}

/** The function's code. `entries` are the indices of blocks that can be entered, by their number in the region. */
export function translate(blocks: Region, context: TranslationContext): Code {
  const code = new Code(regionParameters)
  const next = 0
  const {cpu} = context
  const optimized = context.counter === undefined
  if (optimized) {
    planRegisters(blocks)
    planSpans(blocks)
  }
  // The baseline form has few locals: more than 32 bytes of them are zeroed by a slow loop.
  const budget = optimized ? code.local('i32') : undefined
  const count = blocks.length
  const page = Math.floor(blocks[0].rip / 4096)
  const isLong = blocks[0].instructions[0].decoded.variant.codeBits === 64
  let current = 0

  /** Open labels, outermost first: an item's first block (a label in front of it), or -1 - header of a loop. */
  const labels: number[] = []
  const depthOf = (label: number) => labels.length - 1 - labels.lastIndexOf(label)
  const setNext = (value: number) => {
    code.i32Const(value)
    code.localSet(next)
  }

  /** Counts the budget or the region's counter down; opens an `if` for when it is used up. */
  const countDown = () => {
    const {counter} = context
    if (counter === undefined) {
      code.localGet(budget!)
      code.i32Const(1)
      code.op('i32.sub')
      code.localTee(budget!)
    } else {
      code.i32Const(counter)
      code.i32Const(counter)
      code.memory('i32.load')
      code.i32Const(1)
      code.op('i32.sub')
      code.memory('i32.store')
      code.i32Const(counter)
      code.memory('i32.load')
    }
    code.op('i32.eqz')
    code.unlikely()
    code.if()
    if (counter === undefined) return
    code.i32Const(counter)
    context.callHelper(code, 'noteHot')
  }

  /** The flags that the only jump to a block leaves in locals. */
  const inherited = new Map<number, FlagKindName | undefined>()
  let instruction!: RegionInstruction

  const exits: Exits = {
    goTo(rip, depth) {
      const target = blocks[current].targets.get(rip)
      if (target === undefined) {
        code.i64Const(rip)
        return exits.leave(isLong, translator.flags, depth)
      }
      if (target > current && blocks[target].predecessors === 1 && !blocks[target].entry)
        inherited.set(target, translator.flags)
      else if (blocks[target].flagsBefore || blocks[target].carryBefore) translator.flushFlags()
      if (target > current) {
        if (labels.includes(target)) return code.br(depthOf(target) + depth)
        // Into a loop: its label, then the dispatch at its head.
        setNext(target + 1)
        const item = Math.max(...labels.filter(label => label >= 0 && label < target))
        return code.br(depthOf(item) + depth)
      }
      // Backward: count down, leave when used up. Flags that somebody reads there are in vCPU state already.
      countDown()
      code.i64Const(rip)
      exits.leave(false, undefined, depth + 1)
      code.end()
      code.br(depthOf(-1 - target) + depth)
    },
    leave: (linked, flags, depth) =>
      ways.leave(linked ? context.linkCell() : undefined, instruction.changedAfter, flags, labels.length + depth),
    fault: (flags, depth) => ways.fault(instruction.rip, instruction.changedBefore, flags, labels.length + depth),
    faultedIf: (flags, depth) => ways.faultedIf(flags, labels.length + depth),
    // The baseline form keeps nothing in locals behind a call, and can leave to where another region goes on.
    returnsTo: rip => blocks[current].targets.has(rip) || (!optimized && Math.floor(rip / 4096) === page),
    pushPlace: rip => code.i32Const(context.page + (rip & 0xfff)),
    linkCell: () => context.linkCell(),
    recordAddress: () => context.recordAddress(instruction.decoded, instruction.rip),
    systemNumber: name => context.systemNumber(name),
  }
  const translator = new (optimized ? Optimized : Baseline)(code, cpu, context.callHelper, context.mmuMode, exits)

  if (budget !== undefined) {
    code.i32Const(loopBudget)
    code.localSet(budget)
  } else {
    countDown()
    code.end()
  }
  /** Each entry reads what it needs. */
  const loadForEntry = () => {
    const entries = blocks.flatMap(({entry}, at) => (entry ? [at] : []))
    const masks = [...new Set(entries.map(at => blocks[at].needed))]
    for (const _ of masks) code.block()
    code.block()
    if (masks.length > 1) {
      code.localGet(next)
      code.brTable(
        blocks.map(({needed}) => Math.max(0, masks.indexOf(needed))),
        0,
      )
    }
    for (const [at, mask] of masks.entries()) {
      code.end()
      translator.loadRegisters(mask)
      code.br(masks.length - 1 - at)
    }
    code.end()
  }
  const writeBlock = (block: RegionBlock, at: number) => {
    current = at
    if (dispatched.has(at)) setNext(0)
    translator.flags = inherited.get(at)
    for (const each of block.instructions) {
      instruction = each
      translator.instruction(loweredTemplate(each), {
        ...each,
        next: each.rip + each.decoded.length,
        flagsLive: each.flagsBefore,
      })
    }
    if (!block.instructions.at(-1)!.template.endsBlock) exits.goTo(block.end, 0)
  }
  /** A row: labels, the dispatch (in a loop only when `next` asks for it), the items. */
  const writeRow = (items: readonly Item[], inLoop: boolean) => {
    for (const item of items.toReversed()) {
      code.block()
      labels.push(item.first)
    }
    const depths = items.flatMap((item, depth) =>
      Array.from({length: item.last - item.first + 1}, (_, at) => (dispatched.has(item.first + at) ? depth : 0)),
    )
    // Without a way into its middle a loop begins where it begins.
    if (!inLoop || depths.some(depth => depth > 0)) {
      if (inLoop) {
        code.localGet(next)
        code.op('i32.eqz')
        code.brIf(0)
      }
      code.localGet(next)
      code.i32Const(items[0].first + 1)
      code.op('i32.sub')
      code.brTable(depths, 0)
    }
    for (const item of items) {
      code.end()
      labels.pop()
      if (item.parts === undefined) writeBlock(blocks[item.first], item.first)
      else {
        code.loop()
        labels.push(-1 - item.first)
        writeRow(item.parts, true)
        code.end()
        labels.pop()
      }
    }
  }

  const jumps = jumpsOf(blocks)
  const items = arrangeLoops(count, jumps)
  const dispatched = dispatchedBlocks(blocks, items, jumps)
  if (optimized) loadForEntry()
  code.localGet(next)
  code.i32Const(1)
  code.op('i32.add')
  code.localSet(next)
  const call = (name: string) => context.callHelper(code, name, true)
  const ways: WaysOut = optimized
    ? new SharedWays(code, cpu, blocks[0].rip - (blocks[0].rip & 0xfff), translator, () =>
        call(jumpNames[context.mmuMode]),
      )
    : new DirectWays(code, translator, call, jumpNames[context.mmuMode])
  writeRow(items, false)
  ways.finish()
  return code
}

/** Blocks that `next` may name: entries, and those that something outside their loop jumps to past its head. */
function dispatchedBlocks(
  blocks: readonly RegionBlock[],
  items: readonly Item[],
  jumps: readonly (readonly [from: number, to: number])[],
): Set<number> {
  const dispatched = new Set(blocks.flatMap((block, at) => (block.entry ? [at] : [])))
  const look = (row: readonly Item[]) => {
    for (const {first, last, parts} of row) {
      if (parts === undefined) continue
      for (const [from, to] of jumps) if (to > first && to <= last && (from < first || from > last)) dispatched.add(to)
      look(parts)
    }
  }
  look(items)
  return dispatched
}
