/**
 * Exactly one host runs a migrated domain. The receiving host decides it once, by who makes the token's file first:
 *
 *   the copy's process   "accepted", before its first instruction
 *   whoever asks         "refused", for a sender that lost the connection; the copy then never runs
 *
 * A copy that dies at once while its sender still keeps the domain counts as refused; one that ended by itself does not.
 */
import {mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import type {Outcome} from './handshake.js'
import {identityOf, isAlive, type ProcessIdentity} from './process-identity.js'

interface Decision {
  outcome: Outcome
  owner: ProcessIdentity
  ended?: true
}

/** How long a decision is kept. */
const keptMs = 30 * 24 * 3600 * 1000
const tokenForm = /^[0-9a-f-]{36}$/

/** The decisions of one host. */
export class MigrationTokens {
  private readonly folder: string

  /** `hostDirectory`: path of the receiving host's directory. */
  constructor(hostDirectory: string) {
    this.folder = join(hostDirectory, 'migrations')
  }

  /** For the copy's process: true when it may run. */
  accept(token: string): boolean {
    return this.decide(token, 'accepted')
  }

  /** For the copy's process: the domain ended by itself. */
  noteEnd(token: string): void {
    writeFileSync(this.path(token), JSON.stringify({outcome: 'accepted', owner: identityOf(), ended: true}))
  }

  /** For a sender that does not know: what was decided, which is now at the latest. */
  outcome(token: string): Outcome {
    if (this.decide(token, 'refused')) return 'refused'
    const decision: Decision = JSON.parse(readFileSync(this.path(token), 'utf8'))
    return decision.outcome === 'accepted' && (decision.ended || isAlive(decision.owner)) ? 'accepted' : 'refused'
  }

  private decide(token: string, outcome: Outcome): boolean {
    mkdirSync(this.folder, {recursive: true, mode: 0o700})
    this.sweep()
    try {
      writeFileSync(this.path(token), JSON.stringify({outcome, owner: identityOf()} satisfies Decision), {flag: 'wx'})
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      return false
    }
  }

  private sweep(): void {
    for (const name of readdirSync(this.folder)) {
      const path = join(this.folder, name)
      if ((statSync(path, {throwIfNoEntry: false})?.mtimeMs ?? 0) < Date.now() - keptMs) rmSync(path, {force: true})
    }
  }

  private path(token: string): string {
    if (!tokenForm.test(token)) throw new Error(`no migration token: ${token}`)
    return join(this.folder, token)
  }
}
