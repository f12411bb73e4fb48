/**
 * The software TLB: translations that generated code may use without asking. Four direct-mapped tables per vCPU (read and write, for
 * supervisor and user mode) in its area; every flush is here. An empty entry holds the tag of a page that belongs to another index, so
 * that no address can match it.
 *
 * A page has a write entry only while stores to it concern nobody: not when it holds decoded code, is read-only, or is a page table.
 */
import type {LinearMemory} from '../memory.js'
import {jumpCache, tlb} from '../state.js'

const tables = [tlb.readSupervisor, tlb.writeSupervisor, tlb.readUser, tlb.writeUser]
const tableBytes = tlb.entries * tlb.entryBytes

/** Entries remembered one by one; beyond it a flush clears whole tables. */
const rememberedEntries = 2048

export class Tlb {
  /** Word offsets of entries filled since the last flush. */
  private filled: number[] = []
  private linked: number[] = []
  /** Code pages (low halves of their addresses) that the jump caches may know. */
  private readonly linkedPages = new Set<number>()

  constructor(
    private readonly memory: LinearMemory,
    private readonly base: number,
  ) {
    this.clearAll()
  }

  /** Allows reads (and stores, with `write`) of a page in an MMU mode. `page` is its byte offset in linear memory. */
  fill(low: number, high: number, page: number, mmuMode: number, write: boolean): void {
    const {uint32} = this.memory
    const at = (this.base + tables[mmuMode * 2 + (write ? 1 : 0)] + ((low >>> 8) & 0x3ff0)) >>> 2
    const pageLow = low & ~0xfff
    uint32[at] = pageLow
    uint32[at + 1] = high
    uint32[at + 2] = page - pageLow
    this.filled.push(at)
  }

  /** Enters where RIP leads in an MMU mode: a block's head, and its translation's word. */
  link(low: number, high: number, mmuMode: number, head: number, translation: number): void {
    const {uint32} = this.memory
    const cache = mmuMode === 0 ? jumpCache.supervisor : jumpCache.user
    const at = (this.base + cache + jumpIndex(low) * jumpCache.entryBytes) >>> 2
    uint32[at] = low
    uint32[at + 1] = high
    uint32[at + 2] = head
    uint32[at + 3] = translation
    this.linked.push(at)
    this.linkedPages.add(low >>> 12)
  }

  /** Gives a block that is linked its translation; one that is not (another address space runs) is left to the next look-up. */
  upgrade(low: number, mmuMode: number, head: number, translation: number): void {
    const {uint32} = this.memory
    const cache = mmuMode === 0 ? jumpCache.supervisor : jumpCache.user
    const at = (this.base + cache + jumpIndex(low) * jumpCache.entryBytes) >>> 2
    if (uint32[at] === low && uint32[at + 2] === head) uint32[at + 3] = translation
  }

  /** Forgets every translation. */
  flush(): void {
    const {uint32} = this.memory
    if (this.filled.length > rememberedEntries) {
      for (const table of tables) this.clear(this.base + table, tableBytes, 0x1000)
    } else {
      for (const at of this.filled) {
        uint32[at] = this.emptyTag(at)
        uint32[at + 1] = 0
      }
    }
    this.filled = []
  }

  /** The tag of an empty entry: no address with that tag has this index. */
  private emptyTag(at: number): number {
    return ((at * 4 - this.base) & (tableBytes - 1)) === 0 ? 0x1000 : 0
  }

  /** Forgets one page in both modes. */
  flushPage(low: number): void {
    const {uint32} = this.memory
    for (const table of tables) {
      const at = (this.base + table + ((low >>> 8) & 0x3ff0)) >>> 2
      uint32[at] = this.emptyTag(at)
      uint32[at + 1] = 0
    }
    if (this.linkedPages.has(low >>> 12)) this.flushJumps()
  }

  /** Forgets every permission to store to a page given by its byte offset in linear memory, under whatever address. */
  denyStores(page: number): void {
    const {uint32} = this.memory
    for (const table of [tlb.writeSupervisor, tlb.writeUser]) {
      let at = (this.base + table) >>> 2
      for (let index = 0; index < tlb.entries; index++, at += 4) {
        if ((uint32[at + 2] + uint32[at]) >>> 0 !== page) continue
        uint32[at] = this.emptyTag(at)
        uint32[at + 1] = 0
        uint32[at + 2] = 0
      }
    }
  }

  /** Forgets where RIP leads, in both modes. */
  flushJumps(): void {
    const {uint32} = this.memory
    if (this.linked.length > rememberedEntries) {
      for (const cache of [jumpCache.supervisor, jumpCache.user])
        this.clear(this.base + cache, jumpCache.entries * jumpCache.entryBytes, 1)
    } else {
      for (const at of this.linked) {
        uint32[at] = 1
        uint32[at + 1] = 0x80000000
      }
    }
    this.linked = []
    this.linkedPages.clear()
  }

  private clearAll(): void {
    for (const table of tables) this.clear(this.base + table, tableBytes, 0x1000)
    for (const cache of [jumpCache.supervisor, jumpCache.user])
      this.clear(this.base + cache, jumpCache.entries * jumpCache.entryBytes, 1)
  }

  /** Zeroes a table; its first entry gets a tag of another index. */
  private clear(table: number, bytes: number, firstTag: number): void {
    this.memory.bytes.fill(0, table, table + bytes)
    this.memory.uint32[table >>> 2] = firstTag
  }
}

/** Index of RIP's entry in a jump cache. The dispatcher in core.ts computes the same. */
export function jumpIndex(ripLow: number): number {
  return (ripLow ^ (ripLow >>> 12)) & (jumpCache.entries - 1)
}
