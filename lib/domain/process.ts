/**
 * A domain's process: joins builder, vCPU thread, xenstore, console and control socket, and does with a guest that has shut down what its
 * configuration says. The only place below the CLI that makes clocks, files and threads.
 *
 *              ┌────────────── restart: new domid, new memory ──────────────┐
 *              ▼                                                            │
 *   building ─► running ◄─► paused ──► shut down ─► (on_* action) ─► preserve │ destroy ─► gone
 *
 * Source: xl.cfg(5) "Event Actions"; log lines as Xen's xl writes them.
 */
import type {Duplex} from 'node:stream'
import type {DomId} from '../base/brand.js'
import {OperatorError} from '../base/errors.js'
import {BoundedLog} from '../control/bounded-log.js'
import type {DomainConfig} from '../control/domain-config.js'
import type {Outcome} from '../control/handshake.js'
import {HostDirectory} from '../control/host-directory.js'
import {domainTitle, type Launch, type StreamToRestore} from '../control/launch.js'
import {
  type AwaitedEnd,
  type DomainEnd,
  type DomainService,
  type DomainStatus,
  type MemoryRequest,
  type SaveRequest,
  type SendProgress,
  type SendReport,
  type SendRequest,
  type SharedMemory,
  type ShutdownReason,
  type ShutdownRequest,
  shutdownReasons,
} from '../control/protocol.js'
import {serveControl} from '../control/socket.js'
import {field} from '../hypervisor/record.js'
import {requestShutdown, sendSysrq} from '../xenstore/control.js'
import {renameInTree} from '../xenstore/domain-tree.js'
import {Arrival} from './arrival.js'
import {bootGuest, type GuestIdentity} from './boot-guest.js'
import {CoreDumps} from './core-dump.js'
import {Departure} from './departure.js'
import {DomainConsole} from './domain-console.js'
import {EndWaiters} from './end-waiters.js'
import {collectGarbage} from './garbage.js'
import type {Guest} from './guest.js'
import {DomainMemory} from './memory.js'
import {MessageRing} from './message-ring.js'
import {restoreGuest} from './restore-guest.js'
import {shutdownAction} from './shutdown-action.js'
import {openSource} from './stream/source.js'
import {makeWay} from './successor.js'
import {GuestThreads} from './threads.js'
import type {WorkerMessage} from './vcpu-messages.js'

/** Console output shown in the log of a crash. */
const crashTailBytes = 4096
/** The files a guest was built from are garbage by then. */
const tidyAfterMs = 1000

export class DomainProcess implements DomainService {
  private readonly host: HostDirectory
  private readonly console: DomainConsole
  private readonly processLog: BoundedLog
  private readonly waiters = new EndWaiters()
  private key: string
  private domid: number
  private name: string
  private guest: Guest | undefined
  private memory: DomainMemory | undefined
  /** What the next guest starts with. */
  private memoryKb: number
  /** What the host counts. */
  private countedKb = 0
  private paused: boolean
  private reason: ShutdownReason | undefined
  private dying = false
  private readonly arrival: Arrival
  private readonly messages = new MessageRing()
  private control: {close: () => Promise<void>} | undefined

  private readonly departure = new Departure({
    guest: () => (this.reason === undefined && !this.dying ? this.guest : undefined),
    domid: () => this.domid,
    name: () => this.name,
    rename: name => this.rename(name),
    noteDraft: path => this.host.noteDraft(this.key, path),
    end: () => this.destroy(),
    resume: () => this.guest?.release('departure'),
    log: line => this.log(line),
  })

  private readonly cores = new CoreDumps(path => this.host.noteDraft(this.key, path))

  /** `threads` serve the first guest. */
  constructor(
    private readonly launch: Launch,
    private readonly firstThreads: GuestThreads,
  ) {
    const {record} = launch
    this.host = new HostDirectory(record.hostDirectory)
    this.arrival = new Arrival(record.hostDirectory)
    this.key = record.key
    this.domid = record.domid
    this.name = record.config.name
    this.memoryKb = record.config.memoryKb
    this.paused = record.paused
    this.console = new DomainConsole(record.consoleLogPath)
    this.processLog = new BoundedLog(record.logPath)
  }

  private get config(): DomainConfig {
    return {...this.launch.record.config, memoryKb: this.memory?.nextKb ?? this.memoryKb}
  }

  /** xl died before the domain was ready: nothing may stay behind. */
  abandon(): void {
    this.host.release(this.key)
  }

  /** Builds the domain, answers xl, runs. */
  async start(): Promise<void> {
    try {
      const adopted = await this.host.adopt(this.key)
      this.key = adopted.key
      this.domid = adopted.domid
      this.countedKb = adopted.maxMemoryKb
      this.guest = await this.build(this.firstThreads)
      this.control = await serveControl(this.launch.record.socketPath, this, error =>
        this.log(`bug: ${error instanceof Error ? error.stack : error}`),
      )
    } catch (error) {
      this.host.release(this.key)
      await this.launch.failed(error)
      process.exit(1)
    }
    await this.launch.ready()
    setTimeout(() => collectGarbage(), tidyAfterMs).unref()
    this.log(`Waiting for domain ${this.name} (domid ${this.domid}) to die [pid ${process.pid}]`)
  }

  /** Makes a guest and lets it run, unless the domain is destroyed meanwhile. The vCPU's thread gets ready while the kernel is read. */
  private async build(threads: GuestThreads): Promise<Guest | undefined> {
    const {config} = this
    let early: Error | undefined
    threads.listen({
      heard: message => this.heard(message),
      failed: error => {
        this.log(`bug in a thread of the guest: ${error.stack ?? error.message}`)
        if (this.guest === undefined) early = error
        else void this.shutDown(shutdownReasons.indexOf('crash'), 'registers of the guest: unknown')
      },
    })
    const identity = {domid: this.domid, name: this.name}
    const isWanted = () => {
      if (early !== undefined) throw early
      return !this.dying
    }
    const {restore} = this.launch.record
    const made = restore
      ? await this.restore(identity, threads, restore)
      : await bootGuest(config, identity, threads, isWanted)
    if (made === undefined || !isWanted()) return undefined
    const {guest, enter, origin} = made
    this.console.connect(guest.console)
    this.memory = new DomainMemory(guest, this.domid as DomId, {
      countedKb: this.countedKb,
      account: async (memoryKb, hostMemoryKb) => {
        await this.host.resize(this.key, memoryKb, hostMemoryKb)
      },
      say: line => this.messages.say(line),
    })
    if (this.paused) guest.hold('operator')
    enter()
    this.messages.say(`Gastwirt: domain ${this.domid} "${this.name}" built: ${config.memoryKb / 1024} MiB, ${origin}`)
    return guest
  }

  /** The first guest of a restored domain; when it reboots, it boots. */
  private async restore(identity: GuestIdentity, threads: GuestThreads, {fd, head}: StreamToRestore) {
    delete this.launch.record.restore
    const source = openSource(fd, head)
    try {
      const restored = await restoreGuest(this.config, identity, threads, source, () => this.launch.fits())
      this.arrival.token = restored.token
      return {...restored, origin: 'restored'}
    } finally {
      source.close()
    }
  }

  /** A message of the vCPU thread. */
  private heard(message: WorkerMessage): void {
    if (message.kind === 'event') this.guest?.onEvent(message.port)
    else if (message.kind === 'parked') this.guest?.onParked(message.number)
    else if (message.kind === 'harvested') this.guest?.onSettled()
    else if (message.kind === 'memory') this.memory?.changed()
    else if (message.kind === 'quiet') collectGarbage(true)
    else if (message.kind === 'shutdown') void this.shutDown(message.reason, message.guest)
    else if (message.kind === 'console') this.messages.say(new TextDecoder().decode(message.bytes).trimEnd())
    else this.log(message.line)
  }

  /** The guest has shut down, with Xen's reason code: says so, then does what the configuration wants. */
  private async shutDown(code: number, guest: string): Promise<void> {
    if (this.reason !== undefined || this.dying) return
    // A reason that does not exist counts as a crash.
    const reason = shutdownReasons[code] ?? 'crash'
    this.reason = reason
    this.guest?.console.onEvent()
    this.guest?.onSettled()
    this.log(`Domain ${this.domid} has shut down, reason code ${code} 0x${code.toString(16)}`)
    if (reason === 'crash') {
      this.log(`${guest}\nend of its console:\n${this.console.tail(crashTailBytes)}`)
    }
    this.settle('shutdown')
    this.arrival.noteEnd()
    const action = shutdownAction(this.config, reason)
    this.log(`Action for shutdown reason code ${code} is ${action.name}`)
    if (action.dumpsCore) await this.dumpAtEnd()
    if (action.next === 'preserve') return this.settle('aftermath')
    if (action.next === 'rename-restart')
      return this.settle('aftermath', await makeWay(this.host, {...this.config, name: this.name}, this))
    if (action.next === 'destroy') return this.end()
    try {
      await this.restart()
    } catch (error) {
      this.log(`Domain ${this.domid} cannot be built again: ${error instanceof Error ? error.message : error}`)
      await this.end()
    }
  }

  /** A core of the guest that has shut down; without it life goes on. */
  private async dumpAtEnd(): Promise<void> {
    const path = this.host.corePath(this.name)
    this.log(`dumping core to ${path}`)
    await this.dumpCore(path).catch(error => this.log(`core dump failed: ${error.message}`))
  }

  /** The same domain once more, under a new domid. */
  private async restart(): Promise<void> {
    this.log(`Domain ${this.domid} needs to be cleaned up: destroying the domain`)
    await this.stopGuest()
    // It may be destroyed while it is on its way.
    if (this.dying) return
    const record = await this.host.renew(this.key)
    if (this.dying) return
    this.key = record.key
    this.domid = record.domid
    this.countedKb = record.maxMemoryKb
    process.title = domainTitle(this.domid, this.name)
    this.reason = undefined
    this.waiters.begin()
    this.log('Done. Rebooting now')
    try {
      this.guest = await this.build(new GuestThreads())
    } catch (error) {
      this.log(`the domain cannot be built again: ${error instanceof Error ? error.message : error}`)
      return this.end()
    }
    setTimeout(() => collectGarbage(), tidyAfterMs).unref()
  }

  private async stopGuest(): Promise<void> {
    const {guest, memory} = this
    if (guest === undefined) return
    this.memoryKb = memory?.nextKb ?? this.memoryKb
    this.guest = undefined
    this.console.connect(undefined)
    this.memory = undefined
    await memory?.close()
    await Promise.all([this.departure.abandon(), this.cores.abandon(), guest.stop()])
  }

  /** The end of the domain and of this process. */
  private async end(): Promise<void> {
    if (this.dying) return
    this.dying = true
    this.arrival.noteEnd()
    this.log(`Domain ${this.domid} needs to be cleaned up: destroying the domain`)
    await this.stopGuest()
    this.host.release(this.key)
    // The log is whole before anyone learns of the end.
    this.log('Done. Exiting now')
    this.settle('death')
    await this.console.end()
    await this.control?.close()
    this.processLog.close()
    // process.exit would wait for V8's threads, and one of them may wait for a garbage collection that then never comes. Nothing is left to be done.
    process.kill(process.pid, 'SIGKILL')
  }

  private settle(come: AwaitedEnd, more: Partial<DomainEnd> = {}): void {
    const {domid, reason} = this
    this.waiters.settle(come, {domid, ...(reason === undefined ? {} : {reason}), ...more})
  }

  /** One line into the domain's log; standard error leads there too, for what Node has to say. */
  log(line: string): void {
    this.processLog.write(new TextEncoder().encode(`${line}\n`))
  }

  // ---- DomainService ----

  status(): DomainStatus {
    const {guest, config} = this
    const record = guest?.record
    const cpuTimeNs = record?.f64(field.busyNs) ?? 0
    const blocked = record !== undefined && record.u32(field.blocked) !== 0
    const ended = this.reason !== undefined
    // A domain that another host may run does not run here.
    const paused = this.paused || this.departure.isAway
    const running = !ended && !paused && !blocked
    return {
      domid: this.domid,
      name: this.name,
      uuid: config.uuid,
      running,
      blocked: blocked && !paused && !ended,
      paused,
      ...(this.reason === undefined ? {} : {shutdownReason: this.reason}),
      dying: this.dying,
      cpuTimeNs,
      currentMemoryKb: this.memory?.heldKb ?? config.memoryKb,
      maxMemoryKb: this.memory?.maximumKb ?? config.maxMemoryKb,
      vcpus: [{id: 0, state: paused ? 'paused' : blocked ? 'blocked' : 'running', cpuTimeNs}],
      uptimeMs: Date.now() - (guest?.startedMs ?? Date.now()),
      config: {...config, name: this.name},
    }
  }

  pause(): void {
    this.paused = true
    this.guest?.hold('operator')
  }

  unpause(): void {
    if (this.departure.isAway) this.departure.takeBack()
    this.paused = false
    this.guest?.release('operator')
  }

  shutdown(request: ShutdownRequest): void {
    const {guest} = this
    const feature =
      request === 'reboot' ? 'feature-reboot' : request === 'suspend' ? 'feature-suspend' : 'feature-poweroff'
    if (guest === undefined || guest.dom0.read(`/local/domain/${this.domid}/control/${feature}`) !== '1') {
      throw new OperatorError('the guest does not listen to control/shutdown', {exitCode: 10})
    }
    if (request === 'suspend') guest.record.setF64(field.wallStepMs, 0)
    requestShutdown(guest.dom0, this.domid as DomId, request)
  }

  destroy(): void {
    setImmediate(() => void this.end())
  }

  /** Another uuid: when a successor takes over this domain's. */
  async rename(name: string, uuid = this.config.uuid): Promise<void> {
    const record = await this.host.rename(this.key, name, uuid)
    this.launch.record.config.uuid = uuid
    this.name = record.name
    process.title = domainTitle(this.domid, this.name)
    if (this.guest) renameInTree(this.guest.dom0, this.domid as DomId, this.name)
  }

  sharing(): SharedMemory {
    const {bytes, ownBytes} = this.memory?.shared ?? {bytes: 0, ownBytes: 0}
    return {sharedKb: bytes / 1024, ownKb: ownBytes / 1024}
  }

  async setMemory({limit, kb, hostMemoryKb}: MemoryRequest): Promise<void> {
    if (this.memory === undefined) throw new OperatorError('the domain is being built again', {exitCode: 3})
    await this.memory.set(limit, kb, hostMemoryKb)
  }

  async dumpCore(path: string): Promise<void> {
    if (this.guest === undefined) throw new OperatorError('the domain is being built again', {exitCode: 3})
    await this.cores.write(this.guest, this.reason === undefined, path)
  }

  sysrq(letter: string): void {
    if (this.guest) sendSysrq(this.guest.dom0, this.domid as DomId, letter)
  }

  async save(request: SaveRequest, signal: AbortSignal): Promise<SendReport> {
    const report = await this.departure.save(request, signal)
    if (request.after === 'end') this.destroy()
    else {
      if (request.after === 'pause') this.pause()
      this.guest?.release('departure')
    }
    return report
  }

  send(request: SendRequest): (stream: Duplex) => void {
    return this.departure.send(request)
  }

  sendProgress(id: string): SendProgress {
    return this.departure.present(id).progress
  }

  mayStop(id: string): void {
    this.departure.present(id).mayStop()
  }

  sent(id: string): Promise<SendReport> {
    return this.departure.present(id).sent
  }

  giveAway(id: string, command: string): Promise<void> {
    return this.departure.giveAway(id, command)
  }

  migrated(id: string, outcome: Outcome | 'unknown'): Promise<Outcome | 'unknown'> {
    return this.departure.migrated(id, outcome)
  }

  async accept(name: string, paused: boolean): Promise<void> {
    await this.rename(name)
    this.arrival.accept()
    this.launch.accepted()
    if (!paused) this.unpause()
  }

  dmesg(clear: boolean): string {
    return this.messages.read(clear)
  }

  debug(keys: string): void {
    const {guest} = this
    this.messages.say(`keys ${JSON.stringify(keys)} pressed`)
    if (guest === undefined) return
    const {record} = guest
    const mode = record.u32(field.kernelMode) === 1 ? 'kernel' : 'user'
    this.messages.say(
      `vCPU 0: ${mode} mode, blocked ${record.u32(field.blocked)}, timer at ${record.f64(field.timer)} ns`,
    )
  }

  wait(until: AwaitedEnd): Promise<DomainEnd> {
    return this.waiters.wait(until)
  }

  attachConsole(stream: Parameters<DomainService['attachConsole']>[0]): void {
    this.console.attach(stream)
  }
}
