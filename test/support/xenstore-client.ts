/**
 * A guest's end of a xenstore connection, for tests: sends requests as bytes, sorts what comes back into replies and events.
 */
import {XsHeader, XsType} from '../../lib/abi/io/xs-wire.js'
import {fromBytes} from '../../lib/base/byte-string.js'
import type {Connection} from '../../lib/xenstore/connection.js'
import {encodeMessage} from '../../lib/xenstore/message.js'

/** A message as it came. */
export interface Message {
  readonly type: number
  readonly requestId: number
  readonly transactionId: number
  readonly payload: string
}

/** The whole messages at the start of `stream`, and how many bytes they take. */
export function decodeMessages(stream: Uint8Array): {messages: Message[]; length: number} {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength)
  const messages: Message[] = []
  let at = 0
  while (at + XsHeader.size <= stream.length) {
    const {type, requestId, transactionId, length} = XsHeader.read(view, at)
    const end = at + XsHeader.size + length
    if (end > stream.length) break
    messages.push({type, requestId, transactionId, payload: fromBytes(stream.subarray(at + XsHeader.size, end))})
    at = end
  }
  return {messages, length: at}
}

/** Hands bytes to a connection as a carrier does: never more than the present request lacks. */
export function offer(connection: Connection, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length && connection.wantsInput; ) {
    const piece = bytes.subarray(at, at + connection.missingBytes)
    connection.receive(piece)
    at += piece.length
  }
}

/** See the file's head. */
export class GuestClient {
  /** Watch events so far, as 'path token'. */
  readonly events: string[] = []
  private requestId = 0

  constructor(readonly connection: Connection) {}

  /** Sends a request; returns its reply. */
  send(type: number, payload: string, transaction = 0): Message {
    offer(this.connection, encodeMessage(type, ++this.requestId, transaction, payload))
    const replies = this.collect()
    if (replies.length !== 1) throw new Error(`${replies.length} replies to one request`)
    return replies[0]
  }

  /** Sends a request; returns the payload of its reply, NULs as '|', or 'E…' for an error. */
  ask(type: number, payload: string, transaction = 0): string {
    const reply = this.send(type, payload.replaceAll('|', '\0'), transaction)
    const text = reply.payload.replaceAll('\0', '|')
    return reply.type === XsType.error ? text.slice(0, -1) : text
  }

  read = (path: string, transaction = 0) => this.ask(XsType.read, `${path}|`, transaction)
  write = (path: string, value: string, transaction = 0) => this.ask(XsType.write, `${path}|${value}`, transaction)
  mkdir = (path: string, transaction = 0) => this.ask(XsType.mkdir, `${path}|`, transaction)
  remove = (path: string, transaction = 0) => this.ask(XsType.remove, `${path}|`, transaction)
  list = (path: string, transaction = 0) => this.ask(XsType.directory, `${path}|`, transaction)
  watch = (path: string, token: string) => this.ask(XsType.watch, `${path}|${token}|`)
  unwatch = (path: string, token: string) => this.ask(XsType.unwatch, `${path}|${token}|`)
  begin = () => Number.parseInt(this.ask(XsType.transactionStart, '|'), 10)
  commit = (transaction: number) => this.ask(XsType.transactionEnd, 'T|', transaction)
  abort = (transaction: number) => this.ask(XsType.transactionEnd, 'F|', transaction)

  /** The events since the last call. */
  takeEvents(): string[] {
    this.collect()
    return this.events.splice(0)
  }

  private collect(): Message[] {
    const {messages} = decodeMessages(this.connection.take(Number.MAX_SAFE_INTEGER))
    for (const {payload} of messages.filter(({type}) => type === XsType.watchEvent)) {
      this.events.push(payload.replace('\0', ' ').replace('\0', ''))
    }
    return messages.filter(({type}) => type !== XsType.watchEvent)
  }
}
