/**
 * A log file that cannot fill a disk: when it has reached its limit it becomes NAME.1, replacing an older one, and a new file begins.
 * So at most twice the limit is kept, the newest always among it.
 *
 * A write that fails, on a full disk say, is dropped: a log never stops the domain it belongs to. The next write tries again.
 */
import {closeSync, fstatSync, openSync, renameSync, writeSync} from 'node:fs'

const standardLimitBytes = 4 << 20

/** A file that bytes are added to. */
export class BoundedLog {
  private file: number | undefined
  private size = 0

  /** Opens at the first write. A new log goes on where an older one of that name ended. */
  constructor(
    readonly path: string,
    private readonly limitBytes = standardLimitBytes,
  ) {}

  /** Adds bytes. They are in the file when this returns, or dropped. */
  write(bytes: Uint8Array): void {
    try {
      if (this.size >= this.limitBytes) this.turnOver()
      this.file ??= this.open()
      let written = 0
      while (written < bytes.length) written += writeSync(this.file, bytes, written)
      this.size += bytes.length
    } catch {
      this.close()
    }
  }

  /** Closes the file; a later write opens it again. */
  close(): void {
    if (this.file === undefined) return
    const file = this.file
    this.file = undefined
    try {
      closeSync(file)
    } catch {
      // A full disk may be noticed only here; what is lost is a piece of log.
    }
  }

  private open(): number {
    const file = openSync(this.path, 'a', 0o600)
    this.size = fstatSync(file).size
    return file
  }

  private turnOver(): void {
    this.close()
    this.size = 0
    renameSync(this.path, `${this.path}.1`)
  }
}
