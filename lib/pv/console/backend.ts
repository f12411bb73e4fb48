/**
 * The back end of a guest's console: what the guest writes goes to every attached sink (a log, consoles that people look at),
 * and what they type goes to the guest.
 *
 *   guest ── out ring ──▶ backlog, the last 64 KiB ──▶ each sink, at its own pace
 *   guest ◀── in ring ─── feed(), which takes only what there is room for
 *
 * A sink that attaches late is first given the backlog. A slow sink loses nothing: when the backlog cannot take more without
 * overwriting what a sink still lacks, the guest's bytes stay in the ring and the guest waits. But no sink can stop a guest:
 * one that has held it up for `patienceMs` falls behind from then on, and is told how much it missed.
 * So however much a guest writes, this keeps 64 KiB.
 * Source: public/io/console.h.
 */
import {ConsoleConnection, ConsolePage, consoleInSize, consoleOutSize} from '../../abi/io/console.js'
import type {EventPort, Mfn} from '../../base/brand.js'
import {ByteRingReader, ByteRingWriter} from '../byte-ring.js'
import {type BackendEnvironment, pageAddress} from '../environment.js'
import {Backlog, type BacklogState} from './backlog.js'

/** Bytes of output kept. */
export const backlogBytes = 64 * 1024
/** How long a sink may hold up the guest before the guest goes on without it. */
export const patienceMs = 5000
/** Bytes taken from the guest, and bytes given to a sink, in one turn of the event loop. */
const turnBytes = 16 * 1024

/** Where console output goes. */
export interface ConsoleSink {
  /** Takes bytes, all of them. False: not to be given more until it calls the `ready` that `attach` returned. */
  write(bytes: Uint8Array): boolean
  /** `bytes` of output were lost to this sink before the next write. */
  skipped(bytes: number): void
  /** Everything has been written; nothing will follow. */
  end(): void
}

/** A sink's hold on the console. */
export interface Attachment {
  /** The sink can take more. */
  ready(): void
  /** No more output, please; `end` is not called. */
  detach(): void
}

/** What survives of a console; the rest of its state is in the guest's page. */
export interface ConsoleState {
  readonly version: 1
  readonly backlog: BacklogState
}

interface Reader {
  readonly sink: ConsoleSink
  /** Number of the next byte it gets. */
  position: number
  isReady: boolean
  /** It has held up the guest for too long, and has not caught up since. */
  isLate: boolean
}

/** See the file's head. */
export class ConsoleBackend {
  private readonly output: ByteRingReader
  private readonly input: ByteRingWriter
  private readonly backlog = new Backlog(backlogBytes)
  private readonly readers = new Set<Reader>()
  private roomWaiters: (() => void)[] = []
  private isTurnPlanned = false
  private cancelPatience: (() => void) | undefined
  private isClosing = false

  /** `mfn`: the console page; `port`: the guest's end of the event channel. */
  constructor(
    private readonly environment: BackendEnvironment,
    mfn: Mfn,
    private readonly port: EventPort,
    state?: ConsoleState,
  ) {
    const {memory} = environment
    const page = pageAddress(memory, mfn)
    const {offset} = ConsolePage
    this.output = new ByteRingReader(memory, {
      data: page + offset.out,
      size: consoleOutSize,
      consumer: page + offset.outCons,
      producer: page + offset.outProd,
    })
    this.input = new ByteRingWriter(memory, {
      data: page + offset.in,
      size: consoleInSize,
      consumer: page + offset.inCons,
      producer: page + offset.inProd,
    })
    if (state) this.backlog.restore(state.backlog)
    memory.bytes[page + offset.connection] = ConsoleConnection.connected
    this.planTurn()
  }

  /** To be called when the guest has sent an event. */
  onEvent(): void {
    this.turn()
    const waiters = this.roomWaiters
    if (waiters.length === 0 || !this.input.room()) return
    this.roomWaiters = []
    for (const waiter of waiters) waiter()
  }

  /** Starts giving output to a sink: with `fromBacklog` all that is kept, then or otherwise all that comes from now on. */
  attach(sink: ConsoleSink, fromBacklog: boolean): Attachment {
    const position = fromBacklog ? this.backlog.start : this.backlog.end
    const reader: Reader = {sink, position, isReady: true, isLate: false}
    this.readers.add(reader)
    this.planTurn()
    return {
      ready: () => {
        reader.isReady = true
        this.resetPatience()
        this.planTurn()
      },
      detach: () => {
        this.readers.delete(reader)
        this.planTurn()
      },
    }
  }

  /** Gives the guest input; returns how many bytes there was room for. The rest may be offered again at `whenRoom`. */
  feed(bytes: Uint8Array): number {
    const taken = this.input.write(bytes)
    if (taken > 0) this.environment.notifier.notify(this.port)
    return taken
  }

  /** Calls back once, when the guest has read input. */
  whenRoom(waiter: () => void): void {
    this.roomWaiters.push(waiter)
  }

  /** A plain record; the guest must not be running. */
  save(): ConsoleState {
    return {version: 1, backlog: this.backlog.save()}
  }

  /** To be called when the guest has stopped for good: gives every sink what is left, then ends it. */
  close(): void {
    this.isClosing = true
    this.planTurn()
  }

  private planTurn(): void {
    if (this.isTurnPlanned) return
    this.isTurnPlanned = true
    this.environment.scheduler.soon(() => {
      this.isTurnPlanned = false
      this.turn()
    })
  }

  /** Moves a bounded number of bytes from the ring to the backlog and from there to the sinks. */
  private turn(): void {
    this.deliver()
    const taken = this.drain()
    if (taken > 0) {
      this.environment.notifier.notify(this.port)
      this.deliver()
    }
    const canDeliver = [...this.readers].some(reader => reader.isReady && reader.position < this.backlog.end)
    const hasOutput = (this.output.available() ?? 0) > 0
    if (canDeliver || (hasOutput && this.allowance() > 0)) this.planTurn()
    if (this.isClosing && !hasOutput) this.endReaders()
    this.watchPatience()
  }

  /** Returns how many bytes were taken from the guest. */
  private drain(): number {
    let taken = 0
    for (let limit = turnBytes; limit > 0; limit = turnBytes - taken) {
      const bytes = this.output.read(Math.min(limit, this.allowance()))
      if (bytes.length === 0) break
      this.backlog.append(bytes)
      taken += bytes.length
    }
    return taken
  }

  /** How many bytes the backlog can take before it overwrites what a sink waits for. */
  private allowance(): number {
    let oldest = this.backlog.end
    for (const reader of this.readers) if (!reader.isLate) oldest = Math.min(oldest, reader.position)
    return oldest + this.backlog.size - this.backlog.end
  }

  private deliver(): void {
    for (const reader of this.readers) {
      if (!reader.isReady || reader.position === this.backlog.end) continue
      const missed = this.backlog.start - reader.position
      if (missed > 0) {
        reader.position = this.backlog.start
        reader.sink.skipped(missed)
      }
      const bytes = this.backlog.read(reader.position, turnBytes)
      reader.position += bytes.length
      // It can take bytes again, so it may hold up the guest again.
      reader.isLate = false
      reader.isReady = reader.sink.write(bytes)
    }
  }

  /** While sinks hold up the guest, or the end, a clock runs for them. */
  private watchPatience(): void {
    const isHeldUp = this.isClosing ? this.readers.size > 0 : this.allowance() === 0
    if (!isHeldUp) this.resetPatience()
    else this.cancelPatience ??= this.environment.scheduler.after(patienceMs, () => this.losePatience())
  }

  private resetPatience(): void {
    this.cancelPatience?.()
    this.cancelPatience = undefined
  }

  private losePatience(): void {
    this.cancelPatience = undefined
    for (const reader of this.readers) {
      if (reader.isReady) continue
      reader.isLate = true
      if (!this.isClosing) continue
      this.readers.delete(reader)
      reader.sink.end()
    }
    this.turn()
  }

  private endReaders(): void {
    for (const reader of this.readers) {
      if (reader.position < this.backlog.end || !reader.isReady) continue
      this.readers.delete(reader)
      reader.sink.end()
    }
  }
}
