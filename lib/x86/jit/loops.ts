/**
 * The loops of a region, nested. Blocks stand in address order; a jump to the own or an earlier block closes a loop from there to the jumping
 * block. Loops that overlap only in part are widened until each pair is nested or apart, so that they can be written as structured code;
 * what jumps into the middle of one from outside goes through the dispatch at its head.
 */

/** A row of blocks: one block, or a loop with what it is made of. */
export interface Item {
  /** Indices of its first and last block. */
  readonly first: number
  readonly last: number
  /** Parts of a loop; undefined for a single block. */
  readonly parts?: readonly Item[]
}

/** Arranges blocks 0 to count - 1; `jumps` are pairs of block indices [from, to]. */
export function arrangeLoops(count: number, jumps: readonly (readonly [from: number, to: number])[]): Item[] {
  // Last block of the loop that starts at each block, or -1.
  const end = new Array<number>(count).fill(-1)
  for (const [from, to] of jumps) if (to <= from) end[to] = Math.max(end[to], from)
  for (let changed = true; changed; ) {
    changed = false
    for (let outer = 0; outer < count; outer++)
      for (let inner = outer + 1; inner <= end[outer]; inner++)
        if (end[inner] > end[outer]) {
          end[outer] = end[inner]
          changed = true
        }
  }
  /** Items of blocks first to last; the loop at `opened` is already open. */
  const arrange = (first: number, last: number, opened: number): Item[] => {
    const items: Item[] = []
    for (let at = first; at <= last; ) {
      const loopEnd = at === opened ? -1 : end[at]
      if (loopEnd < 0) items.push({first: at, last: at})
      else items.push({first: at, last: loopEnd, parts: arrange(at, loopEnd, at)})
      at = items.at(-1)!.last + 1
    }
    return items
  }
  return arrange(0, count - 1, -1)
}
