/**
 * The two machines that are compared, each as one process that boots a kernel with some words and shows its console:
 * `xl create -c` with a host directory of its own, and QEMU with its own translator (TCG) and no other help.
 *
 * Rule of use: `close()` in every case; a machine that has ended by itself does not mind.
 */
import {type ChildProcess, spawn, spawnSync} from 'node:child_process'
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {HostDirectory} from '../../lib/control/host-directory.js'
import {isAlive, signalProcess} from '../../lib/control/process-identity.js'
import type {Image} from '../../lib/toolstack/images/catalogue.js'

/** The machines by name. */
export type MachineName = 'gastwirt' | 'qemu'

/** Memory of a guest. */
export const memoryMiB = 256

const xl = fileURLToPath(new URL('../../../bin/xl', import.meta.url))
const qemu = 'qemu-system-x86_64'

/** QEMU's version; undefined when it is not installed. */
export function qemuVersion(): string | undefined {
  const {status, stdout} = spawnSync(qemu, ['--version'], {encoding: 'utf8'})
  return status === 0 ? /version (\S+)/.exec(stdout)?.[1] : undefined
}

/** A process whose standard output is a guest's console. Times are milliseconds since it was started. */
export class ConsoleProcess {
  private readonly started = performance.now()
  private readonly child: ChildProcess
  private readonly arrived: {text: string; ms: number}[] = []
  private wake: (() => void)[] = []
  private tail = ''
  private ended = false

  constructor(program: string, args: readonly string[], environment: NodeJS.ProcessEnv) {
    this.child = spawn(program, args, {env: environment, stdio: ['pipe', 'pipe', 'pipe']})
    this.child.stdout!.setEncoding('latin1').on('data', (text: string) => this.heard(text))
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => this.heard(text))
    this.child.stdin!.on('error', () => {})
    this.child.on('error', error => this.heard(`${error.message}\n`))
    this.child.on('close', () => {
      this.ended = true
      this.wakeAll()
    })
  }

  get pid(): number {
    return this.child.pid!
  }

  /** When a line with that text first arrived, or a last unfinished one. Errors: the process ended without. */
  async sees(text: string): Promise<number> {
    for (;;) {
      const line = this.arrived.find(candidate => candidate.text.includes(text))
      if (line) return line.ms
      if (this.tail.includes(text)) return performance.now() - this.started
      if (this.ended) throw new Error(`the guest never printed "${text}"; its last lines:\n${this.lastLines()}`)
      await new Promise<void>(resolve => this.wake.push(resolve))
    }
  }

  /** Resolves when the process has ended, to its run time. */
  async end(): Promise<number> {
    while (!this.ended) await new Promise<void>(resolve => this.wake.push(resolve))
    return performance.now() - this.started
  }

  kill(): void {
    this.child.kill('SIGKILL')
  }

  private heard(text: string): void {
    const ms = performance.now() - this.started
    const lines = (this.tail + text).split('\n')
    this.tail = lines.pop()!
    for (const line of lines) this.arrived.push({text: line, ms})
    this.wakeAll()
  }

  private wakeAll(): void {
    for (const resolve of this.wake.splice(0)) resolve()
  }

  private lastLines(): string {
    return [...this.arrived.slice(-15).map(line => line.text), this.tail].join('\n')
  }
}

/** A host directory of its own, with domains in it. */
export class Gastwirt {
  private readonly folder = mkdtempSync(join(tmpdir(), 'gastwirt-bench-'))
  private readonly directory = new HostDirectory(join(this.folder, 'host'))
  private readonly environment = {...process.env, GASTWIRT_HOST: join(this.folder, 'host'), NO_COLOR: '1'}

  constructor(private readonly image: Image) {}

  /** Runs xl with these words. */
  xl(...words: string[]): ConsoleProcess {
    return new ConsoleProcess(process.execPath, [xl, ...words], this.environment)
  }

  /** Writes a configuration and returns its path. */
  config(name: string, word: string): string {
    const path = join(this.folder, `${name}.cfg`)
    const {kernel, ramdisk} = this.image
    const text = `name = "${name}"\nkernel = "${kernel}"\nramdisk = "${ramdisk}"\nmemory = ${memoryMiB}
cmdline = "console=hvc0 ${word}"\non_crash = "destroy"\n`
    writeFileSync(path, text)
    return path
  }

  /** The process of a domain. */
  pidOf(name: string): number {
    return this.directory.find({name})!.owner.pid
  }

  /** Ends all domains. */
  async close(): Promise<void> {
    const owners = this.directory.list().map(({owner}) => owner)
    for (const owner of owners) signalProcess(owner, 'SIGKILL')
    while (owners.some(isAlive)) await new Promise(resolve => setTimeout(resolve, 10))
    rmSync(this.folder, {recursive: true, force: true})
  }
}

/** QEMU with this image on one emulated processor and a serial console. */
export function startQemu({kernel, ramdisk}: Image, word: string): ConsoleProcess {
  const machine = ['-accel', 'tcg', '-smp', '1', '-m', `${memoryMiB}`, '-nographic', '-no-reboot']
  const words = ['-kernel', kernel, '-initrd', ramdisk, '-append', `console=ttyS0 ${word}`]
  return new ConsoleProcess(qemu, [...machine, ...words], process.env)
}
