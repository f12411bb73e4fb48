/**
 * Hardware breakpoints. While the Platform has one enabled, the guest runs one instruction at a time (vcpu.ts), generated code does not: before
 * each its address is compared, and during it every access to memory is looked at (mmu/access.ts). Systems enable breakpoints for the process
 * that is being debugged only, so nobody else pays.
 *
 * Source: SDM vol. 3B 17.2.4 (DR7), 17.2.5 (addresses), 17.3.1 (order of debug exceptions).
 */

/** One of DR0 to DR3, as DR7 has it. */
export interface Breakpoint {
  /** Bit of DR6 that tells it. */
  readonly bit: number
  /** A multiple of `bytes`. */
  readonly address: bigint
  readonly bytes: number
  readonly kind: 'execute' | 'write' | 'access'
}

/** DR6 bits of the breakpoints at an instruction. */
export function atInstruction(breakpoints: readonly Breakpoint[], rip: bigint): number {
  return breakpoints.reduce(
    (bits, {kind, address, bit}) => (kind === 'execute' && address === rip ? bits | bit : bits),
    0,
  )
}

/** Looks on while an instruction runs. */
export class Watch {
  /** DR6 bits of the breakpoints it met. */
  met = 0

  constructor(private readonly breakpoints: readonly Breakpoint[]) {}

  note(low: number, high: number, bytes: number, isWrite: boolean): void {
    const first = BigInt.asUintN(64, (BigInt(high) << 32n) | BigInt(low >>> 0))
    for (const {kind, address, bytes: length, bit} of this.breakpoints) {
      if (kind === 'execute' || (kind === 'write' && !isWrite)) continue
      if (address < first + BigInt(bytes) && first < address + BigInt(length)) this.met |= bit
    }
  }
}
