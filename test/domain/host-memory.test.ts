/**
 * The host's memory below a domain's: what is given back is zeros and not resident any more, a mapped file shows its bytes and keeps them.
 */
import {execFileSync} from 'node:child_process'
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import t from 'tap'
import {canReachHostMemory, hostMemory, releaseUnused} from '../../lib/domain/host-memory.js'

const mib = 2 ** 20
const mergingFile = '/sys/kernel/mm/ksm/run'
const memoryBytes = 64 * mib
const skip = canReachHostMemory() ? false : 'koffi is not installed, or not made for this host'

const newMemory = () =>
  new WebAssembly.Memory({initial: memoryBytes / 65536, maximum: memoryBytes / 65536, shared: true})

/** Pages of this process that are in the host's memory. */
const residentBytes = () => Number(readFileSync('/proc/self/statm', 'utf8').split(' ')[1]) * 4096

/** Of these, those that show a file, in KiB. */
function residentOf(file: string): number {
  let isFile = false
  let kb = 0
  for (const line of readFileSync('/proc/self/smaps', 'utf8').split('\n')) {
    if (/^[0-9a-f]+-/.test(line)) isFile = line.endsWith(file)
    else if (isFile && line.startsWith('Rss:')) kb += Number(line.split(/\s+/)[1])
  }
  return kb
}

/** A file of `bytes` bytes, each telling its page. */
function pagesFile(folder: string, bytes: number): string {
  const path = join(folder, 'pages')
  writeFileSync(
    path,
    Uint8Array.from({length: bytes}, (_, at) => 1 + (at >>> 12)),
  )
  return path
}

t.test('what is given back is empty, the rest is as it was', async t => {
  const memory = newMemory()
  const bytes = new Uint8Array(memory.buffer).fill(7)
  hostMemory(memory).giveBack(4096, 8192)
  t.equal(bytes[4095], 7, 'the byte before')
  t.equal(
    bytes.subarray(4096, 12288).findIndex(byte => byte !== 0),
    -1,
    'the range',
  )
  t.equal(bytes[12288], 7, 'the byte after')
  bytes[5000] = 9
  t.equal(bytes[5000], 9, 'can be used again')
})

t.test('only whole pages of the memory', async t => {
  const host = hostMemory(newMemory())
  for (const [offset, bytes] of [
    [1, 4096],
    [0, 4095],
    [-4096, 4096],
    [memoryBytes, 4096],
    [0, memoryBytes + 4096],
    [Number.NaN, 4096],
  ])
    t.throws(() => host.giveBack(offset, bytes), /no range of whole pages/, `${bytes} bytes at ${offset}`)
})

t.test('what is given back is not resident', {skip}, async t => {
  const memory = newMemory()
  new Uint8Array(memory.buffer).fill(7)
  const before = residentBytes()
  hostMemory(memory).giveBack(16 * mib, 32 * mib)
  t.ok(before - residentBytes() > 28 * mib, 'the host has its pages')
})

t.test('a mapped file', {skip}, async t => {
  const path = pagesFile(t.testdir(), 8 * 4096)
  const fd = openSync(path, 'r')
  const memory = newMemory()
  const bytes = new Uint8Array(memory.buffer)
  const host = hostMemory(memory)
  bytes[4095] = 77
  t.ok(host.mapFile(fd, 2 * 4096, 4096, 4 * 4096), 'is mapped')
  t.strictSame(
    [0, 1, 2, 3].map(page => bytes[(1 + page) * 4096]),
    [3, 4, 5, 6],
    'shows its bytes',
  )
  t.equal(bytes[4095], 77, 'before it, memory is as it was')
  t.equal(bytes[5 * 4096], 0, 'after it too')
  t.notOk(host.mapFile(fd, 4 * 4096, 0, 5 * 4096), 'not beyond its end')
  t.equal(bytes[4096], 3, 'a refusal changes nothing')
  closeSync(fd)
  t.throws(() => host.mapFile(fd, 0, 0, 4096), {code: 'EBADF'}, 'not without a descriptor')
  bytes[4096] = 200
  t.equal(bytes[4096], 200, 'is written to')
  t.equal(readFileSync(path)[2 * 4096], 3, 'and keeps its own bytes')
  host.giveBack(4096, 2 * 4096)
  t.strictSame([bytes[4096], bytes[2 * 4096], bytes[3 * 4096]], [0, 0, 5], 'given back, it does not show again')
})

t.test('two memories over one file', {skip}, async t => {
  const path = pagesFile(t.testdir(), 4 * 4096)
  const fd = openSync(path, 'r')
  const [one, other] = [newMemory(), newMemory()].map(memory => {
    hostMemory(memory).mapFile(fd, 0, 0, 4 * 4096)
    return new Uint8Array(memory.buffer)
  })
  closeSync(fd)
  one[0] = 50
  t.strictSame([one[0], other[0]], [50, 1], 'do not see what the other writes')
})

t.test('what two memories share', {skip}, async t => {
  const fd = openSync(pagesFile(t.testdir(), 4 * mib), 'r')
  const [one, other, apart] = [newMemory(), newMemory(), newMemory()]
  for (const memory of [one, other]) hostMemory(memory).mapFile(fd, 0, mib, 4 * mib)
  closeSync(fd)
  const [first, second] = [one, other].map(memory => new Uint8Array(memory.buffer))
  new Uint8Array(apart.buffer).fill(3)
  for (let at = mib; at < 5 * mib; at += 4096) if (first[at] !== second[at]) t.fail('they differ')
  t.match(hostMemory(one).shared(), {bytes: 4 * mib, ownBytes: 2 * mib})
  second.fill(9, mib, 2 * mib)
  t.match(hostMemory(one).shared(), {bytes: 3 * mib, ownBytes: 1.5 * mib}, 'no more what one has written to')
  t.match(hostMemory(apart).shared(), {bytes: 0, ownBytes: 0})
  t.equal(
    hostMemory(one).mergePages(0, memoryBytes),
    existsSync(mergingFile) && readFileSync(mergingFile, 'utf8').trim() === '1',
    'pages are merged where the kernel looks for them',
  )
})

t.test('WebAssembly sees the mapped bytes', {skip}, async t => {
  const fd = openSync(pagesFile(t.testdir(), 4 * 4096), 'r')
  const memory = newMemory()
  hostMemory(memory).mapFile(fd, 0, 0, 4 * 4096)
  closeSync(fd)
  // (import "m" "m" (memory 1024 1024 shared)) (func (export "f") (param i32) (result i32) local.get 0 i32.load8_u)
  const module = [
    [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    [1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f],
    [2, 11, 1, 1, 0x6d, 1, 0x6d, 2, 3, 0x80, 8, 0x80, 8],
    [3, 2, 1, 0],
    [7, 5, 1, 1, 0x66, 0, 0],
    [10, 9, 1, 7, 0, 0x20, 0, 0x2d, 0, 0, 0x0b],
  ].flat()
  const {exports} = new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from(module)), {m: {m: memory}})
  t.equal((exports.f as (at: number) => number)(3 * 4096), 4)
})

t.test('what the process does not use', {skip}, async t => {
  const program = () => residentOf(process.execPath)
  const before = program()
  releaseUnused()
  t.ok(program() < before, 'pages of the program it needed once')
  t.equal(Buffer.alloc(16_000, 1)[0], 1, 'it goes on')
})

t.test('without koffi', async t => {
  // A place with a koffi that is not for this host; none at all ends in the same way.
  const folder = mkdtempSync(join(tmpdir(), 'gastwirt-'))
  t.teardown(() => rmSync(folder, {recursive: true, force: true}))
  const lib = fileURLToPath(new URL('../../lib', import.meta.url))
  for (const file of ['domain/host-memory.js', 'base/errors.js']) cpSync(join(lib, file), join(folder, file))
  writeFileSync(join(folder, 'package.json'), '{"type": "module"}')
  mkdirSync(join(folder, 'node_modules/koffi'), {recursive: true})
  writeFileSync(join(folder, 'node_modules/koffi/index.js'), 'throw new Error("made for another host")')
  writeFileSync(
    join(folder, 'plain.js'),
    `import {canReachHostMemory, hostMemory} from './domain/host-memory.js'
    const memory = new WebAssembly.Memory({initial: 1, maximum: 1, shared: true})
    const bytes = new Uint8Array(memory.buffer).fill(7)
    const host = hostMemory(memory)
    host.giveBack(4096, 4096)
    console.log(JSON.stringify([
      canReachHostMemory(), bytes[4095], bytes[4096], bytes[8191], bytes[8192],
      host.mapFile(0, 0, 0, 4096), bytes[0],
    ]))`,
  )
  const printed = execFileSync(process.execPath, [join(folder, 'plain.js')], {encoding: 'utf8'})
  t.strictSame(JSON.parse(printed), [false, 7, 0, 0, 7, false, 7], 'pages are emptied, the rest is refused')
})
