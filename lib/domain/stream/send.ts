/**
 * Sends a guest as a stream, at once or while it runs on (pre-copy):
 *
 *   live    all pages that are not zero ─► again those written to meanwhile ─► … ─► few are left, or it does not get better
 *   stop    the vCPU is parked ─► the rest ─► blocks, values, end; the guest stays parked for the caller to decide
 *
 * A guest that writes faster than the stream moves is slowed down: it runs in slices of time with growing sleeps between them, until the rounds get
 * shorter. One that does not get there with the least of time is stopped at once: more rounds would only keep it slow.
 */
import type {SendReport, SendRound} from '../../control/protocol.js'
import {field} from '../../hypervisor/record.js'
import type {Guest, Machine} from '../guest.js'
import {carriedFrames, describeMachine, takeBlocks, takeValues} from './machine-state.js'
import {blockVersion, pageBytes, RecordType, type StreamStart, type StreamState} from './record.js'
import {TouchedPages} from './touched-pages.js'
import type {StreamWriter} from './writer.js'

/** With so few dirty pages left, another live round gains nothing. */
const fewPages = 64
/** What the last round may take, by the rate of the rounds before. */
const stopMs = 30
const mostRounds = 30
/** A round that leaves more than this part of what the one before left does not converge. */
const converging = 0.7
const chunkFrames = 4096
/** The part of the time in which a guest that is slowed down runs: at least so much, and for how long at once. */
const leastDuty = 0.01
const longestRunMs = 20
const roundsWithLeast = 3
/** What a round that is to be followed by a shorter one may leave of what it sends. */
const wantedPart = 0.5
/** A round of fewer pages says nothing of the stream's rate: they are on their way, not there. */
const fewestMeasured = 256

/** What sending needs of a guest. */
export type LeavingGuest = Pick<
  Guest,
  'machine' | 'record' | 'pages' | 'store' | 'park' | 'harvest' | 'hold' | 'release'
>

/** Who looks on. */
export interface SendOptions {
  /** Copy while the guest runs. */
  readonly live: boolean
  /** Of a migration (control/migration-tokens.ts). */
  readonly token?: string
  /** Resolves when the receiver has said that the guest can run there: before, it is not parked. Errors: whatever ends the sending. */
  readonly mayStop?: () => Promise<void>
  /** Called during and after each round. */
  readonly onProgress?: (round: number, pages: number) => void
}

/** Sends the guest; afterwards it is parked. Errors: the sink's; OperatorError when the guest has shut down. */
export async function sendGuest(
  guest: LeavingGuest,
  domid: number,
  writer: StreamWriter,
  options: SendOptions,
): Promise<SendReport> {
  const rounds: SendRound[] = []
  const onPages = (pages: number) => options.onProgress?.(rounds.length, pages)
  const round = async (work: () => Promise<void>): Promise<SendRound> => {
    const [pages, bytes, sinceMs] = [writer.pages, writer.offset, performance.now()]
    await work()
    await writer.flush()
    const done = {pages: writer.pages - pages, bytes: writer.offset - bytes, ms: performance.now() - sinceMs}
    rounds.push(done)
    return done
  }
  const {token} = options
  const start: StreamStart = {
    head: writer.headCrc,
    ...describeMachine(guest.machine),
    ...(token === undefined ? {} : {token}),
  }
  await writer.json(RecordType.start, start)
  const sinceMs = performance.now()
  let parkedAtMs: number
  if (options.live) {
    const stopped = await preCopy(guest, writer, round, onPages, options.mayStop)
    const {dirty} = stopped
    parkedAtMs = stopped.atMs
    await round(() => sendRest(guest, writer, dirty, onPages))
  } else {
    parkedAtMs = performance.now()
    await guest.park()
    await round(() => sendAll(guest, writer, onPages))
  }
  await sendState(guest, domid, writer)
  await writer.flush()
  const nowMs = performance.now()
  return {rounds, bytes: writer.offset, totalMs: nowMs - sinceMs, parkedMs: nowMs - parkedAtMs}
}

/** The live rounds; resolves to the frames that are left, and since when the guest is parked. */
async function preCopy(
  guest: LeavingGuest,
  writer: StreamWriter,
  round: (work: () => Promise<void>) => Promise<SendRound>,
  onPages: (pages: number) => void,
  mayStop: SendOptions['mayStop'],
): Promise<{dirty: number[]; atMs: number}> {
  const throttle = new Throttle(guest)
  try {
    // What was marked so far does not matter: everything is sent.
    await guest.harvest()
    let last = await round(() => sendAll(guest, writer, onPages))
    let pagesPerMs = last.pages / Math.max(last.ms, 1)
    await mayStop?.()
    let dirty = await guest.harvest()
    for (let rounds = 1; rounds < mostRounds; rounds++) {
      if (last.pages >= fewestMeasured) pagesPerMs = last.pages / Math.max(last.ms, 1)
      if (dirty.length <= Math.max(fewPages, pagesPerMs * stopMs)) break
      const sending = dirty
      last = await round(() => sendDirty(guest, writer, sending, onPages))
      dirty = await guest.harvest()
      if (dirty.length > sending.length * converging) {
        const dirtyPerMs = dirty.length / Math.max(last.ms, 1)
        if (!throttle.slower((wantedPart * pagesPerMs) / dirtyPerMs)) break
      }
    }
    const atMs = performance.now()
    // Before it has all the time again.
    await guest.park()
    return {dirty, atMs}
  } finally {
    throttle.end()
  }
}

/** Every page that is not zero. */
async function sendAll({machine}: LeavingGuest, writer: StreamWriter, onPages: (pages: number) => void): Promise<void> {
  const {memory, layout} = machine
  const frames = carriedFrames(machine)
  const touched = new TouchedPages(memory.wasm)
  try {
    for (let first = 0; first < frames; first += chunkFrames) {
      const pages = touched.within(layout.ramBase + first * pageBytes, Math.min(chunkFrames, frames - first))
      const filled = pages.map(page => first + page).filter(isFilled(machine))
      await writer.frames(machine, filled, onPages)
    }
  } finally {
    touched.close()
  }
}

/** Frames that the other side may have in another state. */
async function sendDirty(
  {machine}: LeavingGuest,
  writer: StreamWriter,
  frames: readonly number[],
  onPages: (pages: number) => void,
): Promise<void> {
  const filled = isFilled(machine)
  const carried = frames.filter(frame => frame < carriedFrames(machine))
  const isZero = new Set(carried.filter(frame => !filled(frame)))
  await writer.frames(
    machine,
    carried.filter(frame => !isZero.has(frame)),
    onPages,
  )
  // A page that has been filled since is in the next harvest.
  await writer.zeros([...isZero])
}

/** The last dirty frames of a parked guest, and those that nobody marks. */
async function sendRest(
  guest: LeavingGuest,
  writer: StreamWriter,
  dirty: readonly number[],
  onPages: (pages: number) => void,
): Promise<void> {
  const {layout} = guest.machine
  const unmarked = [
    layout.sharedInfo,
    Math.floor((guest.record.u32(field.vcpuInfo) - layout.ramBase) / pageBytes),
    guest.pages.store,
    guest.pages.console,
    ...Array.from({length: guest.record.u32(field.grantFrameCount)}, (_, index) => layout.grantFrames + index),
  ]
  const last = await guest.harvest()
  const frames = [...new Set([...dirty, ...last, ...unmarked])].sort((a, b) => a - b)
  await sendDirty(guest, writer, frames, onPages)
}

/** What is not pages, and the end. */
async function sendState(guest: LeavingGuest, domid: number, writer: StreamWriter): Promise<void> {
  const {machine, pages, store} = guest
  for (const {id, bytes} of takeBlocks(machine)) {
    const block = Buffer.alloc(8 + bytes.length)
    block.writeUInt32LE(id, 0)
    block.writeUInt32LE(blockVersion, 4)
    block.set(bytes, 8)
    await writer.record(RecordType.block, block)
  }
  const state: StreamState = {
    domid,
    storePage: pages.store,
    consolePage: pages.console,
    ...takeValues(machine),
    xenstore: store.server.save(),
  }
  await writer.json(RecordType.state, state)
  await writer.record(RecordType.end, new Uint8Array(0))
}

const zeroPage = Buffer.alloc(pageBytes)

/** Tells whether a frame holds anything. */
function isFilled({memory, layout}: Machine): (frame: number) => boolean {
  const all = Buffer.from(memory.wasm.buffer)
  return frame => {
    const at = layout.ramBase + frame * pageBytes
    return all.compare(zeroPage, 0, pageBytes, at, at + pageBytes) !== 0
  }
}

/** Lets a guest run for a part of the time only. */
class Throttle {
  private duty = 1
  private roundsLeft = roundsWithLeast
  private timer: NodeJS.Timeout | undefined
  /** Since when it runs after a sleep. */
  private runsSinceMs: number | undefined
  private ranMs = longestRunMs

  constructor(private readonly guest: LeavingGuest) {}

  /** Leaves the guest this part of the time it has now, or a quarter of it if that is less. False: it had the least for long enough. */
  slower(part: number): boolean {
    if (this.duty === leastDuty && --this.roundsLeft === 0) return false
    this.duty = Math.max(leastDuty, this.duty * Math.min(part, 0.25))
    this.sleep()
    return true
  }

  /** The guest has all the time again. */
  end(): void {
    clearTimeout(this.timer)
    this.guest.release('throttle')
  }

  /** For as long as it takes after what it has run, which may be more than it was to. */
  private sleep(): void {
    clearTimeout(this.timer)
    this.guest.hold('throttle')
    const nowMs = performance.now()
    this.ranMs = this.runsSinceMs === undefined ? this.ranMs : nowMs - this.runsSinceMs
    this.runsSinceMs = undefined
    this.timer = setTimeout(() => this.wake(), (this.ranMs * (1 - this.duty)) / this.duty)
  }

  private wake(): void {
    this.guest.release('throttle')
    this.runsSinceMs = performance.now()
    this.timer = setTimeout(() => this.sleep(), Math.max(1, longestRunMs * this.duty))
  }
}
