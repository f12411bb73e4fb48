/**
 * The requests a guest can send, one row each: type → what it does. A handler gets the payload as a byte string and returns
 * the payload of the reply, or a Refusal. Rows marked `plain` ignore the transaction of the header; all others look at the
 * tree through it. What only Domain-0 may ask for answers EACCES, anything unknown ENOSYS.
 * Source: docs/misc/xenstore.txt.
 */
import {XsType, xsPayloadMax} from '../abi/io/xs-wire.js'
import type {DomId} from '../base/brand.js'
import type {Connection} from './connection.js'
import {type Header, onlyString, terminated} from './message.js'
import {access, makeDirectory, read, remove, setPermissions, write} from './operations.js'
import {domainPath, type ResolvedPath, resolvePath} from './path.js'
import {Access, formatPermission, parsePermissions} from './permissions.js'
import {Refusal, refuse} from './refusal.js'
import type {View} from './store.js'

type Answer = string | Refusal
type OnTree = (caller: DomId, payload: string, view: View) => Answer
type Plain = (connection: Connection, payload: string, header: Header) => Answer

const done = 'OK\0'

/** Requests that read or change the tree. */
const onTree: Record<number, OnTree> = {
  [XsType.directory]: (caller, payload, view) =>
    atPath(caller, onlyString(payload), path => {
      const node = access(view, caller, path, Access.read)
      if (node instanceof Refusal) return node
      return node.childBytes > xsPayloadMax ? refuse.tooBig : listing(node.children.keys())
    }),

  [XsType.directoryPart]: (caller, payload, view) => {
    const [written, offset] = terminated(payload)
    if (offset === undefined || !/^\d{1,10}$/.test(offset)) return refuse.invalid
    return atPath(caller, written, path => {
      const node = access(view, caller, path, Access.read)
      if (node instanceof Refusal) return node
      const generation = `${node.generation}\0`
      return generation + listingPart(listing(node.children.keys()), Number(offset), xsPayloadMax - generation.length)
    })
  },

  [XsType.read]: (caller, payload, view) => atPath(caller, onlyString(payload), path => read(view, caller, path)),

  [XsType.write]: (caller, payload, view) => {
    const end = payload.indexOf('\0')
    if (end < 0) return refuse.invalid
    return atPath(caller, payload.slice(0, end), path => write(view, caller, path, payload.slice(end + 1)) ?? done)
  },

  [XsType.mkdir]: (caller, payload, view) =>
    atPath(caller, onlyString(payload), path => makeDirectory(view, caller, path) ?? done),

  [XsType.remove]: (caller, payload, view) =>
    atPath(caller, onlyString(payload), path => remove(view, caller, path) ?? done),

  [XsType.getPermissions]: (caller, payload, view) =>
    atPath(caller, onlyString(payload), path => {
      const node = access(view, caller, path, Access.read)
      return node instanceof Refusal ? node : listing(node.permissions.map(formatPermission))
    }),

  [XsType.setPermissions]: (caller, payload, view) => {
    const [written, ...entries] = terminated(payload)
    const permissions = parsePermissions(entries)
    if (!permissions) return refuse.invalid
    return atPath(caller, written, path => setPermissions(view, caller, path, permissions) ?? done)
  },
}

/** Requests about watches, transactions and domains. */
const plain: Record<number, Plain> = {
  [XsType.watch]: (connection, payload) => {
    const [written, token] = terminated(payload)
    const target = watchTarget(written, token, connection.domid)
    return target ? (connection.watch(target, token) ?? done) : refuse.invalid
  },

  [XsType.unwatch]: (connection, payload) => {
    const [written, token] = terminated(payload)
    const target = watchTarget(written, token, connection.domid)
    return target ? (connection.unwatch(target.absolute, token) ?? done) : refuse.invalid
  },

  [XsType.resetWatches]: connection => {
    connection.forget()
    return done
  },

  [XsType.transactionStart]: (connection, _payload, header) => {
    if (header.transactionId !== 0) return refuse.busy
    const id = connection.startTransaction()
    return id instanceof Refusal ? id : `${id}\0`
  },

  [XsType.transactionEnd]: (connection, payload, header) => {
    const verdict = onlyString(payload)
    if (verdict !== 'T' && verdict !== 'F') return refuse.invalid
    return connection.endTransaction(header.transactionId, verdict === 'T') ?? done
  },

  [XsType.getDomainPath]: (_connection, payload) => {
    const domid = domidIn(payload)
    return domid === undefined ? refuse.invalid : `${domainPath(domid)}\0`
  },

  [XsType.isDomainIntroduced]: (connection, payload) => {
    const domid = domidIn(payload)
    if (domid === undefined) return refuse.invalid
    return connection.isIntroduced(domid) ? 'T\0' : 'F\0'
  },
}

const privileged: ReadonlySet<number> = new Set([
  XsType.control,
  XsType.introduce,
  XsType.release,
  XsType.resume,
  XsType.setTarget,
  XsType.getFeature,
  XsType.setFeature,
  XsType.getQuota,
  XsType.setQuota,
])

/** The payload of the reply to one request, or why there is none. */
export function answer(connection: Connection, header: Header, payload: string): Answer {
  const plainRequest = plain[header.type]
  if (plainRequest) return plainRequest(connection, payload, header)
  const treeRequest = onTree[header.type]
  if (!treeRequest) return privileged.has(header.type) ? refuse.access : refuse.noSuchCall
  const view = connection.viewOf(header.transactionId)
  return view instanceof Refusal ? view : treeRequest(connection.domid, payload, view)
}

/** What `operation` answers for the path that `written` means. Errors: EINVAL for no valid path. */
function atPath(caller: DomId, written: string | undefined, operation: (path: string) => Answer): Answer {
  const path = written === undefined ? undefined : resolvePath(written, caller)
  return path ? operation(path.absolute) : refuse.invalid
}

/** Where a watch points. Special events are accepted, though guests never hear of them. */
function watchTarget(written: string, token: string | undefined, caller: DomId): ResolvedPath | undefined {
  if (token === undefined) return undefined
  if (written === '@introduceDomain' || written === '@releaseDomain') return {absolute: written, implied: 0}
  return resolvePath(written, caller)
}

function domidIn(payload: string): DomId | undefined {
  const text = onlyString(payload)
  return text !== undefined && /^\d{1,5}$/.test(text) && Number(text) <= 0xffff ? (Number(text) as DomId) : undefined
}

/** Strings with a NUL after each. */
function listing(strings: Iterable<string>): string {
  let result = ''
  for (const each of strings) result += `${each}\0`
  return result
}

/** The whole names of `names` from byte `offset` on that fit into `room` bytes; an empty name ends the last part. */
function listingPart(names: string, offset: number, room: number): string {
  if (offset >= names.length) return '\0'
  if (names.length - offset < room) return `${names.slice(offset)}\0`
  const end = names.lastIndexOf('\0', offset + room - 2) + 1
  return names.slice(offset, Math.max(end, offset))
}
