/**
 * The back end of a request ring, for backends of any device. Requests are copied off the ring before anything is done with
 * them; responses go into the slots in the order they are given. Each side tells the other only of news it has asked for:
 *
 *   back end has published responses old … new    it notifies if rsp_event lies in that range
 *   back end finds no more requests               it sets req_event one ahead, then looks once more
 *
 * A frontend that claims more requests than there are slots has broken the ring: no request is read any more.
 * Source: public/io/ring.h.
 */
import {RingHeader, ringSlotsOffset} from '../abi/io/ring.js'
import {bug} from '../base/errors.js'
import {type GuestMemory, loadIndex, storeIndex} from './environment.js'

const pageBytes = 4096

/** What a ring's back end remembers beyond the shared page. */
export interface BackRingState {
  readonly requestConsumer: number
  readonly responseProducer: number
}

/** See the file's head. */
export class BackRing {
  /** A power of two. */
  readonly slots: number
  private requestConsumer: number
  private responseProducer: number

  /** `pageAddresses`: the ring's pages in order; `slotBytes`: room for the larger of request and response. */
  constructor(
    private readonly memory: GuestMemory,
    private readonly pageAddresses: readonly number[],
    private readonly slotBytes: number,
    state: BackRingState = {requestConsumer: 0, responseProducer: 0},
  ) {
    this.slots = 2 ** Math.floor(Math.log2((pageBytes * pageAddresses.length - ringSlotsOffset) / slotBytes))
    this.requestConsumer = state.requestConsumer
    this.responseProducer = state.responseProducer
  }

  /** A copy of the next request, or undefined if there is none (or the ring is broken). */
  takeRequest(): Uint8Array | undefined {
    const producer = this.index('reqProd')
    if (producer === this.requestConsumer || !this.isSound(producer)) return undefined
    const request = new Uint8Array(this.slotBytes)
    this.eachPiece(this.requestConsumer, (memory, from) => request.set(memory, from))
    this.requestConsumer = (this.requestConsumer + 1) >>> 0
    return request
  }

  /** Asks to be told of the next request. Returns whether there is one already, so that nobody needs to be told. */
  requestNotification(): boolean {
    this.setIndex('reqEvent', this.requestConsumer + 1)
    const producer = this.index('reqProd')
    return producer !== this.requestConsumer && this.isSound(producer)
  }

  /** Whether the frontend keeps to the ring's rules. */
  get isIntact(): boolean {
    return this.isSound(this.index('reqProd'))
  }

  /** Publishes responses, each at most a slot long. Returns whether the frontend has to be notified. */
  respond(responses: readonly Uint8Array[]): boolean {
    const former = this.responseProducer
    if (responses.length > (this.requestConsumer - former) >>> 0) bug('more ring responses than requests')
    for (const response of responses) {
      this.eachPiece(this.responseProducer, (memory, from) => memory.set(response.subarray(from, from + memory.length)))
      this.responseProducer = (this.responseProducer + 1) >>> 0
    }
    this.setIndex('rspProd', this.responseProducer)
    // Only after the index is out: a frontend that sets rsp_event and finds nothing then relies on being told.
    return (this.responseProducer - this.index('rspEvent')) >>> 0 < (this.responseProducer - former) >>> 0
  }

  /** What to hand to the constructor to go on with the same page. */
  save(): BackRingState {
    return {requestConsumer: this.requestConsumer, responseProducer: this.responseProducer}
  }

  private isSound(producer: number): boolean {
    const unanswered = (producer - this.responseProducer) >>> 0
    // The first test alone would accept a producer that has run backwards.
    return unanswered <= this.slots && unanswered >= (this.requestConsumer - this.responseProducer) >>> 0
  }

  /** Calls `use` with each contiguous piece of a slot's memory, and where in the slot it starts: slots may straddle pages. */
  private eachPiece(index: number, use: (memory: Uint8Array, from: number) => void): void {
    const start = ringSlotsOffset + (index & (this.slots - 1)) * this.slotBytes
    for (let from = 0; from < this.slotBytes; ) {
      const offset = (start + from) % pageBytes
      const address = this.pageAddresses[Math.floor((start + from) / pageBytes)] + offset
      const length = Math.min(this.slotBytes - from, pageBytes - offset)
      use(this.memory.bytes.subarray(address, address + length), from)
      from += length
    }
  }

  private index(name: keyof typeof RingHeader.offset): number {
    return loadIndex(this.memory, this.pageAddresses[0] + RingHeader.offset[name])
  }

  private setIndex(name: keyof typeof RingHeader.offset, value: number): void {
    storeIndex(this.memory, this.pageAddresses[0] + RingHeader.offset[name], value)
  }
}
