/**
 * The guest's debug registers as Xen keeps them: addresses must not be Xen's, reserved bits read as the manual says, what would need privilege is
 * refused. DR4 and DR5 are other names of DR6 and DR7.
 *
 * Source: SDM vol. 3B 17.2; xen/arch/x86/traps.c (set_debugreg).
 */
import type {Breakpoint} from '../x86/breakpoints.js'
import type {LinearMemory} from '../x86/memory.js'
import {state} from '../x86/state.js'
import type {Vcpu} from '../x86/vcpu.js'
import {field} from './record.js'

const dr6 = {ones: 0xffff0ff0n, zero: 0x1000n}
const dr7 = {ones: 0x400n, zeros: 0xd800n, generalDetect: 0x2000n}
/** R/W fields of DR7 that say "I/O", which needs CR4.DE of a domain with ports. */
const ioAccess = 2n

const indexOf = (register: number) => (field.debug >> 3) + (register === 4 || register === 5 ? register + 2 : register)

/** What they are after a reset. */
export function resetDebug(memory: LinearMemory): void {
  memory.uint64.fill(0n, indexOf(0), indexOf(7) + 1)
  memory.uint64[indexOf(6)] = dr6.ones
  memory.uint64[indexOf(7)] = dr7.ones
}

/** Notes in DR6 what a debug exception comes from. */
export function noteDebug(memory: LinearMemory, status: number): void {
  memory.uint64[indexOf(6)] |= BigInt(status)
}

const none: readonly Breakpoint[] = []
/** By the R/W fields of DR7. */
const kinds = ['execute', 'write', undefined, 'access'] as const
/** By its length fields. */
const lengths = [1, 2, 8, 4]

/** What DR7 enables. */
export function enabledBreakpoints(memory: LinearMemory): readonly Breakpoint[] {
  const control = memory.uint32[indexOf(7) * 2]
  if ((control & 0xff) === 0) return none
  return [0, 1, 2, 3].flatMap(register => {
    const kind = kinds[(control >>> (16 + register * 4)) & 3]
    if (kind === undefined || ((control >>> (register * 2)) & 3) === 0) return []
    const bytes = lengths[(control >>> (18 + register * 4)) & 3]
    const address = readDebug(memory, register) & ~BigInt(bytes - 1)
    return [{bit: 1 << register, address, bytes, kind}]
  })
}

/** Reads DR0 to DR7. */
export function readDebug(memory: LinearMemory, register: number): bigint {
  return memory.uint64[indexOf(register)]
}

/** Writes DR0 to DR7. False: the guest may not have that value there. */
export function writeDebug({memory, base}: Vcpu, register: number, value: bigint): boolean {
  // The run loop is to see what is enabled.
  Atomics.store(memory.int32, (base + state.pending) >> 2, 1)
  const index = indexOf(register)
  if (register < 4) {
    const isGuests = value < 0x800000000000n || value >= 0xffff880000000000n
    if (isGuests) memory.uint64[index] = value
    return isGuests
  }
  if (index === indexOf(6)) {
    memory.uint64[index] = (value & 0xffffffffn & ~dr6.zero) | dr6.ones
    return true
  }
  if ((value & dr7.generalDetect) !== 0n) return false
  for (let at = 16n; at < 32n; at += 4n) if (((value >> at) & 3n) === ioAccess) return false
  memory.uint64[index] = (value & 0xffffffffn & ~dr7.zeros) | dr7.ones
  return true
}
