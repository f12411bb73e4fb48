/**
 * What a PV kernel at CPL 3 still attempts and Xen emulates: control registers, MSRs, ports, CPUID. Everything else is #GP(0).
 *
 * Source: xen/arch/x86/pv/emul-priv-op.c; xen-pv guest notes on MSRs; public/arch-x86/cpuid.h.
 */
import type {Outcome, PrivilegedInstruction} from '../x86/platform.js'
import {Segment, state} from '../x86/state.js'
import type {Vcpu} from '../x86/vcpu.js'
import {readDebug, writeDebug} from './debug-registers.js'
import {fillHypercallPage} from './hypercall-page.js'
import {accessPort} from './io-ports.js'
import type {PageTables} from './page-tables.js'
import {field, handlerAt, type MachineRecord} from './record.js'

const generalProtection: Outcome = {vector: 13, errorCode: 0}
const invalidOpcode: Outcome = {vector: 6}
/** CR4 as shown: PAE MCE OSFXSR OSXMMEXCPT. */
const fixedCr4 = 0x660
/** TSD, DE, OSXSAVE. */
const guestCr4Bits = 0x4 | 0x8 | 0x40000

const Msr = {
  tsc: 0x10,
  apicBase: 0x1b,
  microcode: 0x8b,
  miscEnable: 0x1a0,
  pat: 0x277,
  perfCapabilities: 0x345,
  efer: 0xc0000080,
  fsBase: 0xc0000100,
  gsBase: 0xc0000101,
  kernelGsBase: 0xc0000102,
  nbCfg: 0xc001001f,
  hwcr: 0xc0010015,
  deCfg: 0xc0011029,
  /** Xen's own, announced in CPUID: a frame written here becomes a hypercall page. */
  hypercallPage: 0x40000000,
} as const

/** HWCR bit 24: the TSC counts with the P0 frequency, as the kernel expects of a processor of this family. */
const tscCountsAtP0 = 1n << 24n

const isCanonical = (value: bigint) => BigInt.asUintN(64, BigInt.asIntN(48, value)) === value

/** Emulates one instruction; RIP moves on when it did. User mode may have ports, nothing else. */
export function emulate(
  vcpu: Vcpu,
  record: MachineRecord,
  tables: PageTables,
  instruction: PrivilegedInstruction,
): Outcome {
  const isPort = instruction.name === 'in' || instruction.name === 'out'
  if (record.u32(field.kernelMode) === 0 && !isPort) return generalProtection
  const outcome = perform(vcpu, record, tables, instruction)
  if (outcome === undefined) vcpu.rip = BigInt.asUintN(64, vcpu.rip + BigInt(instruction.length))
  return outcome
}

function perform(vcpu: Vcpu, record: MachineRecord, tables: PageTables, instruction: PrivilegedInstruction): Outcome {
  const register = instruction.register ?? 0
  switch (instruction.name) {
    case 'rdmsr':
      return readMsr(vcpu)
    case 'wrmsr':
      return writeMsr(vcpu, tables)
    case 'mov-from-cr': {
      const value = readControl(vcpu, record, instruction.special ?? 0)
      if (value === undefined) return generalProtection
      vcpu.setGpr(register, value)
      return undefined
    }
    case 'mov-to-cr':
      return writeControl(vcpu, record, tables, instruction.special ?? 0, vcpu.gpr(register))
    case 'mov-from-dr':
      if ((instruction.special ?? 0) > 7) return invalidOpcode
      vcpu.setGpr(register, readDebug(vcpu.memory, instruction.special ?? 0))
      return undefined
    case 'mov-to-dr':
      if ((instruction.special ?? 0) > 7) return invalidOpcode
      return writeDebug(vcpu, instruction.special ?? 0, vcpu.gpr(register)) ? undefined : generalProtection
    case 'clts':
      setTaskSwitched(vcpu, false)
      return undefined
    case 'cli':
    case 'sti':
      return record.u32(field.iopl) > 0 ? undefined : generalProtection
    case 'wbinvd':
      return undefined
    case 'in':
    case 'out':
      return accessPort(vcpu, record, tables, instruction) ? undefined : generalProtection
    case 'xsetbv':
      return writeXcr0(vcpu)
    default:
      return generalProtection
  }
}

/** CR0.TS; code that touches the FPU is looked at again. */
export function setTaskSwitched(vcpu: Vcpu, on: boolean): void {
  const cr0 = vcpu.u64(state.cr0)
  vcpu.setU64(state.cr0, on ? cr0 | 8n : cr0 & ~8n)
  vcpu.tlb.flushJumps()
}

function readControl(vcpu: Vcpu, record: MachineRecord, number: number): bigint | undefined {
  if (number === 0) return vcpu.u64(state.cr0)
  if (number === 2) return vcpu.memory.view.getBigUint64(record.u32(field.vcpuInfo) + 16, true)
  if (number === 3) return BigInt(record.f64(field.kernelRoot))
  if (number === 4) return BigInt(fixedCr4 | record.u32(field.guestCr4))
  return undefined
}

function writeControl(vcpu: Vcpu, record: MachineRecord, tables: PageTables, number: number, value: bigint): Outcome {
  if (number === 0) {
    if ((value ^ vcpu.u64(state.cr0)) & ~8n) return generalProtection
    setTaskSwitched(vcpu, (value & 8n) !== 0n)
    return undefined
  }
  if (number === 2) {
    vcpu.memory.view.setBigUint64(record.u32(field.vcpuInfo) + 16, value, true)
    return undefined
  }
  if (number === 3) {
    if (!tables.setRoot('kernelRoot', Number((value & 0xffffffffff000n) >> 12n))) return generalProtection
    vcpu.flushTlb()
    return undefined
  }
  if (number !== 4) return generalProtection
  record.setU32(field.guestCr4, Number(value & BigInt(guestCr4Bits)))
  vcpu.setU64(state.cr4, BigInt(fixedCr4 | record.u32(field.guestCr4)))
  return undefined
}

function writeXcr0(vcpu: Vcpu): Outcome {
  // x87 and SSE are all there is, and x87 cannot be switched off.
  const value = vcpu.gprLow(0)
  if (
    (vcpu.u32(state.cr4) & 0x40000) === 0 ||
    vcpu.gprLow(1) !== 0 ||
    vcpu.gprLow(2) !== 0 ||
    (value & 1) === 0 ||
    value > 3
  )
    return generalProtection
  vcpu.setU64(state.xcr0, BigInt(value))
  return undefined
}

function readMsr(vcpu: Vcpu): Outcome {
  const values: Record<number, () => bigint> = {
    [Msr.tsc]: () => BigInt(Math.floor(vcpu.platform.timestamp())),
    [Msr.apicBase]: () => 0xfee00900n,
    [Msr.microcode]: () => 0n,
    [Msr.pat]: () => 0x0000050100070406n,
    [Msr.perfCapabilities]: () => 0n,
    [Msr.efer]: () => 0xd01n,
    [Msr.fsBase]: () => vcpu.segmentBase(Segment.fs),
    [Msr.gsBase]: () => vcpu.segmentBase(Segment.gs),
    [Msr.kernelGsBase]: () => vcpu.u64(state.inactiveGsBase),
    [Msr.nbCfg]: () => 0n,
    [Msr.hwcr]: () => tscCountsAtP0,
    [Msr.deCfg]: () => 2n,
    [Msr.hypercallPage]: () => 0n,
  }
  const known = values[vcpu.gprLow(1)]?.()
  // A kernel that cannot handle #GP yet is spared it.
  if (known === undefined && handlerAt(vcpu.memory, 'traps', 13) >= 0) return generalProtection
  const value = known ?? 0n
  vcpu.setGprLow(0, Number(value & 0xffffffffn))
  vcpu.setGprLow(2, Number(value >> 32n))
  return undefined
}

function writeMsr(vcpu: Vcpu, tables: PageTables): Outcome {
  const value = (BigInt(vcpu.gprLow(2)) << 32n) | BigInt(vcpu.gprLow(0))
  switch (vcpu.gprLow(1)) {
    case Msr.fsBase:
    case Msr.gsBase:
    case Msr.kernelGsBase:
      if (!isCanonical(value)) return generalProtection
      if (vcpu.gprLow(1) === Msr.fsBase) vcpu.setSegmentBase(Segment.fs, value)
      else if (vcpu.gprLow(1) === Msr.gsBase) vcpu.setSegmentBase(Segment.gs, value)
      else vcpu.setU64(state.inactiveGsBase, value)
      return undefined
    case Msr.efer:
      return value === 0xd01n ? undefined : generalProtection
    case Msr.miscEnable:
    case Msr.hwcr:
      return undefined
    case Msr.hypercallPage: {
      const mfn = Number(value >> 12n)
      const page = tables.plainAddress(mfn)
      if (page < 0 || (value & 0xfffn) !== 0n) return generalProtection
      const stubs = new Uint8Array(4096)
      fillHypercallPage(stubs)
      vcpu.memory.bytes.set(stubs, page)
      vcpu.frameWritten(mfn)
      return undefined
    }
    default:
      return generalProtection
  }
}

/** CPUID as a PV guest sees it: the processor's leaves less what a PV kernel cannot use, and Xen's own. */
export function guestCpuid(
  record: MachineRecord,
  features: (leaf: number, subleaf: number) => [number, number, number, number],
  leaf: number,
  subleaf: number,
  forced: boolean,
): readonly [number, number, number, number] {
  const number = leaf >>> 0
  if (number >= 0x40000000 && number < 0x40000100) return xenLeaf(number - 0x40000000, subleaf)
  const [eax, ebx, ecx, edx] = features(number, subleaf)
  if (number === 1) {
    const osxsave = (ecx & (1 << 26)) !== 0 && (forced || (record.u32(field.guestCr4) & 0x40000) !== 0)
    return [eax, ebx, ecx | (1 << 31) | (osxsave ? 1 << 27 : 0), edx]
  }
  // FSGSBASE would make Linux read the user GS base with a trapped RDMSR on every switch.
  if (number === 7 && subleaf === 0) return [eax, ebx & ~1, ecx, edx]
  return [eax, ebx, ecx, edx]
}

function xenLeaf(leaf: number, subleaf: number): readonly [number, number, number, number] {
  switch (leaf) {
    case 0:
      return [0x40000005, 0x566e6558, 0x65584d4d, 0x4d4d566e]
    case 1:
      return [0x00040011, 0, 0, 0]
    case 2:
      return [1, 0x40000000, 1, 0]
    case 3:
      return subleaf === 0
        ? [6, 0, 1_000_000, 1]
        : subleaf === 1
          ? [0, 0, 0x80000000, 1]
          : subleaf === 2
            ? [1_000_000, 0, 0, 0]
            : [0, 0, 0, 0]
    case 5:
      return subleaf === 0 ? [0, 40, 0, 0] : [0, 0, 0, 0]
    default:
      return [0, 0, 0, 0]
  }
}
