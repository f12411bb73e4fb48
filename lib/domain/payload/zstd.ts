/**
 * Zstandard, by the package fzstd. A kernel is packed from a pipe, so its frame does not say how large the contents are, and with the
 * largest window there is. fzstd would then keep that window of 128 MiB and move all of it for every block. Told the size, it uses the
 * output as window. So a frame without a size is given one, in a header of our own:
 *
 *   0  28 b5 2f fd
 *   4  descriptor: bits 7-6 bytes of size (0, 2, 4, 8), 5 no window byte, 2 checksum at the end, 1-0 dictionary
 *   5  window byte unless bit 5, dictionary id, size
 *
 * Rule of use: the size is trusted where the frame has none; a frame that ends early is noticed, one that is whole but holds less is not.
 * Source: RFC 8878, 3.1.1.1.
 */
import {decompress} from 'fzstd'
import {PayloadError} from './payload-error.js'

const noWindowByte = 0x20
const checksum = 0x04
const fourBytesOfSize = 0x80

/** Unpacks one Zstandard frame; `unpackedBytes` is its size, which must be known. Errors: PayloadError. */
export function unpackZstd(input: Uint8Array, unpackedBytes: number): Uint8Array {
  try {
    return decompress(withSize(input, unpackedBytes))
  } catch (cause) {
    if (cause instanceof PayloadError) throw cause
    // fzstd throws errors of its own and, on broken data, whatever its array accesses give.
    throw new PayloadError(`holds broken zstd data (${(cause as Error).message})`)
  }
}

/** The frame, with its size in the header. */
function withSize(input: Uint8Array, unpackedBytes: number): Uint8Array {
  if (input.length < 14) throw new PayloadError('is cut off inside its zstd header')
  const descriptor = input[4]
  if ((descriptor & 3) !== 0) throw new PayloadError('is packed with a zstd dictionary')
  const sizeAt = (descriptor & noWindowByte) !== 0 ? 5 : 6
  const sizeBytes = descriptor >> 6 === 0 ? 6 - sizeAt : 1 << (descriptor >> 6)
  if (sizeBytes > 0) {
    const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
    let stated = 0
    for (let index = sizeBytes - 1; index >= 0; index--) stated = stated * 256 + view.getUint8(sizeAt + index)
    // Two bytes begin to count at 256.
    if (sizeBytes === 2) stated += 256
    if (stated !== unpackedBytes) throw new PayloadError(`unpacks to ${stated} bytes instead of ${unpackedBytes}`)
  }
  const frame = new Uint8Array(9 + input.length - sizeAt - sizeBytes)
  frame.set(input.subarray(0, 4))
  frame[4] = fourBytesOfSize | noWindowByte | (descriptor & checksum)
  new DataView(frame.buffer).setUint32(5, unpackedBytes, true)
  frame.set(input.subarray(sizeAt + sizeBytes), 9)
  return frame
}
