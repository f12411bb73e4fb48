/**
 * Copies of short loops: a turn through all copies counts the budget once, moves values between locals once, and lets the accesses of all turns share
 * spans. A jump back to the loop's head leads to the head of the next copy, from the last copy back to the original:
 *
 *   head ─► body ─► head' ─► body' ─► … ─► head
 */
import {arrangeLoops, type Item} from './loops.js'
import {jumpsOf, type Region, type RegionBlock} from './region.js'

/** Instructions of a loop with all its copies, and turns it has then, at most. */
const longestLoop = 256
const mostTurns = 4

/** The region with the copies of its innermost loops. */
export function unrollLoops(blocks: RegionBlock[]): RegionBlock[] {
  const jumps = jumpsOf(blocks)
  const loops = innermost(arrangeLoops(blocks.length, jumps))
    .map(({first, last}) => ({first, last, turns: turnsOf(blocks, jumps, first, last)}))
    .filter(({turns}) => turns > 1)
  if (loops.length === 0) return blocks
  // Where the blocks lie with all copies in between.
  const shifts = blocks.map((_, at) => {
    const before = loops.filter(({last}) => last < at)
    return at + before.reduce((sum, {first, last, turns}) => sum + (turns - 1) * (last - first + 1), 0)
  })
  const targets = new Map(blocks.map(({rip}, at) => [rip, shifts[at]]))
  const all: RegionBlock[] = []
  for (const [at, block] of blocks.entries()) {
    const loop = loops.find(({first, last}) => first <= at && at <= last)
    if (loop === undefined) {
      all.push({...block, targets})
      continue
    }
    if (at > loop.first) continue
    const {first, last, turns} = loop
    const length = last - first + 1
    for (let turn = 0; turn < turns; turn++) {
      const own = new Map(targets)
      for (let inside = first; inside <= last; inside++) own.set(blocks[inside].rip, shifts[inside] + turn * length)
      own.set(block.rip, shifts[first] + ((turn + 1) % turns) * length)
      for (let inside = first; inside <= last; inside++) all.push(copyOf(blocks[inside], own, turn === 0))
    }
  }
  return all
}

function copyOf(block: RegionBlock, targets: ReadonlyMap<number, number>, original: boolean): RegionBlock {
  const instructions = block.instructions.map(instruction => ({...instruction}))
  return {...block, instructions, targets, entry: original && block.entry}
}

/** Turns for which a loop is worth writing; one when something may enter it past its head, or leave it to come back. */
function turnsOf(blocks: Region, jumps: readonly (readonly [number, number])[], first: number, last: number): number {
  const body = blocks.slice(first, last + 1)
  if (body.some(({entry}, at) => entry && at > 0)) return 1
  if (jumps.some(([from, to]) => to > first && to <= last && (from < first || from > last))) return 1
  const length = body.reduce((sum, {instructions}) => sum + instructions.length, 0)
  return Math.min(mostTurns, Math.floor(longestLoop / length))
}

function innermost(items: readonly Item[]): Item[] {
  return items.flatMap(item => {
    if (item.parts === undefined) return []
    return item.parts.some(({parts}) => parts !== undefined) ? innermost(item.parts) : [item]
  })
}
