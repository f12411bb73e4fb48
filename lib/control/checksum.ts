/**
 * CRC-32 (ISO 3309, as zlib has it), the checksum of everything that is saved. Node's own where there is one (20.15, 22.2), which takes 5 GB/s; else a table.
 */
import * as zlib from 'node:zlib'

type Crc32 = (bytes: Uint8Array, value?: number) => number

const polynomial = 0xedb88320

function tableCrc32(): Crc32 {
  const table = Uint32Array.from({length: 256}, (_, byte) => {
    let value = byte
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ ((value & 1) === 0 ? 0 : polynomial)
    return value
  })
  return (bytes, value = 0) => {
    let crc = ~value
    for (const byte of bytes) crc = table[(crc ^ byte) & 0xff] ^ (crc >>> 8)
    return ~crc >>> 0
  }
}

/** The checksum of `bytes`, going on from `value`. */
export const crc32: Crc32 = (zlib as {crc32?: Crc32}).crc32 ?? tableCrc32()
