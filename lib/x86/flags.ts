/**
 * The flag formulas, by name. Status flags are lazy: an instruction records what it did (a FlagKind and up to three values, sign-extended
 * to 64 bits) and a flag is computed when somebody reads it. Sign extension keeps the sign bit, the unsigned order and the low
 * byte of every operand size, so one formula serves 8 to 64 bits:
 *
 *   kind      CF                          OF                     AF              ZF SF PF
 *   explicit  bit 0 of A                  bit 11 of A            bit 4 of A      bits 6, 7, 2 of A
 *   result    bit 0 of A                  bit 11 of A            bit 4 of A      from R
 *   logic     0                           0                      0               from R
 *   add adc   carry out of A+B(+c)=R      same signs, R differs  bit 4 of A^B^R  from R
 *   sub sbb   borrow out of A-B(-c)=R     signs differ, R != A   bit 4 of A^B^R  from R
 *   inc       A (kept)                    R = minimum            R & 15 = 0      from R
 *   dec       A (kept)                    R = maximum            R & 15 = 15     from R
 *
 * For inc and dec B holds the most negative (inc) or most positive (dec) value of the size.
 * Source: SDM vol. 1 3.4.3.1.
 */
import type {LinearMemory} from './memory.js'
import {state} from './state.js'

/** How the status flags follow from flagA, flagB, flagR. */
export const FlagKind = {explicit: 0, result: 1, logic: 2, add: 3, sub: 4, inc: 5, dec: 6, adc: 7, sbb: 8} as const
export type FlagKindName = keyof typeof FlagKind

/** The status flags of the vCPU at `base` as RFLAGS bits. */
export function materialiseFlags(memory: LinearMemory, base: number): number {
  const {uint32, int32} = memory
  const at = base >> 2
  const kind = uint32[at + (state.flagKind >> 2)]
  const aLow = uint32[at + (state.flagA >> 2)]
  if (kind === FlagKind.explicit) return aLow & 0x8d5
  const aHigh = int32[at + (state.flagA >> 2) + 1]
  const bLow = uint32[at + (state.flagB >> 2)]
  const bHigh = int32[at + (state.flagB >> 2) + 1]
  const rLow = uint32[at + (state.flagR >> 2)]
  const rHigh = int32[at + (state.flagR >> 2) + 1]
  const zero = (rLow | rHigh) === 0 ? 0x40 : 0
  const sign = rHigh < 0 ? 0x80 : 0
  const common = zero | sign | parity(rLow)
  switch (kind) {
    case FlagKind.result:
      return common | (aLow & 0x811)
    case FlagKind.logic:
      return common
    case FlagKind.add:
    case FlagKind.adc: {
      const carries = (aHigh & bHigh) | ((aHigh | bHigh) & ~rHigh)
      const overflow = (aHigh ^ rHigh) & (bHigh ^ rHigh)
      return common | (carries < 0 ? 1 : 0) | (overflow < 0 ? 0x800 : 0) | ((aLow ^ bLow ^ rLow) & 0x10)
    }
    case FlagKind.sub:
    case FlagKind.sbb: {
      const borrows = (~aHigh & bHigh) | ((~aHigh | bHigh) & rHigh)
      const overflow = (aHigh ^ bHigh) & (aHigh ^ rHigh)
      return common | (borrows < 0 ? 1 : 0) | (overflow < 0 ? 0x800 : 0) | ((aLow ^ bLow ^ rLow) & 0x10)
    }
    default: {
      const overflow = rLow === bLow && rHigh === bHigh ? 0x800 : 0
      const halfCarry = (rLow & 15) === (kind === FlagKind.inc ? 0 : 15) ? 0x10 : 0
      return common | (aLow & 1) | overflow | halfCarry
    }
  }
}

/** PF as an RFLAGS bit: set when the low byte has an even number of ones. */
function parity(value: number): number {
  let byte = value ^ (value >>> 4)
  byte ^= byte >>> 2
  byte ^= byte >>> 1
  return (byte & 1) === 0 ? 4 : 0
}
