/**
 * From hot blocks to running translations: gathers hot block starts, translates their regions in batches (one module is far cheaper than
 * many), and puts the functions into the shared table. A translation is named by a word: table slot | entry number << 16.
 */
import type {Code} from '../../wasm/builder.js'
import type {Block} from '../code-cache.js'
import type {Imports} from '../lower.js'
import type {Site} from './lower.js'
import {type DecodeAt, findRegion, type Region} from './region.js'
import {type TranslationContext, translate} from './translate.js'

/** Hot blocks that wait for one module together. */
const batchSize = 12

/** What the engine lends. */
export interface CompilerHost {
  decoder(block: Block): DecodeAt
  isEntry(block: Block, rip: bigint): boolean
  context(block: Block): Omit<TranslationContext, 'imports' | 'cpuGlobal' | 'addSite'>
  instantiate(
    functions: [name: string, write: (imports: Imports, cpuGlobal: number) => Code][],
  ): Record<string, () => void>
  /** Puts a function into the table and gives its slot. */
  place(code: () => void): number
  /** Makes block `entry` of a region known: code at `rip` in the page of `block` runs translation `word`. */
  publish(block: Block, rip: bigint, word: number): void
  /** Still current (its page has not been written since) and not translated yet. */
  wanted(block: Block): boolean
}

export class Compiler {
  private readonly waiting: Block[] = []
  readonly sites: Site[] = []
  /** Regions translated so far. */
  translated = 0

  constructor(private readonly host: CompilerHost) {}

  /** A block wants to be translated. */
  add(block: Block): void {
    this.waiting.push(block)
    if (this.waiting.length >= batchSize) this.flush()
  }

  /** Translates what waits. */
  flush(): void {
    const batch = this.waiting.splice(0)
    const done: {block: Block; region: Region}[] = []
    const covered = new Set<string>()
    for (const block of batch) {
      if (!this.host.wanted(block)) continue
      const rip = (BigInt(block.ripHigh) << 32n) | BigInt(block.ripLow)
      const key = `${rip}/${block.page}/${block.mode}`
      if (covered.has(key)) continue
      const region = findRegion(rip, this.host.decoder(block), other => this.host.isEntry(block, other))
      if (region === undefined) continue
      for (const {rip: covers} of region.blocks) covered.add(`${covers}/${block.page}/${block.mode}`)
      done.push({block, region})
    }
    if (done.length === 0) return
    const functions = this.host.instantiate(
      done.map(({block, region}, index) => [
        `r${index}`,
        (imports, cpuGlobal) =>
          translate(region, {...this.host.context(block), imports, cpuGlobal, addSite: site => this.sites.push(site)}),
      ]),
    )
    for (const [index, {block, region}] of done.entries()) {
      const slot = this.host.place(functions[`r${index}`])
      this.translated++
      region.blocks.forEach((part, entry) => {
        if (part.entry) this.host.publish(block, part.rip, slot | (entry << 16))
      })
    }
  }
}
