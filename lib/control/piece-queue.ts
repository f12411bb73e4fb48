/**
 * What comes from a stream socket, piece by piece, in a few buffers that are used again and again. Sockets make a new buffer for every 64 KiB by themselves,
 * which costs a stream of some hundred megabytes more in allocation and garbage collection than the copying does.
 *
 *   const pieces = new PieceQueue(onread => createConnection({path, onread}))
 *   for (let piece = await pieces.next(); piece !== undefined; piece = await pieces.next()) pieces.skip(use(piece))
 *
 * When all buffers are full nothing is read until one is empty again.
 */
import type {OnReadOpts, Socket} from 'node:net'
import type {Writable} from 'node:stream'

/** As much as a socket of Linux holds. */
const bufferBytes = 256 << 10
/** One is being read into. */
const mostFull = 3

/** See the file's head. */
export class PieceQueue {
  private readonly full: {buffer: Buffer; from: number; to: number}[] = []
  private readonly empty: Buffer[] = []
  readonly socket: Socket
  private isOver = false
  private failure: Error | undefined
  private wake: () => void = () => {}

  /** `make` makes the socket; it is read at once. */
  constructor(make: (onread: OnReadOpts) => Socket) {
    const socket = make({
      buffer: () => this.empty.pop() ?? Buffer.allocUnsafeSlow(bufferBytes),
      callback: (bytes, buffer) => {
        this.full.push({buffer: buffer as Buffer, from: 0, to: bytes})
        this.wake()
        return this.full.length < mostFull
      },
    })
    const end = (error?: Error) => {
      if (error instanceof Error) this.failure = error
      this.isOver = true
      this.wake()
    }
    socket.on('end', () => end())
    socket.on('close', () => end())
    socket.on('error', end)
    socket.resume()
    this.socket = socket
  }

  /** Nothing more is read. */
  close(): void {
    this.socket.destroy()
  }

  /** What is to be used next; undefined at the end. Errors: the socket's. */
  async next(): Promise<Buffer | undefined> {
    while (this.full.length === 0) {
      if (this.failure !== undefined) throw this.failure
      if (this.isOver) return undefined
      await new Promise<void>(resolve => {
        this.wake = resolve
      })
    }
    const [{buffer, from, to}] = this.full
    return buffer.subarray(from, to)
  }

  /** The first bytes of the present piece have been used: they may be overwritten. */
  skip(bytes: number): void {
    const [first] = this.full
    first.from += bytes
    if (first.from < first.to) return
    this.full.shift()
    this.empty.push(first.buffer)
    if (this.full.length === mostFull - 1) this.socket.resume()
  }

  /** Writes all that comes; resolves when `out` has taken the last of it. Errors: the socket's, and those of `out`. */
  async writeTo(out: Writable): Promise<void> {
    // Told by the write that fails. What comes after that is of no interest any more.
    const ignore = () => {}
    out.on('error', ignore)
    for (let piece = await this.next(); piece !== undefined; piece = await this.next()) {
      const {length} = piece
      await new Promise<void>((resolve, reject) => {
        out.write(piece, error => (error ? reject(error) : resolve()))
      })
      this.skip(length)
    }
    out.off('error', ignore)
  }
}
