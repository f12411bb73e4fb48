/**
 * The last bytes a guest has written to its console, and for each reader how far it has come. The stream is numbered from the
 * guest's first byte on; only the newest `size` bytes are kept, so readers cost nothing but a number each.
 *
 *   0 ……………… start ═══════ position of a reader ═══════ end      start = end - size, once there are that many
 */
import {fromBytes, toBytes} from '../../base/byte-string.js'

/** What survives of a backlog: the bytes kept, as a byte string, and the number of the next one. */
export interface BacklogState {
  readonly kept: string
  readonly end: number
}

/** See the file's head. */
export class Backlog {
  private readonly ring: Uint8Array
  private total = 0

  /** `size` is a power of two. */
  constructor(readonly size: number) {
    this.ring = new Uint8Array(size)
  }

  /** The number of the oldest byte kept. */
  get start(): number {
    return Math.max(0, this.total - this.size)
  }

  /** The number of the next byte. */
  get end(): number {
    return this.total
  }

  /** Appends bytes, at most `size` of them. */
  append(bytes: Uint8Array): void {
    const at = this.total % this.size
    const first = Math.min(bytes.length, this.size - at)
    this.ring.set(bytes.subarray(0, first), at)
    this.ring.set(bytes.subarray(first), 0)
    this.total += bytes.length
  }

  /** A copy of at most `limit` bytes from number `position` on, which lies between start and end. */
  read(position: number, limit: number): Uint8Array {
    const result = new Uint8Array(Math.min(limit, this.total - position))
    const at = position % this.size
    const first = Math.min(result.length, this.size - at)
    result.set(this.ring.subarray(at, at + first))
    result.set(this.ring.subarray(0, result.length - first), first)
    return result
  }

  /** A plain record. */
  save(): BacklogState {
    return {kept: fromBytes(this.read(this.start, this.size)), end: this.total}
  }

  /** Takes over a saved backlog in place of its own. */
  restore({kept, end}: BacklogState): void {
    this.total = end - kept.length
    this.append(toBytes(kept))
  }
}
