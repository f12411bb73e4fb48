/**
 * A small PV domain without a kernel: 256 pages of RAM, page tables that map them all from `direct` on, the guest in kernel mode. Tests make
 * hypercalls the way a guest does, through registers and SYSCALL, and look at the memory afterwards.
 *
 *   frames 200 to 203  L4, L3, L2, L1, mapped read-only as the ABI asks; all other frames are mapped writable
 */
import {createMachine, startClocks} from '../../lib/hypervisor/create.js'
import {Hypervisor} from '../../lib/hypervisor/hypervisor.js'
import {layoutFor, type MachineLayout} from '../../lib/hypervisor/layout.js'
import {cpuFeatures} from '../../lib/x86/cpuid.js'
import {type LinearMemory, linearMemory} from '../../lib/x86/memory.js'
import {Vcpu} from '../../lib/x86/vcpu.js'

export const ramPages = 256
/** Linear address of frame 0. */
export const direct = 0xffff880000000000n
/** The page-table frames. */
export const tables = {level4: 200, level3: 201, level2: 202, level1: 203}
/** Frames 8 on are the tests' own; arguments go to this one. */
export const scratchFrame = 8

/** The domain's number. */
export const domid = 7

export interface PvMachine {
  readonly memory: LinearMemory
  readonly layout: MachineLayout
  readonly hypervisor: Hypervisor
  readonly vcpu: Vcpu
  /** Ports on which the guest notified the host, shutdown reasons, console text: in order. */
  readonly notified: number[]
  readonly shutdowns: number[]
  readonly console: string[]
  /** What the hypervisor says to the operator. */
  readonly log: string[]
  /** Runs of frames that went back to the host: first frame and how many. */
  readonly givenBack: [mfn: number, frames: number][]
  /** Guest time in nanoseconds. */
  clock: {ns: number}
  /** Linear address of a byte of a frame. */
  linear(frame: number, offset?: number): bigint
  /** Byte offset of a frame in linear memory. */
  host(frame: number): number
  /** Makes a hypercall; RAX as a signed number. */
  call(number: number, ...args: (number | bigint)[]): number
  /** Page tables, record and registers as they were at first. */
  restart(): void
}

/** A domain just before its first instruction. */
export function pvMachine(): PvMachine {
  const layout = layoutFor(ramPages, 1)
  const wasm = new WebAssembly.Memory({
    initial: layout.totalBytes / 65536,
    maximum: layout.totalBytes / 65536,
    shared: true,
  })
  const memory = linearMemory(wasm)
  const notified: number[] = []
  const shutdowns: number[] = []
  const text: string[] = []
  const log: string[] = []
  const givenBack: [mfn: number, frames: number][] = []
  const clock = {ns: 1000}
  const hypervisor = new Hypervisor(memory, layout, {
    now: () => clock.ns,
    notifyHost: port => notified.push(port),
    onShutdown: reason => shutdowns.push(reason),
    emergencyConsole: bytes => text.push(Buffer.from(bytes).toString('latin1')),
    giveBack: (offset, bytes) => {
      givenBack.push([(offset - layout.ramBase) / 4096, bytes / 4096])
      memory.bytes.fill(0, offset, offset + bytes)
    },
    onMemoryChange: () => {},
    log: line => log.push(line),
    cpuFeatures,
  })
  const vcpu = new Vcpu({
    memory,
    base: layout.vcpuBase,
    id: 0,
    platform: hypervisor,
    recordArea: {start: layout.codeStart, end: layout.codeEnd},
    frames: {base: layout.ramBase, count: layout.frames, dirty: layout.dirtyFrames},
    random: bytes => bytes.fill(0x5a),
  })
  const host = (frame: number) => layout.ramBase + frame * 4096
  const linear = (frame: number, offset = 0) => direct + BigInt(frame * 4096 + offset)
  const restart = () => {
    memory.bytes.fill(0, 0, layout.vcpuBase)
    memory.bytes.fill(0, layout.pins)
    createMachine(memory, layout, {domid, uuid: '00112233-4455-6677-8899-aabbccddeeff', wallOffsetMs: 0})
    startClocks(memory, layout, 0)
    const entry = (frame: number, index: number, target: number, flags: number) =>
      memory.view.setBigUint64(host(frame) + index * 8, BigInt(target * 4096 + flags), true)
    entry(tables.level4, 272, tables.level3, 0x67)
    entry(tables.level3, 0, tables.level2, 0x67)
    entry(tables.level2, 0, tables.level1, 0x67)
    for (let frame = 0; frame < ramPages; frame++)
      entry(tables.level1, frame, frame, frame >= tables.level4 && frame <= tables.level1 ? 0x65 : 0x67)
    hypervisor.start(vcpu, {rip: linear(1), rsp: linear(3), rsi: linear(2), level4: tables.level4})
  }
  restart()
  return {
    memory,
    layout,
    hypervisor,
    vcpu,
    notified,
    shutdowns,
    console: text,
    log,
    givenBack,
    clock,
    linear,
    host,
    restart,
    call(number, ...args) {
      const registers = [7, 6, 2, 10, 8, 9]
      vcpu.setGpr(0, BigInt(number))
      for (const [index, register] of registers.entries())
        vcpu.setGpr(register, BigInt.asUintN(64, BigInt(args[index] ?? 0)))
      const {rip} = vcpu
      // A long call goes back to its SYSCALL and is made again.
      do {
        vcpu.rip = rip
        hypervisor.syscall(vcpu)
      } while (vcpu.rip === BigInt.asUintN(64, rip - 2n))
      return Number(BigInt.asIntN(64, vcpu.gpr(0)))
    },
  }
}
