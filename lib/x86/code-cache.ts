/**
 * Decoded code: blocks of records by the page they were decoded from. A block belongs to one page of linear memory (two when its last
 * instruction spans pages) and to one linear address, because records hold absolute addresses. A store to a page with code drops all
 * blocks of that page.
 *
 * There are a hundred thousand blocks after a boot, so they are no objects: a block is named by where its head lies, and heads are chained
 *
 *   by place   bucket of the place of its first instruction ─► head ─► head      (find)
 *   by page    page ─► head ─► head                                            (a store to the page)
 *   free       by number of instructions: a new block takes the place of one as long as itself, so a head stays a head
 */
import {blockHead} from './block-head.js'
import {recordBytes} from './decode/record.js'
import type {LinearMemory} from './memory.js'

/** What a block is made from. */
export interface BlockFacts {
  readonly ripLow: number
  readonly ripHigh: number
  /** Code segment size and MMU mode the block was made for. */
  readonly mode: number
  readonly page: number
  /** Byte offset of the second page, or 0. */
  readonly secondPage: number
  readonly instructions: number
  readonly usesFpu: boolean
}

/** A block that somebody keeps in mind, though it may be dropped. */
export interface KnownBlock {
  readonly head: number
  readonly birth: number
}

/** Who must know when code comes and goes. */
export interface CodeWatcher {
  /** The block of a head went away: jump caches must forget it. */
  dropped(place: number, head: number): void
  /** All blocks went away. */
  cleared(): void
  /** Blocks of some page went away: translations that wait for a call to return may be among them. */
  changed(): void
  /** A page gets its first block: nobody may store to it unseen. */
  firstCode(page: number): void
}

/** Above the bits of an offset in a page: there is a translation. */
export const isTranslated = 0x1000

const buckets = 1 << 16
const longestBlock = 64

/** Words of a head. */
const Word = {
  page: blockHead.page >> 2,
  translation: blockHead.translation >> 2,
  secondPage: blockHead.secondPage >> 2,
  rip: blockHead.rip >> 2,
  mode: blockHead.mode >> 2,
  birth: blockHead.birth >> 2,
  nextAlike: blockHead.nextAlike >> 2,
  nextInPage: blockHead.nextInPage >> 2,
  nextInSecond: blockHead.nextInSecond >> 2,
} as const

const bucketOf = (place: number) => (Math.imul(place, 0x9e3779b1) >>> 16) & (buckets - 1)

export class CodeCache {
  private readonly uint32: Uint32Array
  private readonly bytes: Uint8Array
  private readonly byPlace = new Uint32Array(buckets)
  private readonly byPage: Uint32Array
  private readonly free = new Uint32Array(longestBlock)
  /** One byte per page of linear memory: it holds decoded code. */
  private readonly codePages: Uint8Array
  private next: number
  private births = 0

  constructor(
    memory: LinearMemory,
    codePages: number,
    private readonly areaStart: number,
    private readonly areaEnd: number,
    private readonly watcher: CodeWatcher,
  ) {
    this.uint32 = memory.uint32
    this.bytes = memory.bytes
    this.byPage = new Uint32Array(memory.bytes.length >>> 12)
    this.codePages = memory.bytes.subarray(codePages, codePages + (memory.bytes.length >>> 12))
    this.codePages.fill(0)
    this.next = areaStart
  }

  hasCode(page: number): boolean {
    return this.codePages[page >>> 12] !== 0
  }

  /** Head of the block at a place in linear memory that was made for this address and mode, 0 when there is none. */
  find(place: number, ripLow: number, ripHigh: number, mode: number): number {
    const {uint32} = this
    for (let head = this.byPlace[bucketOf(place)]; head !== 0; head = uint32[(head >>> 2) + Word.nextAlike]) {
      const at = head >>> 2
      if (
        uint32[at + Word.rip] === ripLow &&
        uint32[at + Word.rip + 1] === ripHigh &&
        uint32[at + Word.mode] === mode &&
        uint32[at + Word.page] + (ripLow & 0xfff) === place
      )
        return head
    }
    return 0
  }

  /** Room for a head and `instructions` records (and the end record); empties the whole cache when there is none. */
  reserve(instructions: number): number {
    const former = this.free[instructions]
    if (former !== 0) {
      this.free[instructions] = this.uint32[(former >>> 2) + Word.nextAlike]
      return former
    }
    const bytes = recordBytes * (instructions + 2)
    if (this.next + bytes > this.areaEnd) this.clear()
    const head = this.next
    this.next += bytes
    return head
  }

  /** Makes the block of a reserved head known. */
  add(
    head: number,
    {ripLow, ripHigh, mode, page, secondPage, instructions, usesFpu}: BlockFacts,
    countdown: number,
  ): void {
    const {uint32} = this
    const at = head >>> 2
    uint32[at + Word.page] = page
    uint32[at + Word.translation] = 0
    uint32[at + Word.secondPage] = secondPage
    uint32[at + Word.rip] = ripLow
    uint32[at + Word.rip + 1] = ripHigh
    uint32[at + Word.mode] = mode
    uint32[at + Word.birth] = this.births = (this.births + 1) >>> 0 || 1
    this.bytes[head + blockHead.instructions] = instructions
    this.bytes[head + blockHead.usesFpu] = usesFpu ? 1 : 0
    this.count(head, countdown)
    const bucket = bucketOf(page + (ripLow & 0xfff))
    uint32[at + Word.nextAlike] = this.byPlace[bucket]
    this.byPlace[bucket] = head
    uint32[at + Word.nextInPage] = this.own(page, head)
    uint32[at + Word.nextInSecond] = secondPage === 0 || secondPage === page ? 0 : this.own(secondPage, head)
  }

  /** Puts a block first in a page's chain; gives the one that was. */
  private own(page: number, head: number): number {
    const former = this.byPage[page >>> 12]
    this.byPage[page >>> 12] = head
    if (this.codePages[page >>> 12] === 0) {
      this.codePages[page >>> 12] = 1
      this.watcher.firstCode(page)
    }
    return former
  }

  /** Sets how often a block runs before it asks for translation. */
  count(head: number, countdown: number): void {
    this.uint32[(head + blockHead.countdown) >>> 2] = countdown
  }

  /** The word of a block's translation, 0 while there is none. */
  translation(head: number): number {
    return this.uint32[(head >>> 2) + Word.translation]
  }

  setTranslation(head: number, word: number): void {
    this.uint32[(head >>> 2) + Word.translation] = word
  }

  /** Table slots of the translations that blocks lead to. */
  liveSlots(): ReadonlySet<number> {
    const slots = new Set<number>()
    for (const first of this.byPlace)
      for (let head = first; head !== 0; head = this.uint32[(head >>> 2) + Word.nextAlike])
        slots.add(this.translation(head) & 0xffff)
    return slots
  }

  /** The page that a block reaches into, or 0. */
  secondPage(head: number): number {
    return this.uint32[(head >>> 2) + Word.secondPage]
  }

  usesFpu(head: number): boolean {
    return this.bytes[head + blockHead.usesFpu] !== 0
  }

  /** A block to keep in mind. */
  known(head: number): KnownBlock {
    return {head, birth: this.uint32[(head >>> 2) + Word.birth]}
  }

  /** True while that block has not been dropped. */
  isCurrent({head, birth}: KnownBlock): boolean {
    return birth !== 0 && this.uint32[(head >>> 2) + Word.birth] === birth
  }

  /** What a current block was made from. */
  facts(head: number): BlockFacts {
    const {uint32} = this
    const at = head >>> 2
    return {
      ripLow: uint32[at + Word.rip],
      ripHigh: uint32[at + Word.rip + 1],
      mode: uint32[at + Word.mode],
      page: uint32[at + Word.page],
      secondPage: uint32[at + Word.secondPage],
      instructions: this.bytes[head + blockHead.instructions],
      usesFpu: this.usesFpu(head),
    }
  }

  /**
   * Offsets in its page of the blocks that have been met there, at the address and in the mode of a block: what has run so far. With `isTranslated`
   * added for those that have a translation.
   */
  met(head: number): number[] {
    const {uint32} = this
    const {page, mode, ripLow, ripHigh} = this.facts(head)
    const offsets: number[] = []
    for (let other = this.byPage[page >>> 12]; other !== 0; other = uint32[this.linkIn(page, other)]) {
      const at = other >>> 2
      const isAlike =
        uint32[at + Word.page] === page &&
        uint32[at + Word.mode] === mode &&
        uint32[at + Word.rip] >>> 12 === ripLow >>> 12 &&
        uint32[at + Word.rip + 1] === ripHigh
      if (isAlike)
        offsets.push((uint32[at + Word.rip] & 0xfff) | (uint32[at + Word.translation] === 0 ? 0 : isTranslated))
    }
    return offsets
  }

  /** Drops every block that has bytes in the page. */
  invalidatePage(page: number): void {
    let head = this.byPage[page >>> 12]
    if (!this.hasCode(page)) return
    while (head !== 0) {
      const next = this.uint32[this.linkIn(page, head)]
      const {page: first, secondPage} = this.facts(head)
      if (secondPage !== 0 && secondPage !== first) this.leave(first === page ? secondPage : first, head)
      this.forget(head)
      head = next
    }
    this.byPage[page >>> 12] = 0
    this.codePages[page >>> 12] = 0
    this.watcher.changed()
  }

  /** Drops one block, of which no translation knows. */
  drop(head: number): void {
    const {page, secondPage} = this.facts(head)
    this.leave(page, head)
    if (secondPage !== 0 && secondPage !== page) this.leave(secondPage, head)
    this.forget(head)
  }

  /** Word offset of a block's link in the chain of a page. */
  private linkIn(page: number, head: number): number {
    const at = head >>> 2
    return at + (this.uint32[at + Word.page] === page ? Word.nextInPage : Word.nextInSecond)
  }

  /** Takes a block out of a page's chain. */
  private leave(page: number, head: number): void {
    const {uint32, byPage} = this
    const next = uint32[this.linkIn(page, head)]
    if (byPage[page >>> 12] === head) {
      byPage[page >>> 12] = next
      return
    }
    let before = byPage[page >>> 12]
    while (uint32[this.linkIn(page, before)] !== head) before = uint32[this.linkIn(page, before)]
    uint32[this.linkIn(page, before)] = next
  }

  /** Takes a block out of its bucket; its head is free. */
  private forget(head: number): void {
    const {uint32, byPlace} = this
    const at = head >>> 2
    const place = uint32[at + Word.page] + (uint32[at + Word.rip] & 0xfff)
    const bucket = bucketOf(place)
    const next = uint32[at + Word.nextAlike]
    if (byPlace[bucket] === head) byPlace[bucket] = next
    else {
      let before = byPlace[bucket] >>> 2
      while (uint32[before + Word.nextAlike] !== head) before = uint32[before + Word.nextAlike] >>> 2
      uint32[before + Word.nextAlike] = next
    }
    uint32[at + Word.translation] = 0
    uint32[at + Word.birth] = 0
    const instructions = this.bytes[head + blockHead.instructions]
    uint32[at + Word.nextAlike] = this.free[instructions]
    this.free[instructions] = head
    this.watcher.dropped(place, head)
  }

  clear(): void {
    this.byPlace.fill(0)
    this.byPage.fill(0)
    this.free.fill(0)
    this.codePages.fill(0)
    this.next = this.areaStart
    this.watcher.cleared()
  }
}
