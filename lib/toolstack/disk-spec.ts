/**
 * One disk specification → DiskConfig.
 *
 *   [key=value|flag,]* [target,[format,[vdev,[access]]]] [key=value|flag,]* [target=REST]
 *
 * A piece without "=" that is no flag fills the next unset position. "target=" takes all the rest, commas included. The deprecated
 * prefixes (phy: file: tap: aio: qcow2: ...) may stand before the target; after one the format position is gone.
 * Source: xl-disk-configuration(5), docs/misc/vbd-interface.txt.
 */
import type {DiskConfig} from '../control/domain-config.js'
import {ConfigError, type StringValue, withinString} from './config-text.js'

const formats = ['raw', 'qcow', 'qcow2', 'vhd', 'qed', 'empty'] as const
const backendTypes = ['phy', 'qdisk', 'tap', 'standalone'] as const
const specifications = ['xen', 'virtio'] as const

interface Draft {
  target?: string
  format?: DiskConfig['format']
  vdev?: string
  readwrite?: boolean
  hadPrefix: boolean
  disk: Partial<DiskConfig>
}

type Fail = (message: string, hint?: string) => never

function pick<Word extends string>(words: readonly Word[], text: string, what: string, fail: Fail): Word {
  const word = words.find(candidate => candidate === text)
  return word ?? fail(`unknown value for ${what}: "${text}"`, `${what} is one of ${words.join(', ')}`)
}

function parseFormat(text: string, fail: Fail): DiskConfig['format'] {
  if (text === '') return 'raw'
  return (
    formats.find(format => format === text) ??
    fail(`unknown value for format: "${text}"`, `formats are ${formats.join(', ')}`)
  )
}

function parseAccess(text: string, fail: Fail): boolean {
  if (text === 'w' || text === 'rw' || text === '') return true
  if (text === 'r' || text === 'ro') return false
  return fail(`unknown value for access: "${text}"`, 'access is r, ro, w or rw')
}

function setVdev(draft: Draft, text: string, fail: Fail): void {
  const [vdev, type, ...more] = text.split(':')
  if (type === 'cdrom') draft.disk.cdrom = true
  else if ((type !== undefined && type !== 'disk') || more.length > 0) fail(`unknown value for type: "${type}"`)
  if (vdevNumber(vdev) === undefined)
    fail(`"${vdev}" is no virtual device`, 'devices are named like xvda, xvda2, hdc, sdb1')
  draft.vdev = vdev
}

const settings: Record<string, (draft: Draft, text: string, fail: Fail) => void> = {
  format: (draft, text, fail) => {
    draft.format = parseFormat(text, fail)
  },
  vdev: setVdev,
  access: (draft, text, fail) => {
    draft.readwrite = parseAccess(text, fail)
  },
  devtype: (draft, text, fail) => {
    draft.disk.cdrom = pick(['cdrom', 'disk'], text, 'type', fail) === 'cdrom'
  },
  backend: (draft, text) => {
    draft.disk.backend = text
  },
  backendtype: (draft, text, fail) => {
    draft.disk.backendtype = pick(backendTypes, text, 'backendtype', fail)
  },
  script: (draft, text) => {
    draft.disk.script = text
  },
  specification: (draft, text, fail) => {
    draft.disk.specification = pick(specifications, text, 'specification', fail)
  },
  grant_usage: (draft, text, fail) => {
    draft.disk.grantUsage = pick(['0', '1'], text, 'grant_usage', fail) === '1'
  },
}

const flags: Record<string, (disk: Partial<DiskConfig>) => void> = {
  cdrom: disk => {
    disk.cdrom = true
  },
  'direct-io-safe': disk => {
    disk.directIoSafe = true
  },
  discard: disk => {
    disk.discard = true
  },
  'no-discard': disk => {
    disk.discard = false
  },
  trusted: disk => {
    disk.trusted = true
  },
  untrusted: disk => {
    disk.trusted = false
  },
}

/** Applies one deprecated prefix to the draft; `word` is without its colon. */
function applyPrefix(draft: Draft, word: string, fail: Fail): void {
  draft.hadPrefix = true
  if (word === 'raw' || word === 'qcow' || word === 'qcow2' || word === 'vhd') draft.format = word
  else if (/^(iscsi|e?nbd|drbd)$/.test(word)) draft.disk.script = `block-${word}`
  else if (!/^(tapdisk|tap2?|aio|ioemu|file|phy)$/.test(word)) fail(`unknown deprecated disk prefix "${word}:"`)
}

function setPosition(draft: Draft, text: string, fail: Fail): void {
  if (draft.target === undefined) draft.target = text
  else if (draft.target === '' && draft.vdev === undefined && text.endsWith(':cdrom')) setVdev(draft, text, fail)
  else if (!draft.hadPrefix && draft.format === undefined && draft.vdev === undefined)
    draft.format = parseFormat(text, fail)
  else if (draft.vdev === undefined) setVdev(draft, text, fail)
  else if (draft.readwrite === undefined) draft.readwrite = parseAccess(text, fail)
  else fail('too many positional parameters', 'they are target, format, vdev, access')
}

/** Reads one specification. Errors: ConfigError at the piece that is wrong. */
export function parseDisk(specification: StringValue): DiskConfig {
  const {value} = specification
  const draft: Draft = {hadPrefix: false, disk: {}}
  let at = 0
  while (at < value.length) {
    const blanks = /\s*/y
    blanks.lastIndex = at
    at += blanks.exec(value)![0].length
    const rest = value.slice(at)
    const start = at
    if (rest.startsWith('target=')) {
      draft.target = rest.slice('target='.length)
      at = value.length
      continue
    }
    const prefix = draft.target === undefined ? /^([a-z][a-z0-9]*):/.exec(rest) : null
    if (prefix !== null) {
      applyPrefix(draft, prefix[1], failAt(specification, draft, start, start + prefix[1].length))
      at += prefix[0].length
      continue
    }
    const comma = rest.indexOf(',')
    const piece = comma === -1 ? rest : rest.slice(0, comma)
    at += comma === -1 ? rest.length : comma + 1
    readPiece(draft, piece, (from, to) => failAt(specification, draft, start + from, start + to))
  }
  return complete(specification, draft)
}

function readPiece(draft: Draft, piece: string, failIn: (from: number, to: number) => Fail): void {
  const equals = piece.indexOf('=')
  if (equals !== -1) {
    const key = piece.slice(0, equals)
    if (!Object.hasOwn(settings, key)) failIn(0, equals)(`unknown parameter "${key}"`)
    settings[key](draft, piece.slice(equals + 1), failIn(equals + 1, piece.length))
  } else if (Object.hasOwn(flags, piece)) flags[piece](draft.disk)
  else setPosition(draft, piece, failIn(0, piece.length))
}

/** Throws a message that names the disk as far as it is known. */
function failAt(specification: StringValue, draft: Draft, from: number, to: number): Fail {
  return (message, hint) => {
    const name = draft.vdev === undefined ? 'disk' : `disk "${draft.vdev}"`
    throw new ConfigError(withinString(specification, from, to), `${name}: ${message}`, hint)
  }
}

function complete(specification: StringValue, draft: Draft): DiskConfig {
  const fail = failAt(specification, draft, 0, specification.value.length)
  if (draft.vdev === undefined)
    return fail('no virtual device given', 'write target,format,vdev,access: "/srv/web1.img,raw,xvda,w"')
  const cdrom = draft.disk.cdrom ?? false
  const empty = draft.target === undefined || draft.target === ''
  if (empty && !cdrom && draft.format !== 'empty') fail('no target given')
  const target =
    empty || draft.disk.script !== undefined || draft.target!.startsWith('/') ? draft.target : `/dev/${draft.target}`
  return {
    ...draft.disk,
    ...(empty ? {} : {target}),
    format: empty ? 'empty' : (draft.format ?? 'raw'),
    vdev: draft.vdev,
    readwrite: draft.readwrite ?? !cdrom,
    cdrom,
  }
}

/** The number a virtual device has in xenstore: xvda is 51712. Undefined for a text that is no device. */
export function vdevNumber(vdev: string): number | undefined {
  if (/^(0x[0-9a-f]+|[0-9]+)$/i.test(vdev)) return Number(vdev)
  const byPosition = /^d([0-9]+)p([0-9]+)$/.exec(vdev)
  if (byPosition !== null) return virtual(Number(byPosition[1]), Number(byPosition[2]))
  const named = /^(xvd|hd|sd)([a-z]{1,2})([0-9]*)$/.exec(vdev)
  if (named === null) return undefined
  const disk = [...named[2]].reduce((sum, letter) => sum * 26 + letter.charCodeAt(0) - 96, 0) - 1
  const partition = Number(named[3] || 0)
  if (named[1] === 'xvd') return virtual(disk, partition)
  if (named[1] === 'sd') return disk < 16 && partition < 16 ? (8 << 8) | (disk << 4) | partition : undefined
  if (disk >= 4 || partition >= 64) return undefined
  return ((disk < 2 ? 3 : 22) << 8) | ((disk & 1) << 6) | partition
}

function virtual(disk: number, partition: number): number | undefined {
  if (disk < 16 && partition < 16) return (202 << 8) | (disk << 4) | partition
  return disk < 1 << 20 && partition < 256 ? (1 << 28) | (disk << 8) | partition : undefined
}
