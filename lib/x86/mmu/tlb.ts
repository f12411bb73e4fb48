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

export class Tlb {
  constructor(
    private readonly memory: LinearMemory,
    private readonly base: number,
  ) {
    this.flush()
    this.flushJumps()
  }

  /** Allows reads (and stores, with `write`) of a page in an MMU mode. `page` is its byte offset in linear memory. */
  fill(low: number, high: number, page: number, mmuMode: number, write: boolean): void {
    const {uint32} = this.memory
    const at = (this.base + tables[mmuMode * 2 + (write ? 1 : 0)] + ((low >>> 8) & 0x3ff0)) >>> 2
    const pageLow = low & ~0xfff
    uint32[at] = pageLow
    uint32[at + 1] = high
    uint32[at + 2] = page - pageLow
  }

  /** Forgets every translation. */
  flush(): void {
    for (const table of tables) this.clear(this.base + table)
  }

  /** Forgets one page in both modes. */
  flushPage(low: number): void {
    const {uint32} = this.memory
    const index = (low >>> 12) & (tlb.entries - 1)
    for (const table of tables) {
      const at = (this.base + table + index * tlb.entryBytes) >>> 2
      uint32[at] = index === 0 ? 0x1000 : 0
      uint32[at + 1] = 0
    }
  }

  /** Forgets every permission to store to a page given by its byte offset in linear memory, under whatever address. */
  denyStores(page: number): void {
    const {uint32} = this.memory
    for (const table of [tlb.writeSupervisor, tlb.writeUser]) {
      let at = (this.base + table) >>> 2
      for (let index = 0; index < tlb.entries; index++, at += 4) {
        if ((uint32[at + 2] + uint32[at]) >>> 0 === page) {
          uint32[at] = index === 0 ? 0x1000 : 0
          uint32[at + 1] = 0
          uint32[at + 2] = 0
        }
      }
    }
  }

  /** Forgets where RIP leads, in both modes. */
  flushJumps(): void {
    for (const table of [jumpCache.supervisor, jumpCache.user]) {
      this.memory.bytes.fill(0, this.base + table, this.base + table + jumpCache.entries * jumpCache.entryBytes)
      this.memory.uint32[(this.base + table) >>> 2] = 1
    }
  }

  private clear(table: number): void {
    this.memory.bytes.fill(0, table, table + tableBytes)
    this.memory.uint32[table >>> 2] = 0x1000
  }
}

/** Index of RIP's entry in a jump cache. The dispatcher in core.ts computes the same. */
export function jumpIndex(ripLow: number): number {
  return (ripLow ^ (ripLow >>> 12)) & (jumpCache.entries - 1)
}
