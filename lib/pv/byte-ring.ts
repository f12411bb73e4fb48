/**
 * The byte rings of the console and xenstore pages, one end at a time. Both indices run free and are taken modulo the size
 * (a power of two); they lie in the guest's page, so they are checked at each use: more than `size` bytes between them is
 * illegal, and then the ring has neither bytes nor room.
 * Source: public/io/console.h, public/io/xs_wire.h.
 */
import {type GuestMemory, loadIndex, storeIndex} from './environment.js'

/** Where the parts of a ring are: byte addresses in the guest's memory. */
export interface ByteRingPlace {
  readonly data: number
  /** In bytes, a power of two. */
  readonly size: number
  readonly consumer: number
  readonly producer: number
}

/** Both indices at one moment. */
interface Indices {
  readonly consumer: number
  readonly producer: number
  /** Bytes between them, or undefined if that is illegal. */
  readonly used: number | undefined
}

function indices(memory: GuestMemory, place: ByteRingPlace): Indices {
  const consumer = loadIndex(memory, place.consumer)
  const producer = loadIndex(memory, place.producer)
  const used = (producer - consumer) >>> 0
  return {consumer, producer, used: used <= place.size ? used : undefined}
}

/** The consuming end of a ring that the guest fills. */
export class ByteRingReader {
  constructor(
    private readonly memory: GuestMemory,
    private readonly place: ByteRingPlace,
  ) {}

  /** Bytes to be read, or undefined if the indices are illegal. */
  available(): number | undefined {
    return indices(this.memory, this.place).used
  }

  /** A copy of at most `limit` bytes; the guest may reuse their room. */
  read(limit: number): Uint8Array {
    const {consumer, used = 0} = indices(this.memory, this.place)
    const {data, size} = this.place
    const result = new Uint8Array(Math.min(limit, used))
    const start = consumer & (size - 1)
    const first = Math.min(result.length, size - start)
    result.set(this.memory.bytes.subarray(data + start, data + start + first))
    result.set(this.memory.bytes.subarray(data, data + result.length - first), first)
    if (result.length > 0) storeIndex(this.memory, this.place.consumer, consumer + result.length)
    return result
  }
}

/** The producing end of a ring that the guest empties. */
export class ByteRingWriter {
  constructor(
    private readonly memory: GuestMemory,
    private readonly place: ByteRingPlace,
  ) {}

  /** Bytes that can be written, or undefined if the indices are illegal. */
  room(): number | undefined {
    const {used} = indices(this.memory, this.place)
    return used === undefined ? undefined : this.place.size - used
  }

  /** Writes as much of `source` as there is room for; returns how many bytes that were. */
  write(source: Uint8Array): number {
    const {producer, used} = indices(this.memory, this.place)
    if (used === undefined) return 0
    const {data, size} = this.place
    const length = Math.min(source.length, size - used)
    const start = producer & (size - 1)
    const first = Math.min(length, size - start)
    this.memory.bytes.set(source.subarray(0, first), data + start)
    this.memory.bytes.set(source.subarray(first, length), data)
    if (length > 0) storeIndex(this.memory, this.place.producer, producer + length)
    return length
  }
}
