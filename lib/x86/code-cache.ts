/**
 * Decoded code: blocks of records by the page they were decoded from. A block belongs to one page of linear memory (two when its last
 * instruction spans pages) and to one linear address, because records hold absolute addresses. A store to a page with code drops all
 * blocks of that page.
 */

import {recordBytes} from './decode/record.js'
import {blockHead} from './dispatcher.js'
import type {LinearMemory} from './memory.js'

export interface Block {
  readonly ripLow: number
  readonly ripHigh: number
  /** Code segment size and MMU mode the block was made for. */
  readonly mode: number
  /** Address of its head in linear memory. */
  readonly head: number
  readonly instructions: number
  readonly page: number
  /** Byte offset of the second page, or 0. */
  readonly secondPage: number
  /** Byte offset of the first instruction in linear memory. */
  readonly start: number
  readonly usesFpu: boolean
}

/** Who must know when code comes and goes. */
export interface CodeWatcher {
  /** A block went away: jump caches must forget it. */
  dropped(block: Block): void
  /** All blocks went away. */
  cleared(): void
  /** Blocks of some page went away: translations that wait for a call to return may be among them. */
  changed(): void
  /** A page gets its first block: nobody may store to it unseen. */
  firstCode(page: number): void
}

export class CodeCache {
  private readonly blocks = new Map<number, Block[]>()
  private readonly pages = new Map<number, Set<Block>>()
  private readonly heads = new Map<number, Block>()
  /** One byte per page of linear memory: it holds decoded code. */
  private readonly codePages: Uint8Array
  private readonly view: DataView
  private next: number
  /** Heads of dropped blocks by their number of instructions. A new block takes the place of one as long as itself: a head stays a head. */
  private readonly free = new Map<number, number[]>()

  constructor(
    memory: LinearMemory,
    codePages: number,
    private readonly areaStart: number,
    private readonly areaEnd: number,
    private readonly watcher: CodeWatcher,
  ) {
    this.view = memory.view
    this.codePages = memory.bytes.subarray(codePages, codePages + (memory.bytes.length >>> 12))
    this.codePages.fill(0)
    this.next = areaStart
  }

  hasCode(page: number): boolean {
    return this.codePages[page >>> 12] !== 0
  }

  find(start: number, ripLow: number, ripHigh: number, mode: number): Block | undefined {
    const candidates = this.blocks.get(start)
    if (candidates === undefined) return undefined
    for (const block of candidates) {
      if (block.ripLow === ripLow && block.ripHigh === ripHigh && block.mode === mode) return block
    }
    return undefined
  }

  /** Room for a head and `instructions` records (and the end record); empties the whole cache when there is none. */
  reserve(instructions: number): number {
    const former = this.free.get(instructions)?.pop()
    if (former !== undefined) return former
    const bytes = recordBytes * (instructions + 2)
    if (this.next + bytes > this.areaEnd) this.clear()
    const head = this.next
    this.next += bytes
    return head
  }

  add(block: Block, countdown: number): void {
    this.count(block, countdown)
    this.view.setUint32(block.head + blockHead.page, block.page, true)
    this.view.setUint32(block.head + blockHead.secondPage, block.secondPage, true)
    this.view.setUint32(block.head + blockHead.rip, block.ripLow, true)
    this.view.setUint32(block.head + blockHead.rip + 4, block.ripHigh, true)
    this.view.setUint32(block.head + blockHead.mode, block.mode, true)
    this.setTranslation(block, 0)
    const list = this.blocks.get(block.start)
    if (list) list.push(block)
    else this.blocks.set(block.start, [block])
    this.heads.set(block.head, block)
    this.own(block.page, block)
    if (block.secondPage !== 0) this.own(block.secondPage, block)
  }

  private own(page: number, block: Block): void {
    let set = this.pages.get(page)
    if (set === undefined) {
      set = new Set()
      this.pages.set(page, set)
      this.codePages[page >>> 12] = 1
      this.watcher.firstCode(page)
    }
    set.add(block)
  }

  /** Sets how often a block runs before it asks for translation. */
  count(block: Block, countdown: number): void {
    this.view.setInt32(block.head + blockHead.countdown, countdown, true)
  }

  /** The word of a block's translation, 0 while there is none. */
  translation(block: Block): number {
    return this.view.getUint32(block.head + blockHead.translation, true)
  }

  setTranslation(block: Block, word: number): void {
    this.view.setUint32(block.head + blockHead.translation, word, true)
  }

  /** The block whose head is at an address, while it is current. */
  blockAt(head: number): Block | undefined {
    return this.heads.get(head)
  }

  /** Drops every block that has bytes in the page. */
  invalidatePage(page: number): void {
    const owned = this.pages.get(page)
    if (owned === undefined) return
    for (const block of owned) this.drop(block)
    this.pages.delete(page)
    this.codePages[page >>> 12] = 0
    this.watcher.changed()
  }

  /** Drops one block, of which no translation knows. */
  drop(block: Block): void {
    this.heads.delete(block.head)
    this.setTranslation(block, 0)
    this.release(block)
    this.watcher.dropped(block)
    const rest = this.blocks.get(block.start)!.filter(other => other !== block)
    if (rest.length > 0) this.blocks.set(block.start, rest)
    else this.blocks.delete(block.start)
    this.pages.get(block.page)?.delete(block)
    if (block.secondPage !== 0) this.pages.get(block.secondPage)?.delete(block)
  }

  private release({head, instructions}: Block): void {
    const list = this.free.get(instructions)
    if (list) list.push(head)
    else this.free.set(instructions, [head])
  }

  clear(): void {
    this.blocks.clear()
    this.free.clear()
    this.heads.clear()
    this.pages.clear()
    this.codePages.fill(0)
    this.next = this.areaStart
    this.watcher.cleared()
  }
}
