/**
 * What sender and receiver of a migration say to each other around the domain's stream, byte for byte as Xen's xl does, and two things that only ours
 * say: that a domain can run on the new host, and what became of one whose connection broke after it was given away.
 *
 *   sender                                     receiver
 *                                       ◄───   banner
 *   save head, start of the stream      ───►
 *                                       ◄───   fits, if the stream has a token (ours always has)
 *   rest of the stream                  ───►
 *                                       ◄───   received
 *   permission                          ───►   (takes the token, lets the domain run)
 *                                       ◄───   report, one byte: 0 it runs
 *
 * The question goes over a connection of its own, to another receiver on the same host, so it passes through any transport:
 *
 *                                       ◄───   banner
 *   question with the token             ───►
 *                                       ◄───   an Outcome and NUL
 *
 * Source: tools/xl/xl.h, xl_migrate.c.
 */

/** The receiver is there. */
export const banner = 'xl migration receiver ready, send binary domain data.\n'
/** The domain can run here. The sender does not stop it before it hears this, unless a receiver that is not ours never says it. */
export const fits = 'domain can run here, go on\0'
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

const question = 'xl outcome? '
/** Bytes of a question; a save head is longer. */
export const questionBytes = question.length + 36

/** The question what became of the migration with this token. */
export function ask(token: string): string {
  return question + token
}

/** The token that is asked about; undefined if this is no question. */
export function tokenAsked(text: string): string | undefined {
  return text.startsWith(question) ? text.slice(question.length) : undefined
}

/** The outcome that a receiver answers with; undefined if this is no answer. */
export function outcomeIn(answer: string): Outcome | undefined {
  return outcomes.find(outcome => answer === `${banner}${outcome}\0`)
}
