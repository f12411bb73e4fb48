/**
 * Who may do what with a node. A node has a list of entries: the first names its owner, who may do everything, and what
 * everybody not listed may do; each further entry says what one domain may do. Domain-0 may do everything everywhere.
 * On the wire an entry is a letter and a domid: `n5` `r0` (none, read, write, both).
 * Source: docs/misc/xenstore.txt (GET_PERMS, SET_PERMS).
 */
import type {DomId} from '../base/brand.js'

/** The four letters, as bits: 1 read, 2 write. */
const letters = {n: 0, r: 1, w: 2, b: 3} as const
type Letter = keyof typeof letters

/** What can be asked for; bits, to be combined. */
export const Access = {read: 1, write: 2, own: 4} as const

/** One entry. */
export interface Permission {
  readonly domid: DomId
  readonly allows: Letter
}

/** A node's entries; never empty. */
export type Permissions = readonly Permission[]

/** Whether `domid` may do all of `wanted` (bits of Access). */
export function allows(permissions: Permissions, domid: DomId, wanted: number): boolean {
  const owner = permissions[0]
  if (domid === 0 || owner.domid === domid) return true
  const entry = permissions.find((entry, index) => index > 0 && entry.domid === domid) ?? owner
  return (letters[entry.allows] & wanted) === wanted
}

/** The wire form of one entry. */
export function formatPermission({allows, domid}: Permission): string {
  return `${allows}${domid}`
}

/** The entries that `texts` spell, or undefined if there is none or one is not of the wire form. */
export function parsePermissions(texts: readonly string[]): Permissions | undefined {
  if (texts.length === 0) return undefined
  const entries: Permission[] = []
  for (const text of texts) {
    const match = /^([nrwb])(\d{1,5})$/.exec(text)
    if (!match || Number(match[2]) > 0xffff) return undefined
    entries.push({allows: match[1] as Letter, domid: Number(match[2]) as DomId})
  }
  return entries
}
