/**
 * Where a stream comes from: a file, which can be read anywhere and mapped, or a pipe or socket, which comes once and in order.
 */
import {closeSync, fstatSync, readSync} from 'node:fs'
import {Socket, type SocketConstructorOpts} from 'node:net'
import {PieceQueue} from '../../control/piece-queue.js'

/** See the file's head. */
export interface StreamSource {
  /** CRC-32 of what came before the stream. */
  readonly headCrc: number
  /** Bytes read so far, from the stream's first on. */
  readonly offset: number
  /** Fills `into`; fewer bytes only at the end. Resolves to how many. */
  read(into: Uint8Array): Promise<number>
  /** A file that can be mapped at `offset`, and the way over bytes that were. */
  readonly file: {readonly fd: number; skip(bytes: number): void} | undefined
  close(): void
}

/** What of a file or pipe comes before the stream. */
export interface StreamHead {
  readonly bytes: number
  readonly crc: number
}

/** The stream behind a descriptor whose head has been read. The descriptor is closed with it: what has been mapped stays. */
export function openSource(fd: number, head: StreamHead): StreamSource {
  return fstatSync(fd).isFile() ? new FileSource(fd, head) : new PipeSource(fd, head)
}

class FileSource implements StreamSource {
  readonly file
  readonly headCrc: number
  offset: number

  constructor(
    private readonly fd: number,
    {bytes, crc}: StreamHead,
  ) {
    this.offset = bytes
    this.headCrc = crc
    this.file = {
      fd,
      skip: (length: number) => {
        this.offset += length
      },
    }
  }

  async read(into: Uint8Array): Promise<number> {
    let filled = 0
    while (filled < into.length) {
      const bytes = readSync(this.fd, into, filled, into.length - filled, this.offset)
      if (bytes === 0) break
      filled += bytes
      this.offset += bytes
    }
    return filled
  }

  close(): void {
    closeSync(this.fd)
  }
}

class PipeSource implements StreamSource {
  readonly file = undefined
  private readonly pieces: PieceQueue
  readonly headCrc: number
  offset: number

  constructor(fd: number, {bytes, crc}: StreamHead) {
    this.offset = bytes
    this.headCrc = crc
    const options = {fd, readable: true, writable: false}
    this.pieces = new PieceQueue(onread => new Socket({...options, onread} as SocketConstructorOpts))
  }

  async read(into: Uint8Array): Promise<number> {
    let filled = 0
    while (filled < into.length) {
      // A stream that breaks is one that ends.
      const piece = await this.pieces.next().catch(() => undefined)
      if (piece === undefined) break
      const part = piece.subarray(0, into.length - filled)
      into.set(part, filled)
      filled += part.length
      this.pieces.skip(part.length)
    }
    this.offset += filled
    return filled
  }

  close(): void {
    this.pieces.close()
  }
}
