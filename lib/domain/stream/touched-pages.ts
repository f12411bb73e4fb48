/**
 * Which pages of a domain's memory can hold anything: those that the host has given it, and those that show a file. The others need not be looked at, which would
 * make the host give them.
 *
 * Rule of use: what is touched later is somebody else's to notice, as a guest that is sent while it runs has its writes marked.
 * Source: Linux Documentation/admin-guide/mm/pagemap.rst; proc_pid_maps(5).
 */
import {closeSync, openSync, readFileSync, readSync} from 'node:fs'
import {addressOf} from '../host-memory.js'
import {pageBytes} from './record.js'

const entryBytes = 8
/** In the last byte of an entry: present, or swapped. */
const given = 0xc0

/** See the file's head. Where the host does not tell, every page may hold something. */
export class TouchedPages {
  private pagemap: number | undefined
  private readonly base: number = 0
  /** Pages of the memory that show a file. */
  private readonly files: readonly {first: number; end: number}[] = []

  constructor(memory: WebAssembly.Memory) {
    const base = addressOf(memory)
    if (base === undefined) return
    try {
      this.base = base
      this.files = fileRanges(base, memory.buffer.byteLength)
      this.pagemap = openSync('/proc/self/pagemap', 'r')
    } catch {
      // No such file, or not for us.
    }
    // A host that does not know of the page with the machine's record knows of none.
    if (this.within(0, 1).length === 0) this.close()
  }

  /** Those of some pages, counted from `offset` on. */
  within(offset: number, pages: number): number[] {
    const first = offset / pageBytes
    const touched = new Uint8Array(pages)
    const entries = Buffer.alloc(pages * entryBytes)
    const at = (this.base / pageBytes + first) * entryBytes
    if (this.pagemap === undefined || readSync(this.pagemap, entries, 0, entries.length, at) < entries.length)
      touched.fill(1)
    else
      for (let page = 0; page < pages; page++)
        if ((entries[page * entryBytes + entryBytes - 1] & given) !== 0) touched[page] = 1
    for (const file of this.files) {
      if (file.first < first + pages && file.end > first)
        touched.fill(1, Math.max(0, file.first - first), file.end - first)
    }
    const found: number[] = []
    for (let page = 0; page < pages; page++) if (touched[page] === 1) found.push(page)
    return found
  }

  close(): void {
    if (this.pagemap !== undefined) closeSync(this.pagemap)
    this.pagemap = undefined
  }
}

function fileRanges(base: number, bytes: number): {first: number; end: number}[] {
  const ranges: {first: number; end: number}[] = []
  for (const [, from, to, inode] of readFileSync('/proc/self/maps', 'latin1').matchAll(
    /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ (\d+)/gm,
  )) {
    const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)]
    if (inode === '0' || end <= base || start >= base + bytes) continue
    ranges.push({first: (start - base) / pageBytes, end: (end - base) / pageBytes})
  }
  return ranges
}
