/** Logs: complete while they are small, bounded when a guest floods them, and never a reason to fail. */
import {existsSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import t from 'tap'
import {BoundedLog} from '../../lib/control/bounded-log.js'

t.test('a log goes on where it ended', async t => {
  const path = join(t.testdir({log: 'before\n'}), 'log')
  const log = new BoundedLog(path)
  log.write(Buffer.from('one\n'))
  log.close()
  log.close()
  log.write(Buffer.from('two\n'))
  t.equal(readFileSync(path, 'utf8'), 'before\none\ntwo\n')
  log.close()
})

t.test('a flood keeps the newest, within twice the limit', async t => {
  const path = join(t.testdir(), 'log')
  const log = new BoundedLog(path, 1000)
  for (let line = 0; line < 1000; line++) log.write(Buffer.from(`line ${String(line).padStart(4, '0')}\n`))
  log.close()
  const kept = readFileSync(`${path}.1`, 'utf8') + readFileSync(path, 'utf8')
  t.ok(kept.endsWith('line 0998\nline 0999\n'))
  t.ok(kept.length > 1000 && statSync(path).size <= 1010 && statSync(`${path}.1`).size <= 1010)
  const numbers = kept
    .trimEnd()
    .split('\n')
    .map(line => Number(line.slice(5)))
  t.ok(
    numbers.every((number, index) => index === 0 || number === numbers[index - 1] + 1),
    'without a gap',
  )
})

t.test('a log that cannot be written is done without', async t => {
  const folder = t.testdir({file: ''})
  const log = new BoundedLog(join(folder, 'file', 'log'))
  log.write(Buffer.from('lost'))
  rmSync(join(folder, 'file'))
  log.write(Buffer.from('lost too'))
  t.notOk(existsSync(join(folder, 'file')))
  const full = new BoundedLog('/dev/full')
  full.write(Buffer.from('no room'))
  const later = join(folder, 'later')
  writeFileSync(later, '')
  const good = new BoundedLog(later)
  good.write(Buffer.from('kept'))
  t.equal(readFileSync(later, 'utf8'), 'kept')
})
