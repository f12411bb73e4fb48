/**
 * Both ends of the control socket.
 *
 *   serveControl(path, service)      in the domain process: answers requests until closed
 *   ControlClient.connect(path)      in xl: request() for one answer, console() for the raw stream
 *
 * A Unix socket's path may have 107 bytes. A longer one is reached through /proc/self/fd/<directory>/<name>, for which the
 * directory stays open as long as the socket is used.
 * Source: unix(7), proc(5).
 */
import {once} from 'node:events'
import {closeSync, openSync, rmSync} from 'node:fs'
import {createConnection, createServer, type Server, type Socket} from 'node:net'
import {basename, dirname} from 'node:path'
import {OperatorError} from '../base/errors.js'
import {PieceQueue} from './piece-queue.js'
import {
  type AwaitedEnd,
  type DomainService,
  type MemoryRequest,
  maximumLineBytes,
  type OperationName,
  type Operations,
  protocolVersion,
  type Reply,
  type Request,
  type SendRequest,
} from './protocol.js'

const maximumPathBytes = 107

/** A path short enough for bind and connect, valid until `release`. */
function reachable(path: string): {path: string; release: () => void} {
  if (Buffer.byteLength(path) <= maximumPathBytes) return {path, release: () => {}}
  let directory: number
  try {
    directory = openSync(dirname(path), 'r')
  } catch (cause) {
    throw new OperatorError(`cannot open "${dirname(path)}"`, {cause})
  }
  const short = `/proc/self/fd/${directory}/${basename(path)}`
  if (process.platform !== 'linux' || Buffer.byteLength(short) > maximumPathBytes) {
    closeSync(directory)
    throw new OperatorError(`the path of the control socket "${path}" is too long`, {
      hint: 'set GASTWIRT_HOST to a shorter directory',
    })
  }
  return {path: short, release: () => closeSync(directory)}
}

/** What a line leads to: nothing more, or the end of lines; it is then called with the bytes that follow, the socket paused. */
type HandOver = ((rest: Buffer) => void) | undefined

/** Hands over complete lines until `take` answers with somebody who wants the socket itself. */
function readLines(socket: Socket, take: (line: string) => HandOver, overflow: () => void): void {
  let pending: Buffer = Buffer.alloc(0)
  const onData = (chunk: Buffer): void => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    for (let end = pending.indexOf(10); end !== -1; end = pending.indexOf(10)) {
      const line = pending.toString('utf8', 0, end)
      pending = pending.subarray(end + 1)
      const handOver = take(line)
      if (handOver !== undefined) {
        socket.off('data', onData)
        socket.pause()
        handOver(pending)
        return
      }
    }
    if (pending.length > maximumLineBytes) overflow()
  }
  socket.on('data', onData)
}

/** Starts to answer on `path`. Resolves when xl can connect; `close` ends all connections and removes the socket. */
export async function serveControl(
  path: string,
  service: DomainService,
  onBug: (error: unknown) => void = () => {},
): Promise<{close: () => Promise<void>}> {
  const connections = new Set<Socket>()
  const server = createServer(socket => {
    connections.add(socket)
    socket.on('close', () => connections.delete(socket))
    socket.on('error', () => socket.destroy())
    readLines(
      socket,
      line => answer(socket, line, service, onBug),
      () => socket.destroy(),
    )
  })
  rmSync(path, {force: true})
  const at = reachable(path)
  await listen(server, at.path)
  return {
    close: () =>
      new Promise(resolve => {
        server.close(() => {
          at.release()
          rmSync(path, {force: true})
          resolve()
        })
        for (const socket of connections) if (!consoles.has(socket)) socket.destroySoon()
      }),
  }
}

/** Sockets that have become consoles: their owner is whoever attached them. */
const consoles = new WeakSet<Socket>()

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', cause =>
      reject(new OperatorError(`cannot listen on the control socket "${path}": ${cause.message}`, {cause})),
    )
    server.listen(path, resolve)
  })
}

function send(socket: Socket, reply: Reply): void {
  if (socket.writable) socket.write(`${JSON.stringify(reply)}\n`)
}

function failure(id: number, error: unknown, onBug: (error: unknown) => void): Reply {
  if (error instanceof OperatorError) {
    return {id, error: {message: error.message, hint: error.hint, exitCode: error.exitCode}}
  }
  onBug(error)
  const message = error instanceof Error ? error.message : String(error)
  return {id, error: {message, exitCode: 3, bug: true}}
}

/** Acts on one request line. */
function answer(socket: Socket, line: string, service: DomainService, onBug: (error: unknown) => void): HandOver {
  const request = readRequest(line)
  if (typeof request === 'string') {
    send(socket, {id: 0, error: {message: request, exitCode: 3}})
    socket.end()
    return undefined
  }
  if (request.op === 'console' || request.op === 'send') {
    let attach: (stream: Socket) => void
    try {
      attach = streamOf(service, request)
    } catch (error) {
      send(socket, failure(request.id, error, onBug))
      return undefined
    }
    return rest => {
      send(socket, {id: request.id, result: null})
      if (rest.length > 0) socket.unshift(rest)
      if (request.op === 'console') consoles.add(socket)
      attach(socket)
    }
  }
  perform(service, request, socket).then(
    result => send(socket, {id: request.id, result: result ?? null}),
    error => send(socket, failure(request.id, error, onBug)),
  )
  return undefined
}

/** What the socket is handed to when it becomes a stream. */
function streamOf(service: DomainService, request: Request): (stream: Socket) => void {
  if (request.op === 'console') return stream => service.attachConsole(stream)
  return service.send(request.arguments as Operations['send']['arguments'])
}

/** Fires when whoever asked is gone. */
function goneSignal(socket: Socket): AbortSignal {
  const gone = new AbortController()
  if (socket.destroyed) gone.abort()
  socket.once('close', () => gone.abort())
  return gone.signal
}

/** The request in a line, or what is wrong with it. */
function readRequest(line: string): Request | string {
  let request: Partial<Request>
  try {
    request = JSON.parse(line)
  } catch {
    return 'a control request is not JSON'
  }
  if (request === null || typeof request !== 'object' || typeof request.id !== 'number') {
    return 'a control request has no id'
  }
  if (request.version !== protocolVersion) {
    return `this domain speaks version ${protocolVersion} of the control protocol, xl speaks ${request.version}`
  }
  return {...request, arguments: request.arguments ?? {}} as Request
}

async function perform(service: DomainService, request: Request, socket: Socket): Promise<unknown> {
  const given = request.arguments as Record<string, unknown>
  switch (request.op) {
    case 'status':
      return service.status()
    case 'pause':
      return service.pause()
    case 'unpause':
      return service.unpause()
    case 'shutdown':
      return service.shutdown(given.request as Operations['shutdown']['arguments']['request'])
    case 'destroy':
      return service.destroy()
    case 'rename':
      return service.rename(String(given.name))
    case 'setMemory':
      return service.setMemory(memoryRequest(given))
    case 'sharing':
      return service.sharing()
    case 'sysrq':
      return service.sysrq(String(given.letter))
    case 'dmesg':
      return service.dmesg(given.clear === true)
    case 'dumpCore':
      return service.dumpCore(String(given.path))
    case 'debug':
      return service.debug(String(given.keys))
    case 'save':
      return service.save(request.arguments as Operations['save']['arguments'], goneSignal(socket))
    case 'sendProgress':
      return service.sendProgress(String(given.id))
    case 'mayStop':
      return service.mayStop(String(given.id))
    case 'sent':
      return service.sent(String(given.id))
    case 'giveAway':
      return service.giveAway(String(given.id), String(given.command))
    case 'migrated':
      return service.migrated(String(given.id), given.outcome as Operations['migrated']['arguments']['outcome'])
    case 'accept':
      return service.accept(String(given.name), given.paused === true)
    case 'wait':
      return service.wait(awaitedEnd(given.until))
    default:
      throw new OperatorError(`this domain does not know the request "${request.op}"`, {exitCode: 3})
  }
}

function awaitedEnd(until: unknown): AwaitedEnd {
  return until === 'death' || until === 'aftermath' ? until : 'shutdown'
}

function memoryRequest({limit, kb, hostMemoryKb}: Record<string, unknown>): MemoryRequest {
  if (!Number.isSafeInteger(kb) || Number(kb) < 1) throw new OperatorError('a domain cannot have so much memory')
  return {
    limit: limit === 'maximum' ? 'maximum' : 'target',
    kb: Number(kb),
    ...(typeof hostMemoryKb === 'number' ? {hostMemoryKb} : {}),
  }
}

/** The domain process closed the connection, or there is none: the domain is gone or going. */
export class DomainGoneError extends OperatorError {}

/** Resolves when the socket is connected. Errors: DomainGoneError. */
async function connected(socket: Socket, path: string, release: () => void): Promise<void> {
  try {
    await once(socket, 'connect')
  } catch (cause) {
    release()
    throw new DomainGoneError(`no domain process answers on "${path}"`, {cause, exitCode: 3})
  }
}

/** What a bad reply says. */
function errorOf({error: {message, hint, exitCode, bug}}: Extract<Reply, {error: unknown}>): OperatorError {
  return new OperatorError(bug ? `internal error in the domain process: ${message}` : message, {hint, exitCode})
}

/**
 * Has a domain send itself, over a connection of its own that stays open until it is closed, also when the domain has sent all: it stands for xl's being
 * there. Errors: the service's OperatorError; DomainGoneError.
 */
export async function openStream(path: string, given: SendRequest): Promise<PieceQueue> {
  const at = reachable(path)
  const pieces = new PieceQueue(onread => createConnection({path: at.path, allowHalfOpen: true, onread}))
  const {socket} = pieces
  await connected(socket, path, at.release)
  socket.once('close', at.release)
  socket.write(
    `${JSON.stringify({version: protocolVersion, id: 1, op: 'send', arguments: given} satisfies Request<'send'>)}\n`,
  )
  let line = Buffer.alloc(0)
  for (let end = -1; end < 0; ) {
    const piece = await pieces.next().catch(() => undefined)
    if (piece === undefined || line.length > maximumLineBytes) {
      pieces.close()
      throw new DomainGoneError('the domain has gone', {exitCode: 3})
    }
    end = piece.indexOf(10)
    const part = end < 0 ? piece : piece.subarray(0, end)
    line = Buffer.concat([line, part])
    pieces.skip(end < 0 ? piece.length : end + 1)
  }
  const reply: Reply = JSON.parse(line.toString())
  if ('result' in reply) return pieces
  pieces.close()
  throw errorOf(reply)
}

/** xl's end: several requests may be under way at once. */
export class ControlClient {
  private nextId = 1
  private readonly waiting = new Map<number, {resolve: (result: unknown) => void; reject: (error: Error) => void}>()
  private pendingStream: {id: number; begin: (rest: Buffer) => void} | undefined

  /** Resolves when the connection is gone, which the end of the domain process is. */
  readonly closed: Promise<void>

  private constructor(
    private readonly socket: Socket,
    private readonly release: () => void,
  ) {
    this.closed = new Promise(resolve => socket.once('close', () => resolve()))
    readLines(
      socket,
      line => this.take(line),
      () => socket.destroy(new OperatorError('a domain process sent a line that is too long')),
    )
    socket.on('error', () => {})
    socket.on('close', () => {
      this.release()
      for (const {reject} of this.waiting.values()) reject(new DomainGoneError('the domain has gone', {exitCode: 3}))
      this.waiting.clear()
    })
  }

  /** Connects. Errors: DomainGoneError when nobody listens there. */
  static async connect(path: string): Promise<ControlClient> {
    const at = reachable(path)
    const socket = createConnection({path: at.path})
    await connected(socket, path, at.release)
    return new ControlClient(socket, at.release)
  }

  /** Asks and resolves to the result. Errors: the service's OperatorError; DomainGoneError. */
  request<Name extends OperationName>(
    op: Name,
    given: Operations[Name]['arguments'],
  ): Promise<Operations[Name]['result']> {
    const id = this.nextId++
    const line = `${JSON.stringify({version: protocolVersion, id, op, arguments: given} satisfies Request<Name>)}\n`
    return new Promise((resolve, reject) => {
      if (this.socket.destroyed) {
        reject(new DomainGoneError('the domain has gone', {exitCode: 3}))
        return
      }
      this.waiting.set(id, {resolve: resolve as (result: unknown) => void, reject})
      this.socket.write(line)
    })
  }

  /** Turns this connection into a console and resolves to its stream, still paused. No further requests are possible on it. */
  async console(): Promise<Socket> {
    const id = this.nextId
    const beginning = new Promise<Buffer>(begin => {
      this.pendingStream = {id, begin}
    })
    await this.request('console', {})
    const early = await beginning
    if (early.length > 0) this.socket.unshift(early)
    return this.socket
  }

  /** Closes the connection; what is under way fails. */
  close(): void {
    this.socket.destroy()
  }

  private take(line: string): HandOver {
    let reply: Reply
    try {
      reply = JSON.parse(line)
    } catch {
      this.socket.destroy()
      return undefined
    }
    const waiting = this.waiting.get(reply.id) ?? (reply.id === 0 ? this.waiting.values().next().value : undefined)
    this.waiting.delete(reply.id)
    if ('error' in reply) {
      waiting?.reject(errorOf(reply))
      return undefined
    }
    waiting?.resolve(reply.result)
    if (this.pendingStream?.id !== reply.id) return undefined
    return this.pendingStream.begin
  }
}
