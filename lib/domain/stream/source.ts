/**
 * Where a stream comes from: a file, which can be read anywhere and mapped, or a pipe or socket, which comes once and in order.
 */
import {fstatSync, readSync} from 'node:fs'
import {Socket} from 'node:net'

/** See the file's head. */
export interface StreamSource {
  /** Bytes read so far, from the stream's first on. */
  readonly offset: number
  /** Fills `into`; fewer bytes only at the end. Resolves to how many. */
  read(into: Uint8Array): Promise<number>
  /** A file that can be mapped at `offset`, and the way over bytes that were. */
  readonly file: {readonly fd: number; skip(bytes: number): void} | undefined
  close(): void
}

/** The stream behind a descriptor, of which `offset` bytes have been read. */
export function openSource(fd: number, offset: number): StreamSource {
  return fstatSync(fd).isFile() ? new FileSource(fd, offset) : new PipeSource(fd, offset)
}

class FileSource implements StreamSource {
  readonly file

  constructor(
    private readonly fd: number,
    public offset: number,
  ) {
    this.file = {
      fd,
      skip: (bytes: number) => {
        this.offset += bytes
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

  close(): void {}
}

class PipeSource implements StreamSource {
  readonly file = undefined
  private readonly socket: Socket
  private waiting: (() => void) | undefined
  private ended = false

  constructor(
    fd: number,
    public offset: number,
  ) {
    this.socket = new Socket({fd, readable: true, writable: false})
    const wake = () => this.waiting?.()
    this.socket.on('readable', wake)
    for (const event of ['end', 'close', 'error'])
      this.socket.on(event, () => {
        this.ended = true
        wake()
      })
  }

  async read(into: Uint8Array): Promise<number> {
    let filled = 0
    while (filled < into.length) {
      const {readableLength} = this.socket
      const piece: Buffer | null =
        readableLength === 0 ? null : this.socket.read(Math.min(readableLength, into.length - filled))
      if (piece !== null) {
        into.set(piece, filled)
        filled += piece.length
      } else if (this.ended) break
      else {
        await new Promise<void>(resolve => {
          this.waiting = resolve
          // Asks for more where the buffer is empty.
          this.socket.read(0)
        })
      }
    }
    this.offset += filled
    return filled
  }

  close(): void {
    this.socket.destroy()
  }
}
