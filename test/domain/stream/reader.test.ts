/** A domain's stream, written and read: what arrives is what was sent, in every form, and whatever is wrong with it is refused with its place. */
import {mkdtempSync, openSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import t from 'tap'
import {OperatorError} from '../../../lib/base/errors.js'
import type {Machine} from '../../../lib/domain/guest.js'
import {canReachHostMemory, hostMemory} from '../../../lib/domain/host-memory.js'
import {putState} from '../../../lib/domain/stream/machine-state.js'
import {readStream} from '../../../lib/domain/stream/reader.js'
import {RecordType} from '../../../lib/domain/stream/record.js'
import {openSource, type StreamSource} from '../../../lib/domain/stream/source.js'
import {canCompress} from '../../../lib/domain/stream/writer.js'
import {createMachine} from '../../../lib/hypervisor/create.js'
import {layoutFor} from '../../../lib/hypervisor/layout.js'
import {field, MachineRecord} from '../../../lib/hypervisor/record.js'
import {linearMemory} from '../../../lib/x86/memory.js'
import {domid, ramPages} from '../../support/pv-machine.js'
import {
  bytesSource,
  filledFrames,
  parkedMachine,
  recordsOf,
  savedStream,
  savedUuid,
  streamOf,
} from '../../support/saved-machine.js'

function emptyMachine(): Machine {
  const layout = layoutFor(ramPages, 1)
  const size = layout.totalBytes / 65536
  return {layout, memory: linearMemory(new WebAssembly.Memory({initial: size, maximum: size, shared: true}))}
}

async function read(source: StreamSource, machine = emptyMachine(), maps = false) {
  const contents = await readStream(source, () => {
    createMachine(machine.memory, machine.layout, {domid, uuid: savedUuid, wallOffsetMs: 0})
    return {machine, host: maps ? hostMemory(machine.memory.wasm) : undefined}
  })
  putState(machine, contents)
  return {machine, contents}
}

/** What is wrong with a stream, as the operator reads it. */
async function complaint(stream: Uint8Array, machine?: Machine): Promise<string> {
  try {
    await read(bytesSource(stream), machine)
    return 'nothing'
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    return error.message
  }
}

const ram = ({memory, layout}: Machine) =>
  Buffer.from(memory.bytes.slice(layout.ramBase, layout.ramBase + layout.m2pTables * 4096))
const {pv, machine: sent} = parkedMachine()
const plain = await savedStream(sent)

t.test('memory and state arrive', async t => {
  const {machine, contents} = await read(bytesSource(plain))
  t.ok(ram(machine).equals(ram(sent)), 'every page')
  const record = new MachineRecord(machine.memory)
  t.equal(record.f64(field.kernelRoot), new MachineRecord(sent.memory).f64(field.kernelRoot))
  t.equal(contents.state.timeNs, 5e9)
  t.equal(contents.state.domid, domid)
  t.equal(machine.memory.uint64[machine.layout.vcpuBase >> 3], pv.vcpu.gpr(0))
})

t.test('zero pages are left out', async t => {
  const frames = recordsOf(plain)
    .filter(({type}) => type === RecordType.pages)
    .flatMap(({payload}) => {
      const runs = Array.from({length: payload.readUInt32LE(0)}, (_, run) => 16 + run * 8)
      return runs.flatMap(at =>
        Array.from({length: payload.readUInt32LE(at + 4)}, (_, n) => payload.readUInt32LE(at) + n),
      )
    })
  for (const frame of filledFrames) t.ok(frames.includes(frame), `frame ${frame}`)
  for (const frame of frames) {
    const at = pv.host(frame)
    t.ok(
      sent.memory.bytes.subarray(at, at + 4096).some(byte => byte !== 0),
      `frame ${frame} holds something`,
    )
  }
})

t.test('a page that comes again replaces what came before', async t => {
  const {pv: later, machine} = parkedMachine()
  const stream = await savedStream(machine, {dirty: [30, 31, 40]})
  const records = recordsOf(stream)
  const zeros = records.find(({type}) => type === RecordType.zeros)!
  // Frame 30 is empty in the end.
  zeros.payload = Buffer.from(Uint32Array.of(1, 0, 30, 1).buffer)
  const {machine: arrived} = await read(bytesSource(streamOf(records)))
  const at = later.host(30)
  t.ok(arrived.memory.bytes.subarray(at, at + 4096).every(byte => byte === 0))
  t.equal(arrived.memory.uint32[later.host(31) >> 2], 31)
})

t.test('packed with zstd', {skip: !canCompress && 'this Node.js cannot write zstd'}, async t => {
  const stream = await savedStream(sent, {compress: true})
  t.ok(stream.length < plain.length)
  const {machine} = await read(bytesSource(stream))
  t.ok(ram(machine).equals(ram(sent)))
})

t.test('from a file, mapped and not', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'gastwirt-test-'))
  t.teardown(() => rmSync(folder, {recursive: true}))
  const path = join(folder, 'stream')
  writeFileSync(path, plain)
  for (const maps of [false, true]) {
    const source = openSource(openSync(path, 'r'), {bytes: 0, crc: 0})
    const {machine} = await read(source, emptyMachine(), maps)
    source.close()
    t.ok(ram(machine).equals(ram(sent)), maps ? 'mapped' : 'read')
    machine.memory.bytes[pv.host(30)] = 99
    if (maps && canReachHostMemory()) {
      const {machine: again} = await read(openSource(openSync(path, 'r'), {bytes: 0, crc: 0}), emptyMachine(), maps)
      t.equal(again.memory.bytes[pv.host(30)], 30, 'what a domain writes stays its own')
    }
  }
})

t.test('a mapped file is checked like any other', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'gastwirt-test-'))
  t.teardown(() => rmSync(folder, {recursive: true}))
  const path = join(folder, 'stream')
  const readMapped = async (stream: Buffer) => {
    writeFileSync(path, stream)
    const source = openSource(openSync(path, 'r'), {bytes: 0, crc: 0})
    try {
      return await read(source, emptyMachine(), true)
    } finally {
      source.close()
    }
  }
  // Frames that come again replace some that were mapped.
  const live = await savedStream(sent, {dirty: [30, 31, 40]})
  t.ok(ram((await readMapped(live)).machine).equals(ram(sent)))
  for (const stream of [plain, live])
    for (const {type, at, payload} of recordsOf(stream)) {
      if (type !== RecordType.pages) continue
      const wrong = Buffer.from(stream)
      wrong[at + 24 + payload.length - 5000] ^= 4
      const expected = `the saved domain is damaged at offset ${at}: the checksum of its contents is wrong`
      await t.rejects(readMapped(wrong), {message: expected})
    }
})

t.test('cut short anywhere', async t => {
  const machine = emptyMachine()
  const edges = recordsOf(plain).flatMap(({at, payload}) => [
    at,
    at + 1,
    at + 23,
    at + 24,
    at + 24 + (payload.length >> 1),
  ])
  const spread = Array.from({length: 200}, (_, index) => Math.floor((plain.length * index) / 200))
  for (const length of new Set([...edges, ...spread])) {
    const said = await complaint(plain.subarray(0, length), machine)
    if (length < plain.length && said !== `the saved domain ends at offset ${length}, before it is whole`)
      t.fail(`${length} bytes: ${said}`)
  }
  t.equal(await complaint(plain, machine), 'nothing', 'the whole of it is fine')
})

t.test('one bit wrong anywhere', async t => {
  const machine = emptyMachine()
  const records = recordsOf(plain)
  const places = new Set(records.flatMap(({at}) => [0, 4, 8, 12, 16].map(word => at + word)))
  for (let index = 0; index < 600; index++) places.add(Math.floor((plain.length * index) / 600))
  let refused = 0
  for (const place of places) {
    const record = records.findLast(({at}) => at <= place)!
    const behind = place - record.at - 24
    // The last word of a head and what fills the payload up mean nothing.
    if ((behind < 0 && behind >= -4) || behind >= record.payload.length) continue
    const wrong = Buffer.from(plain)
    wrong[place] ^= 1 << (place & 7)
    const said = await complaint(wrong, machine)
    if (said.startsWith(`the saved domain is damaged at offset ${record.at}: the checksum of `)) refused++
    else t.fail(`bit ${place & 7} of byte ${place}: ${said}`)
  }
  t.ok(refused > 500)
})

t.test('right checksums, wrong contents', async t => {
  const machine = emptyMachine()
  const changed = async (change: (records: ReturnType<typeof recordsOf>) => void) => {
    const records = recordsOf(plain)
    change(records)
    return complaint(streamOf(records), machine)
  }
  const find = (records: ReturnType<typeof recordsOf>, type: number) => records.find(record => record.type === type)!
  const json = (type: number, change: (value: Record<string, unknown>) => void) =>
    changed(records => {
      const record = find(records, type)
      const value = JSON.parse(record.payload.toString())
      change(value)
      record.payload = Buffer.from(JSON.stringify(value))
    })
  const firstPages = (place: (payload: Buffer) => number, value: number) =>
    changed(records => {
      const {payload} = find(records, RecordType.pages)
      payload.writeUInt32LE(value, place(payload))
    })
  const lastRun = (payload: Buffer) => payload.readUInt32LE(0) * 8 + 8
  const {pages, start, state, end} = RecordType
  const rows: [said: string, expected: RegExp][] = [
    [await json(start, value => (value.stream = 3)), /at offset 0: it is of version 3, which this xl does not know$/],
    [await json(start, value => (value.head = 1)), /at offset 0: the checksum of its head is wrong$/],
    [await changed(records => void records.shift()), /at offset 0: it does not start as a domain does$/],
    [await changed(records => (find(records, end).type = 99)), /at offset \d+: its record type 99 is unknown$/],
    [await changed(records => void records.splice(-2, 1)), /at offset \d+: it ends before the domain is whole$/],
    [await firstPages(lastRun, 1_000_000), /page frame \d+ is not the domain's$/],
    [await firstPages(lastRun, sent.layout.m2pTables), /page frame \d+ is not the domain's$/],
    [await firstPages(() => 0, 9999), /a record of pages has 9999 runs$/],
    [await firstPages(() => 4, 7), /its compression 7 is unknown$/],
    [await firstPages(() => 16, 0xffff), /is not the domain's$|is out of order$/],
    [await json(state, value => (value.pins = [[202, 3]])), /frame 202 is no page table of level 3$/],
    [await json(state, value => (value.pins = [5])), /it has no pins$/],
    [await json(state, value => (value.absent = [[0, 9999]])), /absent frames beyond its memory$/],
    [await json(state, value => (value.timeNs = 'now')), /its time makes no sense$/],
    [await json(state, value => (value.vcpuInfo = 3)), /vcpu_info lies nowhere$/],
    [await changed(records => (find(records, pages).payload = Buffer.alloc(4))), /a record of pages has no head$/],
    [await complaint(Buffer.alloc(0), machine), /ends at offset 0, before it is whole$/],
  ]
  for (const [said, expected] of rows) t.match(said, expected)
})
