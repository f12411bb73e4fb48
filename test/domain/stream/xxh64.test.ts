/** XXH64 in WebAssembly: the published digests, and those of the plainest reading of its specification. */
import t from 'tap'
import {xxh64} from '../../../lib/domain/stream/xxh64.js'
import {Random} from '../../vectors/random.js'

const memory = new WebAssembly.Memory({initial: 1, maximum: 1, shared: true})
const bytes = Buffer.from(memory.buffer)
const sumOf = xxh64(memory)

/** Source: doc/xxhash_spec.md of xxHash 0.8. */
const primes = [0x9e3779b185ebca87n, 0xc2b2ae3d27d4eb4fn, 0x165667b19e3779f9n, 0x85ebca77c2b2ae63n, 0x27d4eb2f165667c5n]

function plainly(input: Buffer, seed: bigint): bigint {
  const [p1, p2, p3, p4, p5] = primes
  const u64 = (value: bigint) => BigInt.asUintN(64, value)
  const rotate = (value: bigint, by: bigint) => u64(value << by) | (value >> (64n - by))
  const round = (lane: bigint, word: bigint) => u64(rotate(u64(lane + word * p2), 31n) * p1)
  let at = 0
  let hash = u64(seed + p5)
  if (input.length >= 32) {
    const lanes = [seed + p1 + p2, seed + p2, seed, seed - p1].map(u64)
    for (; at + 32 <= input.length; at += 32)
      for (const lane of lanes.keys()) lanes[lane] = round(lanes[lane], input.readBigUInt64LE(at + lane * 8))
    hash = u64([1n, 7n, 12n, 18n].reduce((sum, by, lane) => sum + rotate(lanes[lane], by), 0n))
    for (const lane of lanes) hash = u64((hash ^ round(0n, lane)) * p1 + p4)
  }
  hash = u64(hash + BigInt(input.length))
  for (; at + 8 <= input.length; at += 8) hash = u64(rotate(hash ^ round(0n, input.readBigUInt64LE(at)), 27n) * p1 + p4)
  for (; at + 4 <= input.length; at += 4)
    hash = u64(rotate(hash ^ u64(BigInt(input.readUInt32LE(at)) * p1), 23n) * p2 + p3)
  for (; at < input.length; at++) hash = u64(rotate(hash ^ u64(BigInt(input[at]) * p5), 11n) * p1)
  hash = u64((hash ^ (hash >> 33n)) * p2)
  hash = u64((hash ^ (hash >> 29n)) * p3)
  return hash ^ (hash >> 32n)
}

t.test('published digests', async t => {
  for (const [text, digest] of [
    ['', 0xef46db3751d8e999n],
    ['a', 0xd24ec4f1a98c6e5bn],
    ['abc', 0x44bc2cf5ad770999n],
    ['The quick brown fox jumps over the lazy dog', 0x0b242d361fda71bcn],
  ] as const) {
    bytes.write(text, 'latin1')
    t.equal(sumOf(0, text.length, 0n), digest, text)
  }
})

t.test('any length, place and seed', async t => {
  const random = new Random(64)
  for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(random.next() >>> 0, at)
  for (let length = 0; length < 200; length++) {
    const at = random.below(1000)
    const seed = (BigInt(random.next() >>> 0) << 32n) | BigInt(random.next() >>> 0)
    const expected = plainly(bytes.subarray(at, at + length), seed)
    if (sumOf(at, length, seed) !== expected) t.fail(`${length} bytes at ${at}, seed ${seed}`)
  }
  t.equal(sumOf(0, bytes.length, 0n), plainly(bytes, 0n), 'all of the memory')
})
