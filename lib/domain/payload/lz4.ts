/**
 * LZ4 in its "legacy" frame, as `lz4 -l` and Linux's build make it: the magic word 02 21 4c 18, then chunks of a 32-bit length and
 * one raw block each, which holds at most 8 MiB and stands alone. The magic word may come again between chunks.
 *
 *   sequence     token, more literal length, literals, 16-bit distance, more match length
 *   token        high four bits: literals; low four bits: match length less 4; 15 means that more bytes of length follow
 *
 * Speed matters here: this is on the way of every boot, so short copies are loops and long ones are one call.
 * Source: lz4 doc/lz4_Block_format.md, doc/lz4_Frame_format.md "Legacy frame".
 */
import {PayloadError} from './payload-error.js'

const chunkBytes = 8 << 20
const magic = 0x184c2102
/** Below this length a loop is quicker than a call. */
const shortCopy = 48

/** Unpacks a legacy LZ4 stream; `unpackedBytes` is its size, which must be known. Errors: PayloadError. */
export function unpackLz4(input: Uint8Array, unpackedBytes: number): Uint8Array {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
  const output = new Uint8Array(unpackedBytes)
  let from = 4
  let to = 0
  while (from + 4 <= input.length && to < unpackedBytes) {
    const length = view.getUint32(from, true)
    from += 4
    if (length === magic) continue
    if (length > input.length - from) throw new PayloadError('is cut off inside an LZ4 block')
    to = unpackBlock(input, from, from + length, output, to, Math.min(unpackedBytes, to + chunkBytes))
    from += length
  }
  if (to !== unpackedBytes) throw new PayloadError(`unpacks to ${to} bytes instead of ${unpackedBytes}`)
  return output
}

/** Unpacks one block into `output` from `start` on; at most up to `limit`. Returns where it ends. */
function unpackBlock(
  input: Uint8Array,
  from: number,
  end: number,
  output: Uint8Array,
  start: number,
  limit: number,
): number {
  let to = start
  while (from < end) {
    const token = input[from++]
    let literals = token >> 4
    if (literals === 15) {
      let more = 255
      while (more === 255 && from < end) literals += more = input[from++]
    }
    if (literals > end - from || literals > limit - to) throw broken()
    if (literals < shortCopy) {
      for (const stop = to + literals; to < stop; ) output[to++] = input[from++]
    } else {
      output.set(input.subarray(from, from + literals), to)
      from += literals
      to += literals
    }
    // The last sequence of a block has literals only.
    if (from === end) break
    if (from + 2 > end) throw broken()
    const distance = input[from] | (input[from + 1] << 8)
    from += 2
    let match = token & 15
    if (match === 15) {
      let more = 255
      while (more === 255 && from < end) match += more = input[from++]
    }
    match += 4
    if (distance === 0 || distance > to - start || match > limit - to) throw broken()
    const source = to - distance
    if (match < shortCopy) {
      for (let index = 0; index < match; index++) output[to + index] = output[source + index]
    } else if (distance >= match) {
      output.copyWithin(to, source, source + match)
    } else if (distance === 1) {
      output.fill(output[source], to, to + match)
    } else {
      for (let index = 0; index < match; index++) output[to + index] = output[source + index]
    }
    to += match
  }
  return to
}

function broken(): PayloadError {
  return new PayloadError('holds broken LZ4 data')
}
