/**
 * The host's memory behind a domain's: returning pages to the host, and files that appear in the domain's memory without being
 * read. libc is reached through the optional package koffi, on whichever thread asks first; where there is none, or the host refuses, every
 * call still keeps its promise to the guest or says that it did not.
 *
 *   emptied ─ reads as zeros afterwards, always; with libc it takes no memory of the host any more
 *   mapped  ─ only where the host can; else the caller reads the file
 *
 * Rule of use: ranges are whole pages of 4 KiB of the domain's linear memory, which never moves. A call acts at once, under whatever the
 * vCPU does there meanwhile: it is for the vCPU's own thread, or for a time at which that thread stands still.
 *
 * Source: madvise(2), mmap(2), proc_pid_smaps(5); Linux Documentation/admin-guide/mm/ksm.rst.
 */
import {fstatSync, readFileSync} from 'node:fs'
import {createRequire} from 'node:module'
import {bug} from '../base/errors.js'

/** What a domain asks of the memory below it. Offsets and lengths are in bytes, of whole pages. */
export interface HostMemory {
  /** Empties a range and returns its pages to the host. It reads as zeros afterwards, whatever was mapped there. */
  giveBack(offset: number, bytes: number): void
  /**
   * Makes a range show a file from a page-aligned position on. Writes stay in this memory: the file keeps its bytes. False when the host
   * cannot, or the file ends before the range does; the range may be empty then. The file must not become shorter as long as it is mapped;
   * its descriptor may be closed.
   */
  mapFile(fd: number, fileOffset: number, offset: number, bytes: number): boolean
  /** Lets the host keep one copy of pages that are alike here and in other domains; false when it does not look for any. */
  mergePages(offset: number, bytes: number): boolean
  /** What of the memory the host has only once for several: pages of files that others map too, and merged ones. */
  shared(): SharedPages
}

/** Pages that a memory shares, in bytes. */
export interface SharedPages {
  readonly bytes: number
  /** This memory's part of them: of a page that n share, one n-th. */
  readonly ownBytes: number
}

const pageBytes = 4096

/** PROT_READ | PROT_WRITE. Source of this and what follows: asm-generic/mman-common.h. */
const writable = 3
const Mapping = {private: 2, fixed: 0x10, anonymous: 0x20, noreserve: 0x4000} as const
const Advice = {dontneed: 4, mergeable: 12} as const

/**
 * Ranges of a mapped file that are replaced one by one. Each may leave two more mappings, of which Linux grants a process 65,530 (vm.max_map_count),
 * and the engine needs some; beyond that ranges are filled with zeros, which takes memory.
 */
const mostHoles = 16_384

/** Holds "1" where the kernel merges pages. */
const mergingFile = '/sys/kernel/mm/ksm/run'

/** The calls of libc that are used here; addresses as numbers, which hold all of user space. */
interface Libc {
  madvise(address: number, bytes: number, advice: number): number
  /** Missing where the allocator is not glibc's. */
  mallocTrim?(keepBytes: number): void
  /** Returns where it mapped, -1 when it did not. */
  mmap(address: number, bytes: number, protection: number, flags: number, fd: number, fileOffset: number): number
  /** Where the bytes of a typed array are. */
  addressOf(array: Uint8Array): number
}

/** What is used of koffi. It may be missing, so nothing of it is imported by name. */
interface Koffi {
  load(library: null): {func(prototype: string): (...values: number[]) => number | bigint}
  address(array: Uint8Array): number | bigint
}

let libc: Libc | undefined
let isSought = false

/** libc, if koffi is installed and fits this host. Loaded without waiting, because a vCPU's thread has no time for promises. */
function findLibc(): Libc | undefined {
  if (isSought) return libc
  isSought = true
  if (process.platform !== 'linux') return undefined
  try {
    const koffi: Koffi = createRequire(import.meta.url)('koffi')
    const library = koffi.load(null)
    const madvise = library.func('int madvise(uintptr_t, size_t, int)')
    const mmap = library.func('intptr_t mmap(uintptr_t, size_t, int, int, int, int64_t)')
    libc = {
      madvise: (...values) => Number(madvise(...values)),
      mmap: (...values) => Number(mmap(...values)),
      addressOf: array => Number(koffi.address(array)),
    }
    libc.mallocTrim = library.func('int malloc_trim(size_t)')
  } catch {
    // Not installed, or made for another host: every feature has its plain form.
  }
  return libc
}

/** True when pages can be returned to the host, and files mapped. Loads libc, which takes some milliseconds the first time. */
export function canReachHostMemory(): boolean {
  return findLibc() !== undefined
}

/** Where a memory is in this process; undefined without libc. */
export function addressOf(memory: WebAssembly.Memory): number | undefined {
  return findLibc()?.addressOf(new Uint8Array(memory.buffer))
}

/**
 * Lets go of what this process has but does not use: memory it has freed, and pages of its program and libraries that it needed once. Those
 * stay in the host's cache, for all domains together, and come back when they are touched. Takes some milliseconds.
 */
export function releaseUnused(): void {
  const found = findLibc()
  if (found === undefined) return
  found.mallocTrim?.(0)
  for (const {start, end, rights, file, kb} of mappings()) {
    // A page that was written to is not the file's any more.
    if (file.startsWith('/') && /^r-[x-]p$/.test(rights) && kb['Anonymous:'] === 0)
      found.madvise(start, end - start, Advice.dontneed)
  }
}

/** The host's memory behind `memory`; libc is looked for at the first call that needs it. */
export function hostMemory(memory: WebAssembly.Memory): HostMemory {
  const {buffer} = memory
  const all = new Uint8Array(buffer)
  let base: number | undefined
  let holes = 0
  const addressOf = (found: Libc, offset: number): number => {
    base ??= found.addressOf(all)
    return base + offset
  }
  const check = (offset: number, bytes: number): void => {
    if (offset % pageBytes !== 0 || bytes % pageBytes !== 0 || offset < 0 || bytes < 0 || offset + bytes > all.length)
      bug(`no range of whole pages: ${bytes} bytes at ${offset}`)
  }
  const words = new Int32Array(buffer)
  const isEmpty = (offset: number, bytes: number): boolean => {
    for (let at = offset >>> 2; at < (offset + bytes) >>> 2; at++) if (words[at] !== 0) return false
    return true
  }
  const freshPages = (found: Libc, address: number, bytes: number): boolean =>
    found.mmap(
      address,
      bytes,
      writable,
      Mapping.private | Mapping.fixed | Mapping.anonymous | Mapping.noreserve,
      -1,
      0,
    ) === address
  return {
    giveBack(offset, bytes) {
      check(offset, bytes)
      const found = findLibc()
      if (found !== undefined && bytes > 0) {
        const address = addressOf(found, offset)
        if (found.madvise(address, bytes, Advice.dontneed) === 0 && isEmpty(offset, bytes)) return
        // Where a file is mapped it shows again: fresh memory takes its place.
        if (holes < mostHoles && freshPages(found, address, bytes)) {
          holes++
          return
        }
      }
      all.fill(0, offset, offset + bytes)
    },
    mapFile(fd, fileOffset, offset, bytes) {
      check(offset, bytes)
      if (fileOffset % pageBytes !== 0) bug(`no page of a file begins at ${fileOffset}`)
      const found = findLibc()
      if (found === undefined) return false
      // What is mapped beyond the end of a file kills who touches it.
      const fileBytes = fstatSync(fd).size
      if (Math.ceil(fileBytes / pageBytes) * pageBytes < fileOffset + bytes) return false
      const address = addressOf(found, offset)
      if (
        found.mmap(address, bytes, writable, Mapping.private | Mapping.fixed | Mapping.noreserve, fd, fileOffset) ===
        address
      )
        return true
      // A refused mapping may leave a hole.
      if (!freshPages(found, address, bytes)) bug(`the domain's memory has a hole: ${bytes} bytes at ${offset}`)
      return false
    },
    mergePages(offset, bytes) {
      check(offset, bytes)
      if (!merges()) return false
      const found = findLibc()
      return found !== undefined && found.madvise(addressOf(found, offset), bytes, Advice.mergeable) === 0
    },
    shared() {
      // Without libc nothing has been mapped or merged.
      if (libc === undefined) return {bytes: 0, ownBytes: 0}
      const first = addressOf(libc, 0)
      return sharedWithin(first, first + all.length)
    },
  }
}

function merges(): boolean {
  try {
    return readFileSync(mergingFile, 'utf8').trim() === '1'
  } catch {
    return false
  }
}

/** A mapping of this process. */
interface MappedRange {
  readonly start: number
  readonly end: number
  readonly rights: string
  readonly file: string
  /** By the words of smaps, colon included. */
  readonly kb: Readonly<Record<string, number>>
}

function mappings(): MappedRange[] {
  const all: MappedRange[] = []
  let kb: Record<string, number> = {}
  for (const line of readFileSync('/proc/self/smaps', 'utf8').split('\n')) {
    const [word, value, , , , file = ''] = line.split(/\s+/, 6)
    if (word.endsWith(':')) kb[word] = Number(value)
    else if (word !== '') {
      const [start, end] = word.split('-').map(address => Number.parseInt(address, 16))
      kb = {}
      all.push({start, end, rights: value, file, kb})
    }
  }
  return all
}

/** Adds up what smaps says of the mappings that begin in a range of addresses. */
function sharedWithin(first: number, end: number): SharedPages {
  const within = mappings().filter(({start}) => start >= first && start < end)
  const sum = (...words: string[]): number =>
    within.reduce((total, {kb}) => words.reduce((subtotal, word) => subtotal + (kb[`${word}:`] ?? 0), total), 0)
  return {
    bytes: sum('Shared_Clean', 'Shared_Dirty') * 1024,
    ownBytes: Math.max(0, sum('Pss') - sum('Private_Clean', 'Private_Dirty')) * 1024,
  }
}
