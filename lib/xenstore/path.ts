/**
 * Xenstore paths. Inside the store every path is absolute: '/', or '/' and names joined by single slashes. A guest may write
 * paths from its own directory, `/local/domain/<domid>`, by leaving the leading slash away. Names hold letters, digits and
 * `- / _ @`.
 * Source: docs/misc/xenstore.txt, public/io/xs_wire.h.
 */
import {xsAbsolutePathMax, xsRelativePathMax} from '../abi/io/xs-wire.js'
import type {DomId} from '../base/brand.js'

const allowed = /^[-/_@A-Za-z0-9]*$/

/** A path as somebody wrote it, and where it leads. */
export interface ResolvedPath {
  readonly absolute: string
  /** How many leading characters of `absolute` the writer left out: 0, or the length of '/local/domain/N/'. */
  readonly implied: number
}

/** The directory of a domain. */
export function domainPath(domid: DomId): string {
  return `/local/domain/${domid}`
}

/** `written` as `domid` means it, or undefined if no node can have that path. */
export function resolvePath(written: string, domid: DomId): ResolvedPath | undefined {
  // Names in front that start with '@' are the special events, and those are no nodes.
  if (written.startsWith('@')) return undefined
  const relative = !written.startsWith('/')
  if (written.length > (relative ? xsRelativePathMax : xsAbsolutePathMax)) return undefined
  const home = `${domainPath(domid)}/`
  const absolute = relative ? home + written : written
  if (!allowed.test(absolute) || absolute.includes('//')) return undefined
  if (absolute.endsWith('/') && absolute !== '/') return undefined
  return {absolute, implied: relative ? home.length : 0}
}

/** The path one level up; '/' has none above itself. */
export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/'
}

/** The last name of a path. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** The path of a child. */
export function childPath(path: string, name: string): string {
  return path === '/' ? `/${name}` : `${path}/${name}`
}
