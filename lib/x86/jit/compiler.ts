/**
 * The vCPU's side of translation: gathers hot blocks, hands them to the translator (its own, or one on another thread), and takes in what
 * comes back. A block goes on in the interpreter meanwhile. A translation is named by a word: table slot | entry number << 16.
 */
import type {BlockFacts, KnownBlock} from '../code-cache.js'
import type {TranslationBatch, TranslationJob} from './translator.js'

/** Hot blocks that wait for one module together: one module is far cheaper than many. */
const batchSize = 16

/** Turns that a smaller batch waits before it goes to another thread that is busy. */
const patience = 10

/** Turns that pass before links are found anew for the sake of better translations: all are, which takes a search each. */
const linkPatience = 64

/** Bytes of modules before all code is forgotten: what is hot comes back. */
const maximumSize = 48 << 20

/** A finished batch. */
export interface Translated {
  readonly batch: Omit<TranslationBatch, 'bytes'>
  readonly module: WebAssembly.Module
}

/** A translator on another thread. */
export interface TranslationService {
  /** Asks for translations; they are made in this order. */
  request(jobs: readonly TranslationJob[]): void
  /** What has been made since, oldest first; undefined when there is nothing. */
  receive(): Translated | undefined
}

/** What the engine lends. */
export interface CompilerHost {
  /** The block that has its head there. */
  known(head: number): KnownBlock
  facts(block: KnownBlock): BlockFacts
  /** Offsets in its page of what has run there. */
  met(block: KnownBlock): number[]
  /** Its page has not been written since it was decoded. */
  isCurrent(block: KnownBlock): boolean
  /** It has no translation yet. */
  wanted(block: KnownBlock): boolean
  /** Counts a block's executions once more before it asks again. */
  cool(block: KnownBlock): void
  translate(jobs: readonly TranslationJob[]): TranslationBatch
  instantiate(module: WebAssembly.Module): Record<string, () => void>
  /** Forgets all code (and calls `reset`). */
  forgetAll(): void
  /** The table has room for so many more functions. */
  hasRoom(functions: number): boolean
  /** Puts a function into the table and gives its slot. */
  place(code: () => void): number
  /** Makes an entry of a region known: code at `offset` in the page of `block` runs translation `word`; `replaces`: though it has one. */
  publish(block: KnownBlock, offset: number, word: number, replaces: boolean): void
  /** Better translations have been published: what leads to the former ones is to be found anew. */
  relink(): void
}

interface Wanted {
  readonly block: KnownBlock
  readonly optimize: boolean
  /** The counter that has run down. */
  readonly counter?: number
}

export class Compiler {
  /** By head. */
  private readonly waiting = new Map<number, Wanted>()
  /** What translations are under way for, by ticket. */
  private readonly asked = new Map<number, Wanted>()
  /** Where regions in their first form begin, by the address of their counter. */
  private readonly counted = new Map<number, KnownBlock>()
  private tickets = 0
  private epoch = 0
  /** Batches taken in. */
  private taken = 0
  /** Turns since something was last handed over. */
  private turns = 0
  /** Bytes of modules in this epoch. */
  private size = 0
  /** Links lead to translations for which there are better ones. */
  private linksAreOld = false
  /** Turns since all links were last found anew. */
  private turnsLinked = 0

  constructor(
    private readonly host: CompilerHost,
    private readonly optimizesAtOnce: boolean,
    private readonly service?: TranslationService,
  ) {}

  /** A block wants to be translated. */
  add(head: number): void {
    this.want({block: this.host.known(head), optimize: this.optimizesAtOnce})
  }

  /** A region's counter has run down: its optimized form is wanted, the first time it does. */
  optimize(counter: number): void {
    const block = this.counted.get(counter)
    this.counted.delete(counter)
    if (block !== undefined) this.want({block, optimize: true, counter})
  }

  private want(wanted: Wanted): void {
    this.waiting.set(wanted.block.head, wanted)
    if (this.waiting.size >= batchSize || (this.service !== undefined && this.asked.size === 0)) this.flush()
  }

  /** Takes in what is ready, and has translated what waits: another thread that has something to do gets fewer, larger batches. */
  flush(): void {
    this.collect()
    if (++this.turnsLinked >= linkPatience && this.linksAreOld) {
      this.host.relink()
      this.linksAreOld = false
      this.turnsLinked = 0
    }
    const isBusy = this.service !== undefined && this.asked.size > 0
    if (isBusy && this.waiting.size < batchSize && ++this.turns < patience) return
    this.turns = 0
    const jobs: TranslationJob[] = []
    for (const wanted of this.waiting.values()) {
      const {block, optimize} = wanted
      if (!this.host.isCurrent(block) || (!optimize && !this.host.wanted(block))) continue
      const {page, mode, ripLow, ripHigh} = this.host.facts(block)
      const ticket = this.tickets++
      this.asked.set(ticket, wanted)
      const met = this.host.met(block)
      jobs.push({epoch: this.epoch, ticket, page, mode, ripLow, ripHigh, met, optimize, taken: this.taken})
    }
    this.waiting.clear()
    if (jobs.length === 0) return
    if (this.service !== undefined) return this.service.request(jobs)
    const {bytes, ...batch} = this.host.translate(jobs)
    this.install({batch, module: new WebAssembly.Module(bytes)})
  }

  /** Takes in what another thread has made. */
  collect(): void {
    for (let ready = this.service?.receive(); ready !== undefined; ready = this.service?.receive()) this.install(ready)
  }

  /** All code has been forgotten: what is under way is of no use. */
  reset(): void {
    this.epoch++
    this.taken = 0
    this.size = 0
    this.waiting.clear()
    this.asked.clear()
    this.counted.clear()
  }

  private install({batch: {epoch, full, size, regions, inside, answered}, module}: Translated): void {
    if (epoch !== this.epoch) return
    this.taken++
    this.size += size
    const stillCurrent = (ticket: number) => {
      const wanted = this.asked.get(ticket)
      return wanted !== undefined && this.host.isCurrent(wanted.block) ? wanted : undefined
    }
    const again = inside.map(stillCurrent)
    const alive = regions.map(({ticket}) => stillCurrent(ticket))
    for (const ticket of answered) this.asked.delete(ticket)
    if (full || this.size > maximumSize || !this.host.hasRoom(regions.length)) return this.host.forgetAll()
    for (const wanted of again) {
      if (wanted === undefined) continue
      if (wanted.counter === undefined) this.host.cool(wanted.block)
      else this.counted.set(wanted.counter, wanted.block)
    }
    if (alive.every(wanted => wanted === undefined)) return
    const functions = this.host.instantiate(module)
    for (const [index, {entries, counter}] of regions.entries()) {
      const block = alive[index]?.block
      if (block === undefined) continue
      const slot = this.host.place(functions[`r${index}`])
      const optimized = counter === undefined
      for (const [offset, entry] of entries) this.host.publish(block, offset, slot | (entry << 16), optimized)
      if (!optimized) this.counted.set(counter, block)
    }
    if (regions.some(({counter}) => counter === undefined)) this.linksAreOld = true
  }
}
