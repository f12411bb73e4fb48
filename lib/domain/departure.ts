/**
 * A guest's ways out of its process: into a file, or along a stream to another host. One at a time; whatever goes wrong, the guest goes on here.
 */
import {open, rename, rm} from 'node:fs/promises'
import {OperatorError} from '../base/errors.js'
import type {SaveRequest, SendReport} from '../control/protocol.js'
import {draftPath, encodeSaveHead} from '../control/save-file.js'
import type {Guest} from './guest.js'
import {sendGuest} from './stream/send.js'
import {canCompress, StreamWriter} from './stream/writer.js'

/** What is left to the domain. */
export interface DepartureHost {
  /** The guest, if it can leave: it is there and has not shut down. */
  guest(): Guest | undefined
  domid(): number
  /** Lets the guest run again, unless the domain is paused. */
  resume(): void
  log(line: string): void
}

/** See the file's head. */
export class Departure {
  private isBusy = false

  constructor(private readonly host: DepartureHost) {}

  /** DomainService.save, but for what comes afterwards: unless it is to run on, the guest is parked then. */
  save({path, after, config, compress, durable}: SaveRequest, signal: AbortSignal): Promise<SendReport> {
    return this.alone(async guest => {
      if (compress && !canCompress) {
        throw new OperatorError('this Node.js cannot compress with zstd', {hint: 'it takes Node.js 22.15 or later'})
      }
      const draft = draftPath(path, process.pid)
      const file = await open(draft, 'wx', 0o600).catch(error => refuseFile(path, error))
      try {
        const head = encodeSaveHead(config).bytes
        await file.write(head)
        const writer = new StreamWriter(
          {
            async write(bytes) {
              signal.throwIfAborted()
              for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten
            },
          },
          head.length,
          compress,
        )
        const report = await sendGuest(guest, this.host.domid(), writer, {live: after === 'run'})
        if (after === 'run') this.host.resume()
        if (durable) await file.sync()
        await file.close()
        signal.throwIfAborted()
        await rename(draft, path)
        return report
      } catch (error) {
        await file.close().catch(() => {})
        await rm(draft, {force: true})
        if (signal.aborted) throw new OperatorError('saving was given up: xl is gone')
        return refuseFile(path, error)
      }
    })
  }

  /** One departure at a time; the guest runs on after a failure. */
  private async alone<Result>(work: (guest: Guest) => Promise<Result>): Promise<Result> {
    const guest = this.host.guest()
    if (guest === undefined) throw new OperatorError('the guest has shut down', {exitCode: 3})
    if (this.isBusy) throw new OperatorError('the domain is being saved or migrated already', {exitCode: 3})
    this.isBusy = true
    try {
      return await work(guest)
    } catch (error) {
      this.host.log(
        `saving or sending the domain failed, it goes on: ${error instanceof Error ? error.message : error}`,
      )
      this.host.resume()
      throw error
    } finally {
      this.isBusy = false
    }
  }
}

function refuseFile(path: string, error: unknown): never {
  if (error instanceof OperatorError) throw error
  const {code, message} = error as NodeJS.ErrnoException
  const reasons: Record<string, string> = {
    ENOENT: 'no such folder',
    ENOSPC: 'no space left on device',
    EACCES: 'permission denied',
    EROFS: 'read-only file system',
    ENOTDIR: 'a part of the path is not a folder',
    EISDIR: 'it is a folder',
  }
  throw new OperatorError(`cannot write "${path}": ${reasons[code ?? ''] ?? message}`, {cause: error})
}
