/**
 * A guest's ways out of its process: into a file, or along a stream to another host. One at a time; whatever goes wrong, the guest goes on here.
 */
import type {FileHandle} from 'node:fs/promises'
import type {Duplex} from 'node:stream'
import {OperatorError} from '../base/errors.js'
import {awaySuffix, type Outcome} from '../control/handshake.js'
import type {SaveRequest, SendReport, SendRequest} from '../control/protocol.js'
import {encodeSaveHead} from '../control/save-file.js'
import type {Guest} from './guest.js'
import {Migration} from './migration.js'
import {sendGuest} from './stream/send.js'
import {canCompress, StreamWriter} from './stream/writer.js'
import {type NoteDraft, writeInto, writeWhole} from './whole-file.js'

/** What is left to the domain. */
export interface DepartureHost {
  /** The guest, if it can leave: it is there and has not shut down. */
  guest(): Guest | undefined
  domid(): number
  /** The guest need not stand still for a departure any more. */
  resume(): void
  name(): string
  rename(name: string): Promise<void>
  readonly noteDraft: NoteDraft
  /** Ends the domain: it is elsewhere. */
  end(): void
  log(line: string): void
}

/** See the file's head. */
export class Departure {
  private isBusy = false
  private migration: Migration | undefined
  private over = new AbortController()
  private saving: Promise<void> = Promise.resolve()

  constructor(private readonly host: DepartureHost) {}

  /** DomainService.save, but for what comes afterwards: unless it is to run on, the guest is parked then. */
  async save(request: SaveRequest, signal: AbortSignal): Promise<SendReport> {
    const given = AbortSignal.any([signal, this.over.signal])
    const saving = this.alone(this.claim(), guest => this.write(guest, request, given))
    this.saving = saving.then(
      () => {},
      () => {},
    )
    return saving
  }

  /** The guest is about to end: a file that is being written is given up. Resolves when nothing of it is left. */
  async abandon(): Promise<void> {
    this.over.abort()
    await this.saving
    this.over = new AbortController()
  }

  private async write(guest: Guest, request: SaveRequest, signal: AbortSignal): Promise<SendReport> {
    const {path, after, config, compress, isScratch} = request
    refuseToCompress(compress)
    const fill = async (file: FileHandle): Promise<SendReport> => {
      const write = async (bytes: Uint8Array) => {
        signal.throwIfAborted()
        for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten
      }
      const head = encodeSaveHead(config).bytes
      await write(head)
      const writer = new StreamWriter({write}, head, compress)
      const report = await sendGuest(guest, this.host.domid(), writer, {live: after === 'run'})
      if (after === 'run') this.host.resume()
      return report
    }
    try {
      return await (isScratch ? writeInto(path, fill) : writeWhole(path, this.host.noteDraft, signal, fill))
    } catch (error) {
      throw signal.aborted ? new OperatorError('saving was given up') : error
    }
  }

  /** DomainService.send. */
  send(request: SendRequest): (stream: Duplex) => void {
    refuseToCompress(request.compress)
    const guest = this.claim()
    return stream => {
      const migration = new Migration(guest, this.host.domid(), request, stream, line => this.host.log(line))
      this.migration = migration
      const leaving = this.alone(guest, async () => {
        if (await migration.settled) return
        throw await migration.sent.then(
          () => new OperatorError('the migration was given up'),
          error => error,
        )
      })
      leaving.then(
        () => {
          this.host.log('the domain runs on another host now')
          this.host.end()
        },
        () => stream.destroy(),
      )
    }
  }

  /** The sending with this id. Errors: OperatorError when there is none. */
  present(id: string): Migration {
    if (this.migration?.request.id === id) return this.migration
    throw new OperatorError('the domain is not being sent any more', {exitCode: 3})
  }

  /** The domain has been given away: it does not run here, unless it comes back. */
  get isAway(): boolean {
    return this.migration?.isAway ?? false
  }

  /** A person says that it runs nowhere else. Errors: OperatorError. */
  takeBack(): void {
    this.migration?.takeBack()
  }

  /** DomainService.giveAway. */
  async giveAway(id: string, command: string): Promise<void> {
    const migration = this.present(id)
    await migration.sent
    const name = this.host.name()
    await this.host.rename(name + awaySuffix)
    try {
      migration.give(command)
    } catch (error) {
      await this.host.rename(name)
      throw error
    }
  }

  /** DomainService.migrated. */
  async migrated(id: string, outcome: Outcome | 'unknown'): Promise<Outcome | 'unknown'> {
    const migration = this.present(id)
    if (outcome === 'unknown') void migration.findOut()
    else migration.tell(outcome)
    return Promise.race([migration.settled.then(isGone => (isGone ? 'accepted' : 'refused')), migration.unanswered])
  }

  /** Nothing came of it. */
  private async comeBack(): Promise<void> {
    const name = this.host.name()
    if (name.endsWith(awaySuffix)) {
      await this.host.rename(name.slice(0, -awaySuffix.length)).catch(error => this.host.log(`${error.message}`))
    }
    this.host.resume()
  }

  /** The guest, for one departure at a time. Errors: OperatorError. */
  private claim(): Guest {
    const guest = this.host.guest()
    if (guest === undefined) throw new OperatorError('the guest has shut down', {exitCode: 3})
    if (this.isBusy) throw new OperatorError('the domain is being saved or migrated already', {exitCode: 3})
    this.isBusy = true
    return guest
  }

  /** What is done with a claimed guest; it runs on after a failure. */
  private async alone<Result>(guest: Guest, work: (guest: Guest) => Promise<Result>): Promise<Result> {
    try {
      return await work(guest)
    } catch (error) {
      this.host.log(
        `saving or sending the domain failed, it goes on: ${error instanceof Error ? error.message : error}`,
      )
      await this.comeBack()
      throw error
    } finally {
      this.isBusy = false
    }
  }
}

/** Errors: OperatorError when this is wanted and cannot be done here. */
function refuseToCompress(isWanted: boolean): void {
  if (isWanted && !canCompress) {
    throw new OperatorError('this Node.js cannot compress with zstd', {hint: 'it takes Node.js 22.15 or later'})
  }
}
