/**
 * One guest console, many people. What the guest prints goes to every attached stream; what they type is merged in order of
 * arrival. The last `backlogBytes` of output are kept and shown first to whoever attaches, so nothing printed before the first
 * console came is lost.
 *
 * A guest that floods its console, or a reader that has stopped, must not hold the guest up or fill memory: each stream has a queue
 * of at most `queueBytes`; beyond it the oldest output is dropped, and a line says how much. Input is limited the same way, by not
 * reading from the streams while `input` has not been taken.
 *
 * Interface: write() from the guest; attach() from control; takeInput() towards the guest; end() when the domain is gone.
 */
import type {Duplex} from 'node:stream'
import {ByteQueue} from './byte-queue.js'

/** Limits in bytes. */
export interface ConsoleLimits {
  backlogBytes: number
  queueBytes: number
  inputBytes: number
}

const defaultLimits: ConsoleLimits = {backlogBytes: 64 << 10, queueBytes: 4 << 20, inputBytes: 16 << 10}

const chunkBytes = 64 << 10

/** One attached stream with what it has not been given yet. */
class Listener {
  private readonly queue = new ByteQueue()
  private droppedBytes = 0
  private blocked = false
  private ending = false

  constructor(
    readonly stream: Duplex,
    private readonly limit: number,
  ) {
    stream.on('drain', () => {
      this.blocked = false
      this.flush()
    })
  }

  write(bytes: Uint8Array): void {
    this.queue.push(bytes)
    this.droppedBytes += this.queue.trim(this.limit)
    this.flush()
  }

  end(): void {
    this.ending = true
    this.flush()
  }

  private flush(): void {
    if (this.droppedBytes > 0 && !this.blocked) {
      const note = `\r\n[gastwirt: ${this.droppedBytes} bytes of console output dropped]\r\n`
      this.droppedBytes = 0
      this.blocked = !this.stream.write(note)
    }
    while (!this.blocked && this.queue.size > 0) this.blocked = !this.stream.write(this.queue.take(chunkBytes))
    if (this.ending && this.queue.size === 0) this.stream.end()
  }
}

/** The meeting point of one guest's console and the people who watch it. */
export class ConsoleHub {
  private readonly limits: ConsoleLimits
  private readonly listeners = new Map<Duplex, Listener>()
  private readonly backlog = new ByteQueue()
  private readonly input = new ByteQueue()
  private ended = false

  /** `onInput` is called whenever typed bytes are waiting for {@link takeInput}. */
  constructor(
    private readonly onInput: () => void = () => {},
    limits: Partial<ConsoleLimits> = {},
  ) {
    this.limits = {...defaultLimits, ...limits}
  }

  /** Shows bytes the guest printed. They are kept, not copied: the caller gives them away. */
  write(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.ended) return
    this.backlog.push(bytes)
    this.backlog.trim(this.limits.backlogBytes)
    for (const listener of this.listeners.values()) listener.write(bytes)
  }

  /** Connects a stream: recent output first, then everything new, until it closes or the hub ends. */
  attach(stream: Duplex): void {
    const listener = new Listener(stream, this.limits.queueBytes)
    const detach = (): void => {
      this.listeners.delete(stream)
    }
    stream.on('close', detach)
    stream.on('error', () => {
      detach()
      stream.destroy()
    })
    stream.on('data', (bytes: Uint8Array) => this.type(bytes))
    listener.write(this.backlog.toBytes())
    if (this.ended) {
      listener.end()
      return
    }
    this.listeners.set(stream, listener)
    if (this.input.size >= this.limits.inputBytes) stream.pause()
    else stream.resume()
  }

  /** Up to `limit` typed bytes, removed from the input; empty when there are none. */
  takeInput(limit: number): Uint8Array {
    const taken = this.input.take(limit)
    if (this.input.size < this.limits.inputBytes) for (const stream of this.listeners.keys()) stream.resume()
    return taken
  }

  /** The last `limit` bytes of output, for the log of a domain that crashed. */
  tail(limit: number): Uint8Array {
    return this.backlog.toBytes().subarray(-limit)
  }

  /** How many people watch. */
  get size(): number {
    return this.listeners.size
  }

  /**
   * Gives every stream the rest of the output, then its end. Resolves when all have it or have left, and after `patienceMs` at the
   * latest: a terminal that somebody has stopped does not keep a dead domain. Later output is ignored.
   */
  async end(patienceMs = 2000): Promise<void> {
    this.ended = true
    const closing = [...this.listeners].map(([stream, listener]) => {
      const gone = new Promise<void>(resolve => {
        stream.on('finish', resolve)
        stream.on('close', () => resolve())
      })
      listener.end()
      return gone
    })
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<void>(resolve => {
      timer = setTimeout(resolve, patienceMs)
    })
    await Promise.race([Promise.all(closing), patience])
    clearTimeout(timer)
    for (const stream of this.listeners.keys()) stream.destroy()
    this.listeners.clear()
  }

  private type(bytes: Uint8Array): void {
    this.input.push(bytes)
    if (this.input.size >= this.limits.inputBytes) for (const stream of this.listeners.keys()) stream.pause()
    this.onInput()
  }
}
