/**
 * A transaction: a view that starts from the tree as it is, changes a tree of its own, and at the end replaces the common one,
 * or fails with EAGAIN if any node it looked at or changed has been changed by somebody else since.
 *
 *   base      the common root when the transaction began: everything read comes from here …
 *   own       … or from here, base with the transaction's changes
 *   looked    path → generation in `base`, undefined where there was no node
 *
 * A node's generation covers its list of children, so creating a child conflicts with reading the directory.
 * Source: docs/misc/xenstore.txt (transactions).
 */
import type {DomId} from '../base/brand.js'
import {find, type Node, replace} from './node.js'
import {quota} from './quota.js'
import {type Refusal, refuse} from './refusal.js'
import type {Change, Store, View} from './store.js'

/** One transaction of one caller. */
export class Transaction implements View {
  private readonly base: Node
  private own: Node
  private readonly looked = new Map<string, number | undefined>()
  private readonly changes = new Map<string, Change>()
  private readonly counts = new Map<DomId, number>()
  private writtenBytes = 0

  /** `doomed`: restored from a saved domain; its reads are answered, its commit fails with EAGAIN and the guest starts over. */
  constructor(
    private readonly store: Store,
    private readonly doomed = false,
  ) {
    this.base = store.root
    this.own = store.root
  }

  /** Whether the transaction has used up its quota; a guest's further requests within it are refused with ENOSPC. */
  get isExhausted(): boolean {
    return this.looked.size > quota.transactionNodes || this.writtenBytes > quota.transactionBytes
  }

  look(path: string): Node | undefined {
    if (!this.looked.has(path)) this.looked.set(path, find(this.base, path)?.generation)
    return find(this.own, path)
  }

  install(path: string, node: Node | undefined): void {
    this.own = replace(this.own, path, node, this.store.nextGeneration())
    this.writtenBytes += path.length + (node?.value.length ?? 0)
  }

  changed(change: Change): void {
    const earlier = this.changes.get(change.path)
    this.changes.set(change.path, {
      path: change.path,
      exact: change.exact && (earlier?.exact ?? true),
      former: earlier?.former ?? change.former,
    })
  }

  nextGeneration(): number {
    return this.store.nextGeneration()
  }

  nodesOwned(domid: DomId): number {
    return this.store.nodesOwned(domid) + (this.counts.get(domid) ?? 0)
  }

  countNodes(domid: DomId, difference: number): void {
    this.counts.set(domid, (this.counts.get(domid) ?? 0) + difference)
  }

  /** Makes the changes everybody's. Errors: EAGAIN after a conflict; ENOSPC if a guest would own too many nodes. */
  commit(): undefined | Refusal {
    if (this.doomed || this.hasConflict()) return refuse.again
    for (const [domid, added] of this.counts) {
      if (domid !== 0 && added > 0 && this.nodesOwned(domid) > quota.nodes) return refuse.noSpace
    }
    this.store.adopt(merge(this.base, this.own, this.store.root))
    for (const [domid, difference] of this.counts) this.store.countNodes(domid, difference)
    for (const change of this.changes.values()) this.store.changed(change)
  }

  private hasConflict(): boolean {
    const {root} = this.store
    if (root === this.base) return false
    for (const [path, generation] of this.looked) {
      if (find(root, path)?.generation !== generation) return true
    }
    return false
  }
}

/**
 * `base` with the changes that led to `own` and those that led to `common`. No node's record was changed on both sides; the
 * generation tells on which. What one side has left alone is taken from the other whole, so the cost is that of the changes.
 */
function merge(base: Node | undefined, own: Node, common: Node): Node {
  if (own === base) return common
  if (common === base) return own
  const record = own.generation === base?.generation ? common : own
  const children = new Map(record.children)
  for (const name of children.keys()) {
    const ownChild = own.children.get(name)
    const commonChild = common.children.get(name)
    if (ownChild && commonChild) children.set(name, merge(base?.children.get(name), ownChild, commonChild))
  }
  return {...record, children}
}
