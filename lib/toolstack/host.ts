/**
 * What xl knows about a host: its memory and CPUs, its domains, and how to find, start, reach and end them. It never loads a CPU or a
 * guest: a domain is another process, met only at its control socket.
 */
import {cpus, tmpdir, uptime} from 'node:os'
import {isAbsolute, join, resolve} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {OperatorError} from '../base/errors.js'
import type {DomainConfig} from '../control/domain-config.js'
import {type DomainRecord, HostDirectory} from '../control/host-directory.js'
import {hostCpus, hostMemory, memoryForGuests} from '../control/host-size.js'
import {type Arrival, reserveDomain, startDomainProcess} from '../control/launcher.js'
import type {PieceQueue} from '../control/piece-queue.js'
import {isAlive, signalProcess} from '../control/process-identity.js'
import type {
  DomainStatus,
  MemoryRequest,
  OperationName,
  Operations,
  SendRequest,
  SharedMemory,
} from '../control/protocol.js'
import {ControlClient, DomainGoneError, openStream} from '../control/socket.js'
import {domainRuntime} from './runtime.js'
import type {SavedDomain} from './saved-domain.js'
import {VerbatimError} from './verbatim-error.js'

const statusPatienceMs = 2000
const destroyPatienceMs = 3000
const memoryPatienceMs = 10_000
/** How long a killed process may take to disappear. */
const deathMs = 2000

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

  /** The stream of a domain that leaves. Errors: OperatorError, also DomainGoneError. */
  openStream(record: DomainRecord, request: SendRequest): Promise<PieceQueue> {
    return openStream(this.directory.socketPath(record.key), request)
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
  reserve(config: DomainConfig): Promise<DomainRecord> {
    return reserveDomain(this.directory, config)
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
    const program = {runtime: domainRuntime(), script: this.domainProgram}
    return startDomainProcess(this.directory, program, record, config, {paused, saved, arriving})
  }

  /** Sets target or maximum of a domain's memory. Errors: OperatorError, also DomainGoneError. */
  async setMemory(record: DomainRecord, limit: MemoryRequest['limit'], kb: number): Promise<void> {
    await this.ask(record, 'setMemory', {limit, kb, ...memoryForGuests(this.directory.path)}, memoryPatienceMs)
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
    const {totalKb, domain0Kb} = hostMemory(this.directory.path)
    const guestsKb = this.records().reduce((sum, record) => sum + record.maxMemoryKb, 0)
    return {totalKb, domain0Kb, freeKb: Math.max(0, totalKb - domain0Kb - guestsKb)}
  }

  /** How many CPUs the host has. */
  cpuCount(): number {
    return hostCpus(this.directory.path)
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
