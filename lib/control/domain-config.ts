/**
 * What a domain is to be, after every check: the one record that xl hands to a domain process and that a domain process hands
 * back in `xl list -l`. It is plain JSON. toolstack/config-schema.ts makes it; domain/process.ts and the builder read it and may
 * trust it: memory is positive, names are well formed, paths are absolute.
 *
 * Optional members are absent where the configuration did not say and no default is needed.
 * Source: xl.cfg(5); the member names of `xl list -l` are made from these in toolstack/config-json.ts.
 */

/** What is done with a domain that has shut down by itself, per reason. Source: xl.cfg(5) "Event Actions". */
export const domainActions = [
  'destroy',
  'restart',
  'rename-restart',
  'preserve',
  'coredump-destroy',
  'coredump-restart',
  'soft-reset',
] as const
/** One of {@link domainActions}. */
export type DomainAction = (typeof domainActions)[number]

/** A disk as xl-disk-configuration(5) describes it. */
export interface DiskConfig {
  target?: string
  format: 'raw' | 'qcow' | 'qcow2' | 'vhd' | 'qed' | 'empty'
  vdev: string
  readwrite: boolean
  cdrom: boolean
  backend?: string
  backendtype?: 'phy' | 'qdisk' | 'tap' | 'standalone'
  script?: string
  directIoSafe?: boolean
  discard?: boolean
  specification?: 'xen' | 'virtio'
  trusted?: boolean
  grantUsage?: boolean
}

/** A network interface as xl-network-configuration(5) describes it. */
export interface NicConfig {
  mac?: string
  bridge?: string
  ip?: string
  script?: string
  ifname?: string
  backend?: string
  gatewaydev?: string
  model?: string
  type?: 'vif' | 'ioemu'
  devid?: number
  mtu?: number
  rate?: {bytesPerInterval: number; intervalUs: number}
  trusted?: boolean
}

/** The checked configuration of one domain. Memory is in KiB. */
export interface DomainConfig {
  type: 'pv' | 'pvh' | 'hvm'
  name: string
  /** Lower case, 8-4-4-4-12. */
  uuid: string
  /** What the guest starts with. */
  memoryKb: number
  /** What it may balloon up to; at least `memoryKb`. */
  maxMemoryKb: number
  vcpus: number
  maxVcpus: number
  /** Catalogue image that stands for kernel and ramdisk. */
  image?: string
  /** Absolute path; with `image`, filled in once the image is there. */
  kernel?: string
  ramdisk?: string
  cmdline: string
  bootloader?: string
  bootloaderArgs?: string[]
  onPoweroff: DomainAction
  onReboot: DomainAction
  onWatchdog: DomainAction
  onCrash: DomainAction
  onSoftReset: DomainAction
  disks: DiskConfig[]
  nics: NicConfig[]
  /** Scheduler weight, 1 to 65535. */
  cpuWeight?: number
  /** Percent of one CPU; 0 is no limit. */
  cap?: number
  /** Hard affinity per vCPU: host CPU numbers. */
  cpus?: number[][]
  /** The guest's wall clock starts in local time instead of UTC. */
  localtime: boolean
  /** Seconds added to the guest's wall clock. */
  rtcTimeoffsetSeconds: number
  tscMode: 'default' | 'always_emulate' | 'native'
  maxEventChannels?: number
  maxGrantFrames?: number
  /** The domid the domain had and keeps (save -D). */
  domid?: number
}

/** True for a text that may be a domain's name: one word, so that every row of `xl list` has six; log and core are files of that name. */
export function isDomainName(name: string): boolean {
  return /^[A-Za-z0-9_.:+@=-][A-Za-z0-9_.:+@=%~-]{0,127}$/.test(name) && !['Domain-0', '.', '..'].includes(name)
}

/** The same for a person. */
export const domainNameHint = 'names are one word of up to 128 letters, digits and _ . : + @ = -, other than "Domain-0"'

/** True for a value, come from elsewhere, that has what every configuration has, in the form it has there. */
export function isDomainConfig(value: unknown): value is DomainConfig {
  if (typeof value !== 'object' || value === null) return false
  const config = value as Partial<Record<keyof DomainConfig, unknown>>
  const isCount = (key: keyof DomainConfig, most: number) =>
    Number.isInteger(config[key]) && (config[key] as number) > 0 && (config[key] as number) <= most
  const isOptionalText = (key: keyof DomainConfig) => config[key] === undefined || typeof config[key] === 'string'
  return (
    config.type === 'pv' &&
    typeof config.name === 'string' &&
    isDomainName(config.name) &&
    typeof config.uuid === 'string' &&
    /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(config.uuid) &&
    isCount('memoryKb', 2 ** 40) &&
    isCount('maxMemoryKb', 2 ** 40) &&
    isCount('vcpus', 4096) &&
    isCount('maxVcpus', 4096) &&
    (config.domid === undefined || isCount('domid', 0x7fef)) &&
    typeof config.cmdline === 'string' &&
    (['image', 'kernel', 'ramdisk'] as const).every(isOptionalText) &&
    (['onPoweroff', 'onReboot', 'onWatchdog', 'onCrash', 'onSoftReset'] as const).every(key =>
      domainActions.includes(config[key] as DomainAction),
    ) &&
    Array.isArray(config.disks) &&
    Array.isArray(config.nics) &&
    typeof config.localtime === 'boolean' &&
    Number.isFinite(config.rtcTimeoffsetSeconds)
  )
}
