/**
 * What a backend is handed: the guest's memory, a way to send it an event, and a way to go on later. A backend runs on the
 * main thread of the domain process while the guest's vCPUs run on threads of their own over the same memory, so:
 * - an index of a shared page is read and written with Atomics only; bytes are copied out before an index is published
 *   that lets the guest overwrite them, and copied in before one that lets it read them;
 * - everything in a shared page may change at any moment and may be nonsense: read once, check, then use;
 * - no call works on as long as the guest supplies work: beyond a budget it goes on later, so that others get their turn.
 */
import type {EventPort, GrantRef, Mfn} from '../base/brand.js'
import {bug} from '../base/errors.js'

/** The memory of a domain. */
export interface GuestMemory {
  readonly bytes: Uint8Array
  /** The same memory for records; never for an index that both sides use. */
  readonly view: DataView
  /** The same memory in words of 32 bits. */
  readonly int32: Int32Array
  /** Where a frame starts in `bytes`, or undefined if the domain does not own it. */
  addressOfFrame(mfn: Mfn): number | undefined
}

/** Sends events to the guest. */
export interface Notifier {
  /** Raises the guest's end of an event channel. */
  notify(port: EventPort): void
}

/** Runs work later, on the same thread. */
export interface Scheduler {
  /** After everything that is waiting for its turn. */
  soon(work: () => void): void
  /** After a time; returns what calls it off. */
  after(delayMs: number, work: () => void): () => void
}

/** A page that the guest granted, while a backend has it. */
export interface GrantedPage {
  /** Byte offset of the page in the guest's memory. */
  readonly address: number
  /** Ends the use; the guest gets its page back. To be called once, and before the guest is told that it has been written to. */
  end(): void
}

/** Uses pages that the guest granted to this backend's domain. */
export interface GrantMapper {
  /** The page of a grant, or undefined if the guest did not grant it so. */
  use(ref: GrantRef, access: 'read' | 'write'): GrantedPage | undefined
}

/** All four, for one domain. */
export interface BackendEnvironment {
  readonly memory: GuestMemory
  readonly grants: GrantMapper
  readonly notifier: Notifier
  readonly scheduler: Scheduler
}

/** Where the page that the toolstack gave a backend starts in the guest's memory. */
export function pageAddress(memory: GuestMemory, mfn: Mfn): number {
  return memory.addressOfFrame(mfn) ?? bug(`no memory for the shared page in frame ${mfn}`)
}

/** A 32-bit word of a shared page; what the guest wrote before it is visible afterwards. */
export function loadIndex(memory: GuestMemory, address: number): number {
  return Atomics.load(memory.int32, address >>> 2) >>> 0
}

/** Sets a 32-bit word of a shared page, visible after everything written before. */
export function storeIndex(memory: GuestMemory, address: number, value: number): void {
  Atomics.store(memory.int32, address >>> 2, value | 0)
}
