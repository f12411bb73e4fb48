/**
 * xl for tests. `xl(...)` runs the real program as a process in a host directory of its own, with fake domains unless the host was made
 * for `realXl`; `xlInside` runs one command inside this process with streams that keep what is written, for texts and exit statuses.
 */
import {execFile, spawn, spawnSync} from 'node:child_process'
import {once} from 'node:events'
import {existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {PassThrough, Writable} from 'node:stream'
import {fileURLToPath} from 'node:url'
import {main} from '../../lib/cli/program.js'
import type {World} from '../../lib/cli/report.js'
import {HostDirectory} from '../../lib/control/host-directory.js'
import {isAlive, signalProcess} from '../../lib/control/process-identity.js'

const xlWithFakeDomains = fileURLToPath(new URL('./xl-with-fake-domains.js', import.meta.url))

/** bin/xl of this checkout, whose domains are real. */
export const realXl = fileURLToPath(new URL('../../../bin/xl', import.meta.url))

/** What a command said and how it ended. */
export interface Outcome {
  status: number | null
  stdout: string
  stderr: string
}

/** Starts Node.js without what the test runner would load into every Node.js that a test starts: it cannot run bin/xl. */
const plainNode = ['-u', 'NODE_OPTIONS', process.execPath]

const readOnly = [
  ...['unshare', '-Urm', 'sh', '-c'],
  'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd / && exec "$@"',
]

/** Whether this machine lets its user have mounts of his own, as TestHost.xlReadOnly needs. */
export function mayMount(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'gastwirt-test-'))
  try {
    return spawnSync('unshare', [...readOnly.slice(1), folder, 'true']).status === 0
  } finally {
    rmSync(folder, {recursive: true})
  }
}

/** A host of its own for one test file. */
export class TestHost {
  readonly folder = mkdtempSync(join(tmpdir(), 'gastwirt-test-'))
  readonly path = join(this.folder, 'host')
  readonly directory = new HostDirectory(this.path)
  readonly environment: NodeJS.ProcessEnv = {...process.env, GASTWIRT_HOST: this.path, NO_COLOR: '1'}

  /** `program` is the xl of this host. */
  constructor(private readonly program = xlWithFakeDomains) {
    writeFileSync(join(this.folder, 'kernel'), 'not looked into')
  }

  /** Writes a configuration whose kernel exists and returns its path. */
  config(name: string, text = ''): string {
    const path = join(this.folder, `${name}.cfg`)
    writeFileSync(path, `name = "${name}"\nkernel = "${join(this.folder, 'kernel')}"\nmemory = 64\n${text}\n`)
    return path
  }

  /** Writes any file and returns its path. */
  file(name: string, text: string | Uint8Array): string {
    const path = join(this.folder, name)
    writeFileSync(path, text)
    return path
  }

  /** Runs xl to its end, with nothing on standard input unless `input` is given. */
  xl(words: string[], input = ''): Promise<Outcome> {
    return new Promise(resolve => {
      const child = execFile(
        'env',
        [...plainNode, this.program, ...words],
        {env: this.environment, maxBuffer: 64 << 20},
        (_error, stdout, stderr) => resolve({status: child.exitCode, stdout, stderr}),
      )
      child.stdin!.on('error', () => {})
      child.stdin!.end(input)
    })
  }

  /** The same with a limit on the size of files, for xl and the domains it starts: a write beyond it fails, as on a full disk. */
  xlLimited(kilobytes: number, words: string[]): Promise<Outcome> {
    return this.xlAfter(['bash', '-c', `trap '' XFSZ; ulimit -f ${kilobytes}; exec "$@"`, 'xl'], words)
  }

  /** The same with the host directory on a file system that is read-only for this xl. */
  xlReadOnly(words: string[]): Promise<Outcome> {
    return this.xlAfter([...readOnly, this.path], words)
  }

  /** Runs xl by a program that prepares its surroundings. */
  private async xlAfter([program, ...preparing]: string[], words: string[]): Promise<Outcome> {
    const child = spawn(program, [...preparing, 'env', ...plainNode, this.program, ...words], {
      env: this.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const outcome: Outcome = {status: null, stdout: '', stderr: ''}
    for (const name of ['stdout', 'stderr'] as const)
      child[name].setEncoding('utf8').on('data', (text: string) => {
        outcome[name] += text
      })
    const [status] = await once(child, 'close')
    return {...outcome, status}
  }

  /** Starts xl and leaves it running. */
  spawn(words: string[], stdin: 'pipe' | 'ignore' = 'pipe'): ReturnType<typeof spawn> {
    return spawn('env', [...plainNode, this.program, ...words], {env: this.environment, stdio: [stdin, 'pipe', 'pipe']})
  }

  /** What the guests of this name have printed so far. */
  printed(name: string): string {
    const path = this.directory.consoleLogPath(name)
    return existsSync(path) ? readFileSync(path, 'latin1') : ''
  }

  /** Ends all domains and removes the folder. */
  async close(): Promise<void> {
    for (const {owner} of this.directory.list()) if (owner.pid !== process.pid) signalProcess(owner, 'SIGKILL')
    await until(() => this.directory.list().every(({owner}) => owner.pid === process.pid || !isAlive(owner)))
    rmSync(this.folder, {recursive: true, force: true})
  }
}

/** Runs one command inside this process. */
export async function xlInside(words: string[], environment: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const written = {stdout: '', stderr: ''}
  const sink = (name: 'stdout' | 'stderr'): Writable =>
    new Writable({
      write(chunk, _encoding, done) {
        written[name] += chunk
        done()
      },
    })
  const stdin = new PassThrough()
  stdin.end()
  const world: World = {
    environment,
    stdin,
    stdout: sink('stdout'),
    stderr: sink('stderr'),
    domainProgram: '/nonexistent',
  }
  const status = await main(words, world)
  return {status, ...written}
}

/** Resolves once `condition` holds; looks again whenever the event loop has turned. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(resolve => setTimeout(resolve, 5))
}
