/**
 * The store: the tree as everybody sees it, and what a view on a tree has to offer. The operations of operations.ts work on
 * any View: the Store, where a change is there at once, or a Transaction, where it waits for the commit.
 *
 *   look      the node at a path; a transaction remembers the question
 *   install   put a subtree at a path, or nothing
 *   changes   what watches have to be told; taken by whoever fires them
 */

import type {DomId} from '../base/brand.js'
import {bug} from '../base/errors.js'
import {find, type Node, noChildren, replace, walk, withChild} from './node.js'
import {nameOf, parentOf} from './path.js'
import {formatPermission, type Permissions, parsePermissions} from './permissions.js'

/** One change, as watches see it. */
export interface Change {
  readonly path: string
  /** Only watches on this very path hear of it: it went because an ancestor was removed. */
  readonly exact: boolean
  /** The permissions before, where the change took access away. */
  readonly former: Permissions | undefined
}

/** A tree that can be read and changed. */
export interface View {
  /** The node at an absolute path. */
  look(path: string): Node | undefined
  /** Makes `path` hold `node` and what is below it, or nothing. Every path that appears or goes has been looked at before. */
  install(path: string, node: Node | undefined): void
  /** Notes a change for the watches. */
  changed(change: Change): void
  /** A number no change has had before. */
  nextGeneration(): number
  /** Nodes that `domid` owns. */
  nodesOwned(domid: DomId): number
  /** Adds to that number. */
  countNodes(domid: DomId, difference: number): void
}

/** What survives of a store. */
export interface StoreState {
  readonly generation: number
  /** Parents before their children, children in order. */
  readonly nodes: readonly {path: string; value: string; permissions: string[]; generation: number}[]
}

/** The committed tree. */
export class Store implements View {
  private generation = 1
  private current: Node = {
    value: '',
    permissions: [{domid: 0 as DomId, allows: 'n'}],
    children: noChildren,
    childBytes: 0,
    generation: 1,
  }
  private readonly owned = new Map<DomId, number>([[0 as DomId, 1]])
  private pending: Change[] = []

  /** The tree at this moment; it will never change. */
  get root(): Node {
    return this.current
  }

  look(path: string): Node | undefined {
    return find(this.current, path)
  }

  install(path: string, node: Node | undefined): void {
    this.current = replace(this.current, path, node, this.nextGeneration())
  }

  /** Makes `root`, grown from the present root by a transaction, the tree. */
  adopt(root: Node): void {
    this.current = root
  }

  changed(change: Change): void {
    this.pending.push(change)
  }

  /** The changes since the last call. */
  takeChanges(): Change[] {
    const changes = this.pending
    this.pending = []
    return changes
  }

  nextGeneration(): number {
    return ++this.generation
  }

  nodesOwned(domid: DomId): number {
    return this.owned.get(domid) ?? 0
  }

  countNodes(domid: DomId, difference: number): void {
    this.owned.set(domid, this.nodesOwned(domid) + difference)
  }

  /** A plain record of the whole tree. */
  save(): StoreState {
    const nodes = [...walk('/', this.current)].map(([path, {value, permissions, generation}]) => ({
      path,
      value,
      permissions: permissions.map(formatPermission),
      generation,
    }))
    return {generation: this.generation, nodes}
  }

  /** The store that `state` was saved from. */
  static restore(state: StoreState): Store {
    const store = new Store()
    store.owned.clear()
    // Deepest first: each node then is built once, around children that are complete.
    const built = new Map<string, Node>()
    const childrenOf = new Map<string, [string, Node][]>()
    for (const saved of state.nodes.toReversed()) {
      const permissions = parsePermissions(saved.permissions) ?? bug(`saved permissions of ${saved.path}`)
      const childBytes = 0
      let node: Node = {value: saved.value, permissions, children: noChildren, childBytes, generation: saved.generation}
      for (const [name, child] of (childrenOf.get(saved.path) ?? []).reverse()) {
        node = withChild(node, name, child, saved.generation)
      }
      built.set(saved.path, node)
      store.countNodes(permissions[0].domid, 1)
      if (saved.path === '/') continue
      const siblings = childrenOf.get(parentOf(saved.path)) ?? []
      siblings.push([nameOf(saved.path), node])
      childrenOf.set(parentOf(saved.path), siblings)
    }
    store.current = built.get('/') ?? bug('saved store without a root')
    store.generation = state.generation
    return store
  }
}
