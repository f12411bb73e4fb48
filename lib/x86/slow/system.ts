/**
 * System instructions: interrupts by instruction, SYSCALL, CPUID, time stamps, and everything privileged, which goes to the Platform while the
 * guest runs above CPL 0.
 *
 * Source: SDM vol. 2, vol. 3A 2.8 and 5.9 (privileged instructions).
 */
import {materialiseFlags} from '../flags.js'
import type {Outcome, PrivilegedInstruction} from '../platform.js'
import {Rflags} from '../registers.js'
import {state} from '../state.js'
import type {Vcpu} from '../vcpu.js'
import {
  advance,
  blockEnd,
  exit,
  immediate,
  isMemory,
  lengthOf,
  linearAddress,
  load,
  next,
  opcode,
  operandBits,
  raise,
  readRegister,
  type SlowPath,
  slot,
  store,
  writeE,
} from './operand.js'

/** Ends the instruction as the Platform decided. RIP was moved by it, or a fault is raised at `rip`. */
function settle(vcpu: Vcpu, outcome: Outcome, rip: bigint): number {
  if (outcome === undefined) return blockEnd
  vcpu.rip = rip
  vcpu.raise(outcome)
  return exit
}

/** Asks the Platform to emulate a privileged instruction. */
function privileged(
  name: PrivilegedInstruction['name'],
  more: (vcpu: Vcpu, at: number) => Partial<PrivilegedInstruction> = () => ({}),
): SlowPath {
  return (vcpu, at) => {
    const rip = vcpu.rip
    return settle(vcpu, vcpu.platform.privileged(vcpu, {name, length: lengthOf(vcpu, at), ...more(vcpu, at)}), rip)
  }
}

/** An instruction the Platform enters the guest for, with RIP after it. */
function entering(act: (vcpu: Vcpu, at: number) => Outcome): SlowPath {
  return (vcpu, at) => {
    const rip = vcpu.rip
    advance(vcpu, at)
    return settle(vcpu, act(vcpu, at), rip)
  }
}

const registerOf = (offset: number) => (offset - state.gpr) >> 3

/** MOV to or from CR and DR: slot order follows the operands; control numbers stand in their slot as such. */
function special(controlSlot: 0 | 1) {
  return (vcpu: Vcpu, at: number): Partial<PrivilegedInstruction> => ({
    special: slot(vcpu, at, controlSlot),
    register: registerOf(slot(vcpu, at, controlSlot === 0 ? 1 : 0)),
  })
}

/** Port and size of IN and OUT. */
function port(vcpu: Vcpu, at: number): Partial<PrivilegedInstruction> {
  const code = opcode(vcpu, at)
  const size = code & 1 ? Math.min(operandBits(vcpu, at), 32) / 8 : 1
  return code < 0xe8 && code >= 0xe4 ? {size, port: Number(immediate(vcpu, at) & 0xffn)} : {size}
}

function cpuid(vcpu: Vcpu): number {
  const [eax, ebx, ecx, edx] = vcpu.platform.cpuid(vcpu, vcpu.gprLow(0), vcpu.gprLow(1), false)
  vcpu.setGprLow(0, eax >>> 0)
  vcpu.setGprLow(3, ebx >>> 0)
  vcpu.setGprLow(1, ecx >>> 0)
  vcpu.setGprLow(2, edx >>> 0)
  return next
}

function readTimestamp(vcpu: Vcpu): void {
  const now = vcpu.platform.timestamp()
  vcpu.setGprLow(0, (now % 2 ** 32) >>> 0)
  vcpu.setGprLow(2, Math.floor(now / 2 ** 32) >>> 0)
}

function rdtsc(vcpu: Vcpu): number {
  if ((vcpu.u32(state.cr4) & 4) !== 0 && vcpu.u32(state.mmuMode) === 1) return raise(vcpu, 13, 0)
  readTimestamp(vcpu)
  return next
}

function rdtscp(vcpu: Vcpu): number {
  if ((vcpu.u32(state.cr4) & 4) !== 0 && vcpu.u32(state.mmuMode) === 1) return raise(vcpu, 13, 0)
  readTimestamp(vcpu)
  vcpu.setGprLow(1, vcpu.u32(state.tscAux))
  return next
}

/** UD2, or Xen's forced CPUID: ud2 'xen' cpuid. */
function undefined_(vcpu: Vcpu, at: number): number {
  const bytes = opcode(vcpu, at) === 0x0b ? vcpu.readBytes(vcpu.rip, 7) : undefined
  const forced =
    bytes !== undefined && [0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2].every((byte, index) => bytes[index] === byte)
  if (!forced) return raise(vcpu, 6)
  const [eax, ebx, ecx, edx] = vcpu.platform.cpuid(vcpu, vcpu.gprLow(0), vcpu.gprLow(1), true)
  vcpu.setGprLow(0, eax >>> 0)
  vcpu.setGprLow(3, ebx >>> 0)
  vcpu.setGprLow(1, ecx >>> 0)
  vcpu.setGprLow(2, edx >>> 0)
  vcpu.rip = BigInt.asUintN(64, vcpu.rip + 7n)
  return blockEnd
}

function into(vcpu: Vcpu, at: number): number {
  if ((materialiseFlags(vcpu.memory, vcpu.base) & Rflags.of) === 0) return advance(vcpu, at)
  return entering(() => vcpu.platform.softwareInterrupt(vcpu, 4))(vcpu, at)
}

function bound(vcpu: Vcpu, at: number): number {
  const bits = operandBits(vcpu, at)
  const address = linearAddress(vcpu, at)
  const lower = load(vcpu, address, bits / 8)
  if (lower === undefined) return exit
  const upper = load(vcpu, address + BigInt(bits / 8), bits / 8)
  if (upper === undefined) return exit
  const index = BigInt.asIntN(bits, readRegister(vcpu, slot(vcpu, at, 0), bits))
  if (index < BigInt.asIntN(bits, lower) || index > BigInt.asIntN(bits, upper)) return raise(vcpu, 5)
  return advance(vcpu, at)
}

function xgetbv(vcpu: Vcpu, at: number): number {
  if ((vcpu.u32(state.cr4) & 0x40000) === 0) return raise(vcpu, 6)
  if (vcpu.gprLow(1) !== 0) return raise(vcpu, 13, 0)
  vcpu.setGprLow(0, vcpu.u32(state.xcr0))
  vcpu.setGprLow(2, 0)
  return advance(vcpu, at)
}

/** SGDT and SIDT leak what the processor holds; UMIP is not offered. */
function storeTable(base: number, limit: number): SlowPath {
  return (vcpu, at) => {
    const address = linearAddress(vcpu, at)
    const bytes = vcpu.u32(state.codeBits) === 64 ? 8 : 4
    if (!store(vcpu, address, 2, BigInt(vcpu.u32(limit) & 0xffff)) || !store(vcpu, address + 2n, bytes, vcpu.u64(base)))
      return exit
    return advance(vcpu, at)
  }
}

/** SLDT STR SMSW: 16 bits to memory, the operand's width to a register. */
function storeWord(value: (vcpu: Vcpu) => bigint): SlowPath {
  return (vcpu, at) => {
    const bits = isMemory(vcpu, at) ? 16 : operandBits(vcpu, at)
    return writeE(vcpu, at, bits, value(vcpu)) ? advance(vcpu, at) : exit
  }
}

export const systemPaths: Record<string, SlowPath> = {
  cpuid,
  rdtsc,
  rdtscp,
  undefined: undefined_,
  syscall: entering(vcpu => vcpu.platform.syscall(vcpu)),
  sysenter: entering(vcpu => vcpu.platform.sysenter(vcpu)),
  int: entering((vcpu, at) => vcpu.platform.softwareInterrupt(vcpu, Number(immediate(vcpu, at) & 0xffn))),
  int3: entering(vcpu => vcpu.platform.softwareInterrupt(vcpu, 3)),
  into,
  bound,
  xgetbv,
  sgdt: storeTable(state.gdtBase, state.gdtLimit),
  sidt: storeTable(state.ldtBase, state.ldtLimit),
  sldt: storeWord(() => 0n),
  str: storeWord(() => 0n),
  smsw: storeWord(vcpu => vcpu.u64(state.cr0)),
  cli: privileged('cli'),
  sti: privileged('sti'),
  hlt: privileged('hlt'),
  clts: privileged('clts'),
  invd: privileged('invd'),
  wbinvd: privileged('wbinvd'),
  rdmsr: privileged('rdmsr'),
  wrmsr: privileged('wrmsr'),
  rdpmc: privileged('rdpmc'),
  sysret: privileged('sysret'),
  sysexit: privileged('sysexit'),
  swapgs: privileged('swapgs'),
  xsetbv: privileged('xsetbv'),
  monitor: privileged('monitor'),
  mwait: privileged('mwait'),
  invlpg: privileged('invlpg'),
  lgdt: privileged('lgdt'),
  lidt: privileged('lidt'),
  lldt: privileged('lldt'),
  ltr: privileged('ltr'),
  lmsw: privileged('lmsw'),
  'mov-from-cr': privileged('mov-from-cr', special(1)),
  'mov-to-cr': privileged('mov-to-cr', special(0)),
  'mov-from-dr': privileged('mov-from-dr', special(1)),
  'mov-to-dr': privileged('mov-to-dr', special(0)),
  in: privileged('in', port),
  out: privileged('out', port),
}
