/**
 * One network interface specification → NicConfig: "key=value,..." with blanks allowed before a key, every key optional, so that ''
 * is a valid interface.
 * Source: xl-network-configuration(5).
 */
import type {NicConfig} from '../control/domain-config.js'
import {strtol} from './config-parser.js'
import {ConfigError, type StringValue, withinString} from './config-text.js'

type Fail = (message: string, hint?: string) => never

/** Bytes per second and interval of a `rate=` text; undefined when it is none. */
export function parseRate(text: string): NicConfig['rate'] | undefined {
  const match = /^([0-9]+)([GMK]?)([Bb])\/s(?:@([0-9]+)([mu]?)s?)?$/.exec(text)
  if (match === null) return undefined
  const scale = {'': 1, K: 1e3, M: 1e6, G: 1e9}[match[2]]!
  const bytesPerSecond = (Number(match[1]) * scale) / (match[3] === 'b' ? 8 : 1)
  const intervalUs = match[4] === undefined ? 50_000 : Number(match[4]) * {'': 1e6, m: 1e3, u: 1}[match[5]]!
  return {bytesPerInterval: Math.floor((bytesPerSecond * intervalUs) / 1e6), intervalUs}
}

function integer(text: string, fail: Fail): number {
  const number = strtol(text)
  return number === undefined || number < 0 ? fail(`"${text}" is not a number`) : number
}

const settings: Record<string, (nic: NicConfig, text: string, fail: Fail) => void> = {
  mac: (nic, text, fail) => {
    if (!/^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(text))
      fail("Invalid parameter `mac'.", 'six hexadecimal pairs: 00:16:3e:12:34:56')
    nic.mac = text
      .toLowerCase()
      .split(':')
      .map(pair => pair.padStart(2, '0'))
      .join(':')
  },
  type: (nic, text, fail) => {
    if (text !== 'vif' && text !== 'ioemu') fail(`unknown type "${text}"`, 'type is vif or ioemu')
    nic.type = text as 'vif' | 'ioemu'
  },
  rate: (nic, text, fail) => {
    nic.rate = parseRate(text) ?? fail(`invalid rate "${text}"`, 'rates are written 10Mb/s, 250KB/s or 1MB/s@20ms')
  },
  devid: (nic, text, fail) => {
    nic.devid = integer(text, fail)
  },
  mtu: (nic, text, fail) => {
    nic.mtu = integer(text, fail)
  },
  bridge: (nic, text) => {
    nic.bridge = text
  },
  ip: (nic, text) => {
    nic.ip = text.trim()
  },
  script: (nic, text) => {
    nic.script = text
  },
  vifname: (nic, text) => {
    nic.ifname = text
  },
  backend: (nic, text) => {
    nic.backend = text
  },
  gatewaydev: (nic, text) => {
    nic.gatewaydev = text
  },
  netdev: (nic, text) => {
    nic.gatewaydev = text
  },
  model: (nic, text) => {
    nic.model = text
  },
  vlan: () => {},
  accel: () => {},
}

/** Reads one specification; a key it does not know is told to `notice` and passed over, as in xl. */
export function parseVif(specification: StringValue, notice: (text: string) => void): NicConfig {
  const nic: NicConfig = {}
  let start = 0
  for (const piece of specification.value.split(',')) {
    const blanks = piece.length - piece.trimStart().length
    const from = start + blanks
    const text = piece.slice(blanks)
    start += piece.length + 1
    if (text === '') continue
    const equals = text.indexOf('=')
    const key = equals === -1 ? text.trimEnd() : text.slice(0, equals)
    const fail: Fail = (message, hint) => {
      throw new ConfigError(withinString(specification, from + equals + 1, from + text.length), `vif: ${message}`, hint)
    }
    if (key === 'trusted' || key === 'untrusted') nic.trusted = key === 'trusted'
    else if (equals === -1 || !Object.hasOwn(settings, key)) notice(`vif: unrecognized argument \`${key}'`)
    else settings[key](nic, text.slice(equals + 1), fail)
  }
  return nic
}
