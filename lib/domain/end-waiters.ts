/**
 * Those who wait for what becomes of a domain. Each kind of end comes at most once in a guest's life, in this order, and who asks late is answered at once:
 *
 *   shutdown    the guest has shut down
 *   aftermath   what its configuration wants then is done: it is kept, or another domain has its place
 *   death       it is gone, which is an end of every kind
 *
 * A guest that is to be restarted is another one: only its shutdown was an end.
 */
import type {AwaitedEnd, DomainEnd} from '../control/protocol.js'

/** See the file's head. */
export class EndWaiters {
  private readonly waiting: {until: AwaitedEnd; resolve: (end: DomainEnd) => void}[] = []
  private seen: {[Until in AwaitedEnd]?: DomainEnd} = {}

  /** Resolves when that end has come. */
  wait(until: AwaitedEnd): Promise<DomainEnd> {
    const end = this.seen[until]
    return end === undefined ? new Promise(resolve => this.waiting.push({until, resolve})) : Promise.resolve(end)
  }

  /** That end has come. */
  settle(come: AwaitedEnd, end: DomainEnd): void {
    this.seen[come] = end
    for (const waiter of this.waiting.splice(0)) {
      if (come === 'death' || waiter.until === come) waiter.resolve(end)
      else this.waiting.push(waiter)
    }
  }

  /** The guest runs again. */
  begin(): void {
    this.seen = {}
  }
}
