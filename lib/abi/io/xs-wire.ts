/**
 * Xenstore on the wire: the header of a message, its types, error names and limits, and the page that carries the bytes
 * between a guest and the store.
 *
 *   message   header (16 bytes), then `length` bytes of payload, at most 4096
 *   page      0     req   1024 bytes, guest to store
 *             1024  rsp   1024 bytes, store to guest
 *             2048  the four indices and the connection words
 *
 * Source: public/io/xs_wire.h, docs/misc/xenstore.txt, docs/misc/xenstore-ring.txt.
 */
import {bytes, struct, u32} from '../../base/struct.js'

/** Message types; a reply carries the type of its request. Source: enum xsd_sockmsg_type. */
export const XsType = {
  control: 0, // XS_CONTROL
  directory: 1, // XS_DIRECTORY
  read: 2, // XS_READ
  getPermissions: 3, // XS_GET_PERMS
  watch: 4, // XS_WATCH
  unwatch: 5, // XS_UNWATCH
  transactionStart: 6, // XS_TRANSACTION_START
  transactionEnd: 7, // XS_TRANSACTION_END
  introduce: 8, // XS_INTRODUCE
  release: 9, // XS_RELEASE
  getDomainPath: 10, // XS_GET_DOMAIN_PATH
  write: 11, // XS_WRITE
  mkdir: 12, // XS_MKDIR
  remove: 13, // XS_RM
  setPermissions: 14, // XS_SET_PERMS
  watchEvent: 15, // XS_WATCH_EVENT
  error: 16, // XS_ERROR
  isDomainIntroduced: 17, // XS_IS_DOMAIN_INTRODUCED
  resume: 18, // XS_RESUME
  setTarget: 19, // XS_SET_TARGET
  resetWatches: 21, // XS_RESET_WATCHES
  directoryPart: 22, // XS_DIRECTORY_PART
  getFeature: 23, // XS_GET_FEATURE
  setFeature: 24, // XS_SET_FEATURE
  getQuota: 25, // XS_GET_QUOTA
  setQuota: 26, // XS_SET_QUOTA
} as const

/** The errors a store answers with; they travel by name. Source: xsd_errors. */
export type XsErrorName =
  | 'EINVAL'
  | 'EACCES'
  | 'EEXIST'
  | 'ENOENT'
  | 'ENOSPC'
  | 'ENOSYS'
  | 'EBUSY'
  | 'EAGAIN'
  | 'E2BIG'
  | 'EPERM'

/** Header of every message. Source: struct xsd_sockmsg. */
export const XsHeader = struct({
  type: u32,
  requestId: u32, // req_id, echoed
  transactionId: u32, // tx_id, echoed; 0 is none
  length: u32, // of the payload
})

/** Longest payload of a message. Source: XENSTORE_PAYLOAD_MAX. */
export const xsPayloadMax = 4096
/** Longest absolute path. Source: XENSTORE_ABS_PATH_MAX. */
export const xsAbsolutePathMax = 3072
/** Longest path counted from a domain's own directory. Source: XENSTORE_REL_PATH_MAX. */
export const xsRelativePathMax = 2048

/** Bytes in each of the two rings. Source: XENSTORE_RING_SIZE. */
export const xsRingSize = 1024

/** The shared page. Source: struct xenstore_domain_interface. */
export const XsPage = struct({
  req: bytes(xsRingSize),
  rsp: bytes(xsRingSize),
  reqCons: u32,
  reqProd: u32,
  rspCons: u32,
  rspProd: u32,
  serverFeatures: u32,
  connection: u32,
  error: u32,
  eventPort: u32, // evtchn_port
})

/** Bits of `serverFeatures`. */
export const XsFeature = {
  reconnection: 1, // XENSTORE_SERVER_FEATURE_RECONNECTION: the guest may ask for a fresh connection
  error: 2, // XENSTORE_SERVER_FEATURE_ERROR: `error` says why the store stopped listening
} as const

/** Values of `connection`. */
export const XsConnection = {
  connected: 0, // XENSTORE_CONNECTED
  reconnect: 1, // XENSTORE_RECONNECT
} as const

/** Values of `error`. */
export const XsPageError = {
  none: 0, // XENSTORE_ERROR_NONE
  ringIndex: 2, // XENSTORE_ERROR_RINGIDX
  protocol: 3, // XENSTORE_ERROR_PROTO
} as const
