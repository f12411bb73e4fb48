/**
 * The tree itself. A node never changes: a change makes a new node and new nodes for its ancestors, and shares all the rest.
 * So a root *is* a snapshot, and keeping one costs nothing; transactions rest on that.
 * `generation` is the number of the last change to the node's own record: value, permissions, or which children it has.
 */
import {childPath, nameOf, parentOf} from './path.js'
import type {Permissions} from './permissions.js'

/** One node and, through its children, everything below it. */
export interface Node {
  /** A byte string. */
  readonly value: string
  readonly permissions: Permissions
  /** In order of creation. */
  readonly children: ReadonlyMap<string, Node>
  /** Length of the children's names, each with a NUL: what DIRECTORY answers. */
  readonly childBytes: number
  readonly generation: number
}

/** No children; every leaf shares it. */
export const noChildren: ReadonlyMap<string, Node> = new Map()

/** The bytes of a node that count against the quota. */
export function nodeBytes(node: Node): number {
  return node.value.length + 8 * node.permissions.length + node.childBytes
}

/** The node at an absolute path. */
export function find(root: Node, path: string): Node | undefined {
  let node: Node | undefined = root
  for (let from = 1; node && from < path.length; ) {
    const slash = path.indexOf('/', from)
    const end = slash < 0 ? path.length : slash
    node = node.children.get(path.slice(from, end))
    from = end + 1
  }
  return node
}

/** `parent` with the child `name` set to `child`, or without it; its own record changes only if the name comes or goes. */
export function withChild(parent: Node, name: string, child: Node | undefined, generation: number): Node {
  const children = new Map(parent.children)
  const had = child ? children.has(name) : children.delete(name)
  if (child) children.set(name, child)
  if (had === (child !== undefined)) return {...parent, children}
  const childBytes = parent.childBytes + (child ? 1 : -1) * (name.length + 1)
  return {...parent, children, childBytes, generation}
}

/** The root of the tree in which `path` holds `node`, or nothing. The parent of `path` exists; '/' cannot be emptied. */
export function replace(root: Node, path: string, node: Node | undefined, generation: number): Node {
  let replaced = node
  let at = path
  const ancestors = ancestorsOf(root, path)
  for (let level = ancestors.length - 1; level >= 0; level--) {
    replaced = withChild(ancestors[level], nameOf(at), replaced, generation)
    at = parentOf(at)
  }
  return replaced as Node
}

/** The nodes on the way to `path`, root first, without the one at `path`. */
function ancestorsOf(root: Node, path: string): Node[] {
  const ancestors: Node[] = []
  let node: Node | undefined = root
  for (let from = 1; node && from < path.length; ) {
    ancestors.push(node)
    const slash = path.indexOf('/', from)
    const end = slash < 0 ? path.length : slash
    node = node.children.get(path.slice(from, end))
    from = end + 1
  }
  return ancestors
}

/** Every path at and below `path`, parents first, with its node. */
export function* walk(path: string, node: Node): Generator<[path: string, node: Node]> {
  // An explicit stack: a guest can nest nodes deeper than calls should go.
  const open: [string, Node][] = [[path, node]]
  for (let next = open.pop(); next; next = open.pop()) {
    yield next
    const [at, {children}] = next
    const below = [...children].map(([name, child]): [string, Node] => [childPath(at, name), child])
    open.push(...below.reverse())
  }
}
