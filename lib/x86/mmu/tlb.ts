/**
 * The software TLB: translations that generated code may use without asking. Six direct-mapped tables per vCPU (read, write and fetch, for
 * supervisor and user mode) in its area; misses are refilled by refill.ts, every flush is here. An empty entry holds the tag of a
 * page that belongs to another index, so that no address can match it.
 *
 * A page has a write entry only while stores to it concern nobody: not when it holds decoded code, is read-only, or is a page table.
 *
 * The jump cache leads from where RIP lies in linear memory to decoded code. The fetch TLB stands before it, so a flush leaves it alone.
 */
import type {LinearMemory} from '../memory.js'
import {AccessKind, jumpCache, state, tlb, tlbLog} from '../state.js'

const wayWords = jumpCache.wayBytes / 4
const allBytes = 2 * tlb.kinds * tlb.tableBytes

export class Tlb {
  constructor(
    private readonly memory: LinearMemory,
    private readonly base: number,
  ) {
    this.clearAll()
  }

  /** Byte offset of a table. */
  private table(mmuMode: number, kind: number): number {
    return this.base + tlb.start + (mmuMode * tlb.kinds + kind) * tlb.tableBytes
  }

  /** Forgets every translation. */
  flush(): void {
    const {uint32} = this.memory
    const filledAt = (this.base + state.tlbFilled) >>> 2
    const filled = uint32[filledAt]
    if (filled >= tlbLog.entries) this.clearTables()
    else {
      const log = (this.base + tlbLog.start) >>> 2
      for (let index = 0; index < filled; index++) this.empty(uint32[log + index] >>> 2)
    }
    uint32[filledAt] = 0
    this.forgetLinks()
  }

  /** Links lead to where they led only as long as code is mapped where it was. */
  private forgetLinks(): void {
    this.memory.uint32[(this.base + state.linkEpoch) >>> 2]++
  }

  /** Empties the entry at a word offset: no address with its tag has its index. */
  private empty(at: number): void {
    const {uint32} = this.memory
    uint32[at] = ((at * 4 - this.base) & (tlb.tableBytes - 1)) === 0 ? 0x1000 : 0
    uint32[at + 1] = 0
  }

  /** Forgets one page in both modes. */
  flushPage(low: number): void {
    for (const mode of [0, 1])
      for (let kind = 0; kind < tlb.kinds; kind++) this.empty(this.entryOf(low, mode, kind) >>> 2)
    this.forgetLinks()
  }

  /** Byte offset of the entry that an address has, if any; `low` is its low half. */
  entryOf(low: number, mmuMode: number, kind: number): number {
    return this.table(mmuMode, kind) + ((low >>> 8) & 0x3ff0)
  }

  /** Forgets every permission to store to a page given by its byte offset in linear memory, under whatever address. */
  denyStores(page: number): void {
    const {uint32} = this.memory
    for (const mode of [0, 1]) {
      let at = this.table(mode, AccessKind.write) >>> 2
      for (let index = 0; index < tlb.entries; index++, at += 4) {
        if ((uint32[at + 2] + uint32[at]) >>> 0 === page) {
          this.empty(at)
          uint32[at + 2] = 0
        }
      }
    }
  }

  /** Enters where a place leads: the block's head. The set's oldest way gives room. */
  link(place: number, head: number): void {
    const {uint32} = this.memory
    const set = this.jumpSet(place)
    uint32.copyWithin(set + wayWords, set, set + wayWords * (jumpCache.ways - 1))
    uint32[set] = place
    uint32[set + 1] = head
  }

  /** Forgets a block that goes away. */
  unlink(place: number, head: number): void {
    const {uint32} = this.memory
    const set = this.jumpSet(place)
    for (let way = set; way < set + wayWords * jumpCache.ways; way += wayWords)
      if (uint32[way] === place && uint32[way + 1] === head) uint32[way] = 0
  }

  private jumpSet(place: number): number {
    return (this.base + jumpCache.start + (place & ((jumpCache.sets - 1) * jumpCache.setBytes))) >>> 2
  }

  /** Forgets where every place leads. */
  flushJumps(): void {
    const start = this.base + jumpCache.start
    this.memory.bytes.fill(0, start, start + jumpCache.sets * jumpCache.setBytes)
  }

  private clearAll(): void {
    this.clearTables()
    this.flushJumps()
  }

  private clearTables(): void {
    const start = this.base + tlb.start
    this.memory.bytes.fill(0, start, start + allBytes)
    for (let at = start; at < start + allBytes; at += tlb.tableBytes) this.empty(at >>> 2)
  }
}
