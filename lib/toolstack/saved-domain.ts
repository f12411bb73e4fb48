/**
 * A saved domain as xl opens it: the head is read here, the rest belongs to the process of the new domain, which gets the descriptor.
 */
import {closeSync, openSync, readSync, statSync} from 'node:fs'
import {setTimeout as delay} from 'node:timers/promises'
import {readSaveHead, type SaveHead, saveFileMagic} from '../control/save-file.js'
import {VerbatimError} from './verbatim-error.js'

/** An open save file or stream, behind its head. */
export interface SavedDomain {
  readonly head: SaveHead
  readonly fd: number
  close(): void
}

const waitMs = 1

/** Opens a save file; "-" is standard input. Errors: VerbatimError when it cannot be opened; OperatorError for what is wrong with its head. */
export async function openSavedDomain(path: string): Promise<SavedDomain> {
  const fd = path === '-' ? 0 : openFile(path)
  const close = () => {
    if (fd !== 0) closeSync(fd)
  }
  try {
    return {head: await readSaveHead(bytes => readBytes(fd, bytes)), fd, close}
  } catch (error) {
    close()
    throw error
  }
}

/** True for a file that starts as saved domains do, whatever follows. */
export function isSavedDomain(path: string): boolean {
  let fd: number
  try {
    if (!statSync(path).isFile()) return false
    fd = openSync(path, 'r')
  } catch {
    return false
  }
  try {
    const start = Buffer.alloc(saveFileMagic.length)
    return readSync(fd, start, 0, start.length, 0) === start.length && start.equals(saveFileMagic)
  } finally {
    closeSync(fd)
  }
}

function openFile(path: string): number {
  try {
    if (statSync(path).isDirectory()) throw Object.assign(new Error(), {code: 'EISDIR'})
    return openSync(path, 'r')
  } catch (cause) {
    const reasons: Record<string, string> = {
      ENOENT: 'No such file or directory',
      EACCES: 'Permission denied',
      EISDIR: 'Is a directory',
      ENOTDIR: 'Not a directory',
    }
    const code = (cause as NodeJS.ErrnoException).code ?? ''
    throw new VerbatimError(`Can't open restore file: ${path}: ${reasons[code] ?? code}`, {cause})
  }
}

/** Exactly as many bytes, fewer at the end: what follows is somebody else's to read. */
export async function readBytes(fd: number, bytes: number): Promise<Buffer> {
  const into = Buffer.alloc(bytes)
  let filled = 0
  while (filled < bytes) {
    try {
      const got = readSync(fd, into, filled, bytes - filled, null)
      if (got === 0) break
      filled += got
    } catch (error) {
      // The other end of a pipe may have made it one that does not wait.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      await delay(waitMs)
    }
  }
  return into.subarray(0, filled)
}
