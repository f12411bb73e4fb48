/**
 * What can be done with the tree, each operation with its checks: permissions, quotas, and which error a caller may learn.
 * A caller who may not see a missing node's nearest ancestor is told EACCES, not ENOENT: what exists is a secret too.
 * Paths are absolute and valid (path.ts). Nothing is changed when an operation is refused.
 * Source: docs/misc/xenstore.txt.
 */
import {xsPayloadMax} from '../abi/io/xs-wire.js'
import type {DomId} from '../base/brand.js'
import {type Node, noChildren, nodeBytes, walk, withChild} from './node.js'
import {nameOf, parentOf} from './path.js'
import {Access, allows, type Permissions} from './permissions.js'
import {quota} from './quota.js'
import {Refusal, refuse} from './refusal.js'
import type {View} from './store.js'

/** Whether the limits of quota.ts hold for `caller`. */
const isLimited = (caller: DomId) => caller !== 0

/** The node at `path`, if `caller` may use it as `wanted` (bits of Access) says. Errors: EACCES, ENOENT. */
export function access(view: View, caller: DomId, path: string, wanted: number): Node | Refusal {
  const node = view.look(path)
  if (node) return allows(node.permissions, caller, wanted) ? node : refuse.access
  const [, ancestor] = nearestAncestor(view, path)
  return allows(ancestor.permissions, caller, wanted) ? refuse.noEntry : refuse.access
}

/** The value of a node. Errors: EACCES, ENOENT. */
export function read(view: View, caller: DomId, path: string): string | Refusal {
  const node = access(view, caller, path, Access.read)
  return node instanceof Refusal ? node : node.value
}

/** Sets the value of a node; creates it, and missing ancestors. Errors: EACCES; ENOSPC beyond a quota; E2BIG for no message. */
export function write(view: View, caller: DomId, path: string, value: string): undefined | Refusal {
  if (value.length > xsPayloadMax) return refuse.tooBig
  const node = access(view, caller, path, Access.write)
  if (node === refuse.noEntry) return create(view, caller, path, value)
  if (node instanceof Refusal) return node
  const changed = {...node, value, generation: view.nextGeneration()}
  if (isLimited(caller) && nodeBytes(changed) > quota.nodeBytes) return refuse.noSpace
  view.install(path, changed)
  view.changed({path, exact: false, former: undefined})
}

/** Creates a node without a value; one that exists stays as it is. Errors: as write. */
export function makeDirectory(view: View, caller: DomId, path: string): undefined | Refusal {
  const node = access(view, caller, path, Access.write)
  if (node === refuse.noEntry) return create(view, caller, path, '')
  return node instanceof Refusal ? node : undefined
}

/** Removes a node and all below it; one that is not there is no error if its parent is. Errors: EACCES, ENOENT, EINVAL for '/'. */
export function remove(view: View, caller: DomId, path: string): undefined | Refusal {
  if (path === '/') return refuse.invalid
  const node = access(view, caller, path, Access.write)
  if (node === refuse.noEntry) return view.look(parentOf(path)) ? undefined : refuse.noEntry
  if (node instanceof Refusal) return node
  // The parent is looked at because its list of children changes.
  view.look(parentOf(path))
  const gone = [...walk(path, node)]
  for (const [below] of gone) view.look(below)
  view.install(path, undefined)
  for (const [below, {permissions}] of gone) {
    view.countNodes(permissions[0].domid, -1)
    view.changed({path: below, exact: below !== path, former: permissions})
  }
}

/** Sets the permissions of a node. Errors: EACCES, ENOENT; EPERM when a guest gives a node away; ENOSPC for a long list. */
export function setPermissions(view: View, caller: DomId, path: string, permissions: Permissions): undefined | Refusal {
  const node = access(view, caller, path, Access.write | Access.own)
  if (node instanceof Refusal) return node
  const formerOwner = node.permissions[0].domid
  const owner = permissions[0].domid
  const changed = {...node, permissions, generation: view.nextGeneration()}
  if (isLimited(caller)) {
    if (owner !== formerOwner) return refuse.notPermitted
    if (permissions.length > quota.permissions || nodeBytes(changed) > quota.nodeBytes) return refuse.noSpace
  }
  view.install(path, changed)
  view.countNodes(formerOwner, -1)
  view.countNodes(owner, 1)
  view.changed({path, exact: false, former: node.permissions})
}

/** Creates the node at `path` and its missing ancestors; what a guest creates is its own, all else comes from the parent. */
function create(view: View, caller: DomId, path: string, value: string): undefined | Refusal {
  const [ancestorPath, ancestor] = nearestAncestor(view, path)
  const inherited = ancestor.permissions
  const owner = isLimited(caller) ? caller : inherited[0].domid
  const permissions = [{...inherited[0], domid: owner}, ...inherited.slice(1)]
  const generation = view.nextGeneration()
  let subtree: Node = {value, permissions, children: noChildren, childBytes: 0, generation}
  let largestBytes = nodeBytes(subtree)
  const created = [path]
  for (let above = parentOf(path); above !== ancestorPath; above = parentOf(above)) {
    const empty: Node = {value: '', permissions, children: noChildren, childBytes: 0, generation}
    subtree = withChild(empty, nameOf(created[0]), subtree, generation)
    largestBytes = Math.max(largestBytes, nodeBytes(subtree))
    created.unshift(above)
  }
  if (isLimited(caller)) {
    if (view.nodesOwned(caller) + created.length > quota.nodes) return refuse.noSpace
    const parentBytes = nodeBytes(ancestor) + nameOf(created[0]).length + 1
    if (Math.max(largestBytes, parentBytes) > quota.nodeBytes) return refuse.noSpace
  }
  view.install(created[0], subtree)
  view.countNodes(owner, created.length)
  view.changed({path, exact: false, former: undefined})
}

/** The deepest node that exists above `path`. */
function nearestAncestor(view: View, path: string): [path: string, node: Node] {
  for (let above = parentOf(path); ; above = parentOf(above)) {
    const node = view.look(above)
    if (node) return [above, node]
  }
}
