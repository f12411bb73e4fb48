/**
 * What the processor asks of the world around it. x86 declares it; hypervisor implements it for PV guests (and later a bare PC
 * platform for HVM). Methods run on the vCPU's own thread between two guest instructions, with all registers in state memory.
 * RIP is at the instruction unless the text says "after".
 */
import type {Breakpoint} from './breakpoints.js'
import type {Vcpu} from './vcpu.js'

/** How a slow-path request ended: done, or an exception to raise at the instruction. */
export type Outcome = Fault | undefined

/** An exception with its error code, if it has one. Source: SDM vol. 3A table 6-1. */
export interface Fault {
  readonly vector: number
  readonly errorCode?: number
  /** Of #DB: the bits of DR6 that say why. */
  readonly debugStatus?: number
}

export interface Platform {
  /** SYSCALL was executed; RIP is after it, RCX and R11 not yet changed. */
  syscall(vcpu: Vcpu): Outcome
  /** SYSENTER was executed in code where it is legal; RIP is after it. */
  sysenter(vcpu: Vcpu): Outcome
  /** INT n, INT3 (3) or INTO (4) was executed; RIP is after it. */
  softwareInterrupt(vcpu: Vcpu, vector: number): Outcome
  /** An exception must enter the guest. RIP is at the faulting instruction (faults) or after it (traps). For #PF CR2 is in state. */
  exception(vcpu: Vcpu, fault: Fault): void
  /** A privileged instruction met CPL > 0. `undefined` = emulated and RIP moved on by the callee; otherwise the fault (usually #GP(0)). */
  privileged(vcpu: Vcpu, instruction: PrivilegedInstruction): Outcome
  /** CPUID for leaf and subleaf; `forced` for Xen's ud2-prefixed form. Returns [eax, ebx, ecx, edx]. */
  cpuid(vcpu: Vcpu, leaf: number, subleaf: number, forced: boolean): readonly [number, number, number, number]
  /** The 8 bytes of a GDT or LDT descriptor as [low, high] 32-bit halves, or undefined beyond the table's limit. */
  descriptor(vcpu: Vcpu, selector: number): readonly [number, number] | undefined
  /**
   * The guest kernel stores to a present page that its page tables map read-only. True when the store has been done by the platform
   * (Xen's writable page tables); false raises #PF. `machineAddress` is the byte's machine address, data is `size` bytes at `data` in linear memory;
   * `linearHigh` is the upper half of the address the guest used.
   */
  storeToReadOnly(vcpu: Vcpu, machineAddress: number, data: number, size: number, linearHigh: number): boolean
  /** The breakpoints that are enabled. Who enables one sets `pending`, so that the run loop sees it. */
  breakpoints(): readonly Breakpoint[]
  /** Called at every return to the guest when `pending` is set: deliver what is deliverable. */
  deliverPending(vcpu: Vcpu): void
  /** Nanoseconds of guest time = TSC ticks (the TSC runs at 1 GHz). */
  timestamp(): number
  /** Nanoseconds of guest time at which a timer is due, or Infinity. The run loop calls deliverPending when it passes. */
  nextDeadline(vcpu: Vcpu): number
}

/** A privileged instruction, decoded as far as its emulation needs. */
export interface PrivilegedInstruction {
  readonly name:
    | 'hlt'
    | 'cli'
    | 'sti'
    | 'clts'
    | 'invd'
    | 'wbinvd'
    | 'rdmsr'
    | 'wrmsr'
    | 'rdpmc'
    | 'rdtsc'
    | 'xsetbv'
    | 'invlpg'
    | 'lgdt'
    | 'lidt'
    | 'lldt'
    | 'ltr'
    | 'lmsw'
    | 'mov-from-cr'
    | 'mov-to-cr'
    | 'mov-from-dr'
    | 'mov-to-dr'
    | 'in'
    | 'out'
    | 'swapgs'
    | 'sysret'
    | 'sysexit'
    | 'iret'
    | 'monitor'
    | 'mwait'
  /** Bytes of the whole instruction: the callee adds it to RIP when it emulates. */
  readonly length: number
  /** General register operand (number), for MOV CR/DR. */
  readonly register?: number
  /** Control or debug register number. */
  readonly special?: number
  /** Operand size in bytes of IN and OUT, which stand for an element of INS and OUTS as well. */
  readonly size?: number
  /** Port, when the instruction names it; otherwise DX. */
  readonly port?: number
  /** IN and OUT: nothing is done, the answer is whether it may be. */
  readonly asks?: boolean
}
