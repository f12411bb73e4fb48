/**
 * Byte strings: every byte survives, text is UTF-8.
 */
import t from 'tap'
import {fromBytes, fromText, toBytes, toText} from '../../lib/base/byte-string.js'

t.test('bytes and text', async t => {
  const long = Uint8Array.from({length: 10_000}, (_, index) => index % 256)
  t.same(toBytes(fromBytes(long)), long)
  t.equal(fromText('aé€'), 'a\xc3\xa9\xe2\x82\xac')
  t.equal(toText(fromText('aé€𝄞')), 'aé€𝄞')
  t.equal(toText('\xff'), '\ufffd')
})
