/** Saved domains that somebody changed and gave right checksums, through the real xl: each is refused in one line or becomes a domain that can be ended. */
import {readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import t from 'tap'
import {RecordType} from '../../lib/domain/stream/record.js'
import {recordsOf, streamOf} from '../support/saved-machine.js'
import {TinyHost} from '../support/tiny-host.js'
import {until} from '../support/xl.js'
import {Random} from '../vectors/random.js'

t.setTimeout(280_000)

t.test('a guest from changed parts', async t => {
  const host = new TinyHost(t)
  await host.start('web')
  const file = join(host.folder, 'web.save')
  await host.xl(['save', 'web', file])
  const bytes = readFileSync(file)
  const headBytes = 52 + bytes.readUInt32LE(48)
  // The records keep their lengths, so that pages stay where they are.
  const changed = (random: Random, which: number): Buffer => {
    const records = recordsOf(bytes.subarray(headBytes))
    const blocks = records.filter(({type}) => type === RecordType.block || type === RecordType.pages)
    const {type, payload} = blocks[which % blocks.length]
    const from = type === RecordType.block ? 8 : 8192
    for (let count = 1 + random.below(400); count > 0; count--)
      payload[from + random.below(payload.length - from)] = random.below(256)
    return Buffer.concat([bytes.subarray(0, headBytes), streamOf(records, headBytes)])
  }
  t.ok(
    Buffer.concat([bytes.subarray(0, headBytes), streamOf(recordsOf(bytes.subarray(headBytes)), headBytes)]).equals(
      bytes,
    ),
  )
  for (let number = 0; number < 12; number++) {
    const {status, stdout, stderr} = await host.xl([
      'restore',
      host.file('bad.save', changed(new Random(number + 1), number)),
    ])
    const said = stderr.split('\n').slice(3)
    if (status !== 0) {
      t.match([status, stdout, said.length], [1, '', 2], `${number}: ${said[0]}`)
      t.match(said[0], /^xl: restore: the saved domain (cannot be|is damaged)/)
    } else {
      const {status: listed} = await host.xl(['list', 'web'])
      // What runs from such a state may have come to its end already.
      if (listed === 0) await host.xl(['destroy', 'web'])
      t.pass(`${number}: a domain`)
    }
    await until(() => host.directory.list().length === 0)
  }
  t.notMatch(readFileSync(host.directory.logPath('web'), 'utf8'), /bug/)
  writeFileSync(host.directory.consoleLogPath('web'), '')
  t.match(await host.xl(['restore', file]), {status: 0})
  await host.says('web')
  t.equal(readdirSync(join(host.path, 'domains')).length, 2, 'its record and socket, and no others')
})
