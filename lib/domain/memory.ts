/**
 * The memory of a domain that runs: how much its guest is told to use, how much it may have, how much it has, and what of it the host counts.
 *
 *   held ──── frames the guest has; its balloon driver moves them towards the target
 *   target ── memory/target in xenstore, where the driver reads it
 *   limit ─── in the machine record: the hypervisor hands out no frame beyond it; `mem-set` makes it the target, `mem-max` sets it alone
 *   maximum ─ memory/static-max in xenstore: the most that a target may become; at first what the configuration calls maxmem
 *
 * The host counts what the guest may come to hold without asking anyone: the greater of limit and held. So memory counts before the guest may
 * have it, and no longer only when the guest has given it. Nothing here is state but what is being counted: a guest that is restored brings it all.
 *
 * Source: tools/libs/light/libxl_mem.c.
 */
import type {DomId} from '../base/brand.js'
import {OperatorError} from '../base/errors.js'
import {field} from '../hypervisor/record.js'
import {memoryMaximum, memoryTarget, setMemoryMaximum, setMemoryTarget} from '../xenstore/control.js'
import type {Guest} from './guest.js'
import {hostMemory, type SharedPages} from './host-memory.js'

/** A guest that has come no nearer to its target for so long does not get there for now. */
const patienceMs = 10_000
/** When the host may begin to look for pages like those of other domains. */
const mergeAfterMs = 30_000
/** What counts as having got there. */
const nearKb = 1024

/** What `mem-set` and `mem-max` set. */
export type MemoryLimit = 'target' | 'maximum'

/** Where the memory of domains is counted, and what a person reads. */
export interface MemoryLedger {
  /** What the host counts for the domain at first. */
  readonly countedKb: number
  /** Counts that much from now on. With `hostMemoryKb`, what all domains may have together, more is refused when it does not fit. */
  account(memoryKb: number, hostMemoryKb?: number): Promise<void>
  say(line: string): void
}

const mebibytes = (kb: number): number => Math.ceil(kb / 1024)

/** The memory of one guest. */
export class DomainMemory {
  private countedKb: number
  private turn: Promise<void> = Promise.resolve()
  private isRecounting = false
  private isOver = false
  private patience: NodeJS.Timeout | undefined
  private readonly merging: NodeJS.Timeout

  constructor(
    private readonly guest: Guest,
    private readonly domid: DomId,
    private readonly ledger: MemoryLedger,
  ) {
    this.countedKb = ledger.countedKb
    // A guest that was restored may bring a limit that nothing has been counted for.
    this.limitPages = Math.min(this.limitPages, Math.floor(Math.max(this.countedKb, this.heldKb) / 4))
    this.changed()
    // A guest that boots writes to most of its pages: merging them before is work for nothing.
    this.merging = setTimeout(() => this.merge(), mergeAfterMs).unref()
  }

  /** What the guest has, in KiB. */
  get heldKb(): number {
    return (this.guest.machine.layout.ramPages - this.guest.record.u32(field.absentPages)) * 4
  }

  /** What the guest is told to use, in KiB. */
  get targetKb(): number {
    return memoryTarget(this.guest.dom0, this.domid)
  }

  /** The most that the target may become, in KiB. */
  get maximumKb(): number {
    return memoryMaximum(this.guest.dom0, this.domid)
  }

  /** What another guest of this domain starts with, in KiB: the target, but what this one could not give up it is not refused. */
  get nextKb(): number {
    return Math.min(Math.max(this.targetKb, this.heldKb), this.builtForKb)
  }

  private get builtForKb(): number {
    return this.guest.machine.layout.ramPages * 4
  }

  /**
   * Sets target or maximum; resolves when both the guest and the host's account have it. The guest follows in its own time.
   * Errors: OperatorError when the two would not fit each other, the domain was not built for so much, or the host has no room.
   */
  set(limit: MemoryLimit, kb: number, hostMemoryKb?: number): Promise<void> {
    return this.inTurn(() =>
      limit === 'target' ? this.setTarget(kb, hostMemoryKb) : this.setMaximum(kb, hostMemoryKb),
    )
  }

  /** What of the guest's memory the host has only once for several domains. */
  get shared(): SharedPages {
    return hostMemory(this.guest.machine.memory.wasm).shared()
  }

  private merge(): void {
    const {memory, layout} = this.guest.machine
    hostMemory(memory.wasm).mergePages(layout.ramBase, layout.ramPages * 4096)
  }

  private async setTarget(kb: number, hostMemoryKb?: number): Promise<void> {
    const {maximumKb} = this
    if (kb > maximumKb) {
      throw new OperatorError('memory_dynamic_max must be less than or equal to memory_static_max', {
        hint: `domain ${this.domid} can have up to ${mebibytes(maximumKb)} MiB: "maxmem" of its configuration, or "xl mem-max"`,
      })
    }
    await this.setLimit(kb, hostMemoryKb)
    setMemoryTarget(this.guest.dom0, this.domid, kb)
    this.beginPatience()
  }

  private async setMaximum(kb: number, hostMemoryKb?: number): Promise<void> {
    const {targetKb, builtForKb} = this
    if (kb < targetKb) {
      throw new OperatorError('memory_static_max must be greater than or or equal to memory_dynamic_max', {
        hint: `the target of domain ${this.domid} is ${mebibytes(targetKb)} MiB: lower that first with "xl mem-set"`,
      })
    }
    if (kb > builtForKb) {
      throw new OperatorError(`domain ${this.domid} was built for at most ${mebibytes(builtForKb)} MiB`, {
        hint: 'give a larger "maxmem" in its configuration and start it again',
      })
    }
    await this.setLimit(kb, hostMemoryKb)
    setMemoryMaximum(this.guest.dom0, this.domid, kb)
  }

  /** More counts before the guest may have it; less, after it may not. */
  private async setLimit(kb: number, hostMemoryKb?: number): Promise<void> {
    const pages = Math.floor(kb / 4)
    const isMore = pages > this.limitPages
    if (!isMore) this.limitPages = pages
    await this.count(Math.max(pages * 4, this.heldKb), isMore ? hostMemoryKb : undefined)
    if (isMore) this.limitPages = pages
  }

  private get limitPages(): number {
    const most = Atomics.load(this.guest.machine.memory.int32, field.mostPages >> 2) >>> 0
    return Math.min(most, this.guest.machine.layout.ramPages)
  }

  private set limitPages(pages: number) {
    Atomics.store(this.guest.machine.memory.int32, field.mostPages >> 2, pages)
  }

  /** The guest holds more or fewer frames than before. */
  changed(): void {
    if (this.patience !== undefined) this.beginPatience()
    if (this.isRecounting || this.isOver) return
    this.isRecounting = true
    const recount = async () => {
      this.isRecounting = false
      if (!this.isOver) await this.count(Math.max(this.limitPages * 4, this.heldKb))
    }
    this.inTurn(recount).catch(error => {
      if (!this.isOver) this.ledger.say(`the host cannot count its memory: ${error}`)
    })
  }

  /** No more is counted for this guest; resolves when nothing is under way. */
  async close(): Promise<void> {
    this.isOver = true
    clearTimeout(this.patience)
    clearTimeout(this.merging)
    await this.turn
  }

  private async count(kb: number, hostMemoryKb?: number): Promise<void> {
    if (kb === this.countedKb) return
    await this.ledger.account(kb, hostMemoryKb)
    this.countedKb = kb
  }

  /** Says so when the guest stays away from its target. It may still follow later. */
  private beginPatience(): void {
    clearTimeout(this.patience)
    this.patience = undefined
    if (Math.abs(this.heldKb - this.targetKb) < nearKb) return
    this.patience = setTimeout(() => {
      this.patience = undefined
      const [held, target] = [this.heldKb, this.targetKb].map(mebibytes)
      this.ledger.say(`the guest holds ${held} MiB and comes no nearer to its target of ${target} MiB`)
    }, patienceMs).unref()
  }

  private inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.turn.then(() => {
      if (this.isOver) throw new OperatorError('the domain has gone', {exitCode: 3})
      return work()
    })
    this.turn = result.then(
      () => {},
      () => {},
    )
    return result
  }
}
