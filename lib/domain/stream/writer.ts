/**
 * Writes a domain's stream, record by record. Pages are copied to a buffer of our own first: the guest may go on writing to them, and a checksum must
 * be of what is sent. While one buffer is on its way the next is filled.
 */

import * as zlib from 'node:zlib'
import {crc32} from '../../control/checksum.js'
import type {Machine} from '../guest.js'
import {
  Compression,
  checkedHeadBytes,
  mostPages,
  pageBytes,
  pagesAt,
  pagesHeadBytes,
  pagesSumAt,
  RecordHead,
  RecordType,
  recordAlign,
  streamVersion,
  zerosHeadBytes,
} from './record.js'
import {xxh64} from './xxh64.js'

/** Where a stream goes. The bytes are the sink's until the promise resolves. */
export interface StreamSink {
  write(bytes: Uint8Array): Promise<void>
}

type ZstdCompress = (bytes: Uint8Array, options: {params: Record<number, number>}) => Uint8Array
const zstdCompress = (zlib as {zstdCompressSync?: ZstdCompress}).zstdCompressSync
/** ZSTD_c_compressionLevel: 1, the fastest of the usual ones. */
const fast = {params: {[(zlib.constants as Record<string, number>).ZSTD_c_compressionLevel]: 1}}

/** True where this Node.js can write compressed pages (22.15 and later). */
export const canCompress = zstdCompress !== undefined

const headBytes = pagesHeadBytes(streamVersion)
/** Room for the head of a pages record: its runs can be as many as its pages. */
const headRoom = RecordHead.size + headBytes + mostPages * 8 + pageBytes
/** What packing can add to what does not pack. */
const packRoom = 64 << 10
const bufferBytes = roundUp(headRoom + mostPages * pageBytes + packRoom, 65536)

/** See the file's head. */
export class StreamWriter {
  /** Bytes from the stream's first on. */
  offset: number
  /** Pages written, counting each as often as it was. */
  pages = 0
  private number = 0
  /** Both buffers: in a memory of their own, because the checksum of pages is worked out in one. */
  private readonly memory = new WebAssembly.Memory({
    initial: (2 * bufferBytes) / 65536,
    maximum: (2 * bufferBytes) / 65536,
    shared: true,
  })
  private readonly sumOf = xxh64(this.memory)
  private buffers = [0, bufferBytes].map(at => Buffer.from(this.memory.buffer, at, bufferBytes))
  private inFlight: Promise<void> = Promise.resolve()

  /** Of what comes before the stream. */
  readonly headCrc: number

  /** `head`: bytes that have gone to the sink already. */
  constructor(
    private readonly sink: StreamSink,
    head: Uint8Array,
    private readonly compress: boolean,
  ) {
    this.offset = head.length
    this.headCrc = crc32(head)
  }

  /** A record with a value. */
  json(type: number, value: unknown): Promise<void> {
    return this.record(type, Buffer.from(JSON.stringify(value)))
  }

  /** A record with these bytes. */
  record(type: number, payload: Uint8Array): Promise<void> {
    const bytes = Buffer.alloc(RecordHead.size + roundUp(payload.length, recordAlign))
    bytes.set(payload, RecordHead.size)
    return this.finish(bytes, type, payload.length)
  }

  /** Frames whose contents are zero. */
  async zeros(frames: readonly number[]): Promise<void> {
    if (frames.length > 0) await this.record(RecordType.zeros, runsOf(frames, Compression.none, zerosHeadBytes))
  }

  /** The contents of frames, in ascending order. `onPages` hears how many have been written, now and then. */
  async frames({memory, layout}: Machine, frames: readonly number[], onPages?: (pages: number) => void): Promise<void> {
    for (let first = 0; first < frames.length; first += mostPages) {
      const batch = frames.slice(first, first + mostPages)
      const [buffer] = this.buffers
      const runs = runsOf(batch, this.compress ? Compression.zstd : Compression.none, headBytes)
      const runsEnd = RecordHead.size + runs.length
      const dataAt = pagesAt(this.offset + RecordHead.size, headBytes, (runs.length - headBytes) / 8) - this.offset
      buffer.set(runs, RecordHead.size)
      buffer.fill(0, runsEnd, dataAt)
      let end = dataAt
      let sum = 0n
      for (let at = headBytes; at < runs.length; at += 8) {
        const from = layout.ramBase + runs.readUInt32LE(at) * pageBytes
        const bytes = runs.readUInt32LE(at + 4) * pageBytes
        buffer.set(memory.bytes.subarray(from, from + bytes), end)
        if (!this.compress) sum = this.sumOf(buffer.byteOffset + end, bytes, sum)
        end += bytes
      }
      buffer.writeBigUInt64LE(sum, RecordHead.size + pagesSumAt)
      if (this.compress) {
        const packed = zstdCompress!(buffer.subarray(dataAt, end), fast)
        end = dataAt + packed.length
        buffer.set(packed, dataAt)
      }
      const padded = RecordHead.size + roundUp(end - RecordHead.size, recordAlign)
      buffer.fill(0, end, padded)
      this.pages += batch.length
      this.buffers.reverse()
      const covered = (this.compress ? end : dataAt) - RecordHead.size
      await this.finish(buffer.subarray(0, padded), RecordType.pages, end - RecordHead.size, covered)
      onPages?.(this.pages)
    }
  }

  /** Resolves when everything is with the sink. */
  async flush(): Promise<void> {
    await this.inFlight
  }

  /** Fills the head in, with the CRC-32 of the payload's first `covered` bytes, and sends the record; resolves when the one before has gone. */
  private async finish(bytes: Buffer, type: number, length: number, covered = length): Promise<void> {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const payloadCrc = crc32(bytes.subarray(RecordHead.size, RecordHead.size + covered))
    RecordHead.write(view, 0, {type, number: this.number++, length, payloadCrc, headCrc: 0, padding: 0})
    view.setUint32(RecordHead.offset.headCrc, crc32(bytes.subarray(0, checkedHeadBytes)), true)
    this.offset += bytes.length
    const before = this.inFlight
    this.inFlight = before.then(() => this.sink.write(bytes))
    // Whoever waits for the next record hears of the failure.
    this.inFlight.catch(() => {})
    await before
  }
}

/** The head of a pages or zeros record, `headBytes` long, and the frames as runs. */
function runsOf(frames: readonly number[], compression: number, headBytes: number): Buffer {
  const words: number[] = [0, compression, 0, 0].slice(0, headBytes / 4)
  for (let index = 0; index < frames.length; ) {
    let count = 1
    while (index + count < frames.length && frames[index + count] === frames[index] + count) count++
    words.push(frames[index], count)
    index += count
  }
  words[0] = (words.length - headBytes / 4) / 2
  return Buffer.from(Uint32Array.from(words).buffer)
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to
}
