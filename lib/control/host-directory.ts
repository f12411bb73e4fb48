/**
 * The host directory: all that makes a "host". Two host directories on one machine behave as two hosts.
 *
 *   lock                    held for milliseconds by whoever changes what is below (file-lock.ts)
 *   next-domid              the id the next domain gets; ids are not used again before they wrap
 *   domains/<key>.json      one record per domain; it names the process that owns it
 *   domains/<key>.sock      that domain's control socket
 *   domains/<key>.*.draft   a link to a file, anywhere, that the domain's process has not finished; whoever sweeps the one sweeps the other
 *   log/<name>.log          what the domain process says; log/<name>.console.log what the guest prints
 *
 * The key is a random word that stays the same for the life of the domain process, whatever domid (a reboot takes a new one) and
 * name the domain has, so every change of a record is one rename(2). A record whose owner is dead is no domain: it is not listed,
 * its name is free, and the next change of the directory sweeps it and its socket away. `xl create` owns the record it reserves until
 * the domain process adopts it.
 *
 * Used from both sides of the control socket: xl reserves and lists, the domain process adopts, renews, renames and releases.
 */
import {randomBytes} from 'node:crypto'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import {dirname, join} from 'node:path'
import {OperatorError} from '../base/errors.js'
import {withLock} from './file-lock.js'
import {identityOf, isAlive, type ProcessIdentity} from './process-identity.js'

/** What the host knows of a domain without asking its process. */
export interface DomainRecord {
  key: string
  domid: number
  name: string
  uuid: string
  /** The most this domain may hold as things are; it counts against the host's memory. */
  maxMemoryKb: number
  vcpus: number
  /** Milliseconds since 1970 at which this domid was given. */
  createdMs: number
  owner: ProcessIdentity
  /** False until the domain process has adopted the record. */
  adopted: boolean
}

/** What a new domain asks of the host. */
export interface Reservation {
  name: string
  uuid: string
  maxMemoryKb: number
  vcpus: number
  /** The domid it would like; another one if that is taken. */
  domid?: number
  /** All that domains of this host may hold together; absent when the host may promise more than it has. */
  hostMemoryKb?: number
}

const lastDomid = 0x7fef // DOMID_FIRST_RESERVED - 1

/** Turns a failed file operation below `path` into words for the operator. */
export function hostFailure(path: string, cause: unknown): unknown {
  const code = (cause as NodeJS.ErrnoException)?.code
  if (cause instanceof OperatorError || code === undefined) return cause
  const reasons: Record<string, string> = {
    EROFS: 'the file system is read-only',
    EACCES: 'permission denied',
    EPERM: 'operation not permitted',
    ENOSPC: 'no space left on the device',
    EDQUOT: 'the disk quota is used up',
    EFBIG: 'the file size limit is reached',
    ENOTDIR: 'a part of the path is not a directory',
    ENOENT: 'no such file or directory',
    ENAMETOOLONG: 'a file name is too long',
  }
  return new OperatorError(`cannot use the host directory "${path}": ${reasons[code] ?? code}`, {
    hint: 'give another directory in the environment variable GASTWIRT_HOST',
    exitCode: 3,
    cause,
  })
}

/** The records of one host and the rules for changing them. */
export class HostDirectory {
  private readonly domains: string
  private readonly logs: string

  constructor(readonly path: string) {
    this.domains = join(path, 'domains')
    this.logs = join(path, 'log')
  }

  /** Makes the directory if it is missing. Errors: OperatorError when it cannot be made, or belongs to another user. */
  prepare(): void {
    this.guarded(() => {
      makeFolder(this.path)
      this.refuseForeign()
      makeFolder(this.domains)
      makeFolder(this.logs)
    })
  }

  /** The living domains by domid. A directory that does not exist is a host without domains. */
  list(): DomainRecord[] {
    return this.records().filter(record => isAlive(record.owner))
  }

  /** The living domain with that id or name. */
  find(match: {domid: number} | {name: string} | {key: string}): DomainRecord | undefined {
    return this.list().find(record =>
      'domid' in match
        ? record.domid === match.domid
        : 'name' in match
          ? record.name === match.name
          : record.key === match.key,
    )
  }

  /**
   * Takes a domid, the name and the memory for a new domain, owned by this process. Exactly one of several who ask for the same
   * name at once gets it. Errors: OperatorError for a taken name or too little memory.
   */
  async reserve(wanted: Reservation): Promise<DomainRecord> {
    this.prepare()
    return this.changing(() => {
      const living = this.sweep()
      refuseTaken(living, wanted.name)
      refuseTooBig(living, wanted, wanted.hostMemoryKb)
      const record: DomainRecord = {
        key: randomBytes(6).toString('hex'),
        domid: isFree(living, wanted.domid) ? wanted.domid : this.takeDomid(living),
        name: wanted.name,
        uuid: wanted.uuid,
        maxMemoryKb: wanted.maxMemoryKb,
        vcpus: wanted.vcpus,
        createdMs: Date.now(),
        owner: identityOf(),
        adopted: false,
      }
      this.write(record)
      return record
    })
  }

  /** Makes this process the owner of a reserved record. */
  adopt(key: string): Promise<DomainRecord> {
    return this.update(key, record => ({...record, owner: identityOf(), adopted: true}))
  }

  /** Gives the domain the next domid: a reboot makes a new domain. */
  renew(key: string): Promise<DomainRecord> {
    return this.update(key, (record, living) => ({...record, domid: this.takeDomid(living), createdMs: Date.now()}))
  }

  /**
   * Counts that much memory for the domain from now on. Errors: OperatorError when it is more than before and, with the other domains, more
   * than `hostMemoryKb`.
   */
  resize(key: string, maxMemoryKb: number, hostMemoryKb?: number): Promise<DomainRecord> {
    return this.update(key, (record, living) => {
      const others = living.filter(other => other.key !== key)
      if (maxMemoryKb > record.maxMemoryKb) refuseTooBig(others, {name: record.name, maxMemoryKb}, hostMemoryKb)
      return {...record, maxMemoryKb}
    })
  }

  /** Gives the domain another name and uuid. Errors: OperatorError when the name is taken. */
  rename(key: string, name: string, uuid?: string): Promise<DomainRecord> {
    return this.update(key, (record, living) => {
      if (record.name !== name) refuseTaken(living, name)
      return {...record, name, uuid: uuid ?? record.uuid}
    })
  }

  /** True when a record is left whose owner has died without releasing it. */
  isDead(key: string): boolean {
    const record = this.read(key)
    return record !== undefined && !isAlive(record.owner)
  }

  /** Forgets the domain: its name, domid and memory are free, its socket is gone, and what it has not finished. Safe to call twice. */
  release(key: string): void {
    rmSync(this.recordPath(key), {force: true})
    rmSync(this.socketPath(key), {force: true})
    if (!existsSync(this.domains)) return
    for (const name of readdirSync(this.domains)) if (name.startsWith(`${key}.`)) this.remove(name)
  }

  /** The domain's process begins to write a file that nobody wants half; what is returned is called when it is whole, or gone. */
  noteDraft(key: string, path: string): () => void {
    const note = join(this.domains, `${key}.${randomBytes(6).toString('hex')}.draft`)
    this.guarded(() => symlinkSync(path, note))
    return () => rmSync(note, {force: true})
  }

  /** Where the domain process answers. */
  socketPath(key: string): string {
    return join(this.domains, `${key}.sock`)
  }

  /** What the domain process says. */
  logPath(name: string): string {
    return join(this.logs, `${name}.log`)
  }

  /** What the guest prints. */
  consoleLogPath(name: string): string {
    return join(this.logs, `${name}.console.log`)
  }

  /** Where the core of a domain is written; the folder is there afterwards. */
  corePath(name: string): string {
    const folder = join(this.path, 'dump')
    this.guarded(() => makeFolder(folder))
    return join(folder, name)
  }

  /** Records of another user are not believed: they name processes that would be killed. */
  private refuseForeign(): void {
    const {uid} = lstatSync(`${this.path}/.`)
    if (process.getuid === undefined || uid === process.getuid()) return
    throw new OperatorError(`the host directory "${this.path}" belongs to another user`, {
      hint: 'give another directory in the environment variable GASTWIRT_HOST',
      exitCode: 3,
    })
  }

  private recordPath(key: string): string {
    return join(this.domains, `${key}.json`)
  }

  /** All records, the owner dead or alive, by domid. */
  private records(): DomainRecord[] {
    let names: string[]
    try {
      this.refuseForeign()
      names = readdirSync(this.domains)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw hostFailure(this.path, error)
    }
    const records = names.filter(name => name.endsWith('.json')).map(name => this.read(name.slice(0, -5)))
    return records.filter(record => record !== undefined).sort((a, b) => a.domid - b.domid)
  }

  /** One record; undefined when it has just been released. Records are replaced whole, so what is there is complete. */
  private read(key: string): DomainRecord | undefined {
    try {
      return JSON.parse(readFileSync(this.recordPath(key), 'utf8'))
    } catch {
      return undefined
    }
  }

  private write(record: DomainRecord): void {
    this.replace(this.recordPath(record.key), JSON.stringify(record))
  }

  private replace(path: string, text: string): void {
    const draft = `${path}.${process.pid}.draft`
    try {
      writeFileSync(draft, text, {mode: 0o600})
      renameSync(draft, path)
    } catch (error) {
      rmSync(draft, {force: true})
      throw error
    }
  }

  private update(
    key: string,
    change: (record: DomainRecord, living: DomainRecord[]) => DomainRecord,
  ): Promise<DomainRecord> {
    return this.changing(() => {
      const record = this.read(key)
      if (record === undefined) throw new OperatorError('the domain has been removed from its host', {exitCode: 3})
      const changed = change(record, this.list())
      this.write(changed)
      return changed
    })
  }

  /** Removes what dead processes left behind; returns the living. Call under the lock. */
  private sweep(): DomainRecord[] {
    const living = this.list()
    const keys = new Set(living.map(record => record.key))
    for (const name of readdirSync(this.domains)) {
      if (!keys.has(name.split('.')[0])) this.remove(name)
    }
    for (const name of readdirSync(this.path)) {
      if (name.startsWith('lock.') && ownerIsDead(join(this.path, name))) rmSync(join(this.path, name), {force: true})
    }
    return living
  }

  /** Removes what a domain has left in the directory, with the unfinished file that it may stand for. */
  private remove(name: string): void {
    const path = join(this.domains, name)
    try {
      if (lstatSync(path).isSymbolicLink()) rmSync(readlinkSync(path), {force: true})
    } catch {
      // Somebody else has swept it, or nobody can.
    }
    rmSync(path, {force: true})
  }

  /** The next free id after the last one given. Call under the lock. */
  private takeDomid(living: DomainRecord[]): number {
    const path = join(this.path, 'next-domid')
    let domid = 1
    try {
      domid = Number.parseInt(readFileSync(path, 'utf8'), 10)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
    const used = new Set(living.map(record => record.domid))
    if (!(domid >= 1 && domid <= lastDomid)) domid = 1
    while (used.has(domid)) domid = domid === lastDomid ? 1 : domid + 1
    this.replace(path, `${domid === lastDomid ? 1 : domid + 1}\n`)
    return domid
  }

  private async changing<Result>(action: () => Result): Promise<Result> {
    try {
      return await withLock(join(this.path, 'lock'), action)
    } catch (error) {
      throw hostFailure(this.path, error)
    }
  }

  private guarded<Result>(action: () => Result): Result {
    try {
      return action()
    } catch (error) {
      throw hostFailure(this.path, error)
    }
  }
}

/** Makes a folder and those it is in. Node's own recursive mkdir never returns where a file system such as /proc refuses. */
function makeFolder(path: string): void {
  if (existsSync(path)) return
  if (dirname(path) !== path) makeFolder(dirname(path))
  try {
    mkdirSync(path, {mode: 0o700})
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/** Drafts and breakers' locks name their owner as the lock itself does; a half-written one is left for later. */
function ownerIsDead(path: string): boolean {
  try {
    return !isAlive(JSON.parse(readFileSync(path, 'utf8')))
  } catch {
    return false
  }
}

function isFree(living: DomainRecord[], domid: number | undefined): domid is number {
  return domid !== undefined && domid >= 1 && domid <= lastDomid && living.every(record => record.domid !== domid)
}

function refuseTaken(living: DomainRecord[], name: string): void {
  const other = living.find(record => record.name === name)
  if (other === undefined) return
  throw new OperatorError(`Domain with name "${name}" already exists.`, {
    hint: `it is domain ${other.domid}; choose another name, or end it with "xl destroy ${name}"`,
    exitCode: 3,
  })
}

function refuseTooBig(
  others: DomainRecord[],
  {name, maxMemoryKb}: Pick<DomainRecord, 'name' | 'maxMemoryKb'>,
  hostMemoryKb = Number.POSITIVE_INFINITY,
): void {
  const freeKb = hostMemoryKb - others.reduce((sum, record) => sum + record.maxMemoryKb, 0)
  if (maxMemoryKb <= freeKb) return
  const mib = (kb: number): number => Math.floor(kb / 1024)
  throw new OperatorError('failed to free memory for the domain', {
    hint: `"${name}" wants ${mib(maxMemoryKb)} MiB; the host has ${mib(Math.max(freeKb, 0))} MiB free of ${mib(hostMemoryKb)} MiB`,
    exitCode: 3,
  })
}
