/**
 * Messages as bytes: what a reply, an event or an error looks like on the wire, and the strings inside a payload.
 * Source: public/io/xs_wire.h, docs/misc/xenstore.txt.
 */
import {XsHeader, XsType} from '../abi/io/xs-wire.js'
import type {RecordOf} from '../base/struct.js'
import type {Refusal} from './refusal.js'

/** The header of a message. */
export type Header = RecordOf<typeof XsHeader>

/** A whole message; `payload` is a byte string. */
export function encodeMessage(type: number, requestId: number, transactionId: number, payload: string): Uint8Array {
  const message = new Uint8Array(XsHeader.size + payload.length)
  XsHeader.write(new DataView(message.buffer), 0, {type, requestId, transactionId, length: payload.length})
  for (let at = 0; at < payload.length; at++) message[XsHeader.size + at] = payload.charCodeAt(at)
  return message
}

/** The answer to `request` when it is refused. */
export function encodeRefusal(request: Header, refusal: Refusal): Uint8Array {
  return encodeMessage(XsType.error, request.requestId, request.transactionId, `${refusal.name}\0`)
}

/** The event of a watch. */
export function encodeEvent(path: string, token: string): Uint8Array {
  return encodeMessage(XsType.watchEvent, 0, 0, `${path}\0${token}\0`)
}

/** The strings in `payload` that a NUL ends; what follows the last NUL is not among them. */
export function terminated(payload: string): string[] {
  return payload.split('\0').slice(0, -1)
}

/** The string that is the whole payload, its NUL taken off, or undefined if it is not exactly one. */
export function onlyString(payload: string): string | undefined {
  return payload.indexOf('\0') === payload.length - 1 && payload !== '' ? payload.slice(0, -1) : undefined
}
