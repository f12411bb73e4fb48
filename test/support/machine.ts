/**
 * A bare machine for processor tests: one vCPU over 16 MiB of RAM with identity page tables for the first 4 GiB of linear addresses
 * (frames beyond RAM fault), and a platform that records what is asked of it.
 */
import {cpuFeatures} from '../../lib/x86/cpuid.js'
import type {BuiltModules} from '../../lib/x86/engine.js'
import {type LinearMemory, linearMemory} from '../../lib/x86/memory.js'
import type {Fault, Outcome, Platform} from '../../lib/x86/platform.js'
import {state} from '../../lib/x86/state.js'
import {Vcpu} from '../../lib/x86/vcpu.js'

const dirtyFrames = 0x2f0000
const recordArea = {start: 0x100000, end: dirtyFrames}
const ramStart = 0x300000
const ramBytes = 0x1000000
/** Frames 16 to 22 hold the page tables. */
const rootFrame = 16

export interface Machine {
  readonly vcpu: Vcpu
  readonly memory: LinearMemory
  /** Exceptions the guest got, in order. */
  readonly faults: Fault[]
  /** Byte offset in linear memory of a physical (= linear) address. */
  at(physical: number): number
  /** Runs until an exception (or HLT, INT3) stops it. */
  run(): void
}

/** Pages that exist instead of the identity map. */
export interface MappedPages {
  readonly address: number
  readonly pages: number
  readonly write: boolean
  readonly execute: boolean
}

/** A machine at CPL `cpl` in code of `bits`. `extraPages` maps linear page → frame beyond the identity. */
export function machine(
  options: {
    translateAfter?: number
    optimizesAtOnce?: boolean
    built?: BuiltModules
    cpl?: number
    map?: readonly MappedPages[]
  } = {},
): Machine {
  const wasm = new WebAssembly.Memory({
    initial: (ramStart + ramBytes) / 65536,
    maximum: (ramStart + ramBytes) / 65536,
    shared: true,
  })
  const memory = linearMemory(wasm)
  const faults: Fault[] = []
  let stopped = false
  const at = (physical: number) => ramStart + physical
  const {uint32} = memory
  const entry = (frame: number, index: number, value: number, high = 0) => {
    uint32[(at(frame * 4096) >> 2) + index * 2] = value
    uint32[(at(frame * 4096) >> 2) + index * 2 + 1] = high
  }
  entry(rootFrame, 0, ((rootFrame + 1) << 12) | 7)
  for (let gib = 0; gib < 4; gib++) {
    entry(rootFrame + 1, gib, ((rootFrame + 2 + gib) << 12) | 7)
    for (let index = 0; index < 512; index++)
      entry(rootFrame + 2 + gib, index, ((gib << 30) | (index << 21) | 0x87) >>> 0)
  }
  if (options.map) mapPages(options.map, entry)
  const stop = (vcpu: Vcpu, fault: Fault): Outcome => {
    faults.push(fault)
    stopped = true
    vcpu.setU32(state.pending, 1)
    return undefined
  }
  const platform: Platform = {
    syscall: vcpu => stop(vcpu, {vector: 0x100}),
    sysenter: vcpu => stop(vcpu, {vector: 0x101}),
    softwareInterrupt: (vcpu, vector) => stop(vcpu, {vector}),
    exception: (vcpu, fault) => {
      stop(vcpu, fault)
    },
    privileged: () => ({vector: 13, errorCode: 0}),
    cpuid: (_vcpu, leaf, subleaf) => cpuFeatures(leaf, subleaf),
    descriptor: (_vcpu, selector) =>
      (({51: [0xffff, 0xaffb00], 35: [0xffff, 0xcffb00], 43: [0xffff, 0xcff300]}) as Record<number, [number, number]>)[
        selector
      ],
    storeToReadOnly: () => false,
    breakpoints: () => [],
    deliverPending: () => {},
    timestamp: () => 0,
    nextDeadline: () => Number.POSITIVE_INFINITY,
  }
  const vcpu = new Vcpu({
    memory,
    base: 0x10000,
    id: 0,
    platform,
    recordArea,
    frames: {base: at(0), count: ramBytes / 4096, dirty: dirtyFrames},
    random: bytes => bytes.fill(0x5a),
    ...(options.translateAfter === undefined ? {} : {translateAfter: options.translateAfter}),
    optimizesAtOnce: options.optimizesAtOnce ?? false,
    ...(options.built === undefined ? {} : {built: options.built}),
  })
  vcpu.reset()
  vcpu.setRoot(0, rootFrame)
  vcpu.setRoot(1, rootFrame)
  vcpu.setU32(state.cpl, options.cpl ?? 3)
  vcpu.setU32(state.mmuMode, 1)
  vcpu.setSelector(1, 0x33)
  vcpu.setSelector(2, 0x2b)
  return {
    vcpu,
    memory,
    faults,
    at,
    run() {
      stopped = false
      memory.int32[(0x10000 + state.pending) >> 2] = 0
      while (!stopped) vcpu.run()
    },
  }
}

/** Frames from `mappedFrames` on, in the order of the map: pages of one region stand together. */
export const mappedFrames = 64

/** Builds tables for just these pages (all below 1 GiB), in the frames after the identity map's. */
function mapPages(
  map: readonly MappedPages[],
  entry: (frame: number, index: number, value: number, high?: number) => void,
): void {
  let nextTable = rootFrame + 8
  let nextFrame = mappedFrames
  const tables = new Map<number, number>()
  for (let gib = 0; gib < 4; gib++) for (let index = 0; index < 512; index++) entry(rootFrame + 2 + gib, index, 0)
  for (const {address, pages, write, execute} of map) {
    for (let page = 0; page < pages; page++) {
      const linear = address + page * 4096
      const directory = linear >>> 21
      let table = tables.get(directory)
      if (table === undefined) {
        table = nextTable++
        tables.set(directory, table)
        entry(rootFrame + 2, directory, (table << 12) | 7)
      }
      entry(table, (linear >>> 12) & 511, (nextFrame++ << 12) | (write ? 7 : 5), execute ? 0 : 0x80000000)
    }
  }
}
