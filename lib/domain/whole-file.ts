/**
 * A file that a domain's process writes for a person: it appears under its name when it is whole. Until then it is FILE.PID.partial beside it, and the
 * host directory knows of that (host-directory.ts, drafts), so that it does not stay behind whoever is killed.
 */
import {type FileHandle, open, rename, rm} from 'node:fs/promises'
import {dirname} from 'node:path'
import {OperatorError} from '../base/errors.js'

/** Tells the host of a draft; what it returns is called when there is no draft any more. */
export type NoteDraft = (path: string) => () => void

/**
 * Writes a file with `fill`; what was there under its name before stays until then. `signal` gives it up, also between `fill` and the end.
 * Errors: OperatorError; nothing is left of the file then.
 */
export async function writeWhole<Result>(
  path: string,
  note: NoteDraft,
  signal: AbortSignal,
  fill: (file: FileHandle) => Promise<Result>,
): Promise<Result> {
  const draft = `${path}.${process.pid}.partial`
  const forget = note(draft)
  try {
    const file = await open(draft, 'wx', 0o600)
    try {
      const result = await fill(file)
      await file.sync()
      await file.close()
      signal.throwIfAborted()
      await putInPlace(draft, path)
      return result
    } catch (error) {
      await file.close().catch(() => {})
      await rm(draft, {force: true})
      throw error
    }
  } catch (error) {
    return refuseFile(path, error)
  } finally {
    forget()
  }
}

/** Writes with `fill` into a file that is there. Errors: OperatorError. */
export async function writeInto<Result>(path: string, fill: (file: FileHandle) => Promise<Result>): Promise<Result> {
  try {
    const file = await open(path, 'r+')
    try {
      return await fill(file)
    } finally {
      await file.close()
    }
  } catch (error) {
    return refuseFile(path, error)
  }
}

/** Gives a file that is whole and on disk its name, for good. */
async function putInPlace(draft: string, path: string): Promise<void> {
  await rename(draft, path)
  const folder = await open(dirname(path), 'r')
  // Some file systems cannot; the name is there all the same.
  await folder.sync().catch(() => {})
  await folder.close()
}

/** Says why a file cannot be written. */
function refuseFile(path: string, error: unknown): never {
  if (error instanceof OperatorError) throw error
  const {code, message} = error as NodeJS.ErrnoException
  const reasons: Record<string, string> = {
    ENOENT: 'no such folder',
    ENOSPC: 'no space left on device',
    EDQUOT: 'the disk quota is used up',
    EFBIG: 'the file size limit is reached',
    EACCES: 'permission denied',
    EPERM: 'operation not permitted',
    EROFS: 'read-only file system',
    ENOTDIR: 'a part of the path is not a folder',
    EISDIR: 'it is a folder',
    ENAMETOOLONG: 'the name is too long',
    ELOOP: 'its symbolic links lead nowhere',
  }
  throw new OperatorError(`cannot write "${path}": ${reasons[code ?? ''] ?? message}`, {cause: error})
}
