/**
 * The console page: two byte rings between a guest and whoever shows its console.
 *
 *   0     in    1024 bytes, to the guest (what a person types)
 *   1024  out   2048 bytes, from the guest
 *   3072  indices, free-running; an index modulo the ring's size is the place of its byte
 *
 * Source: public/io/console.h (struct xencons_interface).
 */
import {bytes, struct, u8, u32} from '../../base/struct.js'

/** Bytes in the ring towards the guest. */
export const consoleInSize = 1024
/** Bytes in the ring from the guest. */
export const consoleOutSize = 2048

/** The shared page. */
export const ConsolePage = struct({
  in: bytes(consoleInSize),
  out: bytes(consoleOutSize),
  inCons: u32,
  inProd: u32,
  outCons: u32,
  outProd: u32,
  connection: u8,
})

/** Values of `connection`: whether someone serves the page. */
export const ConsoleConnection = {
  connected: 0, // XENCONSOLE_CONNECTED
  disconnected: 1, // XENCONSOLE_DISCONNECTED
} as const
