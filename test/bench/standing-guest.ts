/**
 * Guests that stay, for what is done to a guest while it runs: what their scripts hold and do, and how Gastwirt and QEMU start them.
 *
 *   bench: ready   the guest holds what it is to hold
 *   bench: +       the loaded guest has written another part of its working set
 *
 * Rule of use: who starts one ends it.
 */
import {type ChildProcess, spawn} from 'node:child_process'
import {once} from 'node:events'
import {existsSync, readFileSync} from 'node:fs'
import {connect, type Socket} from 'node:net'
import {performance} from 'node:perf_hooks'
import {createInterface} from 'node:readline'
import {setTimeout as after} from 'node:timers/promises'
import type {HostDirectory} from '../../lib/control/host-directory.js'
import type {Image} from '../../lib/toolstack/images/catalogue.js'
import {createWords, type QemuMachine, qemuWords, startXl} from './machines.js'

/** What a guest does while it stands. */
export interface Standing {
  readonly memoryMb: number
  /** The loaded guest writes about 50 MB/s, round and round, over so many MiB; the others hold as much that is random, and sleep. */
  readonly heldMb: number
  readonly isLoaded: boolean
}

const partMb = 5
const patienceMs = 180_000
const lookMs = 10
const rateMs = 4000

/** The word of the kernel command line that makes a guest one of these. */
export function standingWord({heldMb, isLoaded}: Standing): string {
  const parts = Math.floor(heldMb / partMb)
  const write = `dd if=/dev/shm/r of=/dev/shm/f bs=1M seek=$((i*${partMb})) conv=notrunc 2>/dev/null`
  const script = isLoaded
    ? `mount -o remount,size=${heldMb + 4 * partMb}m /dev/shm
dd if=/dev/urandom of=/dev/shm/r bs=1M count=${partMb} 2>/dev/null
i=0;while [ $i -lt ${parts} ];do ${write};i=$((i+1));done
echo bench: ready
i=0;while :;do ${write};i=$(((i+1)%${parts}));echo bench: +;usleep 85000;done`
    : `mount -o remount,size=${heldMb + partMb}m /dev/shm
dd if=/dev/urandom of=/dev/shm/f bs=1M count=${heldMb} 2>/dev/null
echo bench: ready;sleep 999999`
  return `gastwirt.run64=${Buffer.from(`${script}\n`).toString('base64')}`
}

/** Resolves when a file holds the pattern; `isAlive` tells that it may still come. */
async function fileShows(path: string, pattern: RegExp, isAlive: () => boolean): Promise<void> {
  const giveUpAt = performance.now() + patienceMs
  while (!existsSync(path) || !pattern.test(readFileSync(path, 'latin1'))) {
    if (!isAlive() || performance.now() > giveUpAt) throw new Error(`"${path}" never showed ${pattern}`)
    await after(lookMs)
  }
}

/** MB that a loaded guest writes in a second, by the lines in its console's log. */
export async function writingRate(log: string): Promise<number> {
  const parts = () => readFileSync(log, 'latin1').split('bench: +').length
  const before = {parts: parts(), at: performance.now()}
  await after(rateMs)
  return ((parts() - before.parts) * partMb) / ((performance.now() - before.at) / 1000)
}

/** What xl said; an error when it failed. */
export async function runXl(host: HostDirectory, words: readonly string[]): Promise<string> {
  const child = startXl(host.path, words, 'ignore', 'pipe')
  let said = ''
  for (const stream of [child.stdout!, child.stderr!])
    stream.setEncoding('utf8').on('data', text => {
      said += text
    })
  const [status] = await once(child, 'close')
  if (status !== 0) throw new Error(`xl ${words[0]} ended with ${status}: ${said}`)
  return said
}

/** Starts a domain and waits until it stands. */
export async function standingDomain(
  image: Image,
  host: HostDirectory,
  name: string,
  standing: Standing,
): Promise<void> {
  await runXl(host, ['create', '-q', ...createWords(image, name, standingWord(standing), standing.memoryMb)])
  await fileShows(host.consoleLogPath(name), /bench: ready/, () => host.find({name}) !== undefined)
}

/** Connects to a socket as soon as somebody listens there. */
async function connectTo(path: string, isAlive: () => boolean): Promise<Socket> {
  for (;;) {
    const socket = connect(path)
    // Told once as well by what waits for it.
    socket.on('error', () => {})
    try {
      await once(socket, 'connect')
      return socket
    } catch {
      if (!isAlive()) throw new Error('QEMU does not start')
      await after(lookMs)
    }
  }
}

/** A QEMU that is talked to over its machine protocol (QMP). */
export class StandingQemu {
  private constructor(
    readonly child: ChildProcess,
    private readonly socket: Socket,
    private readonly lines: AsyncIterator<string>,
  ) {}

  /** Starts one in a folder, where its sockets and its log (`<name>.log`) are; `incoming` waits for a migration on that socket. */
  static async start(machine: QemuMachine, folder: string, name: string, incoming?: string): Promise<StandingQemu> {
    const path = `${folder}/${name}.qmp`
    const words = [
      ...['-display', 'none', '-serial', `file:${folder}/${name}.log`, '-qmp', `unix:${path},server=on,wait=off`],
      ...(incoming === undefined ? [] : ['-incoming', `unix:${incoming}`]),
    ]
    const [program, ...rest] = qemuWords(machine)
    const child = spawn(program, [...rest, ...words], {stdio: ['ignore', 'inherit', 'inherit']})
    try {
      const socket = await connectTo(path, () => child.exitCode === null)
      const qemu = new StandingQemu(child, socket, createInterface(socket)[Symbol.asyncIterator]())
      await qemu.ask('qmp_capabilities')
      return qemu
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    }
  }

  /** Waits until its guest stands. */
  async stands(folder: string, name: string): Promise<void> {
    await fileShows(`${folder}/${name}.log`, /bench: ready/, () => this.child.exitCode === null)
  }

  /** Executes a command and gives what it returned. */
  async ask(execute: string, values: object = {}): Promise<unknown> {
    this.socket.write(JSON.stringify({execute, arguments: values}))
    for (;;) {
      const line = await this.lines.next()
      if (line.done) throw new Error(`QEMU is gone: ${execute}`)
      const said = JSON.parse(line.value)
      if ('error' in said) throw new Error(`QEMU: ${execute}: ${said.error.desc}`)
      if ('return' in said) return said.return
    }
  }

  async stop(): Promise<void> {
    this.socket.destroy()
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const gone = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await gone
  }
}
