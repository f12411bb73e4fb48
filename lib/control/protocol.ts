/**
 * The contract between xl and a domain process: what may be asked and what is answered.
 *
 * Over a Unix socket go JSON lines, a request `{version, id, op, arguments}` and its reply `{id, result}` or `{id, error}`; replies
 * may come in another order than their requests. After a good reply to `console` or `send` the socket carries the guest's console, or its stream,
 * as raw bytes until either side closes it. A domain process that meets another version refuses it in words.
 *
 * Rule of use: a domain process implements {@link DomainService} and passes it to `serveControl`; xl holds a `ControlClient`.
 */
import type {Duplex} from 'node:stream'
import type {DomainConfig} from './domain-config.js'
import type {Outcome} from './handshake.js'

/** Raised when a request or reply changes its meaning. */
export const protocolVersion = 1

/** Why a domain shut down. The position is Xen's reason code. Source: public/sched.h SHUTDOWN_*. */
export const shutdownReasons = ['poweroff', 'reboot', 'suspend', 'crash', 'watchdog', 'soft_reset'] as const
/** One of {@link shutdownReasons}. */
export type ShutdownReason = (typeof shutdownReasons)[number]

/** What one vCPU does. `cpu` is the host CPU it was last seen on, if that is known. */
export interface VcpuStatus {
  id: number
  state: 'running' | 'blocked' | 'paused' | 'offline'
  cpu?: number
  cpuTimeNs: number
}

/** What a domain is and does at this moment. */
export interface DomainStatus {
  domid: number
  name: string
  uuid: string
  /** At least one vCPU executes or is ready to. */
  running: boolean
  /** Every vCPU waits for an event. */
  blocked: boolean
  /** By `xl pause`, or not yet unpaused. */
  paused: boolean
  /** Present once the guest has shut down and is kept (`preserve`) or about to be cleaned up. */
  shutdownReason?: ShutdownReason
  /** Being torn down. */
  dying: boolean
  cpuTimeNs: number
  /** Memory the guest holds now, and the most it may hold. */
  currentMemoryKb: number
  maxMemoryKb: number
  vcpus: VcpuStatus[]
  /** Milliseconds since this domain (this domid) was built. */
  uptimeMs: number
  config: DomainConfig
}

/**
 * What can be waited for. `shutdown`: the guest's next one. `aftermath`: as whoever looks after the domain in the foreground does: until it is gone, or has
 * shut down for good and is kept. `death`: that it is gone for good. Reboots count for the first only.
 */
export type AwaitedEnd = 'shutdown' | 'aftermath' | 'death'

/** How a domain came to an end, or to its shutdown. */
export interface DomainEnd {
  domid: number
  /** Absent if the domain was destroyed without shutting down. */
  reason?: ShutdownReason
  /** The key of the domain that has its place and name now, while it is kept (`rename-restart`). */
  successor?: string
  /** Why there is none although there should be. */
  failed?: {message: string; exitCode: number}
}

/** What becomes of a domain that has been saved: it ends, goes on, or stays paused. */
export type AfterSave = 'end' | 'run' | 'pause'

/** Where and how a domain is saved. */
export interface SaveRequest {
  /** Absolute. */
  path: string
  after: AfterSave
  /** The configuration for the file's head. */
  config: DomainConfig
  compress: boolean
  /** The path leads to an open file of xl's that has no name: it is written to as it is, and need not survive the machine. */
  isScratch: boolean
}

/** One pass over a guest's pages, while it ran or, the last one, while it stood still. */
export interface SendRound {
  pages: number
  bytes: number
  ms: number
}

/** How a guest was saved or sent. */
export interface SendReport {
  rounds: SendRound[]
  bytes: number
  /** From the first byte to the last. */
  totalMs: number
  /** How long the guest stood still until all of it was written. */
  parkedMs: number
}

/** How a domain is sent to another host. */
export interface SendRequest {
  /** Copy most of it while it runs. */
  live: boolean
  /** The configuration for the stream's head. */
  config: DomainConfig
  /** Names this sending. */
  id: string
  /** The stream can be used once, by a receiver that takes `id` for its token (migration-tokens.ts); otherwise it may be kept and used at any time. */
  isMigration: boolean
  compress: boolean
}

/** How far sending has come: passes that are complete, pages sent in all. */
export interface SendProgress {
  round: number
  pages: number
}

/** What can be asked of a guest over `control/shutdown`. */
export type ShutdownRequest = 'poweroff' | 'reboot' | 'halt' | 'suspend'

/** Memory of a domain that its host has only once for several domains. */
export interface SharedMemory {
  sharedKb: number
  /** The domain's part of it: of a page that n domains share, one n-th. */
  ownKb: number
}

/** What a domain's memory is to be. `target`: what its guest aims at, and the most it may take; `maximum`: the most a target may become. */
export interface MemoryRequest {
  limit: 'target' | 'maximum'
  kb: number
  /** What all domains of the host may have together; absent when the host may promise more than it has. */
  hostMemoryKb?: number
}

/**
 * What a domain process offers. A method that cannot do what it was asked throws an OperatorError, which reaches the person who
 * asked with its message, hint and exit status; any other exception is logged there and reported as a bug of ours.
 */
export interface DomainService {
  status(): DomainStatus | Promise<DomainStatus>
  pause(): void | Promise<void>
  unpause(): void | Promise<void>
  /** Writes control/shutdown. Errors: OperatorError when the guest does not listen there. */
  shutdown(request: ShutdownRequest): void | Promise<void>
  /** Ends the domain at once: resolves when its vCPUs have stopped; the process exits soon after. */
  destroy(): void | Promise<void>
  /** Takes another name; the caller has not reserved it. Errors: OperatorError when it is taken. */
  rename(name: string): void | Promise<void>
  /**
   * Sets target or maximum of the domain's memory; resolves when the guest is told and the host counts it, not when the guest has followed.
   * Errors: OperatorError when target, maximum and host do not allow it.
   */
  setMemory(request: MemoryRequest): void | Promise<void>
  /** Looks through all of the domain's memory: some milliseconds. */
  sharing(): SharedMemory | Promise<SharedMemory>
  sysrq(letter: string): void | Promise<void>
  /** The hypervisor's message ring as text; empties it if `clear`. */
  dmesg(clear: boolean): string | Promise<string>
  /** Writes memory and registers to a file; the guest stands still meanwhile. Errors: OperatorError. */
  dumpCore(path: string): void | Promise<void>
  /** Says in the message ring what the domain is doing, for a person debugging. */
  debug(keys: string): void | Promise<void>
  /** Resolves when that has come; at once if it has already, for a domain that is kept. A process that exits without an answer counts as death. */
  wait(until: AwaitedEnd): Promise<DomainEnd>
  /**
   * Writes the domain to a file, which appears under its name only when it is whole. When `signal` fires first, or anything fails, the domain goes
   * on and no file is left. Errors: OperatorError.
   */
  save(request: SaveRequest, signal: AbortSignal): Promise<SendReport>
  /**
   * Begins to leave; what it returns is called with the socket, sends head and stream of the domain and ends its side. The domain stays parked until it
   * is given away and the outcome is known; when the socket closes before, it goes on. Errors: OperatorError when the domain is leaving already.
   */
  send(request: SendRequest): (stream: Duplex) => void
  /** How far that is. This and the following have the `id` of the SendRequest. Errors: OperatorError when another sending, or none, is under way. */
  sendProgress(id: string): SendProgress
  /** The receiver says that the domain can run there. */
  mayStop(id: string): void
  /** Resolves when all of the domain has been sent. Errors: OperatorError when that failed. */
  sent(id: string): Promise<SendReport>
  /**
   * The receiver will be told that it may run its copy: the domain takes the name for that, and no closed socket lets it go on any more. `command`
   * reaches another receiver on that host, to be asked what became of the copy.
   */
  giveAway(id: string, command: string): Promise<void>
  /**
   * Ends a migration: by the outcome, or `unknown`, when this domain is to find it out. Resolves to what became of it; to `unknown` when the receiving
   * host has been asked several times in vain, which the domain goes on doing.
   */
  migrated(id: string, outcome: Outcome | 'unknown'): Promise<Outcome | 'unknown'>
  /** A copy that has arrived: takes its name, its token and, unless it is to stay paused, runs. Errors: OperatorError when it may not. */
  accept(name: string, paused: boolean): void | Promise<void>
  /** Connects one more console; the other end closes it, or the service does when the domain ends. */
  attachConsole(stream: Duplex): void
}

/** Operation name → its arguments and its result. */
export interface Operations {
  status: {arguments: Record<string, never>; result: DomainStatus}
  pause: {arguments: Record<string, never>; result: null}
  unpause: {arguments: Record<string, never>; result: null}
  shutdown: {arguments: {request: ShutdownRequest}; result: null}
  destroy: {arguments: Record<string, never>; result: null}
  rename: {arguments: {name: string}; result: null}
  setMemory: {arguments: MemoryRequest; result: null}
  sharing: {arguments: Record<string, never>; result: SharedMemory}
  sysrq: {arguments: {letter: string}; result: null}
  dmesg: {arguments: {clear: boolean}; result: string}
  dumpCore: {arguments: {path: string}; result: null}
  debug: {arguments: {keys: string}; result: null}
  wait: {arguments: {until: AwaitedEnd}; result: DomainEnd}
  save: {arguments: SaveRequest; result: SendReport}
  send: {arguments: SendRequest; result: null}
  sendProgress: {arguments: {id: string}; result: SendProgress}
  mayStop: {arguments: {id: string}; result: null}
  sent: {arguments: {id: string}; result: SendReport}
  giveAway: {arguments: {id: string; command: string}; result: null}
  migrated: {arguments: {id: string; outcome: Outcome | 'unknown'}; result: Outcome | 'unknown'}
  accept: {arguments: {name: string; paused: boolean}; result: null}
  console: {arguments: Record<string, never>; result: null}
}
/** The name of an operation. */
export type OperationName = keyof Operations

/** One line from xl to a domain process. */
export interface Request<Name extends OperationName = OperationName> {
  version: number
  id: number
  op: Name
  arguments: Operations[Name]['arguments']
}

/** One line back. `bug` marks an error that is ours and not the operator's. */
export type Reply =
  | {id: number; result: unknown}
  | {id: number; error: {message: string; hint?: string; exitCode: number; bug?: boolean}}

/** Longest line either side reads, in bytes: enough for any configuration, too little to exhaust memory. */
export const maximumLineBytes = 1 << 20
