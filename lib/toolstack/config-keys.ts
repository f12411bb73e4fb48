/**
 * Every key of a configuration and what becomes of it here. man/xl.cfg.5 is tested against this table.
 *
 *   used       has its effect
 *   accepted   has none here, and nobody misses it: one line of notice
 *   refused    its effect is missing and the guest would lack something: `create` says so and stops, unless the value asks for nothing
 *              (an empty list, 0, "")
 *
 * A key that is in no row is ignored with a notice, as Xen's xl ignores it.
 * Source: xl.cfg(5).
 */

/** What becomes of a key. */
export type KeyEffect = 'used' | 'accepted' | 'refused'

/** One row: the kind of its value as a person writes it, and a sentence about it. */
export interface ConfigKey {
  value: string
  effect: KeyEffect
  summary: string
}

const action = 'destroy, restart, rename-restart, preserve, coredump-destroy, coredump-restart or soft-reset'

/** The keys that have their effect. */
const used: Record<string, [value: string, summary: string]> = {
  name: ['"TEXT"', 'The name of the domain, unique on its host. Mandatory.'],
  uuid: ['"UUID"', 'The id of the domain, 8-4-4-4-12 hexadecimal digits. A new one for each create if absent.'],
  type: ['"pv"', 'The kind of guest. Only "pv" can run in this version; "pvh" and "hvm" are refused by name.'],
  builder: ['"generic"', 'Deprecated spelling of type: "generic" is "pv".'],
  image: [
    '"NAME"',
    'A catalogue image that stands for kernel and ramdisk; see "xl image" in xl(1). Fetched when it is missing.',
  ],
  kernel: ['"PATH"', 'The kernel: a bzImage or an ELF file with Xen PV support.'],
  ramdisk: ['"PATH"', 'The initial ramdisk.'],
  cmdline: ['"TEXT"', 'The kernel command line. Wins over root and extra.'],
  root: ['"TEXT"', 'Becomes root=TEXT on the kernel command line.'],
  extra: ['"TEXT"', 'Added to the kernel command line.'],
  memory: ['MEGABYTES', 'The memory the guest starts with. 128 if absent.'],
  maxmem: ['MEGABYTES', 'The most memory the guest may balloon up to. As memory if absent.'],
  vcpus: ['NUMBER', 'How many virtual CPUs the guest starts with. Only 1 can run in this version.'],
  maxvcpus: ['NUMBER', 'The most virtual CPUs the guest may have; at least vcpus.'],
  on_poweroff: ['"ACTION"', `What happens when the guest powers off: ${action}. Default destroy.`],
  on_reboot: ['"ACTION"', 'What happens when the guest reboots. Default restart.'],
  on_watchdog: ['"ACTION"', 'What happens when the watchdog bites. Default destroy.'],
  on_crash: ['"ACTION"', 'What happens when the guest crashes. Default destroy.'],
  on_soft_reset: ['"ACTION"', 'What happens at a soft reset. Default soft-reset.'],
  cpus: ['"CPULIST" or [ "CPULIST", ... ]', 'Host CPUs the guest may run on, shown by vcpu-list: "all", "0-3,^1".'],
  localtime: ['BOOLEAN', 'The guest clock starts in local time instead of UTC.'],
  rtc_timeoffset: ['SECONDS', 'Added to the guest clock.'],
  tsc_mode: ['"MODE"', 'default, always_emulate or native.'],
  max_event_channels: ['NUMBER', 'The most event channels the guest may open.'],
  max_grant_frames: ['NUMBER', 'The most grant table pages the guest may have.'],
}

/** The keys whose effect a guest would miss. */
const refused: Record<string, [value: string, summary: string]> = {
  disk: ['[ "DISK", ... ]', 'Virtual disks, target,format,vdev,access.'],
  vif: ['[ "VIF", ... ]', 'Network interfaces, "mac=...,bridge=...".'],
  vfb: ['[ "VFB", ... ]', 'Virtual frame buffers.'],
  vkb: ['[ "VKB", ... ]', 'Virtual keyboards.'],
  vdispl: ['[ "VDISPL", ... ]', 'Virtual displays.'],
  vsnd: ['[ "VSND", ... ]', 'Virtual sound devices.'],
  vtpm: ['[ "VTPM", ... ]', 'Virtual trusted platform modules.'],
  virtio: ['[ "VIRTIO", ... ]', 'Virtio devices.'],
  p9: ['[ "P9", ... ]', 'Shared folders.'],
  pvcalls: ['[ "PVCALLS", ... ]', 'Socket calls on the host.'],
  channel: ['[ "CHANNEL", ... ]', 'Channels between guest and host.'],
  pci: ['[ "PCI", ... ]', 'Passed-through PCI devices.'],
  usbctrl: ['[ "USBCTRL", ... ]', 'USB controllers.'],
  usbdev: ['[ "USBDEV", ... ]', 'Passed-through USB devices.'],
  dtdev: ['[ "PATH", ... ]', 'Passed-through device tree nodes.'],
  ioports: ['[ "RANGE", ... ]', 'I/O ports of the host for the guest.'],
  iomem: ['[ "RANGE", ... ]', 'I/O memory of the host for the guest.'],
  irqs: ['[ NUMBER, ... ]', 'Interrupts of the host for the guest.'],
  bootloader: ['"PROGRAM"', 'Finds the kernel on a disk of the guest.'],
  bootloader_args: ['[ "TEXT", ... ]', 'Arguments of the boot loader.'],
  firmware: ['"NAME"', 'Firmware to boot instead of a kernel.'],
  vnc: ['BOOLEAN', 'A frame buffer shown over VNC.'],
  sdl: ['BOOLEAN', 'A frame buffer shown in a window.'],
  spice: ['BOOLEAN', 'A frame buffer shown over SPICE.'],
  vnuma: ['[ [ ... ], ... ]', 'Virtual NUMA nodes.'],
  driver_domain: ['BOOLEAN', 'The domain serves devices to others.'],
  nestedhvm: ['BOOLEAN', 'Virtual machines inside the guest.'],
  stubdomain_kernel: ['"PATH"', 'A device model in a domain of its own.'],
}

/** The keys without effect here. Those without a sentence of their own are options of guest types or of hosts that are not ours. */
const accepted: Record<string, [value: string, summary: string]> = {
  cpu_weight: ['NUMBER', 'Scheduler weight, 1 to 65535. The operating system of the host schedules our domains.'],
  cap: ['PERCENT', 'The most CPU time the domain may use; 0 is no limit. Not enforced.'],
  cpus_soft: ['"CPULIST"', 'Host CPUs the guest would rather run on.'],
  cpu: ['"CPULIST"', 'Old spelling of cpus, read as that.'],
  cpu_cap: ['PERCENT', 'Old spelling of cap, read as that.'],
  bootargs: ['"TEXT"', 'Old spelling of bootloader_args, read as that.'],
  nics: ['NUMBER', 'Old; the number of interfaces is the length of vif.'],
  pool: ['"NAME"', 'CPU pool of the host.'],
  seclabel: ['"LABEL"', 'Security label.'],
  init_seclabel: ['"LABEL"', 'Security label while the domain is built.'],
  nomigrate: [
    'BOOLEAN',
    'For features that a migration would break, none of which is here: the domain can be migrated all the same.',
  ],
  cpuid: ['"TEXT" or [ "TEXT", ... ]', 'Changes to the CPUID the guest sees.'],
  timer_mode: ['"MODE"', 'For HVM guests; an error for "pv", as in xl.'],
  max_maptrack_frames: ['NUMBER', 'The most grant mapping pages of the guest.'],
  max_grant_version: ['NUMBER', 'The highest grant table version of the guest.'],
  device_model: ['"PATH"', 'Ignored by xl as well.'],
  claim_mode: ['BOOLEAN', 'Memory is always claimed here.'],
  vncunused: ['BOOLEAN', 'Detail of a frame buffer.'],
}

const acceptedWithoutWords = [
  'acpi acpi_s3 acpi_s4 acpi_laptop_slate altp2m altp2mhvm altp2m_count apic arm_sci bios bootloader_restrict bootloader_user boot',
  'device_model_args device_model_args_hvm device_model_args_pv device_model_override device_model_stubdomain_override',
  'device_model_user device_model_version dm_restrict e820_host extratime firmware_override gfx_passthru gic_version hap hdtype',
  'hpet keymap latency llc_colors mca_caps mmio_hole ms_vm_genid msr_relaxed nographic nr_spis nx oos pae passthrough',
  'pci_msitranslate pci_permissive pci_power_mgmt pci_seize period pvshim pvshim_cmdline pvshim_extra pvshim_path rdm',
  'rdm_mem_boundary serial shadow_memory slice smbios smbios_firmware acpi_firmware soundhw spiceagent_mouse',
  'spiceclipboard_sharing spicedisable_ticketing spicehost spicepasswd spiceport spicetls_port spiceusbredirection spicevdagent',
  'spice_image_compression spice_streaming_video stdvga stubdomain_cmdline stubdomain_memory stubdomain_ramdisk sve tee',
  'trap_unmapped_accesses usb usbdevice usbversion vendor_device vga videoram viridian vmtrace_buf_kb',
  'vncdisplay vnclisten vncpasswd opengl vpmu vpt_align vuart xen_platform_pci xenstore_feature_mask',
  'xenstore_quota device_tree xend_suspend_evtchn_compat',
]
  .join(' ')
  .split(' ')

function rows(table: Record<string, [value: string, summary: string]>, effect: KeyEffect): [string, ConfigKey][] {
  return Object.entries(table).map(([key, [value, summary]]) => [key, {value, effect, summary}])
}

/** Key → what becomes of it. */
export const configKeys: ReadonlyMap<string, ConfigKey> = new Map([
  ...rows(used, 'used'),
  ...rows(refused, 'refused'),
  ...rows(accepted, 'accepted'),
  ...acceptedWithoutWords.map((key): [string, ConfigKey] => [key, {value: '', effect: 'accepted', summary: ''}]),
])
