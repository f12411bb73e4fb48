/**
 * LZ4 in its "legacy" frame, as `lz4 -l` and Linux's build make it: the magic word 02 21 4c 18, then chunks of a 32-bit length and
 * one raw block each, which holds at most 8 MiB and stands alone. The magic word may come again between chunks.
 *
 *   sequence     token, more literal length, literals, 16-bit distance, more match length
 *   token        high four bits: literals; low four bits: match length less 4; 15 means that more bytes of length follow
 *
 * Packed and unpacked bytes share one WebAssembly memory, for lz4-block.ts to work on; the result is a view of it.
 * Source: lz4 doc/lz4_Block_format.md, doc/lz4_Frame_format.md "Legacy frame".
 */
import {compileUnpackBlock, slackBytes} from './lz4-block.js'
import {PayloadError} from './payload-error.js'

const chunkBytes = 8 << 20
const magic = 0x184c2102
const memoryPageBytes = 65536
/** How much is unpacked in one call; see lz4-block.ts. */
const stretchBytes = 128 << 10

/** Unpacks a legacy LZ4 stream; `unpackedBytes` is its size, which must be known. Errors: PayloadError. */
export function unpackLz4(input: Uint8Array, unpackedBytes: number): Uint8Array {
  const outputAt = Math.ceil((input.length + slackBytes) / memoryPageBytes) * memoryPageBytes
  const pages = Math.ceil((outputAt + unpackedBytes + slackBytes) / memoryPageBytes)
  const memory = new WebAssembly.Memory({initial: pages, maximum: pages, shared: true})
  const bytes = new Uint8Array(memory.buffer)
  bytes.set(input)
  const unpackBlock = compileUnpackBlock(memory, pages)
  const view = new DataView(memory.buffer)
  const outputEnd = outputAt + unpackedBytes
  let from = 4
  let to = outputAt
  while (from + 4 <= input.length && to < outputEnd) {
    const length = view.getUint32(from, true)
    from += 4
    if (length === magic) continue
    if (length > input.length - from) throw new PayloadError('is cut off inside an LZ4 block')
    const start = to
    const end = from + length
    const limit = Math.min(outputEnd, start + chunkBytes)
    while (from < end) {
      ;[from, to] = unpackBlock(from, end, to, start, limit, to + stretchBytes)
      if (to < 0) throw new PayloadError('holds broken LZ4 data')
    }
  }
  if (to !== outputEnd) throw new PayloadError(`unpacks to ${to - outputAt} bytes instead of ${unpackedBytes}`)
  return bytes.subarray(outputAt, outputEnd)
}
