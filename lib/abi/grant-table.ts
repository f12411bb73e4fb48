/**
 * Grant tables, version 1: entries, operations, status codes. An entry is 8 bytes: u16 flags, u16 domain, u32 frame; the domain's owner writes them,
 * Xen sets reading and writing while somebody has the frame.
 *
 * Source: public/grant_table.h.
 */

/** Flags of an entry, GTF_*. */
export const GrantFlag = {
  typeMask: 3,
  permitAccess: 1,
  readonly: 1 << 2,
  reading: 1 << 3,
  writing: 1 << 4,
} as const

export const grantEntryBytes = 8
export const grantsPerFrame = 512

/** GNTTABOP_*. */
export const GrantOp = {
  mapGrantRef: 0,
  unmapGrantRef: 1,
  setupTable: 2,
  transfer: 4,
  copy: 5,
  querySize: 6,
  unmapAndReplace: 7,
  setVersion: 8,
  getStatusFrames: 9,
  getVersion: 10,
  swapGrantRef: 11,
  cacheFlush: 12,
} as const

/** GNTST_*: how one operation of a list ended. */
export const GrantStatus = {
  okay: 0,
  generalError: -1,
  badDomain: -2,
  badGntref: -3,
  badHandle: -4,
  badVirtAddr: -5,
  badDevAddr: -6,
  noDeviceSpace: -7,
  permissionDenied: -8,
  badPage: -9,
  badCopyArg: -10,
  addressTooBig: -11,
  eagain: -12,
} as const

/** Flags of map_grant_ref, GNTMAP_*. */
export const GrantMap = {
  deviceMap: 1,
  hostMap: 2,
  readonly: 4,
  applicationMap: 8,
  containsPte: 16,
  /** Where the bits that the caller may have in the entry begin: bits 9 to 11 of the entry. */
  availShift: 16,
  availMask: 7,
} as const

/** Flags of a copy, GNTCOPY_*. */
export const GrantCopy = {sourceRef: 1, destRef: 2} as const
