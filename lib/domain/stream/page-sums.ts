/**
 * The sums of pages that are in memory already because their file is mapped. What is to be summed is a table in shared memory; whichever thread
 * has time takes the next row, so that the vCPU's thread helps while there is no guest for it yet.
 *
 *   u32 next row | u32 rows done | u32 first wrong row | u32 rows
 *   rows × (u32 first range, u32 ranges, u64 sum)
 *   ranges × (u32 offset in memory, u32 bytes)
 */
import type {Xxh64} from './xxh64.js'

const word = {next: 0, done: 1, firstWrong: 2, rows: 3, table: 4} as const
const rowWords = 4
const rangeWords = 2
const none = 0xffffffff

/** Has another thread work on a table as well, with {@link workOn}. */
export type SumHelper = (table: SharedArrayBuffer) => void

/** Pages of a record: where they are, and what their sum must be. */
interface Row {
  readonly recordAt: number
  readonly ranges: readonly (readonly [offset: number, bytes: number])[]
  readonly sum: bigint
}

/** See the file's head. */
export class PageSums {
  private rows: Row[] = []

  constructor(
    private readonly sumOf: Xxh64,
    private readonly helper: SumHelper | undefined,
  ) {}

  add(recordAt: number, ranges: Row['ranges'], sum: bigint): void {
    this.rows.push({recordAt, ranges, sum})
  }

  /** Sums all that was added since; gives the offset of the first record whose sum is wrong. */
  check(): number | undefined {
    const rows = this.rows
    if (rows.length === 0) return undefined
    this.rows = []
    const words = tableOf(rows)
    this.helper?.(words.buffer)
    workOn(words.buffer, this.sumOf)
    // What the helper has begun it ends, within a millisecond.
    for (;;) {
      const done = Atomics.load(words, word.done)
      if (done === rows.length) break
      Atomics.wait(words, word.done, done)
    }
    const wrong = words[word.firstWrong] >>> 0
    return wrong === none ? undefined : rows[wrong].recordAt
  }
}

function tableOf(rows: readonly Row[]): Int32Array<SharedArrayBuffer> {
  const rangeCount = rows.reduce((sum, {ranges}) => sum + ranges.length, 0)
  const firstRange = word.table + rows.length * rowWords
  const words = new Int32Array(new SharedArrayBuffer((firstRange + rangeCount * rangeWords) * 4))
  words[word.firstWrong] = none
  words[word.rows] = rows.length
  const view = new DataView(words.buffer)
  let at = firstRange
  for (const [index, {ranges, sum}] of rows.entries()) {
    const row = word.table + index * rowWords
    words[row] = at
    words[row + 1] = ranges.length
    view.setBigUint64((row + 2) * 4, sum, true)
    for (const [offset, bytes] of ranges) {
      words[at++] = offset
      words[at++] = bytes
    }
  }
  return words
}

/** Takes rows of a table, and sums what they name, until none is left. */
export function workOn(table: SharedArrayBuffer, sumOf: Xxh64): void {
  const words = new Int32Array(table)
  const view = new DataView(table)
  const rows = words[word.rows]
  for (let index = take(words); index < rows; index = take(words)) {
    const row = word.table + index * rowWords
    const end = words[row] + words[row + 1] * rangeWords
    let sum = 0n
    for (let at = words[row]; at < end; at += rangeWords) sum = sumOf(words[at], words[at + 1], sum)
    if (sum !== view.getBigUint64((row + 2) * 4, true)) noteWrong(words, index)
    Atomics.add(words, word.done, 1)
    Atomics.notify(words, word.done)
  }
}

const take = (words: Int32Array): number => Atomics.add(words, word.next, 1)

function noteWrong(words: Int32Array, index: number): void {
  for (;;) {
    const known = Atomics.load(words, word.firstWrong)
    if (known >>> 0 <= index || Atomics.compareExchange(words, word.firstWrong, known, index) === known) return
  }
}
