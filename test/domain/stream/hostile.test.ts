/**
 * Ten thousand streams that somebody tampered with, most with right checksums: each is refused in words or read, and whatever is read lies where a
 * stream may put something. The generator is seeded; a failure names the number of its stream, GASTWIRT_STREAM=<number> reads that one alone.
 */
import t from 'tap'
import {OperatorError} from '../../../lib/base/errors.js'
import type {DomainConfig} from '../../../lib/control/domain-config.js'
import type {Machine} from '../../../lib/domain/guest.js'
import {readGuest} from '../../../lib/domain/restore-guest.js'
import {Compression, RecordType} from '../../../lib/domain/stream/record.js'
import {linearMemory} from '../../../lib/x86/memory.js'
import {vcpuAreaBytes} from '../../../lib/x86/state.js'
import {
  bytesSource,
  parkedMachine,
  recordsOf,
  type StreamRecord,
  savedStream,
  savedUuid,
  streamOf,
} from '../../support/saved-machine.js'
import {Random} from '../../vectors/random.js'

t.setTimeout(280_000)

const count = 10_000
const {machine: sent} = parkedMachine()
const plain = await savedStream(sent)
const live = await savedStream(sent, {dirty: [20, 30, 31, 40, 41]})
const packed = packedStream()
const {layout} = sent
const memory = linearMemory(
  new WebAssembly.Memory({
    initial: layout.totalBytes / 65536,
    maximum: layout.totalBytes / 65536,
    shared: true,
  }),
)
const machine: Machine = {layout, memory}
const config = {uuid: savedUuid, nics: [] as unknown} as DomainConfig
const identity = {domid: 9, name: 'hostile'}

/** The same with packed pages; the packing is a frame of zstd whose blocks are not, which needs no packer. Source: RFC 8878, 3.1.1. */
function packedStream(): Buffer {
  const records = recordsOf(plain).map(record => {
    if (record.type !== RecordType.pages) return record
    const head = Buffer.from(record.payload.subarray(0, 16 + record.payload.readUInt32LE(0) * 8))
    const runs = Array.from({length: head.readUInt32LE(0)}, (_, run) => head.readUInt32LE(20 + run * 8))
    const pages = record.payload.subarray(-runs.reduce((sum, pages) => sum + pages) * 4096)
    head.writeUInt32LE(Compression.zstd, 4)
    const filled = record.payload.length - pages.length - head.length
    return {...record, payload: Buffer.concat([head, Buffer.alloc(filled), zstdFrame(pages)])}
  })
  return streamOf(records)
}

function zstdFrame(bytes: Buffer): Buffer {
  const parts: Buffer[] = [
    Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0]),
    Buffer.from(Uint32Array.of(bytes.length).buffer),
  ]
  for (let at = 0; at < bytes.length; at += 0x10000) {
    const block = bytes.subarray(at, at + 0x10000)
    const isLast = at + 0x10000 >= bytes.length
    parts.push(Buffer.from(Uint32Array.of((block.length << 3) | (isLast ? 1 : 0)).buffer).subarray(0, 3), block)
  }
  return Buffer.concat(parts)
}

/** What no stream may change: the rest of the vCPU area, the room for code, the harvest of dirty frames, and what is behind the last frame. */
const untouchable = [
  [layout.vcpuBase + 1024, layout.vcpuBase + vcpuAreaBytes],
  [layout.codeStart, layout.codeEnd],
  [layout.harvestedFrames, layout.ramBase],
  [layout.ramBase + layout.frames * 4096, layout.totalBytes],
] as const
const canary = 0xa5

const edges = [0, 1, 2, 3, 7, 8, 255, 256, 4095, 4096, 65535, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff]
const oddValues = [
  null,
  true,
  '',
  'x',
  '/',
  -1,
  0.5,
  1e300,
  2 ** 53,
  [],
  {},
  [[]],
  [[0, 0]],
  [[-1, 4]],
  'a/'.repeat(3000),
]

function changeBytes(random: Random, bytes: Buffer): Buffer {
  if (bytes.length < 4) return Buffer.from([random.below(256)])
  const at = random.below(bytes.length)
  switch (random.below(6)) {
    case 0:
      bytes[at] ^= 1 << random.below(8)
      return bytes
    case 1:
      bytes.writeUInt32LE(edges[random.below(edges.length)], Math.min(at & ~3, bytes.length - 4))
      return bytes
    case 2:
      return bytes.subarray(0, at)
    case 3:
      return Buffer.concat([bytes, bytes.subarray(at)])
    case 4:
      for (let place = at; place < Math.min(at + 64, bytes.length); place++) bytes[place] = random.below(256)
      return bytes
    default:
      // The front is where counts and frame numbers are.
      bytes[random.below(Math.min(64, bytes.length))] = random.below(256)
      return bytes
  }
}

/** Puts something odd in the place of one value, however deep. */
function changeValue(random: Random, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || random.below(6) === 0)
    return oddValues[random.below(oddValues.length)]
  const keys = Object.keys(value)
  if (keys.length === 0) return oddValues[random.below(oddValues.length)]
  const key = keys[random.below(keys.length)] as keyof typeof value
  if (random.below(12) === 0) delete value[key]
  else value[key] = changeValue(random, value[key]) as never
  return value
}

function tamper(random: Random): Buffer {
  const original = [plain, live, packed][random.below(3)]
  if (random.below(8) === 0) return changeBytes(random, Buffer.from(original))
  const records = recordsOf(original)
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const index = random.below(records.length)
    const record = records[index]
    const isJson = record.type === RecordType.start || record.type === RecordType.state
    const kind = random.below(12)
    if (kind === 0) records.splice(index, 1)
    else if (kind === 1)
      records.splice(random.below(records.length), 0, {...record, payload: Buffer.from(record.payload)})
    else if (kind === 2) record.type = random.below(9)
    else if (isJson && kind < 11) record.payload = changedJson(random, record)
    else record.payload = changeBytes(random, record.payload)
    if (records.length === 0) break
  }
  return streamOf(records)
}

function changedJson(random: Random, {payload}: StreamRecord): Buffer {
  try {
    return Buffer.from(JSON.stringify(changeValue(random, JSON.parse(payload.toString()))) ?? '')
  } catch {
    return payload
  }
}

t.test('tampered streams', async t => {
  for (const stream of [plain, live, packed]) await readGuest(machine, config, identity, bytesSource(stream))
  const only = process.env.GASTWIRT_STREAM
  for (const [from, end] of untouchable) memory.bytes.fill(canary, from, end)
  const isUntouched = () =>
    untouchable.every(([from, end]) => {
      const bytes = memory.bytes.subarray(from, end)
      return bytes.length === 0 || Buffer.compare(bytes.subarray(1), bytes.subarray(0, -1)) === 0
    })
  let [read, refused] = [0, 0]
  for (let number = only === undefined ? 0 : Number(only); number < count; number++) {
    const stream = tamper(new Random(number + 1))
    try {
      await readGuest(machine, config, identity, bytesSource(stream))
      read++
    } catch (error) {
      if (!(error instanceof OperatorError)) {
        t.fail(`stream ${number}: ${error instanceof Error ? error.stack : error}`)
        break
      }
      if (error.message.length > 300 || error.message.includes('\n'))
        t.fail(`stream ${number} says ${error.message.slice(0, 400)}`)
      refused++
    }
    if (only !== undefined) break
    if (number % 1000 === 999 && !isUntouched()) {
      t.fail(`one of the streams to ${number} wrote where it may not`)
      break
    }
  }
  t.comment(`${read} were read, ${refused} refused`)
  t.equal(read + refused, only === undefined ? count : 1)
  t.ok(refused > count / 2 || only !== undefined)
  await readGuest(machine, config, identity, bytesSource(plain))
  t.pass('and the memory still takes a good one')
})
