/** Locks between processes: one holder at a time, and none that is dead. */
import {spawn, spawnSync} from 'node:child_process'
import {once} from 'node:events'
import {readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import t from 'tap'
import {withLock} from '../../lib/control/file-lock.js'
import {identityOf, isAlive, signalProcess} from '../../lib/control/process-identity.js'

const module = fileURLToPath(new URL('../../lib/control/file-lock.js', import.meta.url))

/** A process that was alive and is not. */
function deadIdentity(): {pid: number; startTime: string} {
  const {pid} = spawnSync(process.execPath, ['-e', ''])
  return {pid, startTime: '1'}
}

t.test('identities', async t => {
  t.ok(isAlive(identityOf()))
  t.notOk(isAlive({...identityOf(), startTime: '12'}), 'a pid that was given to another process is not the same one')
  t.notOk(isAlive(deadIdentity()))
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  const identity = identityOf(child.pid!)
  t.ok(isAlive(identity))
  signalProcess({...identity, startTime: 'x'}, 'SIGKILL')
  t.ok(isAlive(identity), 'a signal for another process with that pid is not sent')
  signalProcess(identity, 'SIGKILL')
  await once(child, 'exit')
  t.notOk(isAlive(identity))
  signalProcess(identity, 'SIGKILL')
})

t.test('a lock goes away with its action, also when that fails', async t => {
  const folder = t.testdir()
  const lock = join(folder, 'lock')
  t.equal(await withLock(lock, () => readdirSync(folder).join()), 'lock')
  t.strictSame(readdirSync(folder), [])
  await t.rejects(
    withLock(lock, () => {
      throw new Error('inside')
    }),
    {message: 'inside'},
  )
  t.strictSame(readdirSync(folder), [])
})

t.test('a lock of a dead process is broken, also a chain of them, and one that is no lock', async t => {
  const folder = t.testdir()
  const lock = join(folder, 'lock')
  writeFileSync(lock, JSON.stringify({...deadIdentity(), word: 'aa11'}))
  t.equal(await withLock(lock, () => 1), 1)
  writeFileSync(lock, JSON.stringify({...deadIdentity(), word: 'aa22'}))
  writeFileSync(`${lock}.aa22`, JSON.stringify({...deadIdentity(), word: 'bb33'}))
  t.equal(await withLock(lock, () => 2), 2, 'whoever died while breaking it is broken too')
  writeFileSync(lock, '')
  t.equal(await withLock(lock, () => 3), 3)
  t.strictSame(readdirSync(folder), [])
})

t.test('a living owner is waited for, and named in the end', async t => {
  const lock = join(t.testdir(), 'lock')
  await withLock(lock, async () => {
    await t.rejects(
      withLock(lock, () => {}, 20),
      {message: `the host directory is locked by process ${process.pid}`, exitCode: 3},
    )
  })
})

t.test('many processes, killed at random, never hold it together', async t => {
  const folder = t.testdir({counter: '0'})
  const lock = join(folder, 'lock')
  const counter = join(folder, 'counter')
  // Each process counts up twenty times with a gap between reading and writing; two of them die holding the lock.
  const script = `
    import {withLock} from ${JSON.stringify(module)}
    import {readFileSync, writeFileSync} from 'node:fs'
    const die = process.argv[1] === 'die'
    for (let i = 0; i < 20; i++) await withLock(${JSON.stringify(lock)}, async () => {
      const value = Number(readFileSync(${JSON.stringify(counter)}, 'utf8'))
      if (die && i === 5) process.kill(process.pid, 'SIGKILL')
      await new Promise(setImmediate)
      writeFileSync(${JSON.stringify(counter)}, String(value + 1))
    }, 60000)`
  const children = ['', 'die', '', 'die'].map(word =>
    spawn(process.execPath, ['--input-type=module', '-e', script, word]),
  )
  await Promise.all(children.map(child => once(child, 'exit')))
  t.equal(readFileSync(counter, 'utf8'), String(20 + 5 + 20 + 5), 'no count was lost')
})
