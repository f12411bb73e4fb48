/**
 * The door to the decompressors: tells by the first bytes how something is packed and unpacks it. Linux's build packs kernels in
 * seven ways; each but gzip's is followed by the unpacked size as a 32-bit number that its own tool did not write, so the caller
 * passes that size and leaves the number off.
 *
 *   gzip 1f 8b · bzip2 "BZh" · xz fd 37 7a 58 5a 00 · lzma 5d 00 00 · lzo 89 4c 5a 4f · lz4 02 21 4c 18 · zstd 28 b5 2f fd
 *
 * Decompressors are loaded when first needed: xl create must not pay for six formats to read one.
 * Source: Linux lib/decompress.c; scripts/Makefile.lib, "size_append".
 */
import {constants, gunzipSync} from 'node:zlib'
import {PayloadError} from './payload/payload-error.js'

/** How something can be packed. */
export type Packing = 'gzip' | 'bzip2' | 'xz' | 'lzma' | 'lzo' | 'lz4' | 'zstd'

const magics: ReadonlyArray<{packing: Packing; bytes: readonly number[]}> = [
  {packing: 'gzip', bytes: [0x1f, 0x8b]},
  {packing: 'bzip2', bytes: [0x42, 0x5a, 0x68]},
  {packing: 'xz', bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]},
  {packing: 'lzma', bytes: [0x5d, 0x00, 0x00]},
  {packing: 'lzo', bytes: [0x89, 0x4c, 0x5a, 0x4f]},
  {packing: 'lz4', bytes: [0x02, 0x21, 0x4c, 0x18]},
  {packing: 'zstd', bytes: [0x28, 0xb5, 0x2f, 0xfd]},
]

/** No kernel is larger; a size beyond it is a broken file, not one to make room for. */
const largestUnpackedBytes = 1 << 30

/** How `bytes` are packed; undefined when in none of the ways we know. */
export function packingOf(bytes: Uint8Array): Packing | undefined {
  return magics.find(magic => magic.bytes.every((byte, at) => bytes[at] === byte))?.packing
}

/**
 * The unpacked contents. `unpackedBytes` is their size where known; every packing but gzip and bzip2 needs it.
 * Errors: PayloadError.
 */
export async function unpack(bytes: Uint8Array, packing: Packing, unpackedBytes?: number): Promise<Uint8Array> {
  if (unpackedBytes !== undefined && (unpackedBytes === 0 || unpackedBytes > largestUnpackedBytes)) {
    throw new PayloadError(`claims to unpack to ${unpackedBytes} bytes`)
  }
  const unpacked = await unpackers[packing](bytes, unpackedBytes ?? largestUnpackedBytes)
  if (unpackedBytes !== undefined && unpacked.length !== unpackedBytes) {
    throw new PayloadError(`unpacks to ${unpacked.length} bytes instead of ${unpackedBytes}`)
  }
  return unpacked
}

const unpackers: Record<Packing, (bytes: Uint8Array, sizeBytes: number) => Promise<Uint8Array> | Uint8Array> = {
  gzip: unpackGzip,
  bzip2: async (bytes, sizeBytes) => (await import('./payload/bzip2.js')).unpackBzip2(bytes, sizeBytes),
  xz: async (bytes, sizeBytes) => (await import('./payload/xz.js')).unpackXz(bytes, sizeBytes),
  lzma: async (bytes, sizeBytes) => (await import('./payload/lzma.js')).unpackLzma(bytes, sizeBytes),
  lzo: () => {
    throw new PayloadError('is packed with LZO, which is not supported')
  },
  lz4: async (bytes, sizeBytes) => (await import('./payload/lz4.js')).unpackLz4(bytes, sizeBytes),
  zstd: async (bytes, sizeBytes) => (await import('./payload/zstd.js')).unpackZstd(bytes, sizeBytes),
}

function unpackGzip(bytes: Uint8Array): Uint8Array {
  try {
    return gunzipSync(bytes, {maxOutputLength: largestUnpackedBytes, chunkSize: 1 << 20})
  } catch (error) {
    const {errno, message} = error as NodeJS.ErrnoException
    throw new PayloadError(
      errno === constants.Z_BUF_ERROR ? 'is cut off inside its gzip data' : `holds broken gzip data (${message})`,
    )
  }
}
