/**
 * Debian packages through the machine's own apt-get and dpkg-deb, as whoever we are, without touching the machine's package state.
 * apt gets a configuration of its own (APT_CONFIG) whose lists, caches and status live in a folder the caller gives; from the
 * machine it takes only how to reach the network (`Acquire::` settings) and, on Debian, the package sources and their keys. On
 * another distribution with apt it uses Debian's own servers, if Debian's keys are installed. apt checks every signature; nothing
 * here can switch that off.
 *
 * Source: apt.conf(5), sources.list(5), apt-get(8), apt-cache(8), dpkg-deb(1).
 */
import {existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import type {Readable} from 'node:stream'
import type {ExecaError} from 'execa'
import {OperatorError} from '../../base/errors.js'

/** Told to a person who has to do without the catalogue. */
export const byHandHint =
  'give a kernel and a ramdisk of your own instead of image=: kernel = "/path/vmlinuz", ramdisk = "/path/initrd" (any x86-64 Linux with Xen PV support)'

const networkHint = `look whether this machine reaches the package servers; or ${byHandHint}`

/** Files that say what this machine is. */
export interface Machine {
  osRelease: string
  /** Where the keys that Debian signs with may be. */
  keyrings: readonly string[]
}

/** The machine we run on. */
export const thisMachine: Machine = {
  osRelease: '/etc/os-release',
  keyrings: ['/usr/share/keyrings/debian-archive-keyring.gpg', '/usr/share/keyrings/debian-archive-keyring.pgp'],
}

/** apt with its state in one folder. */
export class Apt {
  private readonly environment: NodeJS.ProcessEnv

  private constructor(
    private readonly folder: string,
    private readonly report: (text: string) => void,
  ) {
    this.environment = {
      ...process.env,
      APT_CONFIG: join(folder, 'apt.conf'),
      LC_ALL: 'C',
      DEBIAN_FRONTEND: 'noninteractive',
    }
  }

  /**
   * An apt that knows the packages of Debian for x86-64, as of now. `wanted` must be among them.
   * Errors: OperatorError when there is no apt, no network, no source with that package, no key.
   */
  static async open(
    folder: string,
    wanted: string,
    report: (text: string) => void,
    machine: Machine = thisMachine,
  ): Promise<Apt> {
    const apt = new Apt(folder, report)
    const settings = await apt.machineSettings()
    let failure: OperatorError | undefined
    for (const sources of [isDebian(machine) ? machineSources : undefined, debianSources(folder, machine)]) {
      if (sources === undefined) continue
      apt.configure(settings, sources)
      try {
        const trouble = await apt.run(['update'], folder, 'reading package lists')
        if (await apt.field(wanted, 'Package')) return apt
        // Unreachable servers are a warning to apt, which would go on with older lists; here there are none.
        failure = trouble
          ? new OperatorError(`apt-get update cannot read the package lists: ${trouble}`, {hint: networkHint})
          : new OperatorError(`the package sources of this machine hold no package "${wanted}"`, {hint: byHandHint})
      } catch (error) {
        if (!(error instanceof OperatorError)) throw error
        failure = error
      }
    }
    throw (
      failure ??
      new OperatorError('the keys that Debian signs its packages with are not on this machine', {
        hint: `install the package debian-archive-keyring; or ${byHandHint}`,
      })
    )
  }

  /** One field of the record of the version of `name` that would be installed; undefined when there is no such package or field. */
  async field(name: string, field: string): Promise<string | undefined> {
    const {execa} = await import('execa')
    const {stdout, exitCode} = await execa('apt-cache', ['show', '--no-all-versions', name], {
      env: this.environment,
      reject: false,
    })
    if (exitCode !== 0) return undefined
    return new RegExp(`^${field}: (.*)$`, 'm').exec(stdout)?.[1]
  }

  /** Downloads packages and unpacks all of them into `target`. Errors: OperatorError. */
  async unpack(names: readonly string[], target: string): Promise<void> {
    const {execa} = await import('execa')
    const downloads = join(this.folder, 'downloads')
    mkdirSync(downloads, {recursive: true})
    mkdirSync(target, {recursive: true})
    await this.run(['download', ...names], downloads, `downloading ${names.join(', ')}`)
    for (const file of readdirSync(downloads).filter(name => name.endsWith('.deb'))) {
      this.report(`unpacking ${decodeURIComponent(file)}`)
      try {
        await execa('dpkg-deb', ['--extract', join(downloads, file), target])
      } catch (cause) {
        throw failed(`dpkg-deb cannot unpack "${file}"`, cause)
      }
    }
  }

  /** Runs apt-get; resolves to its first warning, if it had one. Errors: OperatorError when it fails. */
  private async run(args: string[], cwd: string, doing: string): Promise<string | undefined> {
    this.report(doing)
    const {execa} = await import('execa')
    const child = execa('apt-get', ['-q', '-o', 'APT::Status-Fd=3', ...args], {
      cwd,
      env: this.environment,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    })
    let shown = 0
    const status = child.stdio[3] as unknown as Readable | null
    status?.setEncoding('utf8').on('data', (text: string) => {
      // "dlstatus:<item>:<percent>:<text>"
      const percent = Math.round(Number(/^dlstatus:\d+:([\d.]+):/m.exec(text)?.[1] ?? 0))
      if (percent <= shown) return
      shown = percent
      this.report(`${doing}: ${percent} %`)
    })
    try {
      const {stderr} = await child
      return /^W: (.*)$/m.exec(String(stderr))?.[1].trim()
    } catch (cause) {
      throw failed(`apt-get ${args[0]} failed`, cause)
    }
  }

  /** What the machine's own configuration says about reaching the network. */
  private async machineSettings(): Promise<string> {
    let dump: string
    try {
      const {execa} = await import('execa')
      dump = (await execa('apt-config', ['dump'], {env: {LC_ALL: 'C'}})).stdout
    } catch (cause) {
      throw new OperatorError('this machine has no apt to fetch Debian packages with', {hint: byHandHint, cause})
    }
    const lines = dump.split('\n').filter(line => /^Acquire::[^"]+ ".+";$/.test(line))
    // Of each source only the package list is read; the rest (translations, icons, contents) is several times as large.
    const indexes = new Set(lines.map(line => /^Acquire::IndexTargets::[\w-]+::[\w-]+/.exec(line)?.[0] ?? ''))
    indexes.delete('')
    indexes.delete('Acquire::IndexTargets::deb::Packages')
    return [...lines, ...[...indexes].map(index => `${index}::DefaultEnabled "false";`)].join('\n')
  }

  private configure(settings: string, sources: string): void {
    for (const name of ['state/lists/partial', 'cache/archives/partial', 'log']) {
      mkdirSync(join(this.folder, name), {recursive: true})
    }
    writeFileSync(join(this.folder, 'status'), '')
    writeFileSync(
      join(this.folder, 'apt.conf'),
      `${settings}
Acquire::Languages "none";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
APT::Get::AllowUnauthenticated "false";
APT::Architecture "amd64";
#clear APT::Architectures;
APT::Architectures { "amd64"; };
APT::Sandbox::User "root";
Dir::State "${this.folder}/state";
Dir::State::status "${this.folder}/status";
Dir::Cache "${this.folder}/cache";
Dir::Log "${this.folder}/log";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
${sources}
`,
    )
  }
}

/** On Debian: apt's defaults, which are the machine's sources, keys and pins. */
const machineSources = ''

/** Debian's own servers; undefined when the machine has not got Debian's keys. */
function debianSources(folder: string, machine: Machine): string | undefined {
  const keyring = machine.keyrings.find(path => existsSync(path))
  if (keyring === undefined) return undefined
  const list = join(folder, 'debian.list')
  writeFileSync(
    list,
    `deb [arch=amd64 signed-by=${keyring}] http://deb.debian.org/debian stable main
deb [arch=amd64 signed-by=${keyring}] http://deb.debian.org/debian-security stable-security main
`,
  )
  return `Dir::Etc::sourcelist "${list}";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";`
}

function isDebian(machine: Machine): boolean {
  try {
    return /^ID="?debian"?$/m.test(readFileSync(machine.osRelease, 'utf8'))
  } catch {
    return false
  }
}

/** Of all that a program printed, its first error. */
function failed(what: string, cause: unknown): OperatorError {
  const {code, stderr} = cause as Partial<ExecaError>
  const missing = code === 'ENOENT'
  const printed = String(stderr ?? '')
  const lines = printed.split('\n').filter(line => line.trim() !== '')
  const line = lines.find(text => /^E: /.test(text)) ?? lines.at(-1) ?? (cause as Error).message
  return new OperatorError(`${what}: ${missing ? 'this machine has no such program' : line.replace(/^E: /, '')}`, {
    hint: missing ? byHandHint : networkHint,
    cause,
  })
}
