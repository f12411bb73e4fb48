/**
 * A saved xenstore for a domain that goes on under another domid, name or uuid: its directories, its permissions, its watches, and the nodes that
 * name them. What the guest itself has written is left as it is: a guest knows itself by relative paths.
 */
import type {ConnectionState} from './connection.js'
import type {XenstoreState} from './server.js'

/** Who a domain is. */
export interface DomainName {
  readonly domid: number
  readonly uuid: string
}

/** The state with `from` replaced by `to` wherever the toolstack put it. */
export function moveDomain(state: XenstoreState, from: DomainName, to: DomainName): XenstoreState {
  const roots: [string, string][] = [
    [`/local/domain/${from.domid}`, `/local/domain/${to.domid}`],
    [`/vm/${from.uuid}`, `/vm/${to.uuid}`],
  ]
  const moved = (path: string): string => {
    for (const [old, now] of roots)
      if (path.startsWith(old) && (path.length === old.length || path[old.length] === '/'))
        return now + path.slice(old.length)
    if (!path.startsWith(backends)) return path
    const [kind, domid, ...rest] = path.slice(backends.length).split('/')
    return domid === `${from.domid}` ? backends + [kind, to.domid, ...rest].join('/') : path
  }
  const value = (path: string, old: string): string => {
    if (path.endsWith('/domid') || path.endsWith('/frontend-id')) return old === `${from.domid}` ? `${to.domid}` : old
    if (path.endsWith('/uuid')) return old === from.uuid ? to.uuid : old
    return old.startsWith('/') ? moved(old) : old
  }
  const permission = (text: string): string => (text.slice(1) === `${from.domid}` ? text[0] + to.domid : text)
  return {
    ...state,
    store: {
      ...state.store,
      nodes: state.store.nodes.map(node => ({
        ...node,
        path: moved(node.path),
        value: value(node.path, node.value),
        permissions: node.permissions.map(permission),
      })),
    },
    connections: state.connections.map(connection => moveConnection(connection, from.domid, to.domid, moved)),
  }
}

/** What follows is `<kind>/<domid>`. */
const backends = '/local/domain/0/backend/'

function moveConnection(
  connection: ConnectionState,
  from: number,
  to: number,
  moved: (path: string) => string,
): ConnectionState {
  const longer = `${to}`.length - `${from}`.length
  return {
    ...connection,
    domid: connection.domid === from ? to : connection.domid,
    watches: connection.watches.map(({path, implied, token}) => ({
      path: moved(path),
      implied: implied === 0 ? 0 : implied + longer,
      token,
    })),
  }
}
