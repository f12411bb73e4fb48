/**
 * Zstandard, by the package fzstd. Linux's build packs kernels with the largest window there is, which does not matter here: the
 * whole output is in memory, and is its own window.
 * Source: RFC 8878.
 */
import {decompress} from 'fzstd'
import {PayloadError} from './payload-error.js'

/** Unpacks Zstandard frames. Errors: PayloadError. */
export function unpackZstd(input: Uint8Array): Uint8Array {
  try {
    // Without an output array: given one, it does not tell how much of it was filled.
    return decompress(input)
  } catch (cause) {
    // fzstd throws errors of its own and, on broken data, whatever its array accesses give.
    throw new PayloadError(`holds broken zstd data (${(cause as Error).message})`)
  }
}
