/**
 * Where a domain's linear memory holds what. Everything that is the machine is in here, so saving it saves the domain.
 *
 *   0x00000     machine record (record.ts)
 *   0x10000     vCPU areas, vcpuAreaBytes each
 *   …           decoded code: a cache, never saved
 *   pins        which frames are pinned page tables
 *   frameTypes  what each RAM frame is in use as (frame-types.ts)
 *   grantUses   which grants, and so which frames, are in use by whom (grant-table.ts)
 *   dirtyFrames which frames have been written to (dirty-frames.ts)
 *   ramBase     machine frames: RAM from MFN 0, then Xen's own: shared_info, grant frames, M2P and the tables that map it
 */
import {grantsPerFrame} from '../abi/grant-table.js'
import {vcpuAreaBytes} from '../x86/state.js'

/** Grant frames a domain may ask for. */
export const maximumGrantFrames = 64

export interface MachineLayout {
  readonly vcpus: number
  /** RAM frames: MFN 0 to ramPages - 1. */
  readonly ramPages: number
  readonly vcpuBase: number
  readonly codeStart: number
  readonly codeEnd: number
  /** One byte per frame: the level it is pinned at as a page table, 0 for none. */
  readonly pins: number
  /** One 32-bit word per RAM frame. */
  readonly frameTypes: number
  /** One 32-bit word per grant reference, and 16 bits per RAM frame: uses of grants (grant-table.ts). */
  readonly grantUses: number
  readonly grantFrameUses: number
  /** One bit per RAM frame: a backend wrote to it. */
  readonly writtenFrames: number
  /** One byte per frame, twice: written to since the last harvest, and harvested. */
  readonly dirtyFrames: number
  readonly harvestedFrames: number
  readonly ramBase: number
  readonly sharedInfo: number
  readonly grantFrames: number
  /** First frame of the machine-to-physical table, and how many it has. */
  readonly m2p: number
  readonly m2pFrames: number
  /** Frames of the level 3, 2 and first level 1 table that map the M2P. */
  readonly m2pTables: number
  /** All frames. */
  readonly frames: number
  readonly totalBytes: number
}

/** Address space for decoded code; a boot of Linux fills about 25 MiB of it. */
const codeBytes = 64 << 20
const entriesPerTable = 512

/** The layout for a domain with `ramPages` pages of RAM. */
export function layoutFor(ramPages: number, vcpus: number): MachineLayout {
  const vcpuBase = 0x10000
  const codeStart = vcpuBase + vcpus * vcpuAreaBytes
  const codeEnd = codeStart + codeBytes
  const sharedInfo = ramPages
  const grantFrames = sharedInfo + 1
  const m2p = grantFrames + maximumGrantFrames
  // The M2P covers every frame, its own included.
  const m2pFrames = Math.ceil(((m2p + ramPages / 500 + 64) * 8) / 4096)
  const m2pTables = m2p + m2pFrames
  const frames = m2pTables + 2 + Math.ceil(m2pFrames / entriesPerTable)
  const pins = codeEnd
  const frameTypes = Math.ceil((pins + frames) / 4096) * 4096
  const grantUses = frameTypes + ramPages * 4
  const grantFrameUses = grantUses + maximumGrantFrames * grantsPerFrame * 4
  const writtenFrames = Math.ceil((grantFrameUses + ramPages * 2) / 4) * 4
  const dirtyFrames = writtenFrames + Math.ceil(ramPages / 32) * 4
  const harvestedFrames = dirtyFrames + frames
  const ramBase = Math.ceil((harvestedFrames + frames) / 65536) * 65536
  const totalBytes = Math.ceil((ramBase + frames * 4096) / 65536) * 65536
  return {
    vcpus,
    ramPages,
    vcpuBase,
    codeStart,
    codeEnd,
    pins,
    frameTypes,
    grantUses,
    grantFrameUses,
    writtenFrames,
    dirtyFrames,
    harvestedFrames,
    ramBase,
    sharedInfo,
    grantFrames,
    m2p,
    m2pFrames,
    m2pTables,
    frames,
    totalBytes,
  }
}
