/**
 * The older .lzma format, as `lzma` and `xz --format=lzma` write it.
 *
 *   0   properties byte
 *   1   dictionary size, 32 bits
 *   5   unpacked size, 64 bits; all ones: unknown, the data ends with a mark
 *   13  LZMA data
 *
 * Source: LZMA SDK lzma-specification.txt, "lzma file format".
 */
import {LzmaDecoder} from './lzma-decoder.js'
import {PayloadError} from './payload-error.js'

const headerBytes = 13

/** Unpacks an .lzma file; `unpackedBytes` is its size, which must be known. Errors: PayloadError. */
export function unpackLzma(input: Uint8Array, unpackedBytes: number): Uint8Array {
  if (input.length < headerBytes) throw new PayloadError('is cut off inside its lzma header')
  const stated = new DataView(input.buffer, input.byteOffset, input.byteLength).getBigUint64(5, true)
  if (stated !== 0xffff_ffff_ffff_ffffn && stated !== BigInt(unpackedBytes)) {
    throw new PayloadError(`unpacks to ${stated} bytes instead of ${unpackedBytes}`)
  }
  const decoder = new LzmaDecoder(new Uint8Array(unpackedBytes))
  decoder.setProperties(input[0])
  decoder.startInput(input, headerBytes, input.length)
  decoder.decodeUntil(unpackedBytes)
  if (decoder.position !== unpackedBytes) {
    throw new PayloadError(`unpacks to ${decoder.position} bytes instead of ${unpackedBytes}`)
  }
  return decoder.output
}
