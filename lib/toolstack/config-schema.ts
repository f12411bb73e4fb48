/**
 * Values → a checked domain configuration. Three things come out: the configuration; notices, one line each, for keys that have no
 * effect here; and refusals, errors about what this version cannot give the guest. A dry run shows the refusals as notices and
 * prints the configuration all the same; `create` stops at the first.
 *
 * Order matters only where xl's does: a missing name is reported before anything else.
 * Source: xl.cfg(5); tools/xl/xl_parse.c for the texts scripts may match.
 */

import {
  type DiskConfig,
  type DomainAction,
  type DomainConfig,
  domainActions,
  domainNameHint,
  isDomainName,
  type NicConfig,
} from '../control/domain-config.js'
import {configKeys} from './config-keys.js'
import {ConfigError, place, type Setting, type Settings} from './config-text.js'
import {SettingReader} from './config-values.js'
import {parseCpuList} from './cpu-list.js'
import {parseDisk} from './disk-spec.js'
import {VerbatimError} from './verbatim-error.js'
import {parseVif} from './vif-spec.js'

/** What the check needs from outside. */
export interface SchemaEnvironment {
  newUuid: () => string
  /** Makes a path absolute. */
  resolvePath: (path: string) => string
  hostCpus: number
}

/** The outcome of a check. */
export interface CheckedConfig {
  config: DomainConfig
  /** One line each, with file and line. */
  notices: string[]
  /** What keeps this configuration from being run by this version. */
  refusals: ConfigError[]
}

const kbPerMb = 1024
const largestMemoryMb = 16 << 20 // 16 TiB, what 46 address bits leave a PV guest
const oldSpellings = {cpu: 'cpus', cpu_cap: 'cap', bootargs: 'bootloader_args'}

/** Checks a whole configuration. Errors: ConfigError; VerbatimError for what is missing altogether. */
export function checkConfig(settings: Settings, environment: SchemaEnvironment): CheckedConfig {
  const notices: string[] = []
  const refusals: ConfigError[] = []
  const notice = (setting: Setting, text: string): void => {
    notices.push(`${place(setting.keySpan)}: ${text}`)
  }
  const reader = new SettingReader(withOldSpellings(settings, notice))
  const name = checkName(reader)
  const type = checkType(reader)
  const memory = checkMemory(reader)
  const cpus = checkCpus(reader, environment.hostCpus)
  checkTimers(reader, type)
  const config: DomainConfig = {
    type,
    name,
    uuid: checkUuid(reader) ?? environment.newUuid(),
    ...memory,
    ...cpus,
    image: reader.text('image'),
    kernel: pathOf(reader, 'kernel', environment),
    ramdisk: pathOf(reader, 'ramdisk', environment),
    cmdline: checkCommandLine(reader, notice),
    bootloader: reader.text('bootloader'),
    bootloaderArgs: reader.strings('bootloader_args', true)?.map(item => item.value),
    onPoweroff: actionOf(reader, 'on_poweroff', 'destroy'),
    onReboot: actionOf(reader, 'on_reboot', 'restart'),
    onWatchdog: actionOf(reader, 'on_watchdog', 'destroy'),
    onCrash: actionOf(reader, 'on_crash', 'destroy'),
    onSoftReset: actionOf(reader, 'on_soft_reset', 'soft-reset'),
    disks: checkDisks(reader),
    nics: checkNics(reader, notice),
    cpuWeight: reader.integer('cpu_weight', 1, 65535),
    cap: reader.integer('cap', 0, 1 << 20),
    localtime: reader.boolean('localtime') ?? false,
    rtcTimeoffsetSeconds: reader.integer('rtc_timeoffset', -1e10, 1e10) ?? 0,
    tscMode: checkTscMode(reader),
    maxEventChannels: reader.integer('max_event_channels', 1, 131072),
    maxGrantFrames: reader.integer('max_grant_frames', 1, 65536),
  }
  checkKernel(reader, config)
  collectNotices(reader, notice)
  collectRefusals(reader, config, refusals)
  return {config: withoutAbsent(config), notices, refusals}
}

function withoutAbsent(config: DomainConfig): DomainConfig {
  return Object.fromEntries(
    Object.entries(config).filter(([, value]) => value !== undefined),
  ) as unknown as DomainConfig
}

function withOldSpellings(settings: Settings, notice: (setting: Setting, text: string) => void): Settings {
  const read: Settings = new Map(settings)
  for (const [old, key] of Object.entries(oldSpellings)) {
    const setting = read.get(old)
    if (setting === undefined) continue
    read.delete(old)
    if (!read.has(key)) read.set(key, {...setting, key})
    notice(setting, `"${old}" is an old spelling of "${key}"`)
  }
  return read
}

function checkName(reader: SettingReader): string {
  const value = reader.string('name')
  if (value === undefined || value.value === '') {
    throw new VerbatimError('Domain name must be specified.', {hint: 'add a line such as name = "web1"'})
  }
  if (!isDomainName(value.value)) {
    throw new ConfigError(value.span, `"${value.value}" cannot be the name of a domain`, domainNameHint)
  }
  return value.value
}

function checkUuid(reader: SettingReader): string | undefined {
  const value = reader.string('uuid')
  if (value === undefined) return undefined
  if (!/^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i.test(value.value)) {
    throw new ConfigError(value.span, `Failed to parse UUID: ${value.value}`, 'a UUID is 8-4-4-4-12 hexadecimal digits')
  }
  const digits = value.value.toLowerCase().replaceAll('-', '')
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** xl compares only as many characters as are written: "p" is "pv". */
function checkType(reader: SettingReader): DomainConfig['type'] {
  const value = reader.string('type')
  const builder = reader.string('builder')
  const old = builder === undefined ? undefined : builder.value === 'hvm' ? 'hvm' : 'pv'
  if (builder !== undefined && builder.value !== 'hvm' && builder.value !== 'generic') {
    throw new ConfigError(builder.span, `Invalid domain type ${builder.value}.`, 'write type = "pv"')
  }
  if (value === undefined) return old ?? 'pv'
  const type = (['hvm', 'pv', 'pvh'] as const).find(word => value.value !== '' && word.startsWith(value.value))
  if (type === undefined)
    throw new ConfigError(value.span, `Invalid domain type ${value.value}.`, 'types are pv, pvh, hvm')
  if (old !== undefined && old !== type) {
    throw new ConfigError(value.span, 'Contradicting "builder" and "type" options specified.', 'leave "builder" out')
  }
  return type
}

function checkMemory(reader: SettingReader): Pick<DomainConfig, 'memoryKb' | 'maxMemoryKb'> {
  const maximum = reader.integer('maxmem', 1, largestMemoryMb, 'MiB')
  const memory = reader.integer('memory', 1, largestMemoryMb, 'MiB') ?? maximum ?? 128
  if (maximum !== undefined && maximum < memory) {
    throw new ConfigError(
      reader.get('maxmem')!.value.span,
      `"maxmem" (${maximum} MiB) is less than "memory" (${memory} MiB)`,
    )
  }
  return {memoryKb: memory * kbPerMb, maxMemoryKb: (maximum ?? memory) * kbPerMb}
}

function checkCpus(reader: SettingReader, hostCpus: number): Pick<DomainConfig, 'vcpus' | 'maxVcpus' | 'cpus'> {
  const most = 512
  const vcpus = reader.integer('vcpus', 1, most)
  const maxVcpus = reader.integer('maxvcpus', 1, most)
  if (maxVcpus !== undefined && maxVcpus < (vcpus ?? 1)) {
    throw new ConfigError(reader.get('maxvcpus')!.value.span, 'xl: maxvcpus < vcpus')
  }
  const cpus = reader.strings('cpus', true)?.map(item => {
    const list = parseCpuList(item.value, hostCpus)
    if (typeof list === 'string') throw new ConfigError(item.span, list)
    return list
  })
  return {vcpus: vcpus ?? 1, maxVcpus: maxVcpus ?? vcpus ?? 1, cpus}
}

function checkTimers(reader: SettingReader, type: DomainConfig['type']): void {
  const setting = reader.get('timer_mode')
  if (setting !== undefined && type === 'pv') {
    throw new ConfigError(setting.keySpan, 'ERROR: "timer_mode" option is not supported for PV guests.', 'leave it out')
  }
}

/** By name, or by the number older configurations have. */
function checkTscMode(reader: SettingReader): DomainConfig['tscMode'] {
  const modes = ['default', 'always_emulate', 'native'] as const
  if (reader.get('tsc_mode')?.value.kind === 'number') return modes[reader.integer('tsc_mode', 0, 2)!]
  return reader.word('tsc_mode', modes) ?? 'default'
}

function checkCommandLine(reader: SettingReader, notice: (setting: Setting, text: string) => void): string {
  const cmdline = reader.text('cmdline')
  const root = reader.text('root')
  const extra = reader.text('extra')
  if (cmdline !== undefined) {
    const passedOver = root === undefined && extra === undefined ? undefined : reader.get('cmdline')
    if (passedOver !== undefined) notice(passedOver, 'Warning: ignoring root= and extra= in favour of cmdline=')
    return cmdline
  }
  return [root === undefined ? undefined : `root=${root}`, extra].filter(part => part !== undefined).join(' ')
}

function pathOf(reader: SettingReader, key: string, environment: SchemaEnvironment): string | undefined {
  const path = reader.text(key)
  return path === undefined ? undefined : environment.resolvePath(path)
}

function actionOf(reader: SettingReader, key: string, standard: DomainAction): DomainAction {
  const value = reader.string(key)
  if (value === undefined) return standard
  const action = domainActions.find(candidate => candidate === value.value)
  if (action === undefined) {
    throw new ConfigError(
      value.span,
      `Unknown ${key} action "${value.value}" specified`,
      `actions are ${domainActions.join(', ')}`,
    )
  }
  return action
}

function checkDisks(reader: SettingReader): DiskConfig[] {
  const seen = new Set<string>()
  return (reader.strings('disk') ?? []).map(item => {
    const disk = parseDisk(item)
    if (seen.has(disk.vdev)) throw new ConfigError(item.span, `disk "${disk.vdev}" is given twice`)
    seen.add(disk.vdev)
    return disk
  })
}

function checkNics(reader: SettingReader, notice: (setting: Setting, text: string) => void): NicConfig[] {
  return (reader.strings('vif') ?? []).map(item => parseVif(item, text => notice(reader.get('vif')!, text)))
}

function checkKernel(reader: SettingReader, config: DomainConfig): void {
  if (config.image !== undefined && config.kernel !== undefined) {
    throw new ConfigError(
      reader.get('image')!.keySpan,
      '"image" stands for a kernel; it cannot be given beside "kernel"',
    )
  }
  if (config.type === 'hvm' || config.kernel !== undefined || config.image !== undefined) return
  if (config.bootloader !== undefined || reader.text('firmware') !== undefined) return
  throw new VerbatimError('Neither kernel nor bootloader specified', {
    hint: 'add image = "debian", or kernel = "/path" and ramdisk = "/path"',
  })
}

function collectNotices(reader: SettingReader, notice: (setting: Setting, text: string) => void): void {
  for (const setting of reader.settings.values()) {
    const row = configKeys.get(setting.key)
    if (row === undefined) notice(setting, `"${setting.key}" is not a key of xl.cfg; ignored`)
    else if (setting.key === 'device_model') notice(setting, 'WARNING: ignoring device_model directive.')
    else if (row.effect === 'accepted') notice(setting, `"${setting.key}" has no effect here`)
  }
}

function asksForNothing({value}: Setting): boolean {
  if (value.kind === 'list') return value.items.length === 0
  return value.value === 0 || value.value === '' || value.value === '0'
}

function collectRefusals(reader: SettingReader, config: DomainConfig, refusals: ConfigError[]): void {
  if (config.type !== 'pv') {
    const setting = reader.get('type') ?? reader.get('builder')!
    refusals.push(
      new ConfigError(
        setting.value.span,
        `guests of type "${config.type}" cannot run in this version`,
        'use type = "pv" with a kernel that has Xen PV support; Debian\'s kernels have',
      ),
    )
  }
  if (config.vcpus > 1) {
    const hint = 'guests have one vCPU in this version: write vcpus = 1'
    refusals.push(
      new ConfigError(reader.get('vcpus')!.value.span, `${config.vcpus} vCPUs cannot be given to a guest`, hint),
    )
  }
  for (const setting of reader.settings.values()) {
    const row = configKeys.get(setting.key)
    if (row?.effect !== 'refused' || asksForNothing(setting)) continue
    const what = row.summary.replace(/\.$/, '')
    refusals.push(
      new ConfigError(
        setting.keySpan,
        `"${setting.key}" is not available in this version (${what[0].toLowerCase()}${what.slice(1)})`,
        `the guest would run without it: leave "${setting.key}" out if that will do`,
      ),
    )
  }
}
