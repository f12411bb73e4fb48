/**
 * A link between two hosts for migrations in tests: whatever connects to it gets a real `xl migrate-receive` of the receiving host. All bytes pass
 * through here, so that something can be done at any byte of the talk, not at a time.
 */
import {type ChildProcess, spawn} from 'node:child_process'
import {once} from 'node:events'
import {createServer, type Server, type Socket} from 'node:net'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {fileURLToPath} from 'node:url'
import * as handshake from '../../lib/control/handshake.js'
import {realXl, type TestHost} from './xl.js'

const connector = fileURLToPath(new URL('./pipe-to-socket.js', import.meta.url))

/** Parts of the talk: what the sender says before and after the receiver has acknowledged it, and what the receiver says. */
export type Part = 'stream' | 'permission' | 'back'

/** A byte of the talk, and what is to be done before it passes. */
export interface Point {
  readonly part: Part
  readonly at: number
  act(connection: Connection): unknown
}

/** One sender with its receiver. */
export interface Connection {
  readonly receiver: ChildProcess
  /** All that the receiver has said. */
  readonly said: string
  /** Both directions at once, as when a network or an ssh goes away. */
  cut(): void
}

/** See the file's head. */
export class MigrationLink {
  /** Bytes that have passed since the last `expect`, by part. */
  passed: Record<Part, number> = {stream: 0, permission: 0, back: 0}
  /** True once the point has been reached. */
  fired = false
  /** Hears what the sender says; what it returns goes on instead. */
  onStream: ((chunk: Buffer) => Buffer) | undefined
  /** How fast the stream passes, in bytes per millisecond. */
  rate = Number.POSITIVE_INFINITY
  /** Lets nobody in. */
  refuse = false
  private point: Point | undefined
  private readonly server: Server
  private readonly path: string
  private readonly open = new Set<Promise<unknown>>()

  constructor(
    place: TestHost,
    private readonly receivingHost: () => TestHost,
  ) {
    this.path = join(place.folder, 'link')
    this.server = createServer({allowHalfOpen: true}, socket => void this.admit(socket)).listen(this.path)
  }

  /** For `-s`: what leads here, whatever the host's name. */
  get command(): string {
    return `env -u NODE_OPTIONS ${process.execPath} ${connector} ${this.path}`
  }

  /** Counts anew; at the point something is done, once. */
  expect(point?: Point): void {
    this.point = point
    this.fired = false
    this.passed = {stream: 0, permission: 0, back: 0}
  }

  /** Resolves when no receiver is left. */
  async idle(): Promise<void> {
    while (this.open.size > 0) await Promise.all(this.open)
  }

  close(): void {
    this.server.close()
  }

  /** The first line has the receiver's options. */
  private async admit(socket: Socket): Promise<void> {
    socket.on('error', () => {})
    if (this.refuse) {
      socket.destroy()
      return
    }
    let line = Buffer.alloc(0)
    for await (const chunk of socket.iterator({destroyOnReturn: false})) {
      line = Buffer.concat([line, chunk as Buffer])
      const end = line.indexOf(10)
      if (end < 0) continue
      socket.unshift(line.subarray(end + 1))
      this.connect(socket, line.toString('latin1', 0, end).split(' ').filter(Boolean))
      return
    }
  }

  private connect(socket: Socket, options: string[]): void {
    const receiver = spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, realXl, 'migrate-receive', ...options], {
      env: this.receivingHost().environment,
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    const ended = once(receiver, 'close')
    this.open.add(ended)
    void ended.then(() => this.open.delete(ended))
    const connection = {
      receiver,
      said: '',
      cut: () => {
        socket.destroy()
        receiver.stdin.destroy()
        receiver.stdout.destroy()
      },
    }
    for (const stream of [socket, receiver.stdin, receiver.stdout]) stream.on('error', () => {})
    const there = async (chunk: Buffer) => {
      const part = connection.said.includes(handshake.received) ? 'permission' : 'stream'
      await this.pass(part, this.onStream?.(chunk) ?? chunk, receiver.stdin, connection)
    }
    const back = async (chunk: Buffer) => {
      connection.said += chunk.toString('latin1')
      await this.pass('back', chunk, socket, connection)
    }
    void forward(socket, there, () => receiver.stdin.end())
    void forward(receiver.stdout, back, () => socket.end())
    socket.on('close', () => receiver.stdin.end())
  }

  /** Lets bytes through, up to the point; the rest follows when what is done there is done. */
  private async pass(part: Part, chunk: Buffer, to: NodeJS.WritableStream, connection: Connection): Promise<void> {
    const {point} = this
    if (this.rate < Number.POSITIVE_INFINITY) await delay(chunk.length / this.rate)
    const before = this.passed[part]
    this.passed[part] += chunk.length
    if (point === undefined || this.fired || point.part !== part || this.passed[part] <= point.at) {
      return write(to, chunk)
    }
    this.fired = true
    await write(to, chunk.subarray(0, point.at - before))
    await point.act(connection)
    await write(to, chunk.subarray(point.at - before))
  }
}

async function forward(from: Socket | NodeJS.ReadableStream, use: (chunk: Buffer) => Promise<void>, end: () => void) {
  try {
    for await (const chunk of from) await use(chunk as Buffer)
  } catch {
    // It is gone, which the other side learns.
  }
  end()
}

function write(to: NodeJS.WritableStream, chunk: Buffer): Promise<void> {
  return new Promise(resolve => to.write(chunk, () => resolve()))
}
