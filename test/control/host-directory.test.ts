/** The host directory: domids, unique names, memory, and what dead processes leave behind. */
import {spawnSync} from 'node:child_process'
import {chownSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import t from 'tap'
import {type DomainRecord, HostDirectory, hostFailure, type Reservation} from '../../lib/control/host-directory.js'
import {identityOf} from '../../lib/control/process-identity.js'

function wanted(name: string, change: Partial<Reservation> = {}): Reservation {
  return {name, uuid: `uuid-${name}`, maxMemoryKb: 1024, vcpus: 1, hostMemoryKb: 10 * 1024, ...change}
}

/** Makes a record belong to a process that is dead. */
function bury(host: HostDirectory, record: DomainRecord): void {
  const {pid} = spawnSync(process.execPath, ['-e', ''])
  const path = join(host.path, 'domains', `${record.key}.json`)
  writeFileSync(path, JSON.stringify({...record, owner: {pid, startTime: '1'}}))
}

t.test('a domain from reservation to release', async t => {
  const host = new HostDirectory(join(t.testdir(), 'deep', 'host'))
  t.strictSame(host.list(), [], 'a directory that does not exist is an empty host')
  t.notOk(existsSync(host.path), 'and looking does not make it')
  const record = await host.reserve(wanted('web1'))
  t.match(record, {domid: 1, name: 'web1', uuid: 'uuid-web1', adopted: false, owner: identityOf()})
  t.strictSame(host.find({name: 'web1'}), record)
  t.strictSame(host.find({domid: 1}), record)
  t.equal(host.find({domid: 2}), undefined)
  t.match(await host.adopt(record.key), {domid: 1, adopted: true})
  t.match(await host.rename(record.key, 'web2'), {name: 'web2', domid: 1})
  t.equal(host.find({name: 'web1'}), undefined)
  t.match(await host.renew(record.key), {name: 'web2', domid: 2, key: record.key}, 'a reboot takes the next domid')
  t.equal(host.list().length, 1)
  writeFileSync(host.socketPath(record.key), '')
  host.release(record.key)
  host.release(record.key)
  t.strictSame(readdirSync(join(host.path, 'domains')), [])
  await t.rejects(host.rename(record.key, 'x'), {message: 'the domain has been removed from its host'})
})

t.test('names are unique', async t => {
  const host = new HostDirectory(t.testdir())
  const first = await host.reserve(wanted('web1'))
  await t.rejects(host.reserve(wanted('web1')), {message: 'Domain with name "web1" already exists.', exitCode: 3})
  const second = await host.reserve(wanted('web2'))
  await t.rejects(host.rename(second.key, 'web1'), {message: 'Domain with name "web1" already exists.'})
  t.match(await host.rename(second.key, 'web2'), {name: 'web2'}, 'its own name is not taken from it')
  host.release(first.key)
  t.match(await host.reserve(wanted('web1')), {domid: 3}, 'a domid is not used again')
})

t.test('of several who race for a name, one wins', async t => {
  const path = t.testdir()
  const results = await Promise.allSettled(
    Array.from({length: 8}, () => new HostDirectory(path).reserve(wanted('web1'))),
  )
  t.equal(results.filter(({status}) => status === 'fulfilled').length, 1)
  const domids = await Promise.all(['a', 'b', 'c', 'd'].map(name => new HostDirectory(path).reserve(wanted(name))))
  t.equal(new Set(domids.map(({domid}) => domid)).size, 4, 'and no two get one domid')
})

t.test('memory is finite', async t => {
  const host = new HostDirectory(t.testdir())
  await host.reserve(wanted('a', {maxMemoryKb: 6 * 1024}))
  await t.rejects(host.reserve(wanted('b', {maxMemoryKb: 5 * 1024})), {
    message: 'failed to free memory for the domain',
    hint: '"b" wants 5 MiB; the host has 4 MiB free of 10 MiB',
    exitCode: 3,
  })
  t.ok(await host.reserve(wanted('c', {maxMemoryKb: 4 * 1024})))
})

t.test('a domain grows into what the host has free', async t => {
  const host = new HostDirectory(t.testdir())
  const {key} = await host.reserve(wanted('a', {maxMemoryKb: 6 * 1024}))
  await host.reserve(wanted('b', {maxMemoryKb: 3 * 1024}))
  await t.rejects(host.resize(key, 8 * 1024, 10 * 1024), {
    message: 'failed to free memory for the domain',
    hint: '"a" wants 8 MiB; the host has 7 MiB free of 10 MiB',
  })
  t.match(host.find({key}), {maxMemoryKb: 6 * 1024}, 'a refusal changes nothing')
  t.match(await host.resize(key, 7 * 1024, 10 * 1024), {maxMemoryKb: 7 * 1024})
  t.match(await host.resize(key, 4 * 1024, 1024), {maxMemoryKb: 4 * 1024}, 'it may always shrink')
  t.ok(await host.reserve(wanted('c', {maxMemoryKb: 3 * 1024})), 'what it gave is free')
  t.match(await host.resize(key, 99 * 1024), {maxMemoryKb: 99 * 1024}, 'a host without a limit')
  await t.rejects(host.reserve(wanted('d')), {
    message: 'failed to free memory for the domain',
    hint: '"d" wants 1 MiB; the host has 0 MiB free of 10 MiB',
  })
  const overcommitted: Reservation = {...wanted('e'), hostMemoryKb: undefined}
  t.ok(await host.reserve(overcommitted))
  host.release(key)
  await t.rejects(host.resize(key, 1024), {message: 'the domain has been removed from its host'})
  t.equal(host.find({key}), undefined)
})

t.test('of several who grow at once, no more than fit', async t => {
  const path = t.testdir()
  const records = await Promise.all(['a', 'b', 'c', 'd'].map(name => new HostDirectory(path).reserve(wanted(name))))
  const results = await Promise.allSettled(
    records.map(({key}) => new HostDirectory(path).resize(key, 4 * 1024, 10 * 1024)),
  )
  t.equal(results.filter(({status}) => status === 'fulfilled').length, 2)
})

t.test('a dead owner leaves nothing', async t => {
  const host = new HostDirectory(t.testdir())
  const dead = await host.reserve(wanted('web1'))
  writeFileSync(host.socketPath(dead.key), '')
  writeFileSync(join(host.path, 'lock.draft-1'), JSON.stringify({pid: 0, startTime: 'x', word: 'a'}))
  bury(host, dead)
  t.strictSame(host.list(), [], 'it is not listed')
  t.equal(host.find({name: 'web1'}), undefined)
  const next = await host.reserve(wanted('web1', {maxMemoryKb: 10 * 1024}))
  t.match(next, {domid: 2}, 'its name and memory are free')
  t.strictSame(readdirSync(join(host.path, 'domains')), [`${next.key}.json`], 'its record and socket are swept away')
  t.strictSame(readdirSync(host.path).sort(), ['domains', 'log', 'next-domid'])
})

t.test('domids wrap, skip the living, and survive a damaged counter', async t => {
  const host = new HostDirectory(t.testdir())
  await host.reserve(wanted('one'))
  writeFileSync(join(host.path, 'next-domid'), '32751\n')
  t.match(await host.reserve(wanted('last')), {domid: 32751})
  t.match(await host.reserve(wanted('two')), {domid: 2}, '1 is taken')
  writeFileSync(join(host.path, 'next-domid'), 'damaged')
  t.match(await host.reserve(wanted('three')), {domid: 3})
  t.equal(readFileSync(join(host.path, 'next-domid'), 'utf8'), '4\n')
})

t.test('a record that is no JSON is no domain', async t => {
  const host = new HostDirectory(t.testdir())
  mkdirSync(join(host.path, 'domains'))
  writeFileSync(join(host.path, 'domains', 'abc.json'), '{"half')
  t.strictSame(host.list(), [])
  t.ok(await host.reserve(wanted('web1')))
})

t.test('a host directory that cannot be used is one line', async t => {
  const file = join(t.testdir({file: ''}), 'file')
  await t.rejects(new HostDirectory(join(file, 'host')).reserve(wanted('web1')), {
    message: /^cannot use the host directory ".*\/file\/host": a part of the path is not a directory$/,
    hint: /GASTWIRT_HOST/,
    exitCode: 3,
  })
  if (process.getuid?.() === 0) {
    const foreign = t.testdir({host: {}})
    chownSync(join(foreign, 'host'), 12345, 12345)
    const host = new HostDirectory(join(foreign, 'host'))
    await t.rejects(host.reserve(wanted('web1')), {message: /belongs to another user$/, exitCode: 3})
    t.throws(() => host.list(), {message: /belongs to another user$/})
  }
  for (const [code, words] of [
    ['EROFS', 'read-only'],
    ['ENOSPC', 'no space left'],
    ['EACCES', 'permission denied'],
  ]) {
    t.match(hostFailure('/x', Object.assign(new Error(), {code})), {message: new RegExp(words)})
  }
  const bug = new TypeError('ours')
  t.equal(hostFailure('/x', bug), bug, 'an error of ours is not dressed up')
})
