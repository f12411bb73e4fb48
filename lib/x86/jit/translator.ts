/**
 * From hot blocks to the bytes of a module: finds the region around each, lowers it, and says what the engine must know to use it. Needs
 * nothing but linear memory and a place for records, so that it can run on a thread of its own beside the vCPU.
 *
 * Pages under translation hold decoded blocks, so every store to them is noticed: the engine drops the blocks, and with them a
 * translation that was on its way.
 */
import {isTranslated} from '../code-cache.js'
import type {DecodedInstruction} from '../decode/instruction-record.js'
import {recordBytes} from '../decode/record.js'
import {writeRecord} from '../decode/write-record.js'
import {regionModule} from '../generated-module.js'
import {decode, slowPathNumber, templateOf} from '../instruction-set.js'
import {linkCell, neverEpoch} from '../links.js'
import type {LinearMemory} from '../memory.js'
import {asRegion, type DecodeAt, findBlocks, type Region} from './region.js'
import {translate} from './translate.js'
import {unrollLoops} from './unroll.js'

/** Records are aligned to 16 bytes. */
const counterBytes = 16

/** Entries and turns of loops of a region's first form before the optimized one is wanted. */
const runsBeforeOptimized = 6000

/** A block that wants to be translated. */
export interface TranslationJob {
  /** Counts how often the engine has forgotten all code: tickets and records of another epoch mean nothing. */
  readonly epoch: number
  /** What the engine knows the block by. */
  readonly ticket: number
  readonly page: number
  readonly mode: number
  readonly ripLow: number
  readonly ripHigh: number
  /** Offsets in the page of blocks that have run: only these are worth translating. With `isTranslated` where a translation begins already. */
  readonly met: readonly number[]
  /** The optimized form is wanted, not the first one. */
  readonly optimize: boolean
  /** Batches of this epoch that the engine had taken in when it asked. */
  readonly taken: number
}

/** What came of some jobs. */
export interface TranslationBatch {
  readonly epoch: number
  /** There was no room for records: the engine must forget all code. */
  readonly full: boolean
  /** The module; function `r0`, `r1` … for each region. Empty when nothing could be translated. */
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly regions: readonly {
    readonly ticket: number
    /** Address of its counter, which notes when it has become hot; undefined for the optimized form. */
    readonly counter: number | undefined
    /** Where the region can be entered: offset in the page, entry number. */
    readonly entries: readonly (readonly [offset: number, entry: number])[]
  }[]
  /** Tickets of all jobs. */
  readonly answered: readonly number[]
  /** Tickets of blocks inside regions that were under way when they became hot: only what still runs them often enters there from outside. */
  readonly inside: readonly number[]
  /** Bytes of the module. */
  readonly size: number
}

/** Where in its page a linear address lies. The low 32 bits of a signed number are what `|` sees. */
function pageOffset(rip: number): number {
  return rip & 0xfff
}

/** Of code at a place in a page: it has run, it begins a translation, it begins or is in one that is under way. */
const Place = {met: 1, translated: 2, entry: 4, inside: 8} as const

/** Places in a page, at an address, in a mode, and in the form wanted. */
type Covered = Map<string, Map<number, number>>

export class RegionTranslator {
  private epoch = 0
  private nextRecord: number
  /** Number of the latest batch of the epoch. */
  private batch = 0
  /** Blocks in regions that the engine may not have taken in yet. */
  private underWay: {readonly batch: number; readonly covered: Covered}[] = []
  /** What is known of each place in the page of the current job: bits of Place. */
  private readonly places = new Uint8Array(4096)

  constructor(
    private readonly memory: LinearMemory,
    /** The vCPU area's address, a constant in its translations. */
    private readonly cpu: number,
    /** Bytes of linear memory for the records of slow-path instructions. */
    private readonly records: {readonly start: number; readonly end: number},
  ) {
    this.nextRecord = records.start
  }

  /** Translates the regions around some blocks, all of one epoch, into one module. */
  translate(jobs: readonly TranslationJob[]): TranslationBatch {
    const {epoch} = jobs[0]
    if (epoch !== this.epoch) {
      this.epoch = epoch
      this.nextRecord = this.records.start
      this.batch = 0
      this.underWay = []
    }
    this.batch++
    const found: {job: TranslationJob; region: Region; counter: number | undefined}[] = []
    const inside: number[] = []
    const covered: Covered = new Map()
    this.underWay = this.underWay.filter(({batch}) => batch > jobs[0].taken)
    this.underWay.push({batch: this.batch, covered})
    for (const job of jobs) {
      const start = (job.ripHigh | 0) * 2 ** 32 + job.ripLow
      const {places} = this
      const own = this.notePlaces(job, covered)
      const known = places[pageOffset(start)]
      if ((known & Place.entry) !== 0) continue
      if ((known & Place.inside) !== 0) {
        inside.push(job.ticket)
        continue
      }
      const end = job.optimize ? 0 : Place.translated | Place.entry
      const blocks = findBlocks(start, this.decoder(job), {
        hasRun: rip => (places[pageOffset(rip)] & Place.met) !== 0,
        stopsAt: rip => (places[pageOffset(rip)] & end) !== 0,
      })
      if (blocks.length === 0) continue
      for (const {rip, entry} of blocks) own.set(pageOffset(rip), entry ? Place.entry : Place.inside)
      const region = asRegion(job.optimize ? unrollLoops(blocks) : blocks)
      found.push({job, region, counter: job.optimize ? undefined : this.counter()})
    }
    const bytes = regionModule(
      this.memory.bytes.length / 65536,
      found.map(({job, region, counter}, index) => [
        `r${index}`,
        callHelper =>
          translate(region, {
            callHelper,
            cpu: this.cpu,
            mmuMode: (job.mode & 1) as 0 | 1,
            page: job.page,
            counter,
            linkCell: () => this.cell(),
            recordAddress: (decoded, rip) => this.record(decoded, rip),
            systemNumber: slowPathNumber,
          }),
      ]),
    )
    const full = this.nextRecord > this.records.end
    return {
      epoch,
      full,
      bytes,
      regions: found.map(({job, region, counter}) => ({
        ticket: job.ticket,
        counter,
        entries: region.flatMap((block, entry) => (block.entry ? [[pageOffset(block.rip), entry] as const] : [])),
      })),
      answered: jobs.map(({ticket}) => ticket),
      inside,
      size: bytes.length,
    }
  }

  /** Fills `places` for a job; gives what a batch covers of its page. */
  private notePlaces(
    {page, mode, optimize, ripLow, ripHigh, met}: TranslationJob,
    covered: Covered,
  ): Map<number, number> {
    const {places} = this
    const key = `${page}/${mode}/${optimize}/${ripHigh}/${ripLow >>> 12}`
    let own = covered.get(key)
    if (own === undefined) {
      own = new Map()
      covered.set(key, own)
    }
    places.fill(0)
    for (const place of met)
      places[place & 0xfff] = (place & isTranslated) === 0 ? Place.met : Place.met | Place.translated
    for (const batch of this.underWay)
      for (const [offset, place] of batch.covered.get(key) ?? []) places[offset] |= place
    return own
  }

  private record(decoded: DecodedInstruction, rip: number): number {
    const at = this.nextRecord
    this.nextRecord += recordBytes
    // Without room the batch will be thrown away.
    if (this.nextRecord <= this.records.end) writeRecord(this.memory.uint32, at, decoded, rip, 0)
    return at
  }

  /** Address of a new counter, which stands among the records. */
  private counter(): number {
    const at = this.nextRecord
    this.nextRecord += counterBytes
    if (this.nextRecord <= this.records.end) this.memory.view.setInt32(at, runsBeforeOptimized, true)
    return at
  }

  /** A cell that links to nothing yet; cells lie among the records. */
  private cell(): number {
    const at = this.nextRecord
    this.nextRecord += linkCell.bytes
    if (this.nextRecord <= this.records.end) {
      this.memory.view.setUint32(at + linkCell.epoch, neverEpoch, true)
      this.memory.view.setUint32(at + linkCell.checked, neverEpoch, true)
    }
    return at
  }

  /** Decodes inside the page of a job. */
  private decoder(job: TranslationJob): DecodeAt {
    const page = this.memory.bytes.subarray(job.page, job.page + 4096)
    const bits = (job.mode & ~1) as 64 | 32 | 16
    const pageRip = (job.ripHigh | 0) * 2 ** 32 + ((job.ripLow & ~0xfff) >>> 0)
    return rip => {
      const offset = rip - pageRip
      if (offset < 0 || offset >= 4096) return undefined
      const decoded = decode(page, offset, rip, bits)
      return typeof decoded === 'string' ? undefined : {decoded, template: templateOf(decoded)}
    }
  }
}
