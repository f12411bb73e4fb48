/**
 * A lock between processes that no dead process can hold. The lock is a file that names its owner (pid and start time) and carries a
 * random word, put in place complete by link(2), which fails if the name is taken.
 *
 * Breaking the lock of a dead owner is itself a race: two may find it dead, and the slower one would remove what a third has taken
 * since. So whoever wants to break a lock first takes the lock `<lock>.<its random word>`, by the same routine, then looks again: if
 * the file is still that dead one, nobody else may remove it, because the owner is dead and all other breakers wait here.
 *
 * Rule of use: hold it for milliseconds, across plain file operations only.
 * Source: open(2) O_EXCL notes on link(2).
 */
import {randomBytes} from 'node:crypto'
import {linkSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {setTimeout as delay} from 'node:timers/promises'
import {OperatorError} from '../base/errors.js'
import {identityOf, isAlive, type ProcessIdentity} from './process-identity.js'

interface LockText extends ProcessIdentity {
  word: string
}

const defaultPatienceMs = 10_000

/** Runs `action` while holding the lock at `path`. Errors: OperatorError when a living process keeps it for `patienceMs`. */
export async function withLock<Result>(
  path: string,
  action: () => Result | Promise<Result>,
  patienceMs = defaultPatienceMs,
): Promise<Result> {
  await acquire(path, patienceMs)
  try {
    return await action()
  } finally {
    rmSync(path, {force: true})
  }
}

async function acquire(path: string, patienceMs: number): Promise<void> {
  const mine: LockText = {...identityOf(), word: randomBytes(8).toString('hex')}
  const draft = `${path}.draft-${mine.word}`
  try {
    writeFileSync(draft, JSON.stringify(mine), {mode: 0o600})
    for (let waitedMs = 0; ; ) {
      try {
        linkSync(draft, path)
        return
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
      const owner = readLock(path)
      if (owner === undefined) continue
      if (!isAlive(owner)) {
        await breakLock(path, owner, patienceMs)
        continue
      }
      if (waitedMs >= patienceMs) {
        throw new OperatorError(`the host directory is locked by process ${owner.pid}`, {
          hint: `wait for it, or end it; the lock is "${path}"`,
          exitCode: 3,
        })
      }
      const pauseMs = 2 + (randomBytes(1)[0] % 8)
      await delay(pauseMs)
      waitedMs += pauseMs
    }
  } finally {
    rmSync(draft, {force: true})
  }
}

/** The owner written in a lock; undefined when it has just been released. A file that is no lock belongs to no one. */
function readLock(path: string): LockText | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
  try {
    const {pid, startTime, word} = JSON.parse(text)
    if (Number.isInteger(pid) && typeof startTime === 'string' && /^[0-9a-f]+$/.test(word))
      return {pid, startTime, word}
  } catch {
    // Falls through: an empty or foreign file.
  }
  return {pid: 0, startTime: 'none', word: 'foreign'}
}

async function breakLock(path: string, dead: LockText, patienceMs: number): Promise<void> {
  await withLock(
    `${path}.${dead.word}`,
    () => {
      if (readLock(path)?.word === dead.word) rmSync(path, {force: true})
    },
    patienceMs,
  )
}
