/**
 * A domain configuration as `xl list -l` and `xl create --dryrun` print it, in the shape yajl gives: four blanks of indent,
 * `"key": value`, empty containers as brackets round an empty line. Scripts read it with JSON parsers and with grep: the name is not
 * the last key of c_info, and a domid comes first in its record.
 * Source: libxl_types.idl for the member names and their order.
 */
import type {DiskConfig, DomainConfig, NicConfig} from '../control/domain-config.js'

type Json = string | number | boolean | null | Json[] | {[key: string]: Json | undefined}

/** JSON text in yajl's shape, with a newline at the end. */
export function printJson(value: Json): string {
  return `${print(value, '')}\n`
}

function print(value: Json, indent: string): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  const inner = `${indent}    `
  const [open, close, items] = Array.isArray(value)
    ? ['[', ']', value.map(item => print(item, inner))]
    : ['{', '}', membersOf(value).map(([key, item]) => `${JSON.stringify(key)}: ${print(item, inner)}`)]
  if (items.length === 0) return `${open}\n\n${indent}${close}`
  return `${open}\n${items.map(item => inner + item).join(',\n')}\n${indent}${close}`
}

function membersOf(value: {[key: string]: Json | undefined}): [string, Json][] {
  return Object.entries(value).filter((entry): entry is [string, Json] => entry[1] !== undefined)
}

function truth(value: boolean): string {
  return value ? 'True' : 'False'
}

function unless<Value>(value: Value, standard: Value): Value | undefined {
  return value === standard ? undefined : value
}

/** The `config` object of a domain. Only what differs from libxl's defaults is in it. */
export function configToJson(config: DomainConfig): {[key: string]: Json | undefined} {
  const action = (name: string): string => name.replaceAll('-', '_')
  return {
    c_info: {type: config.type, name: config.name, uuid: config.uuid, run_hotplug_scripts: 'True'},
    b_info: buildInfo(config),
    disks: some(config.disks.map(diskToJson)),
    nics: some(config.nics.map(nicToJson)),
    on_poweroff: unless(action(config.onPoweroff), 'destroy'),
    on_reboot: unless(action(config.onReboot), 'destroy'),
    on_watchdog: unless(action(config.onWatchdog), 'destroy'),
    on_crash: unless(action(config.onCrash), 'destroy'),
    on_soft_reset: action(config.onSoftReset),
  }
}

function some(items: Json[]): Json[] | undefined {
  return items.length === 0 ? undefined : items
}

function buildInfo(config: DomainConfig): Json {
  const withBootloader = config.bootloader === undefined ? {} : {bootloader: config.bootloader}
  return {
    max_vcpus: config.maxVcpus,
    avail_vcpus: Array.from({length: config.vcpus}, (_, index) => index),
    vcpu_hard_affinity: config.cpus,
    tsc_mode: unless(config.tscMode, 'default'),
    max_memkb: config.maxMemoryKb,
    target_memkb: config.memoryKb,
    rtc_timeoffset: unless(config.rtcTimeoffsetSeconds, 0),
    localtime: config.localtime ? 'True' : undefined,
    sched_params: {weight: config.cpuWeight, cap: config.cap},
    claim_mode: 'True',
    event_channels: config.maxEventChannels,
    kernel: config.kernel,
    cmdline: config.cmdline === '' ? undefined : config.cmdline,
    ramdisk: config.ramdisk,
    max_grant_frames: config.maxGrantFrames,
    gastwirt_image: config.image,
    bootloader_args: config.bootloaderArgs,
    ...withBootloader,
    [`type.${config.type}`]: {},
  }
}

function diskToJson(disk: DiskConfig): Json {
  return {
    backend_domname: disk.backend,
    pdev_path: disk.target,
    vdev: disk.vdev,
    backend: disk.backendtype,
    format: disk.format,
    script: disk.script,
    removable: disk.cdrom ? 1 : undefined,
    readwrite: disk.readwrite ? 1 : undefined,
    is_cdrom: disk.cdrom ? 1 : undefined,
    direct_io_safe: disk.directIoSafe,
    discard_enable: disk.discard === undefined ? undefined : truth(disk.discard),
    specification: disk.specification,
    trusted: disk.trusted === undefined ? undefined : truth(disk.trusted),
    grant_usage: disk.grantUsage === undefined ? undefined : truth(disk.grantUsage),
  }
}

function nicToJson(nic: NicConfig, index: number): Json {
  return {
    backend_domname: nic.backend,
    devid: nic.devid ?? index,
    mtu: nic.mtu,
    model: nic.model,
    mac: nic.mac,
    ip: nic.ip,
    bridge: nic.bridge,
    ifname: nic.ifname,
    script: nic.script,
    nictype: nic.type === 'ioemu' ? 'vif_ioemu' : nic.type,
    rate_bytes_per_interval: nic.rate?.bytesPerInterval,
    rate_interval_usecs: nic.rate?.intervalUs,
    gatewaydev: nic.gatewaydev,
    trusted: nic.trusted === undefined ? undefined : truth(nic.trusted),
  }
}
