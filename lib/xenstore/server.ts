/**
 * The xenstore of one host: the tree, the watches, and one connection for each domain that has been introduced. Guests reach
 * it through their Connection, the toolstack through Domain0 (domain0.ts). Everything happens at once, in the order of the
 * calls; watch events follow the reply to the request that caused them.
 * Source: docs/misc/xenstore.txt.
 */
import type {DomId} from '../base/brand.js'
import {bug} from '../base/errors.js'
import {Connection, type ConnectionState} from './connection.js'
import {Store, type StoreState} from './store.js'
import {Watches} from './watch.js'

/** What survives of a server. Watches of Domain-0 are not part of it: the toolstack registers its own again. */
export interface XenstoreState {
  readonly version: 1
  readonly store: StoreState
  readonly connections: readonly ConnectionState[]
}

/** See the file's head. */
export class XenstoreServer {
  readonly watches = new Watches()
  private readonly connections = new Map<DomId, Connection>()

  constructor(readonly store: Store = new Store()) {}

  /** The connection of a new domain. */
  introduce(domid: DomId): Connection {
    if (domid === 0 || this.connections.has(domid)) bug(`domain ${domid} introduced to xenstore twice`)
    const connection = new Connection(this, domid)
    this.connections.set(domid, connection)
    this.watches.special('@introduceDomain')
    this.settle()
    return connection
  }

  /** Ends the connection of a domain that is gone. Its nodes stay; see domain-tree.ts. */
  release(domid: DomId): void {
    const connection = this.connections.get(domid)
    if (!connection) return
    connection.reset()
    connection.onOutput = () => {}
    this.connections.delete(domid)
    this.watches.special('@releaseDomain')
    this.settle()
  }

  /** Whether requests of `domid` are served; Domain-0's always are. */
  isIntroduced(domid: DomId): boolean {
    return domid === 0 || this.connections.has(domid)
  }

  /** The connection of an introduced domain. */
  connectionOf(domid: DomId): Connection | undefined {
    return this.connections.get(domid)
  }

  /** Tells the watches what has changed since the last call; called after every operation. */
  settle(): void {
    for (const change of this.store.takeChanges()) this.watches.changed(change, this.store.root)
    this.watches.deliver()
  }

  /** A plain record of tree and connections. */
  save(): XenstoreState {
    const connections = [...this.connections.values()].map(connection => connection.save())
    return {version: 1, store: this.store.save(), connections}
  }

  /** The server that `state` was saved from; its connections wait to be carried again. */
  static restore(state: XenstoreState): XenstoreServer {
    const server = new XenstoreServer(Store.restore(state.store))
    for (const saved of state.connections) {
      const connection = new Connection(server, saved.domid as DomId)
      server.connections.set(connection.domid, connection)
      connection.restore(saved)
    }
    return server
  }
}
