/** The archive writer: its layout byte for byte, and every kind of entry through a reader of our own. */
import t from 'tap'
import {type ArchiveEntry, writeArchive} from '../../../lib/toolstack/images/cpio.js'
import {readArchive} from '../../support/cpio-reader.js'

t.test('one small file, byte for byte', t => {
  const archive = writeArchive([{kind: 'file', path: 'ab', data: 'xyz', mode: 0o600}])
  const header =
    '070701' +
    ['00000001', '00008180', '00000000', '00000000', '00000001', '00000000', '00000003'].join('') +
    ['00000000', '00000000', '00000000', '00000000', '00000003', '00000000'].join('')
  // 110 + 3 bytes of header and name, padded to 116; the data padded to four.
  t.equal(archive.toString('latin1', 0, 120), `${header}ab\0\0\0\0xyz\0`)
  t.equal(archive.toString('latin1', 120, 126), '070701')
  t.equal(archive.toString('latin1', 230, 241), 'TRAILER!!!\0')
  t.equal(archive.length, 512)
  t.ok(archive.subarray(241).every(byte => byte === 0))
  t.end()
})

t.test('every kind of entry', t => {
  const entries: ArchiveEntry[] = [
    {kind: 'directory', path: 'dev', mode: 0o700},
    {kind: 'character-device', path: 'dev/console', major: 5, minor: 1},
    {kind: 'file', path: 'dev/data', data: Uint8Array.of(1, 2, 3, 4, 5)},
    {kind: 'link', path: 'init', target: 'dev/data'},
  ]
  t.same(
    readArchive(writeArchive(entries)).map(entry => ({...entry, data: [...entry.data]})),
    [
      {path: 'dev', mode: 0o40700, device: [0, 0], data: []},
      {path: 'dev/console', mode: 0o20600, device: [5, 1], data: []},
      {path: 'dev/data', mode: 0o100644, device: [0, 0], data: [1, 2, 3, 4, 5]},
      {path: 'init', mode: 0o120777, device: [0, 0], data: [...Buffer.from('dev/data')]},
    ],
  )
  t.ok(writeArchive(entries).equals(writeArchive(entries)), 'equal entries, equal bytes')
  t.throws(() => writeArchive([{kind: 'file', path: 'a/b', data: ''}]), /"a\/b" stands before its folder/)
  t.end()
})
