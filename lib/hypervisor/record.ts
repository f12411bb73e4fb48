/**
 * The machine record at the start of linear memory: what the hypervisor knows of its domain and of vCPU 0. Fields are numbers at
 * fixed offsets; both threads of a domain process may read them, the vCPU thread alone writes all but those marked atomic.
 */
import type {LinearMemory} from '../x86/memory.js'

/** Byte offsets of the fields. u64 fields hold guest addresses; f64 hold nanoseconds of guest time. */
export const field = {
  kernelMode: 0x100, //      u32  1 while the guest kernel runs
  kernelSs: 0x104, //        u32
  kernelSp: 0x108, //        u64
  kernelRoot: 0x110, //      f64  machine address of the kernel's L4
  userRoot: 0x118, //        f64  machine address of the user L4, -1 none
  vcpuInfo: 0x120, //        u32  byte offset of vcpu_info in linear memory
  blocked: 0x124, //         u32  1 while sched_op block waits
  stopped: 0x128, //         u32  1 + shutdown reason once the domain has shut down
  guestCr4: 0x12c, //        u32  the CR4 bits a guest may set
  timer: 0x130, //           f64  deadline of the single-shot timer, Infinity none
  periodNs: 0x138, //        f64  period of the periodic timer, 0 none
  nextPeriod: 0x140, //      f64
  timeArea: 0x148, //        u64  guest address of the second time area, 0 none
  runstateArea: 0x150, //    u64
  ldtBase: 0x158, //         u64
  ldtEntries: 0x160, //      u32
  gdtEntries: 0x164, //      u32
  gdtFrames: 0x168, //       16 × u32
  iopl: 0x1a8, //            u32
  pollLimit: 0x1b0, //       f64  deadline of sched_op poll
  pollCount: 0x290, //       u32  ports sched_op poll waits for
  pollPorts: 0x294, //       128 × u16
  clockOffset: 0x1b8, //     f64  guest time is host time less this: what passed before the start
  busyNs: 0x1c0, //          f64  time the vCPU has run
  control: 0x1c8, //         u32  atomic: Control, what the main thread wants
  emergencyBytes: 0x1cc, //  u32  what console_io has written so far, and a charge for each line
  debug: 0x1d0, //           8 × u64
  callbacks: 0x210, //       8 × (u64 address, u32 flags, u32 set): by callback type
  traps: 0x400, //           256 × (u64 address, u32 flags, u32 set)
  ports: 0x1400, //          4096 × (u8 kind, u8 virq, u16 remote)
  sentPorts: 0x5400, //      4096 bits, atomic: ports of the host's side that were sent to and not yet looked at
  consoleLine: 0x5600, //    256 bytes: what console_io has of a line
  consoleLength: 0x5700, //  u32  bytes of it
  absentPages: 0x5704, //    u32  RAM frames the domain has given back
  freeHint: 0x5708, //       u32  where the search for one begins
  grantFrameCount: 0x570c, // u32 frames of the grant table the guest has asked for
  grantLock: 0x5710, //      u32  atomic: 1 while a thread works on uses of grants
  domid: 0x5714, //          u32
  nmiPending: 0x5718, //     u32  1: an NMI is to be delivered
  nmiMasked: 0x571c, //      u32  1 from an NMI's delivery to the next iret
  watchdogs: 0x5720, //      2 × f64 when the watchdogs bite, 0 not set
  shutdownCode: 0x5730, //   u32  1 + reason that every shutdown of the domain gets, 0 none
  vmAssist: 0x5734, //       u32  VmAssist bits
  runstate: 0x57a0, //       u32  Runstate
  runstateEntry: 0x57a8, //  f64
  runstateTimes: 0x57b0, //  4 × f64, by state
  virqPorts: 0x57d0, //      24 × u16: port of each VIRQ, 0 not bound
  uuid: 0x5790, //           16 bytes
  ioBitmap: 0x5800, //       u64  guest address of the I/O bitmap
  ioBitmapPorts: 0x5808, //  u32  ports it covers
  pciAddress: 0x580c, //     u32  what was written to port 0xcf8
  written: 0x5810, //        u32  atomic: 1 when backends have written to frames (written-frames.ts)
  mostPages: 0x5814, //      u32  atomic: RAM frames the domain may hold; the main thread sets it, the domain may hold more from before
  writtenSummary: 0x5820, // 32 × u32, atomic
  wallOffsetMs: 0x58a0, //   f64  what the guest's wall clock shows more than UTC
  harvest: 0x58a8, //        u32  atomic: 1 while the main thread waits for a harvest of dirty frames
  wallStepMs: 0x58b0, //     f64  UTC at guest time 0, to be shown when the guest suspends, which ends at once then; 0 when suspending is a shutdown
  parkedNs: 0x58b8, //       f64  guest time when the vCPU was last parked
  parked: 0x58ac, //         u32  atomic: while the vCPU waits with its state complete in memory, the number of that wait; else 0
  copied: 0x5740, //         80 bytes: a record of the guest that spans two pages, for a moment
  grantMaps: 0x6000, //      512 × 32 bytes: grants mapped by the guest itself (hypercall/grant-maps.ts)
} as const

/** Maps of grants that a guest can have, and the bytes of one. */
export const grantMapCount = 512
export const grantMapBytes = 32

export type FieldName = keyof typeof field

const recordBytes = 0x10000

/** Access by offset in `field`: a name given as text would be looked up each time. */
export class MachineRecord {
  /** The f64 fields, by byte offset / 8. */
  readonly floats: Float64Array

  constructor(readonly memory: LinearMemory) {
    this.floats = new Float64Array(memory.wasm.buffer, 0, recordBytes / 8)
  }

  /** The domain's uuid, in the form 8-4-4-4-12. */
  get uuid(): string {
    const bytes = this.memory.bytes.subarray(field.uuid, field.uuid + 16)
    const hex = Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  }
  set uuid(uuid: string) {
    for (const [index, byte] of (uuid.replaceAll('-', '').match(/../g) ?? []).entries())
      this.memory.bytes[field.uuid + index] = Number.parseInt(byte, 16)
  }

  u32(at: number): number {
    return this.memory.uint32[at >> 2]
  }
  setU32(at: number, value: number): void {
    this.memory.uint32[at >> 2] = value
  }
  u64(at: number): bigint {
    return this.memory.uint64[at >> 3]
  }
  setU64(at: number, value: bigint): void {
    this.memory.uint64[at >> 3] = value
  }
  f64(at: number): number {
    return this.floats[at >> 3]
  }
  setF64(at: number, value: number): void {
    this.floats[at >> 3] = value
  }
}

/** Byte offset of entry `index` of a table of handlers, or -1 when none is registered: u64 address, u32 flags, u32 1. */
export function handlerAt(memory: LinearMemory, table: 'traps' | 'callbacks', index: number): number {
  const at = field[table] + index * 16
  return memory.uint32[(at + 12) >> 2] === 0 ? -1 : at
}

/** Flags that a handler was registered with. */
export function handlerFlags(memory: LinearMemory, at: number): number {
  return memory.uint32[(at + 8) >> 2]
}

/** Registers a trap or callback. */
export function setHandler(
  memory: LinearMemory,
  table: 'traps' | 'callbacks',
  index: number,
  address: bigint,
  flags: number,
): void {
  const at = field[table] + index * 16
  memory.uint64[at >> 3] = address
  memory.uint32[(at + 8) >> 2] = flags
  memory.uint32[(at + 12) >> 2] = 1
}

/** Forgets one handler. */
export function clearHandler(memory: LinearMemory, table: 'traps' | 'callbacks', index: number): void {
  const at = field[table] + index * 16
  memory.bytes.fill(0, at, at + 16)
}

/** Forgets every handler of the trap table. */
export function clearTraps(memory: LinearMemory): void {
  memory.bytes.fill(0, field.traps, field.traps + 256 * 16)
}
