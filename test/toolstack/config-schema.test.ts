/** What a configuration's values come to: the checked configuration, notices, refusals, and errors with their places. */
import t from 'tap'
import {parseConfig} from '../../lib/toolstack/config-parser.js'
import {type CheckedConfig, checkConfig} from '../../lib/toolstack/config-schema.js'

function check(text: string): CheckedConfig {
  return checkConfig(parseConfig({name: 'c', text}), {
    newUuid: () => '11111111-2222-3333-4444-555555555555',
    resolvePath: path => `/cwd/${path}`,
    hostCpus: 4,
  })
}
const base = 'name="web1"\nkernel="k"\n'

t.strictSame(check(base), {
  config: {
    type: 'pv',
    name: 'web1',
    uuid: '11111111-2222-3333-4444-555555555555',
    memoryKb: 128 * 1024,
    maxMemoryKb: 128 * 1024,
    vcpus: 1,
    maxVcpus: 1,
    kernel: '/cwd/k',
    cmdline: '',
    onPoweroff: 'destroy',
    onReboot: 'restart',
    onWatchdog: 'destroy',
    onCrash: 'destroy',
    onSoftReset: 'soft-reset',
    disks: [],
    nics: [],
    localtime: false,
    rtcTimeoffsetSeconds: 0,
    tscMode: 'default',
  },
  notices: [],
  refusals: [],
})

const facts: [text: string, config: Record<string, unknown>][] = [
  ['memory=256', {memoryKb: 262144, maxMemoryKb: 262144}],
  ["memory='256'; maxmem=512", {memoryKb: 262144, maxMemoryKb: 524288}],
  ['maxmem=64', {memoryKb: 65536, maxMemoryKb: 65536}],
  ['memory=1', {memoryKb: 1024}],
  ['type="pv"', {type: 'pv'}],
  ['type="p"', {type: 'pv'}],
  ['builder="generic"', {type: 'pv'}],
  ["vcpus='1'; maxvcpus=4", {vcpus: 1, maxVcpus: 4}],
  ['root="/dev/xvda1 ro"; extra="quiet"', {cmdline: 'root=/dev/xvda1 ro quiet'}],
  ['extra="quiet"', {cmdline: 'quiet'}],
  ['cmdline="a b"', {cmdline: 'a b'}],
  ['ramdisk=""', {ramdisk: undefined}],
  ['uuid="59E1CF6C-6ab9-4879-90e7-adc8d1c63bf5"', {uuid: '59e1cf6c-6ab9-4879-90e7-adc8d1c63bf5'}],
  ['on_crash="preserve"', {onCrash: 'preserve'}],
  ['cpus="0-2,^1"', {cpus: [[0, 2]]}],
  ['cpus=["0","all"]', {cpus: [[0], [0, 1, 2, 3]]}],
  ['cpu="1"', {cpus: [[1]]}],
  ['rtc_timeoffset="-3600"; localtime=1', {rtcTimeoffsetSeconds: -3600, localtime: true}],
  ['tsc_mode=1', {tscMode: 'always_emulate'}],
  ['tsc_mode="native"', {tscMode: 'native'}],
  ['cpu_weight=512; cap="50"', {cpuWeight: 512, cap: 50}],
]
for (const [text, config] of facts) t.match(check(base + text).config, config, text)

const mistakes: [text: string, message: RegExp][] = [
  ['kernel="k"', /^Domain name must be specified\.$/],
  ['name=""; kernel="k"', /^Domain name must be specified\.$/],
  ['name=5; kernel="k"', /^c:1:6: "name" must be a string in quotes, not a number/],
  ['name="a b"; kernel="k"', /^c:1:6: "a b" cannot be the name/],
  ['name="Domain-0"; kernel="k"', /cannot be the name/],
  ['name=".."; kernel="k"', /cannot be the name/],
  [`name="${'n'.repeat(129)}"; kernel="k"`, /cannot be the name/],
  ['name="x"', /^Neither kernel nor bootloader specified$/],
  [`${base}image="debian"`, /^c:3:1: "image" stands for a kernel/],
  [`${base}memory=0`, /^c:3:8: "memory" must be at least 1 MiB, not 0/],
  [`${base}memory="-5"`, /"memory" must be at least 1 MiB, not -5/],
  [`${base}memory="lots"`, /"memory" must be a whole number, not "lots"/],
  [`${base}memory=[256]`, /"memory" must be a number, not a list/],
  [`${base}memory=99999999999`, /"memory" must be at most 16777216 MiB/],
  [`${base}memory=512; maxmem=256`, /"maxmem" \(256 MiB\) is less than "memory" \(512 MiB\)/],
  [`${base}vcpus=0`, /"vcpus" must be at least 1/],
  [`${base}vcpus=2; maxvcpus=1`, /xl: maxvcpus < vcpus/],
  [`${base}uuid="abc"`, /Failed to parse UUID: abc/],
  [`${base}type="vm"`, /Invalid domain type vm\./],
  [`${base}type=""`, /Invalid domain type/],
  [`${base}type="pv"; builder="hvm"`, /Contradicting "builder" and "type" options specified\./],
  [`${base}on_crash="explode"`, /Unknown on_crash action "explode" specified/],
  [`${base}timer_mode="no_delay_for_missed_ticks"`, /"timer_mode" option is not supported for PV guests\./],
  [`${base}cpus="0,x"`, /Invalid pcpu range: x\./],
  [`${base}cpus="all,^1"`, /Can't combine "\^" and "all"\./],
  [`${base}cpu_weight=0`, /"cpu_weight" must be at least 1/],
  [`${base}tsc_mode="fast"`, /unknown tsc_mode "fast"/],
  [`${base}disk="x"`, /"disk" must be a list: disk = \[ "..." \], not a string/],
  [`${base}disk=[1]`, /must be a string in quotes, not a number/],
  [`${base}disk=["/a,,xvda","/b,,xvda"]`, /^c:3:18: disk "xvda" is given twice/],
]
for (const [text, message] of mistakes) t.throws(() => check(text), {message}, text)

const noticed: [text: string, notice: string][] = [
  ['dhcp="dhcp"', 'c:3:1: "dhcp" is not a key of xl.cfg; ignored'],
  ['cpu_cap=50', 'c:3:1: "cpu_cap" is an old spelling of "cap"'],
  ['acpi=1', 'c:3:1: "acpi" has no effect here'],
  ['cmdline="a"; extra="b"', 'c:3:1: Warning: ignoring root= and extra= in favour of cmdline='],
  ['device_model="x"', 'c:3:1: WARNING: ignoring device_model directive.'],
]
for (const [text, notice] of noticed) t.has(check(base + text).notices, [notice], text)

const refused: [text: string, message: RegExp][] = [
  ['type="hvm"', /^c:3:6: guests of type "hvm" cannot run in this version/],
  ['type="pvh"', /guests of type "pvh"/],
  ['builder="hvm"', /guests of type "hvm"/],
  ['vcpus=2', /^c:3:7: 2 vCPUs cannot be given to a guest/],
  ['disk=["/x,,xvda"]', /^c:3:1: "disk" is not available in this version/],
  ['vif=[""]', /"vif" is not available/],
  ['vfb=["vnc=1"]', /"vfb" is not available/],
  ['p9=["tag=a"]', /"p9" is not available/],
  ['pci=["00:1f.0"]', /"pci" is not available/],
  ['bootloader="pygrub"', /"bootloader" is not available/],
  ['vnc=1', /"vnc" is not available/],
]
for (const [text, message] of refused) {
  const {refusals} = check(base + text)
  t.match(refusals[0]?.message, message, text)
  t.ok(refusals[0]?.hint, 'and a hint says what to do')
}
for (const text of ['disk=[]', 'vif=[]', 'vnc=0', 'bootloader=""', 'maxmem=512']) {
  t.strictSame(check(base + text).refusals, [], `${text} asks for nothing that is missing`)
}
