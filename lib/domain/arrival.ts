/**
 * The receiving side of one migration, in the process of the copy: it runs only if it takes the migration's token, and whoever asks for the token later
 * hears that the domain was here.
 */
import {OperatorError} from '../base/errors.js'
import {MigrationTokens} from '../control/migration-tokens.js'

/** See the file's head. Without a token, as for a domain that was created here, there is nobody to ask. */
export class Arrival {
  /** Of the stream that the domain came in. */
  token: string | undefined
  private readonly tokens: MigrationTokens
  private isAccepted = false

  constructor(hostDirectory: string) {
    this.tokens = new MigrationTokens(hostDirectory)
  }

  /** The copy may run. Errors: OperatorError when its sender has asked before. */
  accept(): void {
    if (this.token !== undefined && !this.tokens.accept(this.token)) {
      throw new OperatorError('the sender has taken the domain back', {exitCode: 3})
    }
    this.isAccepted = true
  }

  /** The domain ended by itself, or was ended. */
  noteEnd(): void {
    if (this.token !== undefined && this.isAccepted) this.tokens.noteEnd(this.token)
  }
}
