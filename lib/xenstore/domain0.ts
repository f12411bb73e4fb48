/**
 * Domain-0's side of the store: what the toolstack and the backends call. Values are text (UTF-8); no permission or quota
 * applies; a path that cannot exist is a bug of the caller's.
 */
import type {DomId} from '../base/brand.js'
import {fromText, toText} from '../base/byte-string.js'
import {bug} from '../base/errors.js'
import {makeDirectory, read, remove, setPermissions, write} from './operations.js'
import {resolvePath} from './path.js'
import {parsePermissions} from './permissions.js'
import {Refusal} from './refusal.js'
import type {XenstoreServer} from './server.js'
import type {SpecialEvent} from './watch.js'

const domid = 0 as DomId

/** See the file's head. Paths are absolute, or count from /local/domain/0. */
export class Domain0 {
  constructor(private readonly server: XenstoreServer) {}

  /** The value of a node, or undefined if there is none. */
  read(path: string): string | undefined {
    const value = read(this.server.store, domid, absolute(path))
    return value instanceof Refusal ? undefined : toText(value)
  }

  /** The names below a node, in order of creation; none if there is no such node. */
  list(path: string): string[] {
    return [...(this.server.store.look(absolute(path))?.children.keys() ?? [])]
  }

  /** Sets a node, and its permissions if given (`['n0', 'r5']`); what is missing above it is made. */
  write(path: string, text: string, permissions?: readonly string[]): void {
    this.checked(write(this.server.store, domid, absolute(path), fromText(text)), path)
    if (permissions) this.setPermissions(path, permissions)
  }

  /** Makes a node without a value, unless it is there, and sets its permissions if given. */
  mkdir(path: string, permissions?: readonly string[]): void {
    this.checked(makeDirectory(this.server.store, domid, absolute(path)), path)
    if (permissions) this.setPermissions(path, permissions)
  }

  /** Removes a node and everything below it, if it is there. */
  remove(path: string): void {
    remove(this.server.store, domid, absolute(path))
    this.server.settle()
  }

  /** Replaces a node's permissions: owner first, as `n5`, then one entry for each other domain. */
  setPermissions(path: string, permissions: readonly string[]): void {
    const entries = parsePermissions(permissions) ?? bug(`xenstore permissions ${permissions.join(' ')}`)
    this.checked(setPermissions(this.server.store, domid, absolute(path), entries), path)
  }

  /**
   * Calls `changed` with the path of every change at or below `path`, once the change is complete; it may use the store.
   * Unlike a guest's watch there is no event for the registration itself. Returns what ends the watch.
   */
  watch(path: string | SpecialEvent, changed: (path: string) => void): () => void {
    const target = path.startsWith('@') ? path : absolute(path)
    let isLive = true
    const listener = {
      domid,
      hear: (_watch: unknown, changedPath: string) => (isLive ? changed(changedPath) : undefined),
    }
    this.server.watches.register(listener, target, 0, '')
    return () => {
      isLive = false
      this.server.watches.removeAll(listener)
    }
  }

  private checked(result: undefined | Refusal, path: string): void {
    if (result) bug(`xenstore: ${path}: ${result.name}`)
    this.server.settle()
  }
}

function absolute(path: string): string {
  return resolvePath(path, domid)?.absolute ?? bug(`xenstore path ${path}`)
}
