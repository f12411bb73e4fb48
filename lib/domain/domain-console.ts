/**
 * A domain's console for as long as the domain lives, whichever guest it has at the moment: what the guest prints goes to the log and to everybody who is
 * attached; what they type goes to the guest as far as there is room.
 */
import type {Duplex} from 'node:stream'
import {BoundedLog} from '../control/bounded-log.js'
import {ConsoleHub} from '../control/console-hub.js'
import type {ConsoleBackend} from '../pv/console/backend.js'

const pieceBytes = 1024

/** See the file's head. */
export class DomainConsole {
  private readonly log: BoundedLog
  private readonly hub = new ConsoleHub(() => this.feed())
  private backend: ConsoleBackend | undefined
  private typed: Uint8Array = new Uint8Array(0)

  /** `logPath`: what the guest prints. */
  constructor(logPath: string) {
    this.log = new BoundedLog(logPath)
  }

  /** A guest is there, or none. */
  connect(backend: ConsoleBackend | undefined): void {
    this.backend = backend
    backend?.attach(
      {
        write: bytes => {
          this.log.write(bytes)
          this.hub.write(bytes.slice())
          return true
        },
        skipped: () => {},
        end: () => {},
      },
      true,
    )
  }

  /** One more person. */
  attach(stream: Duplex): void {
    this.hub.attach(stream)
  }

  /** The last of what was printed, as text. */
  tail(bytes: number): string {
    return new TextDecoder().decode(this.hub.tail(bytes))
  }

  /** The domain is over: everybody has what was printed, and is let go. */
  async end(): Promise<void> {
    await this.hub.end()
    this.log.close()
  }

  private feed(): void {
    const {backend} = this
    if (backend === undefined) return
    for (;;) {
      if (this.typed.length === 0) this.typed = this.hub.takeInput(pieceBytes)
      if (this.typed.length === 0) return
      const taken = backend.feed(this.typed)
      this.typed = this.typed.subarray(taken)
      if (this.typed.length > 0) {
        backend.whenRoom(() => this.feed())
        return
      }
    }
  }
}
