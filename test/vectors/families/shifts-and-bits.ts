/**
 * Shifts, rotates and double shifts with every count, bit tests, bit scans, bit counts, BMI1 and BMI2; multiplication and division
 * with the divide errors.
 *
 * Flags that are undefined for some counts only: groups have a fixed count, so that each can say what holds for it.
 */
import {encode, type Memory, placeMemory} from '../encode.js'
import type {Generator} from '../generator.js'
import {type Patch, pinRegister} from '../inputs.js'
import {Values} from '../random.js'
import {address} from '../state.js'
import type {Family} from './index.js'

const names = ['ROL', 'ROR', 'RCL', 'RCR', 'SHL', 'SHR', 'SAL', 'SAR']

/** Status flags undefined after a shift by `count` (already masked) of an operand of `size` bits. */
function undefinedAfterShift(operation: number, count: number, size: number): string[] {
  if (count === 0) return []
  const overflow = count === 1 ? [] : ['OF']
  if (operation < 4) return overflow
  const carry = count > size && operation !== 7 ? ['CF'] : []
  return ['AF', ...overflow, ...carry]
}

interface Site {
  readonly rm: number | Memory
  readonly patches: readonly Patch[]
  readonly dataAddress: number
  readonly memory: boolean
}

/** A register or a memory operand, in turns. */
function site(generator: Generator, bits: 64 | 32, bytes: number, taken: number[]): Site {
  const {random} = generator
  if (random.below(3) > 0) {
    const registers = bits === 64 ? 16 : 8
    return {rm: random.below(registers), patches: [], dataAddress: address.dataWindow, memory: false}
  }
  const wish = {bits, bytes, align: 0, taken: new Set(taken), allow16: generator.allow16}
  const placed = placeMemory(random, wish)
  return {rm: placed.memory, patches: placed.patches, dataAddress: placed.dataAddress, memory: true}
}

function counts(size: number): number[] {
  const list = Array.from({length: size === 64 ? 64 : 32}, (_, count) => count)
  return [...list, size === 64 ? 64 : 32, 63, 65, 127, 128, 255]
}

function shifts(generator: Generator): void {
  for (let operation = 0; operation < 8; operation++) {
    for (const bits of [64, 32] as const) {
      for (const size of bits === 64 ? [8, 16, 32, 64] : [8, 16, 32]) {
        const emit = (
          opcode: number,
          operands: string,
          count: number,
          immediate: number[],
          patches: Patch[],
          taken: number[],
        ) => {
          const masked = count & (size === 64 ? 63 : 31)
          const form = generator.form(`${names[operation]} ${operands}`, undefinedAfterShift(operation, masked, size))
          const where = site(generator, bits, size / 8, taken)
          const codeAddress = generator.codeAddress()
          const code = encode(
            {
              bits,
              operandPrefix: size === 16,
              rexW: size === 64,
              opcode: [opcode + (size === 8 ? 0 : 1)],
              reg: operation,
              rm: where.rm,
              immediate,
            },
            codeAddress,
          )
          const all = [...patches, ...where.patches]
          const kinds = where.memory ? {data: Values.integer} : {}
          generator.add(form, {bits, code, codeAddress, dataAddress: where.dataAddress, patches: all, kinds, count: 6})
        }
        const operand = size === 8 ? 'Eb' : 'Ev'
        const every = bits === 64 ? counts(size) : [0, 1, 2, 7, 8, 9, 15, 16, 17, 18, 24, 25, 31, 32, 33]
        for (const count of every) {
          emit(0xd2, `${operand},CL`, count, [], pinRegister(1, BigInt(count), 8), [1])
          if (bits === 64 || count % 3 === 0) emit(0xc0, `${operand},Ib`, count, [count], [], [])
        }
        for (let again = 0; again < 6; again++) emit(0xd0, `${operand},1`, 1, [], [], [])
      }
    }
  }
}

function doubleShifts(generator: Generator): void {
  for (const [name, opcode] of [
    ['SHLD', 0xa4],
    ['SHRD', 0xac],
  ] as const) {
    for (const bits of [64, 32] as const) {
      for (const size of bits === 64 ? [16, 32, 64] : [16, 32]) {
        for (const count of counts(size)) {
          const masked = count & (size === 64 ? 63 : 31)
          if (masked > size) continue // result and flags undefined
          const undefinedFlags = masked === 0 ? [] : masked === 1 ? ['AF'] : ['AF', 'OF']
          for (const byRegister of [true, false]) {
            if (bits === 32 && count % 4 !== 1) continue
            const where = site(generator, bits, size / 8, [1])
            const codeAddress = generator.codeAddress()
            const code = encode(
              {
                bits,
                operandPrefix: size === 16,
                rexW: size === 64,
                opcode: [0x0f, opcode + (byRegister ? 1 : 0)],
                reg: generator.random.below(bits === 64 ? 16 : 8),
                rm: where.rm,
                immediate: byRegister ? [] : [count],
              },
              codeAddress,
            )
            const pinned = byRegister ? pinRegister(1, BigInt(count), 8) : []
            generator.add(generator.form(`${name} Ev,Gv,${byRegister ? 'CL' : 'Ib'}`, undefinedFlags), {
              bits,
              code,
              codeAddress,
              dataAddress: where.dataAddress,
              patches: [...pinned, ...where.patches],
              kinds: where.memory ? {data: Values.integer} : {},
              count: 8,
            })
          }
        }
      }
    }
  }
}

/** BT, BTS, BTR, BTC with the bit offset in a register: in memory it reaches beyond the operand, both ways. */
function bitTests(generator: Generator): void {
  const {random} = generator
  for (const [name, opcode] of [
    ['BT', 0xa3],
    ['BTS', 0xab],
    ['BTR', 0xb3],
    ['BTC', 0xbb],
  ] as const) {
    const form = generator.form(`${name} Mv,Gv`, ['OF', 'SF', 'AF', 'PF'])
    for (const bits of [64, 32] as const) {
      for (const size of bits === 64 ? [16, 32, 64] : [16, 32]) {
        for (let again = 0; again < 10; again++) {
          const lock = name !== 'BT' && again === 0
          const reg = [0, 1, 2, 3, 6, 7, ...(bits === 64 ? [8, 9, 13] : [])][random.below(bits === 64 ? 9 : 6)]
          const target = address.dataWindow + 256 + (lock ? 0 : random.below(16))
          const wish = {bits, bytes: size / 8, align: 0, taken: new Set([reg]), target}
          const placed = placeMemory(random, wish)
          // The offset varies over ±512 bits: bits 0–8 stay random, the rest is sign.
          const sign = random.below(2) === 0 ? 0 : -1
          const patches = [...placed.patches, {word: reg * 2, and: 0x1ff, or: sign & ~0x1ff}]
          if (bits === 64) patches.push({word: reg * 2 + 1, and: 0, or: sign})
          const codeAddress = generator.codeAddress()
          const code = encode(
            {bits, lock, operandPrefix: size === 16, rexW: size === 64, opcode: [0x0f, opcode], reg, rm: placed.memory},
            codeAddress,
          )
          generator.add(form, {bits, code, codeAddress, patches, kinds: {data: Values.integer}})
        }
      }
    }
  }
}

const table = `
  BT Rv,Gv  | 0F A3 /r | undef=OF,SF,AF,PF
  BTS Rv,Gv | 0F AB /r | undef=OF,SF,AF,PF
  BTR Rv,Gv | 0F B3 /r | undef=OF,SF,AF,PF
  BTC Rv,Gv | 0F BB /r | undef=OF,SF,AF,PF
  BT Ev,Ib  | 0F BA /4 | undef=OF,SF,AF,PF weight=2
  BTS Ev,Ib | 0F BA /5 | lock undef=OF,SF,AF,PF weight=2
  BTR Ev,Ib | 0F BA /6 | lock undef=OF,SF,AF,PF weight=2
  BTC Ev,Ib | 0F BA /7 | lock undef=OF,SF,AF,PF weight=2
  BSF Gv,Ev | 0F BC /r | undef=CF,OF,SF,AF,PF weight=2
  BSR Gv,Ev | 0F BD /r | undef=CF,OF,SF,AF,PF weight=2
  POPCNT Gv,Ev | F3 0F B8 /r | weight=2
  LZCNT Gv,Ev | F3 0F BD /r | undef=OF,SF,PF,AF weight=2
  TZCNT Gv,Ev | F3 0F BC /r | undef=OF,SF,PF,AF weight=2
  ANDN Gy,By,Ey   | VEX.NP.0F38.Wy F2 /r | undef=AF,PF weight=2
  BEXTR Gy,Ey,By  | VEX.NP.0F38.Wy F7 /r | undef=AF,SF,PF weight=2
  BLSR By,Ey      | VEX.NP.0F38.Wy F3 /1 | undef=AF,PF weight=2
  BLSMSK By,Ey    | VEX.NP.0F38.Wy F3 /2 | undef=AF,PF weight=2
  BLSI By,Ey      | VEX.NP.0F38.Wy F3 /3 | undef=AF,PF weight=2
  BZHI Gy,Ey,By   | VEX.NP.0F38.Wy F5 /r | undef=AF,PF weight=3
  PEXT Gy,By,Ey   | VEX.F3.0F38.Wy F5 /r | weight=2
  PDEP Gy,By,Ey   | VEX.F2.0F38.Wy F5 /r | weight=2
  MULX Gy,By,Ey   | VEX.F2.0F38.Wy F6 /r | weight=2
  SARX Gy,Ey,By   | VEX.F3.0F38.Wy F7 /r | weight=2
  SHLX Gy,Ey,By   | VEX.66.0F38.Wy F7 /r | weight=2
  SHRX Gy,Ey,By   | VEX.F2.0F38.Wy F7 /r | weight=2
  RORX Gy,Ey,Ib   | VEX.F2.0F3A.Wy F0 /r | weight=2
  MUL Eb  | F6 /4 | undef=SF,ZF,AF,PF weight=2
  MUL Ev  | F7 /4 | undef=SF,ZF,AF,PF weight=3
  IMUL Eb | F6 /5 | undef=SF,ZF,AF,PF weight=2
  IMUL Ev | F7 /5 | undef=SF,ZF,AF,PF weight=3
  IMUL Gv,Ev | 0F AF /r | undef=SF,ZF,AF,PF weight=3
  IMUL Gv,Ev,Ib | 6B /r | undef=SF,ZF,AF,PF weight=2
  IMUL Gv,Ev,Iz | 69 /r | undef=SF,ZF,AF,PF weight=2
`

const division = (extra: string) => `
  DIV Eb  | F6 /6 | undef=CF,OF,SF,ZF,AF,PF ${extra}
  DIV Ev  | F7 /6 | undef=CF,OF,SF,ZF,AF,PF ${extra}
  IDIV Eb | F6 /7 | undef=CF,OF,SF,ZF,AF,PF ${extra}
  IDIV Ev | F7 /7 | undef=CF,OF,SF,ZF,AF,PF ${extra}
`

export const shiftsAndBits: Family = {
  name: 'shifts-and-bits',
  density: {registerGroups: 5, memoryGroups: 4, casesPerGroup: 12},
  generate(generator: Generator) {
    shifts(generator)
    doubleShifts(generator)
    bitTests(generator)
    generator.table(table)
    // As it comes most divisions overflow; with small and with negative high parts most do not.
    generator.table(division(''))
    generator.table(division('pin=2:0:64,0:0:8 weight=1'))
    generator.table(division('pin=2:0:64 weight=2'))
    generator.table(division('pin=2:0xffffffffffffffff:64 weight=2'))
    generator.table(division('pin=2:3:64'))
    for (const [rdx, rax] of [
      [-1n, 0x8000000000000000n],
      [-1n, -0x80000000n],
      [-1n, -0x8000n],
      [0n, 0n],
      [1n, 0n],
    ]) {
      const hex = (value: bigint) => BigInt.asUintN(64, value)
      generator.table(division(`pin=2:${hex(rdx)}:64,0:${hex(rax)}:64 weight=0.5`))
    }
  },
}
