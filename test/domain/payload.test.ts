/**
 * Every packing of a kernel: the made-up kernel of test/support, packed by the real tools (fixtures/make.sh), comes out as it went
 * in; broken and cut-off data is told apart from good data, whatever it is.
 */
import {readFileSync} from 'node:fs'
import {gzipSync} from 'node:zlib'
import t from 'tap'
import {PayloadError} from '../../lib/domain/payload/payload-error.js'
import {undoX86Filter} from '../../lib/domain/payload/x86-filter.js'
import {type Packing, packingOf, unpack} from '../../lib/domain/payload.js'
import {makeElf} from '../support/made-up-kernel.js'

const kernel = makeElf()
const fixture = (name: string) => readFileSync(new URL(`../../../test/domain/fixtures/${name}`, import.meta.url))

const packed: ReadonlyArray<{file: string; packing: Packing; bytes: Uint8Array}> = [
  {file: 'made-up-kernel.xz', packing: 'xz', bytes: fixture('made-up-kernel.xz')},
  {file: 'made-up-kernel-blocks.xz', packing: 'xz', bytes: fixture('made-up-kernel-blocks.xz')},
  {file: 'made-up-kernel.lzma', packing: 'lzma', bytes: fixture('made-up-kernel.lzma')},
  {file: 'made-up-kernel.lz4', packing: 'lz4', bytes: fixture('made-up-kernel.lz4')},
  {file: 'made-up-kernel.zst', packing: 'zstd', bytes: fixture('made-up-kernel.zst')},
  {file: 'made-up-kernel-sized.zst', packing: 'zstd', bytes: fixture('made-up-kernel-sized.zst')},
  {file: 'made-up-kernel.bz2', packing: 'bzip2', bytes: fixture('made-up-kernel.bz2')},
  {file: 'gzip', packing: 'gzip', bytes: gzipSync(kernel)},
]

for (const {file, packing, bytes} of packed) {
  t.test(file, async t => {
    t.equal(packingOf(bytes), packing)
    t.ok(Buffer.from(kernel).equals(await unpack(bytes, packing, kernel.length)), 'unpacks to the kernel')
    // A zstd frame without a size takes the one it is given.
    if (file !== 'made-up-kernel.zst') {
      await t.rejects(unpack(bytes, packing, kernel.length - 1), {name: 'PayloadError'}, 'one byte less announced')
      await t.rejects(unpack(bytes, packing, kernel.length + 1), {name: 'PayloadError'}, 'one byte more announced')
    }
    for (const length of [7, 13, 100, Math.floor(bytes.length / 2)]) {
      await t.rejects(
        unpack(bytes.subarray(0, length), packing, kernel.length),
        {name: 'PayloadError'},
        `cut off at ${length}`,
      )
    }
  })

  t.test(`${file}, with bytes changed, never fails in another way`, async t => {
    let seed = 7
    const random = () => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      return seed >>> 12
    }
    let refused = 0
    for (let round = 0; round < 40; round++) {
      const broken = Uint8Array.from(bytes)
      for (let count = 0; count < 3; count++) broken[random() % broken.length] ^= 1 + (random() % 255)
      try {
        t.equal((await unpack(broken, packing, kernel.length)).length, kernel.length)
      } catch (error) {
        refused++
        if (!(error instanceof PayloadError)) t.error(error)
      }
    }
    t.ok(refused > 0, `${refused} of 40 were noticed`)
  })
}

t.test('impossible sizes make no room', async t => {
  for (const size of [0, 0xffffffff])
    await t.rejects(unpack(packed[0].bytes, 'xz', size), {message: /claims to unpack/})
  await t.rejects(unpack(Uint8Array.of(0x89, 0x4c, 0x5a, 0x4f), 'lzo', 10), {message: /LZO/})
})

t.test('lz4: the magic word may come again', async t => {
  const block = [0x50, ...Buffer.from('hello')]
  const stream = Uint8Array.of(2, 0x21, 0x4c, 0x18, 6, 0, 0, 0, ...block, 2, 0x21, 0x4c, 0x18, 6, 0, 0, 0, ...block)
  t.equal(Buffer.from(await unpack(stream, 'lz4', 10)).toString(), 'hellohello')
})

t.test('lz4: a match does not reach into the block before', async t => {
  const first = [6, 0, 0, 0, 0x50, ...Buffer.from('hello')]
  // One literal, then four bytes from a distance of five: the block has only one so far.
  const second = [9, 0, 0, 0, 0x10, 0x61, 5, 0, 0x50, ...Buffer.from('tail')]
  await t.rejects(unpack(Uint8Array.of(2, 0x21, 0x4c, 0x18, ...first, ...second), 'lz4', 15), {name: 'PayloadError'})
})

t.test('xz: chunks that are not packed', async t => {
  const header = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 1, 0, 0, 0, 0]
  const block = [2, 0, 0x21, 1, 22, 0, 0, 0, 0, 0, 0, 0]
  const chunks = [1, 0, 4, ...Buffer.from('hello'), 2, 0, 5, ...Buffer.from(' world'), 0]
  const stream = Uint8Array.of(...header, ...block, ...chunks, 0, 0, 0, 0, 0, 0, 0, 0)
  t.equal(Buffer.from(await unpack(stream, 'xz', 11)).toString(), 'hello world')
})

t.test('xz: other filters are refused by name', async t => {
  const delta = Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 1, 0, 0, 0, 0, 2, 1, 3, 1, 0, 0x21, 1, 22, 0, 0, 0, 0)
  await t.rejects(unpack(delta, 'xz', 11), {message: /0x3, 0x21/})
})

t.test('x86 filter', t => {
  // call to address 0x1000 from address 0: relative to the next instruction, at 5.
  const call = Uint8Array.of(0xe8, 0x00, 0x10, 0, 0, 0x90, 0x90)
  undoX86Filter(call)
  t.same([...call], [0xe8, 0xfb, 0x0f, 0, 0, 0x90, 0x90])
  const far = Uint8Array.of(0xe8, 0x00, 0x10, 0, 0x12, 0x90, 0x90)
  undoX86Filter(far)
  t.same([...far], [0xe8, 0x00, 0x10, 0, 0x12, 0x90, 0x90], 'no near target: left alone')
  t.end()
})
