/**
 * Who hears about which path. A watch on P hears of changes to P and to everything below it; when P goes because an ancestor
 * was removed, it hears of P. Events wait in a queue until the operation that caused them has been answered, and reach a
 * listener in the order of the changes, and for one change in the order in which the watches were registered.
 * A guest hears only of nodes it may read, or whose parent it may read: a watch must not tell what a read would not.
 * Names that start with '@' are not nodes: they stand for domains coming and going, and only Domain-0 hears of them.
 * Source: docs/misc/xenstore.txt (WATCH).
 */
import type {DomId} from '../base/brand.js'
import {find, type Node} from './node.js'
import {parentOf} from './path.js'
import {Access, allows} from './permissions.js'
import {quota} from './quota.js'
import {type Refusal, refuse} from './refusal.js'
import type {Change} from './store.js'

/** A party that registers watches: a guest's connection, or Domain-0. */
export interface Listener {
  readonly domid: DomId
  /** Told of an event. `path` is written as `watch` was; the listener owns what it does with it. */
  hear(watch: Watch, path: string): void
}

/** The events that are no nodes. */
export type SpecialEvent = '@introduceDomain' | '@releaseDomain'

/** One registered watch. */
export interface Watch {
  readonly listener: Listener
  /** Absolute, or a SpecialEvent. */
  readonly path: string
  /** How many leading characters the listener left out, and wants left out of events. */
  readonly implied: number
  /** A byte string, echoed in every event. */
  readonly token: string
  readonly sequence: number
}

/** All watches of a store. */
export class Watches {
  private readonly byPath = new Map<string, Watch[]>()
  private readonly counts = new Map<Listener, number>()
  private readonly queue: [watch: Watch, path: string][] = []
  private sequence = 0
  private delivering = false

  /** Registers a watch and queues its first event. Errors: EEXIST for a second one like it; E2BIG beyond the quota. */
  add(listener: Listener, path: string, implied: number, token: string): undefined | Refusal {
    const here = this.byPath.get(path) ?? []
    if (here.some(watch => watch.listener === listener && watch.token === token)) return refuse.exists
    const count = this.counts.get(listener) ?? 0
    if (listener.domid !== 0 && count >= quota.watches) return refuse.tooBig
    this.tell(this.register(listener, path, implied, token), path)
  }

  /** Registers a watch without a first event and without a limit: Domain-0's, and those of a restored domain. */
  register(listener: Listener, path: string, implied: number, token: string): Watch {
    const watch = {listener, path, implied, token, sequence: ++this.sequence}
    this.byPath.set(path, [...(this.byPath.get(path) ?? []), watch])
    this.counts.set(listener, (this.counts.get(listener) ?? 0) + 1)
    return watch
  }

  /** Forgets a watch. Errors: ENOENT. */
  remove(listener: Listener, path: string, token: string): undefined | Refusal {
    const here = this.byPath.get(path) ?? []
    const left = here.filter(watch => watch.listener !== listener || watch.token !== token)
    if (left.length === here.length) return refuse.noEntry
    this.keep(path, left)
    this.counts.set(listener, (this.counts.get(listener) ?? 0) - 1)
  }

  /** Forgets all watches of a listener. */
  removeAll(listener: Listener): void {
    for (const [path, here] of this.byPath) {
      const left = here.filter(watch => watch.listener !== listener)
      if (left.length < here.length) this.keep(path, left)
    }
    this.counts.delete(listener)
  }

  /** The watches of a listener, oldest first. */
  of(listener: Listener): Watch[] {
    const all = [...this.byPath.values()].flat().filter(watch => watch.listener === listener)
    return all.sort((one, other) => one.sequence - other.sequence)
  }

  /** Queues the events of a change; `root` is the tree after it. */
  changed(change: Change, root: Node): void {
    if (this.byPath.size === 0) return
    const heard = [...(this.byPath.get(change.path) ?? [])]
    for (let path = change.path; !change.exact && path !== '/'; ) {
      path = parentOf(path)
      heard.push(...(this.byPath.get(path) ?? []))
    }
    heard.sort((one, other) => one.sequence - other.sequence)
    for (const watch of heard) {
      if (mayHear(watch.listener.domid, change, root)) this.tell(watch, change.path)
    }
  }

  /** Queues the event of a domain coming or going. */
  special(name: SpecialEvent): void {
    for (const watch of this.byPath.get(name) ?? []) {
      if (watch.listener.domid === 0) this.tell(watch, name)
    }
  }

  /** Hands out what is queued. A listener may change the store: what follows from that is handed out in turn. */
  deliver(): void {
    if (this.delivering) return
    this.delivering = true
    try {
      for (let event = this.queue.shift(); event; event = this.queue.shift()) event[0].listener.hear(...event)
    } finally {
      this.delivering = false
    }
  }

  private tell(watch: Watch, path: string): void {
    this.queue.push([watch, path.slice(watch.implied)])
  }

  private keep(path: string, left: Watch[]): void {
    if (left.length > 0) this.byPath.set(path, left)
    else this.byPath.delete(path)
  }
}

function mayHear(domid: DomId, {path, former}: Change, root: Node): boolean {
  if (domid === 0) return true
  if (former && allows(former, domid, Access.read)) return true
  const node = find(root, path)
  if (node && allows(node.permissions, domid, Access.read)) return true
  for (let above = path; above !== '/'; ) {
    above = parentOf(above)
    const ancestor = find(root, above)
    if (ancestor) return allows(ancestor.permissions, domid, Access.read)
  }
  return false
}
