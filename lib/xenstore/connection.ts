/**
 * One guest's byte stream to the store: requests come in any pieces, replies and events go out in any pieces. Whoever carries
 * the bytes (pv/xenstore-ring.ts) offers input while `wantsInput` and takes output whenever the guest has room for it.
 *
 * What a guest can make a connection hold is bounded:
 * - no request is handled while more than `replyLimit` bytes wait for the guest;
 * - an event that already waits is not queued twice (a guest that never reads hears of each node once);
 * - beyond `eventLimit` bytes an event names the watch's own path instead of the node, so at most one per watch is added
 *   (as does an event whose path and token would not fit into one message);
 * - a header that announces more than 4096 bytes ends the conversation: nothing after it could be told apart.
 *
 * Source: docs/misc/xenstore.txt, public/io/xs_wire.h.
 */
import {XsHeader, xsPayloadMax} from '../abi/io/xs-wire.js'
import type {DomId} from '../base/brand.js'
import {fromBytes, toBytes} from '../base/byte-string.js'
import {encodeEvent, encodeMessage, encodeRefusal} from './message.js'
import type {ResolvedPath} from './path.js'
import {quota} from './quota.js'
import {Refusal, refuse} from './refusal.js'
import {answer} from './requests.js'
import type {XenstoreServer} from './server.js'
import type {View} from './store.js'
import {Transaction} from './transaction.js'
import type {Listener, Watch} from './watch.js'

/** Bytes waiting for the guest beyond which its requests wait too. */
export const replyLimit = 16 * 1024
/** Bytes waiting for the guest beyond which events lose detail. */
export const eventLimit = 64 * 1024

/** What survives of a connection; texts are byte strings. */
export interface ConnectionState {
  readonly domid: number
  readonly isBroken: boolean
  /** The part of a request that has come so far. */
  readonly input: string
  /** What waits for the guest, its first message perhaps begun. */
  readonly output: string
  readonly watches: readonly {path: string; implied: number; token: string}[]
  /** Ids of open transactions: their commits will fail with EAGAIN. */
  readonly transactions: readonly number[]
  readonly lastTransaction: number
}

interface Outgoing {
  readonly bytes: Uint8Array
  /** The event's place in `waitingEvents`, if this is one. */
  readonly event?: string
}

/** One guest's connection; made by XenstoreServer. */
export class Connection implements Listener {
  /** Called whenever there is something new to take. */
  onOutput: () => void = () => {}
  private readonly input = new Uint8Array(XsHeader.size + xsPayloadMax)
  private readonly inputView = new DataView(this.input.buffer)
  private inputLength = 0
  private output: Outgoing[] = []
  private sentOfFirst = 0
  private outputBytes = 0
  private readonly waitingEvents = new Set<string>()
  private transactions = new Map<number, Transaction>()
  private lastTransaction = 0
  private broken = false

  constructor(
    private readonly server: XenstoreServer,
    readonly domid: DomId,
  ) {}

  /** Whether the guest has broken the protocol; nothing more is read from it until `reset`. */
  get isBroken(): boolean {
    return this.broken
  }

  /** Whether `receive` may be called now. */
  get wantsInput(): boolean {
    return !this.broken && this.outputBytes <= replyLimit
  }

  /** Bytes that wait for the guest. */
  get pendingBytes(): number {
    return this.outputBytes
  }

  /** How many bytes the present request lacks: offering no more than these keeps each request apart. */
  get missingBytes(): number {
    if (this.inputLength < XsHeader.size) return XsHeader.size - this.inputLength
    return XsHeader.size + this.announcedLength() - this.inputLength
  }

  /** Takes at most `missingBytes` bytes from the guest, and handles the request if they complete it. */
  receive(bytes: Uint8Array): void {
    this.input.set(bytes, this.inputLength)
    this.inputLength += bytes.length
    if (this.inputLength < XsHeader.size) return
    if (this.announcedLength() > xsPayloadMax) {
      this.broken = true
      this.inputLength = 0
    } else if (this.missingBytes === 0) this.handle()
  }

  /** At most `limit` bytes of what waits for the guest; they are gone from here. */
  take(limit: number): Uint8Array {
    const taken = new Uint8Array(Math.min(limit, this.outputBytes))
    let sent = 0
    for (let filled = 0; filled < taken.length; ) {
      const {bytes, event} = this.output[sent]
      if (event !== undefined) this.waitingEvents.delete(event)
      const piece = bytes.subarray(this.sentOfFirst, this.sentOfFirst + taken.length - filled)
      taken.set(piece, filled)
      filled += piece.length
      this.sentOfFirst += piece.length
      if (this.sentOfFirst < bytes.length) break
      this.sentOfFirst = 0
      sent++
    }
    this.output = this.output.slice(sent)
    this.outputBytes -= taken.length
    return taken
  }

  /** Begins anew, as if the guest had just been introduced. */
  reset(): void {
    this.forget()
    this.broken = false
    this.inputLength = 0
    this.output = []
    this.sentOfFirst = 0
    this.outputBytes = 0
    this.waitingEvents.clear()
  }

  /** Drops the guest's watches and transactions. */
  forget(): void {
    this.server.watches.removeAll(this)
    this.transactions.clear()
  }

  hear(watch: Watch, path: string): void {
    const ownPath = watch.path.slice(watch.implied)
    const fits = path.length + watch.token.length + 2 <= xsPayloadMax
    const reported = fits && this.outputBytes <= eventLimit ? path : ownPath
    const event = `${reported}\0${watch.token}`
    if (this.waitingEvents.has(event)) return
    this.waitingEvents.add(event)
    this.send({bytes: encodeEvent(reported, watch.token), event})
  }

  /** Registers a watch of the guest. Errors: EEXIST, E2BIG. */
  watch({absolute, implied}: ResolvedPath, token: string): undefined | Refusal {
    return this.server.watches.add(this, absolute, implied, token)
  }

  /** Forgets a watch of the guest. Errors: ENOENT. */
  unwatch(path: string, token: string): undefined | Refusal {
    return this.server.watches.remove(this, path, token)
  }

  /** The id of a new transaction. Errors: ENOSPC beyond the quota. */
  startTransaction(): number | Refusal {
    if (this.transactions.size >= quota.transactions) return refuse.noSpace
    do this.lastTransaction = (this.lastTransaction + 1) >>> 0
    while (this.lastTransaction === 0 || this.transactions.has(this.lastTransaction))
    this.transactions.set(this.lastTransaction, new Transaction(this.server.store))
    return this.lastTransaction
  }

  /** Ends a transaction, for good or by dropping it. Errors: ENOENT; EAGAIN, ENOSPC from the commit. */
  endTransaction(id: number, commit: boolean): undefined | Refusal {
    const transaction = this.transactions.get(id)
    if (!transaction) return refuse.noEntry
    this.transactions.delete(id)
    return commit ? transaction.commit() : undefined
  }

  /** The tree as seen through transaction `id`, 0 for none. Errors: ENOENT; ENOSPC if the transaction used up its quota. */
  viewOf(id: number): View | Refusal {
    if (id === 0) return this.server.store
    const transaction = this.transactions.get(id)
    if (!transaction) return refuse.noEntry
    return transaction.isExhausted ? refuse.noSpace : transaction
  }

  /** Whether the store has a connection to `domid`. */
  isIntroduced(domid: DomId): boolean {
    return this.server.isIntroduced(domid)
  }

  /** A plain record of the connection. */
  save(): ConnectionState {
    const waiting = this.output.map(({bytes}) => fromBytes(bytes)).join('')
    return {
      domid: this.domid,
      isBroken: this.broken,
      input: fromBytes(this.input.subarray(0, this.inputLength)),
      output: waiting.slice(this.sentOfFirst),
      watches: this.server.watches.of(this).map(({path, implied, token}) => ({path, implied, token})),
      transactions: [...this.transactions.keys()],
      lastTransaction: this.lastTransaction,
    }
  }

  /** Takes over what `state` says, without a word to the guest. */
  restore(state: ConnectionState): void {
    this.broken = state.isBroken
    this.input.set(toBytes(state.input))
    this.inputLength = state.input.length
    for (const {path, implied, token} of state.watches) this.server.watches.register(this, path, implied, token)
    for (const id of state.transactions) this.transactions.set(id, new Transaction(this.server.store, true))
    this.lastTransaction = state.lastTransaction
    if (state.output !== '') this.send({bytes: toBytes(state.output)})
  }

  private announcedLength(): number {
    return this.inputView.getUint32(XsHeader.offset.length, true)
  }

  private handle(): void {
    const request = XsHeader.read(this.inputView, 0)
    const payload = fromBytes(this.input.subarray(XsHeader.size, this.inputLength))
    this.inputLength = 0
    const reply = answer(this, request, payload)
    // Answered first: the events that a request causes then follow its reply.
    if (reply instanceof Refusal) this.send({bytes: encodeRefusal(request, reply)})
    else this.send({bytes: encodeMessage(request.type, request.requestId, request.transactionId, reply)})
    this.server.settle()
  }

  private send(message: Outgoing): void {
    this.output.push(message)
    this.outputBytes += message.bytes.length
    this.onOutput()
  }
}
