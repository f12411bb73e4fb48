/**
 * Reads a domain's stream into memory. Nothing in it is believed: heads, lengths, frame numbers and checksums are checked where they are read, and an
 * error names the offset. The meaning of blocks and state is machine-state.ts's to check.
 *
 *   file   the pages of longer runs are mapped, and checked where they appear, by two threads (page-sums.ts)
 *   pipe   everything is read
 */
import * as zlib from 'node:zlib'
import {OperatorError} from '../../base/errors.js'
import {crc32} from '../../control/checksum.js'
import type {Machine} from '../guest.js'
import type {HostMemory} from '../host-memory.js'
import {carriedFrames} from './machine-state.js'
import {PageSums, type SumHelper} from './page-sums.js'
import {
  Compression,
  checkedHeadBytes,
  mostPages,
  mostPayload,
  pageBytes,
  pagesAt,
  pagesHeadBytes,
  pagesSumAt,
  RecordHead,
  RecordType,
  recordAlign,
  type StreamContents,
  type StreamStart,
  type StreamState,
  streamVersion,
  zerosHeadBytes,
} from './record.js'
import type {StreamSource} from './source.js'
import {type Xxh64, xxh64} from './xxh64.js'

/** Shorter runs are read: a mapping of their own would cost the host more. */
const fewestMappedPages = 8
/** The host allows a process about 65,000 mappings. */
const mostMappings = 30_000

/** What `readStream` calls once it knows how big the domain is: makes the memory that the pages go to. */
export type MachineMaker = (start: StreamStart) => {
  machine: Machine
  host: HostMemory | undefined
  helper?: SumHelper | undefined
}

/** Reads a stream to its end. Errors: OperatorError with the offset of what is wrong. */
export async function readStream(source: StreamSource, makeMachine: MachineMaker): Promise<StreamContents> {
  const reader = new Reader(source)
  const first = await reader.next()
  if (first.type !== RecordType.start) reader.refuse('it does not start as a domain does')
  const start = reader.parse<StreamStart>(await reader.payload())
  const {stream, ramPages, sharedInfo, grantFrames, m2p, frames, cpu} = start
  const numbers = [stream, ramPages, sharedInfo, grantFrames, m2p, frames, ...(Array.isArray(cpu) ? cpu : [undefined])]
  if (!numbers.every(Number.isSafeInteger)) reader.refuse('its first value cannot be read')
  if (stream < 1 || stream > streamVersion) reader.refuse(`it is of version ${stream}, which this xl does not know`)
  reader.version = stream
  if (start.head !== source.headCrc) {
    throw new OperatorError('the saved domain is damaged at offset 0: the checksum of its head is wrong', {exitCode: 3})
  }
  const {machine, host, helper} = makeMachine(start)
  const pages = new PageReader(reader, machine, host, helper)
  const blocks = new Map<number, {version: number; bytes: Uint8Array}>()
  let state: StreamState | undefined
  for (;;) {
    const {type} = await reader.next()
    switch (type) {
      case RecordType.pages:
        await pages.fill()
        break
      case RecordType.zeros:
        pages.empty(await reader.payload())
        break
      case RecordType.block: {
        const payload = await reader.payload()
        if (payload.length < 8) reader.refuse('a block has no head')
        blocks.set(payload.readUInt32LE(0), {version: payload.readUInt32LE(4), bytes: payload.subarray(8)})
        break
      }
      case RecordType.state:
        state = reader.parse<StreamState>(await reader.payload())
        break
      case RecordType.end:
        await reader.payload()
        if (state === undefined) return reader.refuse('it ends before the domain is whole')
        pages.checkSums()
        return {start, state, blocks}
      default:
        reader.refuse(`its record type ${type} is unknown`)
    }
  }
}

/** The records one after the other. */
class Reader {
  /** Where the present record begins, and its payload's length and checksum. */
  recordAt = 0
  length = 0
  payloadCrc = 0
  version: number = streamVersion
  private number = 0
  private readonly head = Buffer.alloc(RecordHead.size)

  constructor(readonly source: StreamSource) {}

  refuse(what: string, recordAt = this.recordAt): never {
    throw new OperatorError(`the saved domain is damaged at offset ${recordAt}: ${what}`, {exitCode: 3})
  }

  /** The head of the next record. */
  async next(): Promise<{type: number; length: number}> {
    const {source, head} = this
    this.recordAt = source.offset
    await this.fill(head)
    const {type, number, length, payloadCrc, headCrc} = RecordHead.read(new DataView(head.buffer, head.byteOffset), 0)
    if (headCrc !== crc32(head.subarray(0, checkedHeadBytes))) this.refuse('the checksum of a record is wrong')
    if (number !== this.number) this.refuse(`record ${this.number} is missing`)
    if (length > mostPayload) this.refuse(`a record of ${length} bytes`)
    this.number++
    this.length = length
    this.payloadCrc = payloadCrc
    return {type, length}
  }

  /** The whole payload. */
  async payload(): Promise<Buffer> {
    const payload = Buffer.alloc(this.length)
    await this.fill(payload)
    await this.skipPadding()
    this.check(crc32(payload))
    return payload
  }

  /** Reads exactly as many bytes as `into` has. */
  async fill(into: Uint8Array): Promise<void> {
    if ((await this.source.read(into)) === into.length) return
    throw new OperatorError(`the saved domain ends at offset ${this.source.offset}, before it is whole`, {exitCode: 3})
  }

  async skipPadding(): Promise<void> {
    const padding = -this.length & (recordAlign - 1)
    if (padding > 0) await this.fill(Buffer.alloc(padding))
  }

  check(crc: number): void {
    if (crc !== this.payloadCrc) this.refuseContents()
  }

  refuseContents(recordAt?: number): never {
    this.refuse('the checksum of its contents is wrong', recordAt)
  }

  parse<Value extends object>(payload: Buffer): Value {
    try {
      const value = JSON.parse(payload.toString()) as Value
      if (typeof value === 'object' && value !== null) return value
    } catch {
      // Told below.
    }
    return this.refuse('a value cannot be read')
  }
}

type Run = readonly [frame: number, count: number]

/** Pages to their frames. */
class PageReader {
  private mappings = 0
  private readonly sumOf: Xxh64
  /** Of mapped pages, which are checked later; all of them are in front of `nextFrame`. */
  private readonly sums: PageSums
  private nextFrame = 0

  constructor(
    private readonly reader: Reader,
    private readonly machine: Machine,
    private readonly host: HostMemory | undefined,
    helper: SumHelper | undefined,
  ) {
    this.sumOf = xxh64(machine.memory.wasm)
    this.sums = new PageSums(this.sumOf, helper)
  }

  /** Checks what has been mapped. */
  checkSums(): void {
    this.nextFrame = 0
    const wrongAt = this.sums.check()
    if (wrongAt !== undefined) this.reader.refuseContents(wrongAt)
  }

  /** Frames are about to be replaced: those that are not checked yet are checked first. */
  private beforeReplacing(runs: readonly Run[]): void {
    if (runs.length > 0 && runs[0][0] < this.nextFrame) this.checkSums()
  }

  /** The present pages record. */
  async fill(): Promise<void> {
    const {reader} = this
    const {source} = reader
    const payloadAt = source.offset
    const words = Buffer.alloc(pagesHeadBytes(reader.version))
    if (reader.length < words.length) reader.refuse('a record of pages has no head')
    await reader.fill(words)
    const runCount = words.readUInt32LE(0)
    const compression = words.readUInt32LE(4)
    const dataAt = pagesAt(payloadAt, words.length, runCount)
    const dataBytes = payloadAt + reader.length - dataAt
    if (runCount > mostPages || dataBytes < 0) reader.refuse(`a record of pages has ${runCount} runs`)
    const list = Buffer.alloc(dataAt - payloadAt - words.length)
    await reader.fill(list)
    const runs = this.runsOf(list, runCount)
    const pages = runs.reduce((sum, [, count]) => sum + count, 0)
    if (pages > mostPages) reader.refuse(`a record has ${pages} pages`)
    const crc = crc32(list, crc32(words))
    this.beforeReplacing(runs)
    if (compression === Compression.zstd) await this.unpack(runs, pages, dataBytes, crc)
    else if (compression !== Compression.none) reader.refuse(`its compression ${compression} is unknown`)
    else if (dataBytes !== pages * pageBytes) reader.refuse(`${dataBytes} bytes for ${pages} pages`)
    else if (reader.version === 1) await this.copyByCrc(runs, crc)
    else {
      reader.check(crc)
      await this.copyBySum(runs, words.readBigUInt64LE(pagesSumAt))
    }
    await reader.skipPadding()
  }

  /** The frames of a zeros record. */
  empty(payload: Buffer): void {
    const {memory, layout} = this.machine
    const runCount = payload.length < zerosHeadBytes ? -1 : payload.readUInt32LE(0)
    if (runCount < 0 || payload.length !== zerosHeadBytes + runCount * 8)
      this.reader.refuse('a list of empty pages is cut')
    const runs = this.runsOf(payload.subarray(zerosHeadBytes), runCount)
    this.beforeReplacing(runs)
    for (const [frame, count] of runs) {
      const at = layout.ramBase + frame * pageBytes
      memory.bytes.fill(0, at, at + count * pageBytes)
    }
  }

  private runsOf(list: Buffer, runCount: number): Run[] {
    const runs = Array.from(
      {length: runCount},
      (_, index): Run => [list.readUInt32LE(index * 8), list.readUInt32LE(index * 8 + 4)],
    )
    let next = 0
    for (const [frame, count] of runs) {
      if (frame < next || count === 0) this.reader.refuse(`page frame ${frame} is out of order`)
      next = frame + count
    }
    if (next > carriedFrames(this.machine)) this.reader.refuse(`page frame ${next - 1} is not the domain's`)
    return runs
  }

  private async copyByCrc(runs: readonly Run[], crcSoFar: number): Promise<void> {
    const {bytes} = this.machine.memory
    let crc = crcSoFar
    await this.copy(runs, (at, length) => {
      crc = crc32(bytes.subarray(at, at + length), crc)
    })
    this.reader.check(crc)
  }

  /** What has been read is summed at once, while it is near; what has been mapped when all of it is there. */
  private async copyBySum(runs: readonly Run[], sum: bigint): Promise<void> {
    const {reader} = this
    if (this.host !== undefined && reader.source.file !== undefined) {
      const ranges: [offset: number, bytes: number][] = []
      await this.copy(runs, (at, length) => ranges.push([at, length]))
      this.sums.add(reader.recordAt, ranges, sum)
      const last = runs.at(-1)
      if (last !== undefined) this.nextFrame = last[0] + last[1]
      return
    }
    let found = 0n
    await this.copy(runs, (at, length) => {
      found = this.sumOf(at, length, found)
    })
    if (found !== sum) reader.refuseContents()
  }

  /** Brings runs to where they belong, each of which is then told. */
  private async copy(runs: readonly Run[], onRun: (at: number, bytes: number) => void): Promise<void> {
    const {memory, layout} = this.machine
    for (const [frame, count] of runs) {
      const at = layout.ramBase + frame * pageBytes
      const length = count * pageBytes
      if (!this.map(at, length)) await this.reader.fill(memory.bytes.subarray(at, at + length))
      onRun(at, length)
    }
  }

  /** True when the next bytes of the file now show at a place in memory. */
  private map(at: number, length: number): boolean {
    const {file, offset} = this.reader.source
    if (this.host === undefined || file === undefined || length < fewestMappedPages * pageBytes) return false
    if (this.mappings >= mostMappings || !this.host.mapFile(file.fd, offset, at, length)) return false
    this.mappings++
    file.skip(length)
    return true
  }

  private async unpack(runs: readonly Run[], pages: number, packedBytes: number, crcSoFar: number): Promise<void> {
    const {reader} = this
    const {memory, layout} = this.machine
    const packed = Buffer.alloc(packedBytes)
    await reader.fill(packed)
    reader.check(crc32(packed, crcSoFar))
    const bytes = await unpackZstd(packed, pages * pageBytes)
    if (bytes?.length !== pages * pageBytes) return reader.refuse('its pages cannot be unpacked')
    let from = 0
    for (const [frame, count] of runs) {
      memory.bytes.set(bytes.subarray(from, from + count * pageBytes), layout.ramBase + frame * pageBytes)
      from += count * pageBytes
    }
  }
}

type Unpack = (bytes: Uint8Array, options: {maxOutputLength: number}) => Uint8Array

/** The unpacked bytes, undefined when they are no zstd or more than `mostBytes`. */
async function unpackZstd(packed: Uint8Array, mostBytes: number): Promise<Uint8Array | undefined> {
  try {
    const own = (zlib as {zstdDecompressSync?: Unpack}).zstdDecompressSync
    if (own !== undefined) return own(packed, {maxOutputLength: mostBytes})
    return (await import('fzstd')).decompress(packed, new Uint8Array(mostBytes))
  } catch {
    return undefined
  }
}
