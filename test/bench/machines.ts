/**
 * The machines that are compared: the same kernel and ramdisk, one CPU, 256 MiB, a console on standard output, no network and no disk.
 * They differ in nothing but the console's name, which is another device.
 *
 *   gastwirt   bin/xl create -c, as a person would run it
 *   qemu       qemu-system-x86_64 with its translator (TCG), whatever the host's processor could do
 *
 * Source: qemu-system-x86_64(1).
 */
import {type ChildProcess, spawn, spawnSync} from 'node:child_process'
import {fileURLToPath} from 'node:url'
import type {Image} from '../../lib/toolstack/images/catalogue.js'

/** Memory of a guest. */
export const guestMemoryMb = 256

/** The xl of this checkout. */
export const xlPath = fileURLToPath(new URL('../../../bin/xl', import.meta.url))

/** Something that boots the image with words on its kernel command line; its output is the guest's console. */
export interface Machine {
  readonly name: string
  start(words: string): ChildProcess
}

/** The words xl takes for a domain of the image. */
export function createWords(image: Image, name: string, words: string, memoryMb = guestMemoryMb): string[] {
  return [
    `name="${name}"`,
    `kernel="${image.kernel}"`,
    `ramdisk="${image.ramdisk}"`,
    `memory=${memoryMb}`,
    `cmdline="console=hvc0 ${words}"`,
    'on_crash="destroy"',
  ]
}

/** Runs xl in a host directory; the caller reads its output and, for a console, writes its input. */
export function startXl(
  hostDirectory: string,
  words: readonly string[],
  stdin: 'pipe' | 'ignore',
  stderr: 'pipe' | 'inherit' = 'inherit',
): ChildProcess {
  const env = {...process.env, GASTWIRT_HOST: hostDirectory, NO_COLOR: '1'}
  return spawn(process.execPath, [xlPath, ...words], {env, stdio: [stdin, 'pipe', stderr]})
}

/** Ours. */
export function gastwirt(image: Image, hostDirectory: string): Machine {
  return {
    name: 'gastwirt',
    start: words => startXl(hostDirectory, ['create', '-c', '-q', ...createWords(image, 'bench', words)], 'ignore'),
  }
}

const qemuProgram = 'qemu-system-x86_64'

/** QEMU's version, or undefined when it is not installed. */
export function qemuVersion(): string | undefined {
  const {status, stdout} = spawnSync(qemuProgram, ['--version'], {encoding: 'utf8'})
  return status === 0 ? /version (\S+)/.exec(stdout)?.[1] : undefined
}

/** What QEMU is to emulate; `cpu` is a model as its -cpu takes it. */
export interface QemuMachine {
  readonly image: Image
  readonly cpu: string
  /** For the kernel's command line. */
  readonly words: string
  readonly memoryMb: number
}

/** QEMU's program and the words that all its machines have. */
export function qemuWords({image, cpu, words, memoryMb}: QemuMachine): string[] {
  return [
    ...[qemuProgram, '-accel', 'tcg', '-cpu', cpu, '-smp', '1', '-m', String(memoryMb)],
    ...['-no-reboot', '-nic', 'none', '-kernel', image.kernel, '-initrd', image.ramdisk],
    ...['-append', `console=ttyS0 ${words}`],
  ]
}

/** QEMU, with the guest's console on its standard output. */
export function qemu(image: Image, cpu: string): Machine {
  return {
    name: 'qemu',
    start: words => {
      const [program, ...rest] = qemuWords({image, cpu, words, memoryMb: guestMemoryMb})
      return spawn(program, [...rest, '-nographic'], {stdio: ['ignore', 'pipe', 'inherit']})
    },
  }
}
