/**
 * The two kinds of failure that are thrown. An OperatorError is the person's to mend: one line, a hint, an exit status.
 * A bug is ours. Guest input never throws: it ends as a fault, an errno or a domain crash.
 */

/** A mistake or circumstance the operator can mend. `exitCode` follows Xen's xl (1 general, 2 usage, 3 libxl failure). */
export class OperatorError extends Error {
  readonly hint: string | undefined
  readonly exitCode: number
  constructor(message: string, options: {hint?: string; exitCode?: number; cause?: unknown} = {}) {
    super(message, options.cause === undefined ? {} : {cause: options.cause})
    this.name = 'OperatorError'
    this.hint = options.hint
    this.exitCode = options.exitCode ?? 1
  }
}

/** Ends the calling operation because an invariant of our own code is broken. */
export function bug(message: string): never {
  throw new Error(`bug: ${message}`)
}
