/**
 * The head of a save file and of a migration stream: what xl reads before there is a domain. It is Xen's, so that tools which look at the first bytes
 * know the file; the domain's stream (domain/stream/) follows it.
 *
 *   32 bytes  "Xen saved domain, xl format\n \0 \r"
 *   u32       0x01020304, byte order
 *   u32       mandatory flags: 1 configuration is JSON, 2 stream version 2
 *   u32       optional flags
 *   u32       bytes that follow in the head: u32 length of the configuration, the configuration, NUL
 *
 * Source: tools/xl/xl.h (struct save_file_header), xl_saverestore.c.
 */

import {OperatorError} from '../base/errors.js'
import {crc32} from './checksum.js'
import {type DomainConfig, isDomainConfig} from './domain-config.js'

/** What every save file starts with. */
export const saveFileMagic = Buffer.from('Xen saved domain, xl format\n \0 \r', 'latin1')
const fixedBytes = saveFileMagic.length + 16
const byteOrder = 0x01020304
/** Configuration as JSON, stream of version 2. */
const mandatoryFlags = 3
/** More than any configuration has. */
const mostConfigBytes = 1 << 20

/** A head as it is read. */
export interface SaveHead {
  readonly config: DomainConfig
  /** "0x3/0x0/618": flags and length, as xl shows them. */
  readonly info: string
  /** Bytes of the whole head: the stream begins there. */
  readonly bytes: number
  /** CRC-32 of the whole head, which the stream has too. */
  readonly crc: number
}

/** The head for a domain of this configuration. */
export function encodeSaveHead(config: DomainConfig): {bytes: Buffer; info: string} {
  const json = Buffer.from(`${JSON.stringify(config)}\0`)
  const numbers = Buffer.alloc(20)
  for (const [index, value] of [byteOrder, mandatoryFlags, 0, json.length + 4, json.length].entries())
    numbers.writeUInt32LE(value, index * 4)
  return {
    bytes: Buffer.concat([saveFileMagic, numbers, json]),
    info: describeFlags(mandatoryFlags, 0, json.length + 4),
  }
}

/** As xl shows them. */
function describeFlags(mandatory: number, optional: number, length: number): string {
  return `0x${mandatory.toString(16)}/0x${optional.toString(16)}/${length}`
}

/** Reads a head through `read`, which gives exactly as many bytes as asked for, or fewer at the end. Errors: OperatorError. */
export async function readSaveHead(read: (bytes: number) => Promise<Buffer>): Promise<SaveHead> {
  const fixed = await read(fixedBytes)
  if (fixed.length < fixedBytes || !fixed.subarray(0, saveFileMagic.length).equals(saveFileMagic)) {
    throw new OperatorError('File has wrong magic number - corrupt or for a different tool?')
  }
  const [order, mandatory, optional, length] = [0, 4, 8, 12].map(at => fixed.readUInt32LE(saveFileMagic.length + at))
  if (order !== byteOrder) throw new OperatorError('File has wrong byte order')
  if ((mandatory & ~mandatoryFlags) !== 0) {
    const flags = `0x${((mandatory & ~mandatoryFlags) >>> 0).toString(16)}`
    throw new OperatorError(`Savefile has mandatory flag(s) ${flags} which are not supported; need newer xl`)
  }
  if (length < 4 || length > mostConfigBytes) throw new OperatorError(`Savefile head of ${length} bytes at offset 44`)
  const rest = await read(length)
  const jsonBytes = rest.length >= 4 ? rest.readUInt32LE(0) : 0
  if (rest.length < length) throw new OperatorError(`Savefile ends at offset ${fixedBytes + rest.length}, in its head`)
  if (jsonBytes + 4 > length || jsonBytes < 1) {
    throw new OperatorError('Config file not specified and none in save file')
  }
  const config = parseConfig(rest.toString('utf8', 4, 4 + jsonBytes - 1))
  return {
    config,
    info: describeFlags(mandatory, optional, length),
    bytes: fixedBytes + length,
    crc: crc32(rest, crc32(fixed)),
  }
}

function parseConfig(text: string): DomainConfig {
  try {
    const config: unknown = JSON.parse(text)
    if (isDomainConfig(config)) return config
  } catch {
    // Told below.
  }
  throw new OperatorError(`Savefile has a configuration that cannot be read, at offset ${fixedBytes + 4}`)
}
