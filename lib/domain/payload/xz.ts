/**
 * The .xz format: streams of blocks, each block a chain of filters over LZMA2. Read are chains of LZMA2 alone or x86 BCJ before it,
 * which is what Linux's build makes; checks (CRC32 and so on) and the index at the end are passed over, because the size is known
 * and the ELF reader looks at the result.
 *
 *   stream header   fd 37 7a 58 5a 00, two bytes of flags, CRC32
 *   block header    size / 4 - 1, flags, optional sizes, filters (id, size, properties), padding, CRC32
 *   LZMA2 chunk     control byte: 0 end, 1 and 2 plain, from 0x80 packed; sizes big-endian
 *
 * Source: The .xz File Format 1.2.1.
 */
import {LzmaDecoder} from './lzma-decoder.js'
import {PayloadError} from './payload-error.js'
import {undoX86Filter} from './x86-filter.js'

const streamHeaderBytes = 12
const lzma2Filter = 0x21
const x86Filter = 0x04
/** Bytes of a block's check, by the check's id. */
const checkBytes = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64]

/** Unpacks the first stream of an .xz file; `unpackedBytes` is its size, which must be known. Errors: PayloadError. */
export function unpackXz(input: Uint8Array, unpackedBytes: number): Uint8Array {
  if (input.length < streamHeaderBytes) throw cutOff()
  const decoder = new LzmaDecoder(new Uint8Array(unpackedBytes))
  const check = checkBytes[input[7] & 15]
  let at = streamHeaderBytes
  // A zero where a block header would be starts the index.
  while (at < input.length && input[at] !== 0) {
    const headerBytes = (input[at] + 1) * 4
    const filters = readFilters(input, at, headerBytes)
    const start = decoder.position
    const end = decodeLzma2(decoder, input, at + headerBytes)
    if (filters.x86) undoX86Filter(decoder.output.subarray(start, decoder.position))
    // Blocks begin at multiples of four bytes of the stream.
    at = Math.ceil(end / 4) * 4 + check
  }
  if (decoder.position !== unpackedBytes) {
    throw new PayloadError(`unpacks to ${decoder.position} bytes instead of ${unpackedBytes}`)
  }
  return decoder.output
}

function readFilters(input: Uint8Array, start: number, headerBytes: number): {x86: boolean} {
  const end = start + headerBytes - 4
  if (end > input.length) throw cutOff()
  let at = start + 2
  const number = (): number => {
    let value = 0
    for (let shift = 1; at < end; shift *= 128) {
      const byte = input[at++]
      value += (byte & 0x7f) * shift
      if (byte < 0x80) return value
    }
    throw new PayloadError('holds a broken xz block header')
  }
  const flags = input[start + 1]
  if (flags & 0x40) number() // packed size
  if (flags & 0x80) number() // unpacked size
  const filters: number[] = []
  for (let count = (flags & 3) + 1; count > 0; count--) {
    const id = number()
    const propertyBytes = number()
    if (id === x86Filter && propertyBytes !== 0) throw new PayloadError('uses an xz filter with a start offset')
    at += propertyBytes
    filters.push(id)
  }
  const known =
    filters.at(-1) === lzma2Filter && filters.slice(0, -1).every(id => id === x86Filter) && filters.length <= 2
  if (!known) {
    const names = filters.map(id => `0x${id.toString(16)}`).join(', ')
    throw new PayloadError(`uses xz filters other than LZMA2 and x86 (${names})`)
  }
  return {x86: filters.length === 2}
}

/** Decodes the chunks from `at` on; returns where they end. */
function decodeLzma2(decoder: LzmaDecoder, input: Uint8Array, at: number): number {
  for (;;) {
    const control = input[at++]
    if (control === undefined) throw cutOff()
    if (control === 0) return at
    if (control === 1 || control >= 0xe0) decoder.resetDictionary()
    if (control < 0x80) {
      if (control > 2) throw new PayloadError('holds broken LZMA2 data')
      const length = ((input[at] << 8) | input[at + 1]) + 1
      at += 2
      if (at + length > input.length) throw cutOff()
      decoder.copyRaw(input.subarray(at, at + length))
      at += length
      continue
    }
    const unpackedLength = (((control & 0x1f) << 16) | (input[at] << 8) | input[at + 1]) + 1
    const packedLength = ((input[at + 2] << 8) | input[at + 3]) + 1
    at += 4
    if (control >= 0xc0) decoder.setProperties(input[at++])
    else if (control >= 0xa0) decoder.resetState()
    decoder.startInput(input, at, at + packedLength)
    decoder.decodeUntil(decoder.position + unpackedLength)
    at += packedLength
  }
}

function cutOff(): PayloadError {
  return new PayloadError('is cut off inside its xz data')
}
