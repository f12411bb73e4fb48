/**
 * Writer for the archive a Linux kernel unpacks as its first root file system: cpio, format "newc". Each entry is a header of 110
 * ASCII characters (magic 070701, then thirteen 8-digit hexadecimal numbers), its name with a NUL, its data; name and data are each
 * padded to four bytes. The entry TRAILER!!! ends the archive.
 *
 * The writer makes up inode numbers and sets every time and owner to zero, so that equal entries give equal bytes. It writes entries
 * in the order given; the kernel makes no missing folders, so a folder must come before what is in it.
 * Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst; cpio(5).
 */
import {bug} from '../../base/errors.js'

/** One entry of an archive. `path` has no leading slash; `mode` is the permission bits only. */
export type ArchiveEntry =
  | {kind: 'directory'; path: string; mode?: number}
  | {kind: 'file'; path: string; data: Uint8Array | string; mode?: number}
  | {kind: 'link'; path: string; target: string}
  | {kind: 'character-device'; path: string; major: number; minor: number; mode?: number}

const fileTypes = {
  directory: 0o040000, // S_IFDIR
  file: 0o100000, // S_IFREG
  link: 0o120000, // S_IFLNK
  'character-device': 0o020000, // S_IFCHR
} as const

const defaultModes = {directory: 0o755, file: 0o644, link: 0o777, 'character-device': 0o600} as const

const blockBytes = 512

/** The archive of `entries`, padded to whole blocks of 512 bytes. */
export function writeArchive(entries: readonly ArchiveEntry[]): Buffer {
  const parts: Uint8Array[] = []
  const folders = new Set<string>([''])
  let inode = 1
  for (const entry of entries) {
    const parent = entry.path.slice(0, Math.max(0, entry.path.lastIndexOf('/')))
    if (!folders.has(parent)) bug(`archive entry "${entry.path}" stands before its folder`)
    if (entry.kind === 'directory') folders.add(entry.path)
    const mode =
      fileTypes[entry.kind] | ('mode' in entry && entry.mode !== undefined ? entry.mode : defaultModes[entry.kind])
    const device = entry.kind === 'character-device' ? entry : {major: 0, minor: 0}
    append(parts, inode++, entry.path, mode, dataOf(entry), device.major, device.minor)
  }
  append(parts, 0, 'TRAILER!!!', 0, new Uint8Array(0), 0, 0)
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  parts.push(new Uint8Array(-length & (blockBytes - 1)))
  return Buffer.concat(parts)
}

function dataOf(entry: ArchiveEntry): Uint8Array {
  if (entry.kind === 'link') return Buffer.from(entry.target)
  if (entry.kind === 'file') return Buffer.from(entry.data)
  return new Uint8Array(0)
}

function append(
  parts: Uint8Array[],
  inode: number,
  path: string,
  mode: number,
  data: Uint8Array,
  deviceMajor: number,
  deviceMinor: number,
): void {
  const name = Buffer.from(`${path}\0`)
  const links = (mode & 0o170000) === fileTypes.directory ? 2 : 1
  const numbers = [inode, mode, 0, 0, links, 0, data.length, 0, 0, deviceMajor, deviceMinor, name.length, 0]
  const header = Buffer.from(`070701${numbers.map(number => number.toString(16).padStart(8, '0')).join('')}`)
  parts.push(header, name, padding(header.length + name.length), data, padding(data.length))
}

function padding(length: number): Uint8Array {
  return new Uint8Array(-length & 3)
}
