/**
 * The stream of a very small domain, made inside the test: 1 MiB, page tables that hold, a xenstore, no instruction run. And its records one by one,
 * to be changed and put together again with checksums that are right.
 */
import type {DomId, EventPort, Mfn} from '../../lib/base/brand.js'
import {crc32} from '../../lib/control/checksum.js'
import type {Machine} from '../../lib/domain/guest.js'
import {
  Compression,
  checkedHeadBytes,
  pageBytes,
  pagesAt,
  pagesHeadBytes,
  pagesSumAt,
  RecordHead,
  RecordType,
  recordAlign,
  streamVersion,
} from '../../lib/domain/stream/record.js'
import {sendGuest} from '../../lib/domain/stream/send.js'
import type {StreamSource} from '../../lib/domain/stream/source.js'
import {StreamWriter} from '../../lib/domain/stream/writer.js'
import {xxh64} from '../../lib/domain/stream/xxh64.js'
import {field, MachineRecord} from '../../lib/hypervisor/record.js'
import {createDomainTree} from '../../lib/xenstore/domain-tree.js'
import {Domain0} from '../../lib/xenstore/domain0.js'
import {XenstoreServer} from '../../lib/xenstore/server.js'
import {domid, type PvMachine, pvMachine} from './pv-machine.js'

export const savedUuid = '00112233-4455-6677-8899-aabbccddeeff'
export const pages = {store: 20 as Mfn, console: 21 as Mfn}
/** Frames with contents of their own: a run long enough to be mapped, and single ones. */
export const filledFrames = [30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 50, 60]

/** A parked domain whose filled frames hold their own number. */
export function parkedMachine(): {pv: PvMachine; machine: Machine} {
  const pv = pvMachine()
  const {memory, layout} = pv
  for (const frame of filledFrames) memory.uint32.fill(frame, pv.host(frame) >> 2, (pv.host(frame) + 4096) >> 2)
  new MachineRecord(memory).setF64(field.parkedNs, 5e9)
  pv.vcpu.settle()
  return {pv, machine: {memory, layout}}
}

/** Its stream, without the head of a save file. `live`: these frames come a second time, as after a round of pre-copy. */
export async function savedStream(
  machine: Machine,
  options: {compress?: boolean; dirty?: number[]; token?: string} = {},
): Promise<Buffer> {
  const parts: Buffer[] = []
  const server = new XenstoreServer()
  createDomainTree(new Domain0(server), {
    domid: domid as DomId,
    name: 'saved',
    uuid: savedUuid,
    startTimeMs: 0,
    generation: new Uint8Array(16),
    targetKib: 1024,
    maximumKib: 1024,
    vcpus: 1,
    maximumVcpus: 1,
    store: {mfn: pages.store, port: 1 as EventPort},
    console: {mfn: pages.console, port: 2 as EventPort},
  })
  const store = {server, connection: server.introduce(domid as DomId)}
  const write = async (bytes: Uint8Array) => void parts.push(Buffer.from(bytes))
  const guest = {
    machine,
    pages,
    store,
    record: new MachineRecord(machine.memory),
    park: async () => {},
    harvest: async () => options.dirty ?? [],
    hold: () => {},
    release: () => {},
  }
  const writer = new StreamWriter({write}, new Uint8Array(0), options.compress ?? false)
  await sendGuest(guest, domid, writer, {
    live: options.dirty !== undefined,
    ...(options.token === undefined ? {} : {token: options.token}),
  })
  return Buffer.concat(parts)
}

/** Bytes as a pipe would bring them. */
export function bytesSource(bytes: Uint8Array, headCrc = 0): StreamSource {
  let at = 0
  return {
    file: undefined,
    headCrc,
    get offset() {
      return at
    },
    async read(into) {
      const piece = bytes.subarray(at, at + into.length)
      into.set(piece)
      at += piece.length
      return piece.length
    },
    close() {},
  }
}

/** One record of a stream. */
export interface StreamRecord {
  type: number
  at: number
  payload: Buffer
}

export function recordsOf(stream: Buffer): StreamRecord[] {
  const records: StreamRecord[] = []
  for (let at = 0; at < stream.length; ) {
    const {type, length} = RecordHead.read(new DataView(stream.buffer, stream.byteOffset + at), 0)
    const from = at + RecordHead.size
    records.push({type, at, payload: Buffer.from(stream.subarray(from, from + length))})
    at = from + Math.ceil(length / recordAlign) * recordAlign
  }
  return records
}

/** A stream of these records, numbered and with right checksums, behind a head of some bytes. */
export function streamOf(records: readonly StreamRecord[], headBytes = 0): Buffer {
  let at = headBytes
  return Buffer.concat(
    records.map(({type, payload}, number) => {
      const bytes = Buffer.alloc(RecordHead.size + Math.ceil(payload.length / recordAlign) * recordAlign)
      payload.copy(bytes, RecordHead.size)
      const sealed = bytes.subarray(RecordHead.size, RecordHead.size + payload.length)
      const covered = type === RecordType.pages ? sealPages(sealed, at + RecordHead.size) : payload.length
      at += bytes.length
      const view = new DataView(bytes.buffer, bytes.byteOffset)
      const payloadCrc = crc32(sealed.subarray(0, covered))
      RecordHead.write(view, 0, {type, number, length: payload.length, payloadCrc, headCrc: 0, padding: 0})
      view.setUint32(RecordHead.offset.headCrc, crc32(bytes.subarray(0, checkedHeadBytes)), true)
      return bytes
    }),
  )
}

const summed = new WebAssembly.Memory({initial: 300, maximum: 300, shared: true})
const sumOf = xxh64(summed)

/** Puts in the sum of pages that are not packed, at an offset of a stream; gives how much of the payload its CRC-32 covers. */
function sealPages(payload: Buffer, at: number): number {
  const headBytes = pagesHeadBytes(streamVersion)
  if (payload.length < headBytes || payload.readUInt32LE(4) !== Compression.none) return payload.length
  const runsEnd = headBytes + payload.readUInt32LE(0) * 8
  const dataAt = pagesAt(at, headBytes, payload.readUInt32LE(0)) - at
  if (dataAt > payload.length) return payload.length
  new Uint8Array(summed.buffer).set(payload.subarray(dataAt))
  let [from, sum] = [0, 0n]
  for (let run = headBytes; run < runsEnd; run += 8) {
    const bytes = Math.min(payload.readUInt32LE(run + 4) * pageBytes, payload.length - dataAt - from)
    sum = sumOf(from, bytes, sum)
    from += bytes
  }
  payload.writeBigUInt64LE(sum, pagesSumAt)
  return dataAt
}
