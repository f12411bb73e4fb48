/** Disk specifications, after the cases of Xen's check-xl-disk-parse. */
import t from 'tap'
import type {DiskConfig} from '../../lib/control/domain-config.js'
import {parseConfig} from '../../lib/toolstack/config-parser.js'
import type {StringValue} from '../../lib/toolstack/config-text.js'
import {parseDisk, vdevNumber} from '../../lib/toolstack/disk-spec.js'

function parse(text: string): DiskConfig {
  return parseDisk(parseConfig({name: 'c', text: `d = '${text}'`}).get('d')!.value as StringValue)
}

const hda: DiskConfig = {target: '/dev/vg/guest-volume', format: 'raw', vdev: 'hda', readwrite: true, cdrom: false}
const iso: DiskConfig = {target: '/root/image.iso', format: 'raw', vdev: 'hdc', readwrite: false, cdrom: true}
const empty: DiskConfig = {format: 'empty', vdev: 'hdc', readwrite: false, cdrom: true}

const rows: [text: string, disk: Partial<DiskConfig>][] = [
  ['/dev/vg/guest-volume,,hda', hda],
  ['/dev/vg/guest-volume,raw,hda,rw', hda],
  ['format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume', hda],
  ['raw:/dev/vg/guest-volume,hda,w', hda],
  ['/root/image.iso,,hdc,cdrom', iso],
  ['/root/image.iso,,hdc,,cdrom', {...iso, readwrite: true}],
  ['format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso', iso],
  ['raw:/root/image.iso,hdc:cdrom,ro', iso],
  [',,hdc,,cdrom', {...empty, readwrite: true}],
  [',,hdc:cdrom,r', empty],
  [',hdc:cdrom,r', empty],
  ['vdev=hdc,access=r,devtype=cdrom,format=empty', empty],
  ['vdev=hdc,access=r,devtype=cdrom', empty],
  ['file:/img,xvda,w', {...hda, target: '/img', vdev: 'xvda'}],
  ['tap2:tapdisk:aio:/x,xvda,w', {...hda, target: '/x', vdev: 'xvda'}],
  ['phy:vg/data,xvdb,r', {...hda, target: '/dev/vg/data', vdev: 'xvdb', readwrite: false}],
  ['qcow2:/x,xvda', {...hda, target: '/x', vdev: 'xvda', format: 'qcow2'}],
  ['vdev=xvda,target=/a,b=c,d', {...hda, target: '/a,b=c,d', vdev: 'xvda'}],
  [
    'iscsi:iqn.2001-05.com.equallogic:0-8a0906-23fe93404-c82797962054a96d-examplehost,xvda,w',
    {
      ...hda,
      target: 'iqn.2001-05.com.equallogic:0-8a0906-23fe93404-c82797962054a96d-examplehost',
      vdev: 'xvda',
      script: 'block-iscsi',
    },
  ],
  ['/x,raw,xvda,w,discard,direct-io-safe', {...hda, target: '/x', vdev: 'xvda', discard: true, directIoSafe: true}],
  [
    '/x,,xvda2,ro,backendtype=qdisk,backend=dom7',
    {
      ...hda,
      target: '/x',
      vdev: 'xvda2',
      readwrite: false,
      backendtype: 'qdisk',
      backend: 'dom7',
    },
  ],
]
for (const [text, disk] of rows) {
  t.strictSame(parse(text), disk, text)
}

for (const [text, place, says] of [
  ['/x,qcow3,xvda,w', 'c:1:9', 'unknown value for format: "qcow3"'],
  ['/x,raw,xvda,x', 'c:1:18', 'disk "xvda": unknown value for access: "x"'],
  ['/x,raw,xvda,w,more', 'c:1:20', 'too many positional parameters'],
  ['/x,raw,nvme0,w', 'c:1:13', '"nvme0" is no virtual device'],
  ['/x,raw', 'c:1:6', 'no virtual device given'],
  ['vdev=xvda,colour=red,target=/x', 'c:1:16', 'unknown parameter "colour"'],
  ['vdev=xvda,backendtype=floppy,target=/x', 'c:1:28', 'unknown value for backendtype'],
  ['bad:/x,xvda,w', 'c:1:6', 'unknown deprecated disk prefix "bad:"'],
  ['vdev=xvda', 'c:1:6', 'no target given'],
] as const) {
  t.throws(() => parse(text), {message: new RegExp(`^${place}: .*${says}`)}, text)
}

for (const [vdev, number] of [
  ['xvda', 51712],
  ['xvda2', 51714],
  ['xvdp15', 51967],
  ['xvdq', (1 << 28) | (16 << 8)],
  ['xvdaa', (1 << 28) | (26 << 8)],
  ['hda', 768],
  ['hdb1', 833],
  ['hdc', 5632],
  ['sda', 2048],
  ['d0p0', 51712],
  ['51712', 51712],
  ['xyz', undefined],
] as const) {
  t.equal(vdevNumber(vdev), number, vdev)
}
