/**
 * What sender and receiver of a migration say to each other around the domain's stream, byte for byte as Xen's xl does, and the question that only ours
 * ask: what became of a domain when the connection broke after it was given away.
 *
 *   sender                                     receiver
 *                                       ◄───   banner
 *   save head, stream                   ───►
 *                                       ◄───   received
 *   permission                          ───►   (takes the token, lets the domain run)
 *                                       ◄───   report, one byte: 0 it runs
 *
 * Source: tools/xl/xl.h, xl_migrate.c.
 */

/** The receiver is there. */
export const banner = 'xl migration receiver ready, send binary domain data.\n'
/** The domain has arrived, as a paused copy. */
export const received = 'domain received, ready to unpause\0'
/** The receiver may let its copy run; back from the receiver: the sender may let its own run. */
export const permission = 'domain is yours, you are cleared to unpause\0'
/** A byte follows: 0 when the copy runs. */
export const report = 'my copy unpause results are as follows\0'

/** What is appended to the name of a domain that may have been taken over, and of one that is arriving. */
export const awaySuffix = '--migratedaway'
export const incomingSuffix = '--incoming'

/** What became of a domain that was given away, as the receiving host knows. Asking decides: a copy that has not been accepted yet never will be. */
export const outcomes = ['accepted', 'refused'] as const
export type Outcome = (typeof outcomes)[number]
