/**
 * How much of the host a guest may take up through xenstore. Each limit bounds one thing a guest can make the store keep or
 * do; together they bound the memory it can hold. Domain-0 has no limits.
 * Source: xenstored(8), options --quota; the first five are its defaults.
 */

/** The limits of each guest. */
export const quota = {
  /** Nodes owned. */
  nodes: 1000,
  /** Bytes of one node: value, permissions and the names of its children. */
  nodeBytes: 2048,
  /** Watches registered. */
  watches: 128,
  /** Transactions open at a time. */
  transactions: 10,
  /** Entries in one node's permissions. */
  permissions: 5,
  /** Nodes one transaction may have looked at when it asks for more. */
  transactionNodes: 1024,
  /** Bytes one transaction may have written when it asks for more. */
  transactionBytes: 512 * 1024,
} as const
