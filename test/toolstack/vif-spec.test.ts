/** Network interface specifications; rates after Xen's check-xl-vif-parse. */
import t from 'tap'
import type {NicConfig} from '../../lib/control/domain-config.js'
import {parseConfig} from '../../lib/toolstack/config-parser.js'
import type {StringValue} from '../../lib/toolstack/config-text.js'
import {parseRate, parseVif} from '../../lib/toolstack/vif-spec.js'

function parse(text: string, notices: string[] = []): NicConfig {
  const value = parseConfig({name: 'c', text: `v = '${text}'`}).get('v')!.value as StringValue
  return parseVif(value, notice => notices.push(notice))
}

t.strictSame(parse(''), {})
t.strictSame(parse('mac=00:16:3E:5f:48:e4, bridge=br0,ip=10.0.0.2 ,model=e1000'), {
  mac: '00:16:3e:5f:48:e4',
  bridge: 'br0',
  ip: '10.0.0.2',
  model: 'e1000',
})
t.strictSame(parse('type=ioemu,vifname=v1,mtu=9000,untrusted'), {
  type: 'ioemu',
  ifname: 'v1',
  mtu: 9000,
  trusted: false,
})
const notices: string[] = []
t.strictSame(parse('colour=red,bridge=b', notices), {bridge: 'b'})
t.strictSame(notices, ["vif: unrecognized argument `colour'"])
t.throws(() => parse('bridge=b, mac=00:16:3e'), {message: /^c:1:20: vif: Invalid parameter `mac'\./})
t.throws(() => parse('type=tap'), {message: /unknown type "tap"/})
t.throws(() => parse('mtu=-1'), {message: /"-1" is not a number/})

for (const [text, rate] of [
  ['10MB/s', {bytesPerInterval: 500_000, intervalUs: 50_000}],
  ['10Mb/s', {bytesPerInterval: 62_500, intervalUs: 50_000}],
  ['250KB/s', {bytesPerInterval: 12_500, intervalUs: 50_000}],
  ['1GB/s', {bytesPerInterval: 50_000_000, intervalUs: 50_000}],
  ['1MB/s@20ms', {bytesPerInterval: 20_000, intervalUs: 20_000}],
  ['10Mb/s@50us', {bytesPerInterval: 62, intervalUs: 50}],
  ['1MB/s@1s', {bytesPerInterval: 1_000_000, intervalUs: 1_000_000}],
  ['10MB', undefined],
  ['MB/s', undefined],
  ['10MB/s@', undefined],
  ['10MB/s@20ns', undefined],
] as const) {
  t.strictSame(parseRate(text), rate, text)
}
