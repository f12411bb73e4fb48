/**
 * What xl knows about a host: its memory and CPUs, its domains, and how to find, start, reach and end them. It never loads a CPU or a
 * guest: a domain is another process, met only at its control socket.
 *
 * The host's size is the machine's, unless `host.cfg` in the host directory says otherwise:
 *
 *   memory = 4096      # MiB for Domain-0 and all guests
 *   cpus = 4
 *   overcommit = 1     # domains may be promised more memory than there is; 0 if absent
 *
 * One eighth of the memory, at most 1 GiB, counts as Domain-0's: what the machine's own programs use.
 */
import {spawn} from 'node:child_process'
import {closeSync, existsSync, openSync, readFileSync} from 'node:fs'
import {availableParallelism, cpus, tmpdir, totalmem, uptime} from 'node:os'
import {isAbsolute, join, resolve} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {OperatorError} from '../base/errors.js'
import type {DomainConfig} from '../control/domain-config.js'
import {type DomainRecord, HostDirectory, hostFailure} from '../control/host-directory.js'
import {domainTitle, type LaunchRecord, type LaunchReply} from '../control/launch.js'
import {isAlive, signalProcess} from '../control/process-identity.js'
import type {DomainStatus, MemoryRequest, OperationName, Operations, SharedMemory} from '../control/protocol.js'
import {ControlClient, DomainGoneError} from '../control/socket.js'
import {domainRuntime} from './runtime.js'
import type {SavedDomain} from './saved-domain.js'
import {VerbatimError} from './verbatim-error.js'

const statusPatienceMs = 2000
const destroyPatienceMs = 3000
const memoryPatienceMs = 10_000
/** How long a killed process may take to disappear. */
const deathMs = 2000
/** Where a domain process finds the stream it is restored from. */
const streamFd = 4

/** The host directory that an environment means. */
export function hostDirectoryPath(environment: NodeJS.ProcessEnv): string {
  // A domain process works in another folder.
  if (environment.GASTWIRT_HOST) return resolve(environment.GASTWIRT_HOST)
  const base = environment.XDG_RUNTIME_DIR
  if (base !== undefined && isAbsolute(base)) return join(base, 'gastwirt')
  return join(tmpdir(), `gastwirt-${process.getuid?.() ?? 'host'}`)
}

/** What a person may call a domain: its id, or its name. `record` is absent for Domain-0 and for an id that no domain has. */
export interface DomainReference {
  domid: number
  record?: DomainRecord
}

/** A domain that comes by migration: the name it will have, and who hears early that it can run here. */
export interface Arrival {
  readonly name: string
  onFits(): void
}

/** Memory in KiB. `freeKb` is what new domains may still take. */
export interface HostMemory {
  totalKb: number
  domain0Kb: number
  freeKb: number
}

/** One host. */
export class Host {
  readonly directory: HostDirectory

  /** `domainProgram` is the script a domain process runs. */
  constructor(
    path: string,
    private readonly domainProgram: string,
  ) {
    this.directory = new HostDirectory(path)
  }

  /** The living domains, by domid. */
  records(): DomainRecord[] {
    return this.directory.list()
  }

  /**
   * Finds what a person named. Digits are a domid and are not checked, as in xl.
   * Errors: VerbatimError for a name that no domain has.
   */
  find(identifier: string): DomainReference {
    if (/^[0-9]+$/.test(identifier)) {
      const domid = Number(identifier)
      return {domid, record: this.directory.find({domid})}
    }
    if (identifier === 'Domain-0') return {domid: 0}
    const record = this.directory.find({name: identifier})
    if (record === undefined) throw new VerbatimError(`${identifier} is an invalid domain identifier (rc=-6)`)
    return {domid: record.domid, record}
  }

  /** Opens a connection to a domain process. Errors: DomainGoneError. */
  connect(record: DomainRecord): Promise<ControlClient> {
    return ControlClient.connect(this.directory.socketPath(record.key))
  }

  /** One question and its answer. Errors: DomainGoneError; OperatorError after `patienceMs` without an answer. */
  async ask<Name extends OperationName>(
    record: DomainRecord,
    op: Name,
    given: Operations[Name]['arguments'],
    patienceMs?: number,
  ): Promise<Operations[Name]['result']> {
    const client = await this.connect(record)
    let timer: NodeJS.Timeout | undefined
    try {
      const answer = client.request(op, given)
      if (patienceMs === undefined) return await answer
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(
          () => reject(new OperatorError(`domain ${record.domid} does not answer`, {exitCode: 3})),
          patienceMs,
        )
      })
      return await Promise.race([answer, late])
    } finally {
      clearTimeout(timer)
      client.close()
    }
  }

  /** What a domain is doing; undefined if it has gone meanwhile. One that does not answer is shown as its record has it. */
  async status(record: DomainRecord): Promise<DomainStatus | undefined> {
    if (!record.adopted) return silentStatus(record, true)
    try {
      return await this.ask(record, 'status', {}, statusPatienceMs)
    } catch (error) {
      if (!(error instanceof DomainGoneError)) return silentStatus(record, false)
      const now = this.directory.find({key: record.key})
      // Alive and not listening: it is being built, which Xen shows as paused.
      return now === undefined ? undefined : silentStatus(now, true)
    }
  }

  /** All domains but Domain-0, by domid. */
  async statuses(): Promise<DomainStatus[]> {
    const answers = await Promise.all(this.records().map(record => this.status(record)))
    return answers.filter(status => status !== undefined).sort((a, b) => a.domid - b.domid)
  }

  /** Takes name, domid and memory for a domain that is to be started by this process. Errors: OperatorError when one of them is not to be had. */
  reserve({name, uuid, memoryKb, vcpus, domid}: DomainConfig): Promise<DomainRecord> {
    // What is between memory and maxmem is not the domain's before somebody raises its target.
    const wanted = {name, uuid, maxMemoryKb: memoryKb, vcpus, ...(domid === undefined ? {} : {domid})}
    return this.directory.reserve({...wanted, ...this.forGuests()})
  }

  /**
   * Starts a domain, or one that was saved, and resolves when it exists; it runs at once unless `paused`. On any failure nothing of it is left.
   * One that arrives by migration ends with this process until it is accepted.
   * Errors: OperatorError, also with what the domain process answered.
   */
  async start(config: DomainConfig, paused: boolean, saved?: SavedDomain, arriving?: Arrival): Promise<DomainRecord> {
    return this.startReserved(await this.reserve(config), config, paused, saved, arriving)
  }

  /** The same for a record that has been reserved, which is released on failure. */
  async startReserved(
    record: DomainRecord,
    config: DomainConfig,
    paused: boolean,
    saved?: SavedDomain,
    arriving?: Arrival,
  ): Promise<DomainRecord> {
    try {
      const logName = arriving?.name ?? config.name
      const launched: LaunchRecord = {
        version: 1,
        hostDirectory: this.directory.path,
        key: record.key,
        domid: record.domid,
        config,
        paused,
        socketPath: this.directory.socketPath(record.key),
        logPath: this.directory.logPath(logName),
        consoleLogPath: this.directory.consoleLogPath(logName),
        ...(arriving === undefined ? {} : {arriving: true}),
        ...(saved === undefined ? {} : {restore: {fd: streamFd, head: {bytes: saved.head.bytes, crc: saved.head.crc}}}),
      }
      await this.launch(launched, saved?.fd, arriving)
      return this.directory.find({key: record.key}) ?? record
    } catch (error) {
      this.directory.release(record.key)
      throw error
    }
  }

  /** Sets target or maximum of a domain's memory. Errors: OperatorError, also DomainGoneError. */
  async setMemory(record: DomainRecord, limit: MemoryRequest['limit'], kb: number): Promise<void> {
    await this.ask(record, 'setMemory', {limit, kb, ...this.forGuests()}, memoryPatienceMs)
  }

  /** What a domain shares with others; nothing if it is gone or cannot say. */
  async sharing(record: DomainRecord): Promise<SharedMemory> {
    try {
      return await this.ask(record, 'sharing', {}, statusPatienceMs)
    } catch (error) {
      if (error instanceof OperatorError) return {sharedKb: 0, ownKb: 0}
      throw error
    }
  }

  /** What all domains but Domain-0 may have together, if that is limited. */
  private forGuests(): {hostMemoryKb?: number} {
    if (this.setting('overcommit') === 1) return {}
    const {totalKb, domain0Kb} = this.memory()
    return {hostMemoryKb: totalKb - domain0Kb}
  }

  /** Ends a domain at once. A process that does not obey is killed. Resolves when its name is free. */
  async destroy(record: DomainRecord): Promise<void> {
    let patience: NodeJS.Timeout | undefined
    try {
      const client = await this.connect(record)
      patience = setTimeout(() => signalProcess(record.owner, 'SIGKILL'), destroyPatienceMs)
      await client.request('destroy', {})
      // The connection ends with the process.
      await client.closed
    } catch (error) {
      if (!(error instanceof DomainGoneError)) throw error
      if (isAlive(record.owner)) signalProcess(record.owner, 'SIGKILL')
    } finally {
      clearTimeout(patience)
    }
    this.directory.release(record.key)
  }

  /** True when the domain's process, which has gone, took no leave of its host: nobody wanted the domain's end. */
  async wasKilled({owner, key}: DomainRecord): Promise<boolean> {
    for (const sinceMs = performance.now(); isAlive(owner); await delay(1)) {
      if (performance.now() - sinceMs > deathMs) return false
    }
    return this.directory.isDead(key)
  }

  /** The host's memory and what is left of it. */
  memory(): HostMemory {
    const megabytes = this.setting('memory') ?? Math.floor(totalmem() / 2 ** 20)
    const totalKb = megabytes * 1024
    const domain0Kb = Math.min(Math.floor(megabytes / 8), 1024) * 1024
    const guestsKb = this.records().reduce((sum, record) => sum + record.maxMemoryKb, 0)
    return {totalKb, domain0Kb, freeKb: Math.max(0, totalKb - domain0Kb - guestsKb)}
  }

  /** How many CPUs the host has. */
  cpuCount(): number {
    return this.setting('cpus') ?? availableParallelism()
  }

  /** Domain-0 as a row among the others: the machine itself. */
  domain0(): {cpuTimeNs: number; memoryKb: number; vcpus: number; uptimeMs: number} {
    const busyMs = cpus().reduce((sum, {times}) => sum + times.user + times.nice + times.sys + times.irq, 0)
    return {
      cpuTimeNs: busyMs * 1e6,
      memoryKb: this.memory().domain0Kb,
      vcpus: this.cpuCount(),
      uptimeMs: uptime() * 1000,
    }
  }

  /** A positive number from host.cfg. Only these three keys exist, so a pattern reads them. */
  private setting(key: 'memory' | 'cpus' | 'overcommit'): number | undefined {
    let text: string
    try {
      text = readFileSync(join(this.directory.path, 'host.cfg'), 'utf8')
    } catch {
      return undefined
    }
    const match = new RegExp(`^\\s*${key}\\s*=\\s*["']?([0-9]+)`, 'm').exec(text)
    const number = match === null ? 0 : Number(match[1])
    return number > 0 ? number : undefined
  }

  private launch(record: LaunchRecord, stream: number | undefined, arriving: Arrival | undefined): Promise<void> {
    if (!existsSync(this.domainProgram)) {
      throw new OperatorError(`the program of domain processes is missing: "${this.domainProgram}"`, {
        hint: 'build the project: npm run build',
        exitCode: 3,
      })
    }
    const {logPath} = record
    const {name} = record.config
    let log: number
    try {
      log = openSync(logPath, 'a', 0o600)
    } catch (error) {
      throw hostFailure(this.directory.path, error)
    }
    const child = spawn(domainRuntime(), [this.domainProgram, String(record.domid), name], {
      argv0: domainTitle(record.domid, name),
      cwd: '/',
      // One arena for all threads, which allocate little at a time: what one frees another can use.
      env: {MALLOC_ARENA_MAX: '1', ...process.env},
      detached: true,
      stdio: ['ignore', log, log, 'ipc', ...(stream === undefined ? [] : [stream])],
    })
    closeSync(log)
    return new Promise((resolve, reject) => {
      const silent = (): void => {
        child.kill('SIGKILL')
        reject(
          new OperatorError(`the process of domain "${name}" ended before the domain ran`, {
            hint: `its log is "${logPath}"${lastLine(logPath)}`,
            exitCode: 3,
          }),
        )
      }
      child.once('error', cause =>
        reject(new OperatorError(`cannot start a domain process: ${cause.message}`, {cause, exitCode: 3})),
      )
      child.once('disconnect', silent)
      child.on('message', (reply: LaunchReply) => {
        if ('fits' in reply) return arriving?.onFits()
        child.off('disconnect', silent)
        if (record.arriving) child.channel?.unref()
        else if (child.connected) child.disconnect()
        child.unref()
        if ('ready' in reply) resolve()
        else reject(new OperatorError(reply.failed.message, reply.failed))
      })
      child.send(record, error => {
        if (error !== null) silent()
      })
    })
  }
}

function lastLine(path: string): string {
  const text = readFileSync(path, 'utf8').trimEnd()
  const line = text.slice(text.lastIndexOf('\n') + 1).slice(0, 200)
  return line === '' ? '' : ` and ends with: ${line}`
}

/** The status of a domain that cannot be asked. */
function silentStatus(record: DomainRecord, paused: boolean): DomainStatus {
  const {domid, name, uuid} = record
  return {
    domid,
    name,
    uuid,
    running: false,
    blocked: false,
    paused,
    dying: false,
    cpuTimeNs: 0,
    currentMemoryKb: record.maxMemoryKb,
    maxMemoryKb: record.maxMemoryKb,
    vcpus: Array.from({length: record.vcpus}, (_, id) => ({id, state: 'paused', cpuTimeNs: 0})),
    uptimeMs: Date.now() - record.createdMs,
    config: silentConfig(record),
  }
}

/** As much of a configuration as a record holds. */
function silentConfig({name, uuid, maxMemoryKb, vcpus}: DomainRecord): DomainConfig {
  return {
    type: 'pv',
    name,
    uuid,
    memoryKb: maxMemoryKb,
    maxMemoryKb,
    vcpus,
    maxVcpus: vcpus,
    cmdline: '',
    onPoweroff: 'destroy',
    onReboot: 'restart',
    onWatchdog: 'destroy',
    onCrash: 'destroy',
    onSoftReset: 'soft-reset',
    disks: [],
    nics: [],
    localtime: false,
    rtcTimeoffsetSeconds: 0,
    tscMode: 'default',
  }
}
