/**
 * A guest on a thread of its own, for tests: it uses its ends of the rings while the backends use theirs, as a real vCPU does.
 * `workerData` is a Task; a message to the parent stands for an event on the channel, 'done' for the end.
 */
import {parentPort, workerData} from 'node:worker_threads'
import {ConsolePage, consoleOutSize} from '../../lib/abi/io/console.js'
import {XsPage, XsType, xsRingSize} from '../../lib/abi/io/xs-wire.js'
import {toBytes} from '../../lib/base/byte-string.js'
import {ByteRingReader, ByteRingWriter} from '../../lib/pv/byte-ring.js'
import type {GuestMemory} from '../../lib/pv/environment.js'
import {encodeMessage} from '../../lib/xenstore/message.js'
import {decodeMessages, type Message} from './xenstore-client.js'

/** What the guest is to do. */
export interface Task {
  readonly buffer: SharedArrayBuffer
  /** Byte addresses of the two pages. */
  readonly consolePage: number
  readonly storePage: number
  /** Text for the console, sent whole and then once more after the xenstore work. */
  readonly text: string
  /** How many values to write to xenstore and read back. */
  readonly values: number
}

const {buffer, consolePage, storePage, text, values} = workerData as Task
const memory: GuestMemory = {
  bytes: new Uint8Array(buffer),
  view: new DataView(buffer),
  int32: new Int32Array(buffer),
  addressOfFrame: () => undefined,
}

function place(page: number, data: number, size: number, consumer: number, producer: number) {
  return {data: page + data, size, consumer: page + consumer, producer: page + producer}
}

const {offset: c} = ConsolePage
const {offset: x} = XsPage
const output = new ByteRingWriter(memory, place(consolePage, c.out, consoleOutSize, c.outCons, c.outProd))
const requests = new ByteRingWriter(memory, place(storePage, x.req, xsRingSize, x.reqCons, x.reqProd))
const replies = new ByteRingReader(memory, place(storePage, x.rsp, xsRingSize, x.rspCons, x.rspProd))

function print(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    const written = output.write(bytes.subarray(at))
    at += written
    if (written > 0) parentPort?.postMessage('console')
  }
}

function ask(request: Uint8Array): Message {
  let reply = new Uint8Array()
  for (let at = 0; ; ) {
    const written = requests.write(request.subarray(at))
    const read = replies.read(xsRingSize)
    at += written
    reply = Uint8Array.from([...reply, ...read])
    if (written + read.length > 0) parentPort?.postMessage('store')
    const [message] = decodeMessages(reply).messages
    if (message) return message
  }
}

print(toBytes(text))
for (let count = 0; count < values; count++) {
  const value = `${count} `.repeat(count % 300)
  const wrote = ask(encodeMessage(XsType.write, count, 0, `data/value\0${value}`))
  const read = ask(encodeMessage(XsType.read, count, 0, 'data/value\0'))
  if (wrote.payload !== 'OK\0' || read.payload !== value || read.requestId !== count)
    throw new Error(`at value ${count}`)
}
print(toBytes(text))
parentPort?.postMessage('done')
