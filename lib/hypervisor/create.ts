/**
 * The hypervisor's side of a new domain: machine-to-physical table and the page tables that show it to the guest, machine record, event ports
 * of xenstore and console, clocks. The builder fills the guest's own memory afterwards.
 */
import type {LinearMemory} from '../x86/memory.js'
import {state} from '../x86/state.js'
import {EventChannels, PortKind} from './event-channels.js'
import {FrameType} from './frame-types.js'
import type {MachineLayout} from './layout.js'
import {PageTables} from './page-tables.js'
import {field, MachineRecord} from './record.js'
import {showWallClock, writeTimeInfo} from './time.js'

/** Ports that exist from the start, both bound to Domain-0. */
export const storePort = 1
export const consolePort = 2

const tableFlags = 0x65 // present, user, accessed, dirty; read-only

/** What a new machine is told of its domain. */
export interface NewDomain {
  readonly domid: number
  readonly uuid: string
  readonly wallOffsetMs: number
  /** RAM frames it starts with, from MFN 0 on, and may hold; the others are absent. All if not given. */
  readonly presentPages?: number
}

/** Prepares zeroed memory for a domain. */
export function createMachine(
  memory: LinearMemory,
  layout: MachineLayout,
  {domid, uuid, wallOffsetMs, presentPages = layout.ramPages}: NewDomain,
): void {
  const record = new MachineRecord(memory)
  record.setU32(field.domid, domid)
  record.uuid = uuid
  record.setU32(field.grantFrameCount, 1)
  record.setF64(field.wallOffsetMs, wallOffsetMs)
  const {uint32} = memory
  const frame = (mfn: number) => layout.ramBase + mfn * 4096
  for (let mfn = 0; mfn < (layout.m2pFrames * 4096) / 8; mfn++) {
    const at = (frame(layout.m2p) + mfn * 8) >>> 2
    const isRam = mfn < presentPages
    uint32[at] = isRam ? mfn : 0xffffffff
    uint32[at + 1] = isRam ? 0 : 0xffffffff
  }
  const {types} = new PageTables(memory, layout, record)
  for (let mfn = presentPages; mfn < layout.ramPages; mfn++) types.take(mfn, FrameType.absent)
  record.setU32(field.absentPages, layout.ramPages - presentPages)
  record.setU32(field.mostPages, presentPages)
  const level3 = layout.m2pTables
  uint32[frame(level3) >>> 2] = ((level3 + 1) * 4096) | tableFlags
  for (let table = 0; table * 512 < layout.m2pFrames; table++) {
    uint32[(frame(level3 + 1) >>> 2) + table * 2] = ((level3 + 2 + table) * 4096) | tableFlags
  }
  for (let index = 0; index < layout.m2pFrames; index++) {
    uint32[(frame(level3 + 2) >>> 2) + index * 2] = ((layout.m2p + index) * 4096) | tableFlags
  }
  const sharedInfo = frame(layout.sharedInfo)
  record.setU32(field.vcpuInfo, sharedInfo)
  uint32.fill(0xffffffff, field.gdtFrames >> 2, (field.gdtFrames >> 2) + 16)
  const events = new EventChannels(memory, layout)
  events.bind(storePort, PortKind.interdomain)
  events.bind(consolePort, PortKind.interdomain)
}

/** The clocks in shared_info, just before the guest's first instruction. `utcMs` is the time at guest time 0. */
export function startClocks(memory: LinearMemory, layout: MachineLayout, utcMs: number): void {
  const sharedInfo = layout.ramBase + layout.sharedInfo * 4096
  writeTimeInfo(memory.view, sharedInfo + 32)
  showWallClock(memory, layout, utcMs)
}

/** What the main thread asks of the vCPU thread, in the machine record. */
export const Control = {run: 0, pause: 1, stop: 2} as const

/** Sets the request and makes the vCPU look at it. */
export function setControl(memory: LinearMemory, layout: MachineLayout, control: number): void {
  Atomics.store(memory.int32, field.control >> 2, control)
  lookAround(memory, layout)
}

/** Makes the vCPU's thread look at the machine record, whether it runs, sleeps or is parked. */
export function lookAround(memory: LinearMemory, layout: MachineLayout): void {
  Atomics.store(memory.int32, (layout.vcpuBase + state.pending) >> 2, 1)
  new EventChannels(memory, layout).wake()
}
