/**
 * Carries bytes between the xenstore page of a guest and its connection to the store, as far as both sides have room.
 * A guest that breaks the rules is told why in the page (`error`) and not listened to any more; it can ask for a fresh
 * start by setting `connection`, as can one that has lost its thread, a crash kernel for instance.
 * Source: docs/misc/xenstore-ring.txt, public/io/xs_wire.h.
 */
import {XsConnection, XsFeature, XsPage, XsPageError, xsRingSize} from '../abi/io/xs-wire.js'
import type {EventPort, Mfn} from '../base/brand.js'
import type {Connection} from '../xenstore/connection.js'
import {ByteRingReader, ByteRingWriter} from './byte-ring.js'
import {type BackendEnvironment, loadIndex, pageAddress, storeIndex} from './environment.js'

/** Bytes of requests handled before the next turn of the event loop: a guest that never stops asking must not stop others. */
const turnBytes = 16 * 1024

/** The back end of one guest's xenstore page. All its state is in the page and in the connection. */
export class XenstoreRing {
  private readonly requests: ByteRingReader
  private readonly replies: ByteRingWriter
  private readonly page: number
  private isPumping = false
  private isClosed = false

  /** `mfn`: the page; `port`: the guest's end of the event channel. */
  constructor(
    private readonly environment: BackendEnvironment,
    private readonly connection: Connection,
    mfn: Mfn,
    private readonly port: EventPort,
  ) {
    const {memory} = environment
    this.page = pageAddress(memory, mfn)
    const at = (offset: number) => this.page + offset
    const {offset} = XsPage
    this.requests = new ByteRingReader(memory, {
      data: at(offset.req),
      size: xsRingSize,
      consumer: at(offset.reqCons),
      producer: at(offset.reqProd),
    })
    this.replies = new ByteRingWriter(memory, {
      data: at(offset.rsp),
      size: xsRingSize,
      consumer: at(offset.rspCons),
      producer: at(offset.rspProd),
    })
    this.setWord('serverFeatures', XsFeature.reconnection | XsFeature.error)
    connection.onOutput = () => this.pump()
    environment.scheduler.soon(() => this.pump())
  }

  /** To be called when the guest has sent an event. */
  onEvent(): void {
    this.pump()
  }

  /** Lets go of page and connection. */
  close(): void {
    this.isClosed = true
    this.connection.onOutput = () => {}
  }

  private pump(): void {
    // Handling a request produces output, which calls back here.
    if (this.isPumping || this.isClosed) return
    this.isPumping = true
    try {
      this.pumpTurn()
    } finally {
      this.isPumping = false
    }
  }

  private pumpTurn(): void {
    if (this.word('connection') === XsConnection.reconnect) this.reconnect()
    let hasMoved = false
    for (let handled = 0; ; ) {
      const sent = this.sendReplies()
      const received = this.receiveRequest()
      if (sent + received === 0) break
      hasMoved = true
      handled += received
      if (handled < turnBytes) continue
      this.environment.scheduler.soon(() => this.pump())
      break
    }
    const failed = this.reportError()
    if (hasMoved || failed) this.environment.notifier.notify(this.port)
  }

  /** Returns how many bytes went to the guest. */
  private sendReplies(): number {
    const room = this.replies.room() ?? 0
    return room === 0 || this.connection.pendingBytes === 0 ? 0 : this.replies.write(this.connection.take(room))
  }

  /** Takes a request, or what there is of it; returns how many bytes. */
  private receiveRequest(): number {
    if (!this.connection.wantsInput) return 0
    const bytes = this.requests.read(this.connection.missingBytes)
    if (bytes.length > 0) this.connection.receive(bytes)
    return bytes.length
  }

  /** Notes in the page what is wrong with the guest's side; returns whether that is news. */
  private reportError(): boolean {
    const hasBadIndex = this.requests.available() === undefined || this.replies.room() === undefined
    const error = hasBadIndex
      ? XsPageError.ringIndex
      : this.connection.isBroken
        ? XsPageError.protocol
        : XsPageError.none
    if (error === this.word('error')) return false
    this.setWord('error', error)
    return true
  }

  /** The guest has asked for a connection like a new one: no bytes under way, no watches, no transactions. */
  private reconnect(): void {
    this.connection.reset()
    for (const index of ['reqCons', 'reqProd', 'rspCons', 'rspProd'] as const) this.setWord(index, 0)
    this.setWord('error', XsPageError.none)
    // Last: the guest uses the page again as soon as it sees this.
    this.setWord('connection', XsConnection.connected)
    this.environment.notifier.notify(this.port)
  }

  private word(name: keyof typeof XsPage.offset): number {
    return loadIndex(this.environment.memory, this.page + XsPage.offset[name])
  }

  private setWord(name: keyof typeof XsPage.offset, value: number): void {
    storeIndex(this.environment.memory, this.page + XsPage.offset[name], value)
  }
}
