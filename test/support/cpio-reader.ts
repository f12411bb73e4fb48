/** Reads a "newc" archive the way the kernel does: entry after entry, up to TRAILER!!!. */

/** One entry as it stands in the archive. */
export interface ReadEntry {
  path: string
  /** Type and permissions. */
  mode: number
  device: [major: number, minor: number]
  data: Uint8Array
}

/** The entries of an archive. Errors: Error for anything that is not one. */
export function readArchive(archive: Uint8Array): ReadEntry[] {
  const bytes = Buffer.from(archive.buffer, archive.byteOffset, archive.byteLength)
  const entries: ReadEntry[] = []
  for (let at = 0; ; ) {
    const field = (index: number) =>
      Number.parseInt(bytes.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16)
    if (bytes.toString('latin1', at, at + 6) !== '070701') throw new Error(`no header at ${at}`)
    const [mode, dataLength, nameLength] = [field(1), field(6), field(11)]
    const path = bytes.toString('utf8', at + 110, at + 110 + nameLength - 1)
    const dataAt = (at + 110 + nameLength + 3) & ~3
    if (path === 'TRAILER!!!') return entries
    if (entries.some(entry => entry.path === path)) throw new Error(`"${path}" is there twice`)
    entries.push({path, mode, device: [field(9), field(10)], data: bytes.subarray(dataAt, dataAt + dataLength)})
    at = (dataAt + dataLength + 3) & ~3
  }
}
