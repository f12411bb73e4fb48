/**
 * The x87: every instruction, with all precision and rounding controls, unmasked exceptions, empty and full stacks, unsupported
 * encodings, 80-bit results, the status word and the tags; environment and state in memory.
 *
 * Results that processors of different makers round differently in the last place (transcendental functions) say so (`ulp`).
 */
import {encode, littleEndian} from '../encode.js'
import type {Generator} from '../generator.js'
import type {Patch} from '../inputs.js'
import {Values} from '../random.js'
import {address, offset} from '../state.js'
import type {Family} from './index.js'

const conditionCodes = 'ignore=C0,C2,C3'
const operations = ['FADD', 'FMUL', 'FCOM', 'FCOMP', 'FSUB', 'FSUBR', 'FDIV', 'FDIVR']

/** Arithmetic and comparison in all operand forms. */
function arithmeticForms(): string {
  return operations
    .map((name, digit) => {
      const ignored = name.startsWith('FCOM') ? '' : conditionCodes
      const byte = (base: number) => (base + digit * 8).toString(16).toUpperCase()
      const stackForms = name.startsWith('FCOM')
        ? `${name} ST,STi | D8 ${byte(0xc0)} +r | weight=2`
        : `
        ${name} ST,STi  | D8 ${byte(0xc0)} +r | weight=4
        ${name} STi,ST  | DC ${byte(0xc0)} +r | weight=3
        ${name}P STi,ST | DE ${byte(0xc0)} +r | weight=3`
      return `
        % fpu control ${ignored}
        ${name} Md | D8 /${digit} | use=single weight=2
        ${name} Mq | DC /${digit} | use=double weight=2
        ${name} Md integer | DA /${digit}
        ${name} Mw integer | DE /${digit}
        ${stackForms}`
    })
    .join('\n')
}

const table = `
  % fpu control ignore=C0,C2,C3
  FLD Md | D9 /0 | use=single weight=2
  FLD Mq | DD /0 | use=double weight=2
  FLD Mt | DB /5 | use=extended align=16 weight=2
  FLD STi | D9 C0 +r
  FST Md  | D9 /2 | weight=3
  FSTP Md | D9 /3 | weight=3
  FST Mq  | DD /2 | weight=3
  FSTP Mq | DD /3 | weight=3
  FSTP Mt | DB /7
  FST STi  | DD D0 +r
  FSTP STi | DD D8 +r
  FXCH STi | D9 C8 +r | weight=2
  FILD Mw | DF /0
  FILD Md | DB /0
  FILD Mq | DF /5
  FIST Mw  | DF /2 | weight=2
  FIST Md  | DB /2 | weight=2
  FISTP Mw | DF /3 | weight=2
  FISTP Md | DB /3 | weight=2
  FISTP Mq | DF /7 | weight=3
  FISTTP Mw | DF /1 | weight=2
  FISTTP Md | DB /1 | weight=2
  FISTTP Mq | DD /1 | weight=3
  FBSTP Mt  | DF /6 | weight=3
  FCMOVB STi   | DA C0 +r
  FCMOVE STi   | DA C8 +r
  FCMOVBE STi  | DA D0 +r
  FCMOVU STi   | DA D8 +r
  FCMOVNB STi  | DB C0 +r
  FCMOVNE STi  | DB C8 +r
  FCMOVNBE STi | DB D0 +r
  FCMOVNU STi  | DB D8 +r
  FCHS | D9 E0 | weight=2
  FABS | D9 E1 | weight=2
  FLD1   | D9 E8
  FLDL2T | D9 E9 | weight=3
  FLDL2E | D9 EA | weight=3
  FLDPI  | D9 EB | weight=3
  FLDLG2 | D9 EC | weight=3
  FLDLN2 | D9 ED | weight=3
  FLDZ   | D9 EE
  FDECSTP | D9 F6
  FINCSTP | D9 F7
  FFREE STi  | DD C0 +r
  FFREEP STi | DF C0 +r
  FXTRACT | D9 F4 | weight=4
  FSQRT   | D9 FA | weight=6
  FRNDINT | D9 FC | weight=6
  FSCALE  | D9 FD | weight=6
  FNCLEX | DB E2 | ignore=C0,C1,C2,C3 weight=2
  FNSTCW Mw | D9 /7 | ignore=C0,C1,C2,C3
  % fpu control
  FCOMPP  | DE D9 | weight=3
  FUCOM STi  | DD E0 +r | weight=3
  FUCOMP STi | DD E8 +r | weight=3
  FUCOMPP | DA E9 | weight=3
  FCOMI STi   | DB F0 +r | weight=3
  FCOMIP STi  | DF F0 +r | weight=3
  FUCOMI STi  | DB E8 +r | weight=3
  FUCOMIP STi | DF E8 +r | weight=3
  FTST | D9 E4 | weight=3
  FXAM | D9 E5 | weight=4
  FPREM  | D9 F8 | weight=8
  FPREM1 | D9 F5 | weight=8
  FNOP | D9 D0 | ignore=C0,C1,C2,C3
  FWAIT | 9B | ignore=C0,C1,C2,C3
  FNINIT | DB E3
  FNSTSW AX | DF E0 | weight=2
  FNSTSW Mw | DD /7
  % fpu control ulp
  F2XM1   | D9 F0 | ignore=C0,C2,C3 weight=5
  # Exact results: not every maker's processor leaves the precision flag alone.
  FYL2X   | D9 F1 | ignore=C0,C2,C3,PE weight=6
  FYL2XP1 | D9 F9 | ignore=C0,C2,C3 weight=5
  FPATAN  | D9 F3 | ignore=C0,C2,C3 weight=6
  FPTAN   | D9 F2 | ignore=C0,C3 weight=5
  FSIN    | D9 FE | ignore=C0,C3 weight=5
  FCOS    | D9 FF | ignore=C0,C3 weight=5
  FSINCOS | D9 FB | ignore=C0,C3 weight=5
`

const memoryAt = (place: number, bits: 64 | 32) =>
  ({displacement: address.dataWindow + place, displacementBytes: 4, addressBits: bits}) as const

const dataWord = (place: number, and: number, or = 0): Patch => ({word: (offset.data + place) >> 2, and, or})

const kinds = {x87: Values.extended, data: Values.integer, control: true} as const

/** Where environments and states are stored in the data window. */
const place = 64

function environments(generator: Generator): void {
  for (const bits of [64, 32] as const) {
    for (const short of [false, true]) {
      const code = (opcode: number, digit: number) =>
        encode({bits, operandPrefix: short, opcode: [opcode], reg: digit, rm: memoryAt(place, bits)}, 0)
      // The stored pointers to the last instruction and operand are not compared.
      const pointers = short ? `data ${place + 6}-${place + 13}` : `data ${place + 12}-${place + 27}`
      generator.add(generator.form('FNSTENV M', [], ['C0', 'C1', 'C2', 'C3', pointers]), {
        bits,
        code: code(0xd9, 6),
        kinds,
        count: 60,
      })
      generator.add(generator.form('FNSAVE M', [], [pointers]), {bits, code: code(0xdd, 6), kinds, count: 60})
      const step = short ? 2 : 4
      const half = (at: number, and: number, or: number): Patch => {
        const shift = at & 2 ? 16 : 0
        return dataWord(at & ~3, ~(~and << shift) | (shift ? 0xffff : 0) | (shift ? 0 : ~0xffff), or << shift)
      }
      for (const control of [0x037f, 0x0f7f, 0x007f, 0x027f, 0x0340]) {
        const patches = [half(place, 0, control), half(place + step, 0x7fff, 0)]
        generator.add(generator.form('FLDENV M'), {bits, code: code(0xd9, 4), patches, kinds, count: 20})
        generator.add(generator.form('FRSTOR M'), {bits, code: code(0xdd, 4), patches, kinds, count: 20})
      }
    }
    const load = encode({bits, opcode: [0xd9], reg: 5, rm: memoryAt(place, bits)}, 0)
    for (const control of [0x037f, 0x0c7f, 0x007f, 0x0a7f, 0x0340, 0x0f40]) {
      generator.add(generator.form('FLDCW Mw', [], ['C0', 'C1', 'C2', 'C3']), {
        bits,
        code: load,
        patches: [dataWord(place, ~0xffff, control)],
        kinds,
        count: 12,
      })
    }
    // FOP, FIP and FDP, and the MXCSR mask, are not compared.
    const image = encode({bits, opcode: [0x0f, 0xae], reg: 0, rm: memoryAt(0, bits)}, 0)
    const all = {...kinds, xmm: Values.integer, mxcsr: true} as const
    generator.add(generator.form('FXSAVE M', [], ['data 6-23', 'data 28-31']), {
      bits,
      code: image,
      kinds: all,
      count: 60,
    })
    const restore = encode({bits, opcode: [0x0f, 0xae], reg: 1, rm: memoryAt(0, bits)}, 0)
    for (const mxcsr of [0xffff, 0x1f80, -1]) {
      const patches = [dataWord(0, 0x7fff0f3f, 0x40), dataWord(24, mxcsr & ~0x20000)]
      generator.add(generator.form('FXRSTOR M'), {bits, code: restore, patches, kinds: all, count: 40})
    }
  }
  const wideSave = encode({bits: 64, rexW: true, opcode: [0x0f, 0xae], reg: 0, rm: memoryAt(0, 64)}, 0)
  const all = {...kinds, xmm: Values.integer, mxcsr: true} as const
  generator.add(generator.form('FXSAVE64 M', [], ['data 6-23', 'data 28-31']), {code: wideSave, kinds: all, count: 60})
  const wideRestore = encode({bits: 64, rexW: true, opcode: [0x0f, 0xae], reg: 1, rm: memoryAt(0, 64)}, 0)
  const patches = [dataWord(0, 0x7fff0f3f, 0x40), dataWord(24, 0xffff)]
  generator.add(generator.form('FXRSTOR64 M'), {code: wideRestore, patches, kinds: all, count: 60})
}

/** FBLD reads any decimal digits; what other digits mean is not defined. */
function decimals(generator: Generator): void {
  const code = encode({bits: 64, opcode: [0xdf], reg: 4, rm: memoryAt(place, 64)}, 0)
  for (const or of [0, 0x88888888, 0x11111111, 0x99999999]) {
    const and = or === 0 ? 0x77777777 : or === 0x11111111 ? 0x66666666 : 0
    const patches = [
      dataWord(place, and, or),
      dataWord(place + 4, 0x77777777, 0),
      dataWord(place + 8, 0xffff8077 | 0, or & 0x11),
    ]
    generator.add(generator.form('FBLD Mt', [], ['C0', 'C2', 'C3']), {code, patches, kinds, count: 50})
  }
}

/** An exception that is not masked is raised by the next instruction that waits. */
function pending(generator: Generator): void {
  const ignored = ['C0', 'C1', 'C2', 'C3']
  for (const [name, bytes] of [
    ['FDIV', [0xd8, 0xf1]],
    ['FSQRT', [0xd9, 0xfa]],
    ['FADD', [0xd8, 0xc1]],
    ['FMULP', [0xde, 0xc9]],
    ['FLD', [0xd9, 0xc2]],
    ['FSTP m32', encode({bits: 64, opcode: [0xd9], reg: 3, rm: memoryAt(place, 64)}, 0)],
    ['FISTP m32', encode({bits: 64, opcode: [0xdb], reg: 3, rm: memoryAt(place, 64)}, 0)],
    ['FBSTP', encode({bits: 64, opcode: [0xdf], reg: 6, rm: memoryAt(place, 64)}, 0)],
    ['FRNDINT', [0xd9, 0xfc]],
    ['FSCALE', [0xd9, 0xfd]],
    ['FCOMPP', [0xde, 0xd9]],
    ['FPREM', [0xd9, 0xf8]],
  ] as const) {
    for (const mask of [0x00, 0x3e, 0x3b, 0x37, 0x2f, 0x1f, 0x20]) {
      for (const [next, tail] of [
        ['FWAIT', [0x9b]],
        ['FLD1', [0xd9, 0xe8]],
        ['PAND', [0x0f, 0xdb, 0xc1]],
      ] as const) {
        if (next !== 'FWAIT' && mask !== 0) continue
        // The sticky flags start clear: set ones whose mask is open would be pending already.
        const control: Patch = {word: offset.fcw >> 2, and: 0x4700_0f40 | 0x3800_0000, or: 0x40 | mask}
        generator.add(generator.form(`${name}; ${next}`, [], ignored), {
          code: [...bytes, ...tail],
          patches: [control],
          kinds,
          count: 30,
        })
      }
    }
  }
  const already: Patch = {word: offset.fcw >> 2, and: 0x7f00_0f40, or: 0x8081_037e}
  for (const [name, code] of [
    ['FWAIT', [0x9b]],
    ['FADD', [0xd8, 0xc1]],
    ['FNSTSW', [0xdf, 0xe0]],
    ['FNCLEX', [0xdb, 0xe2]],
    ['FNINIT', [0xdb, 0xe3]],
    ['EMMS', [0x0f, 0x77]],
    ['PADDB', [0x0f, 0xfc, 0xc1]],
    ['FLDCW', [0xd9, 0x2c, 0x25, ...littleEndian(address.dataWindow, 4)]],
    ['FNSTCW', [0xd9, 0x3c, 0x25, ...littleEndian(address.dataWindow, 4)]],
    ['ADDPS', [0x0f, 0x58, 0xc1]],
    ['CVTPI2PS', [0x0f, 0x2a, 0xc1]],
    ['MOVQ2DQ', [0xf3, 0x0f, 0xd6, 0xc1]],
  ] as const) {
    const form = generator.form(`${name} with an exception pending`, [], ignored)
    generator.add(form, {
      code,
      patches: [already],
      kinds: {...kinds, data: Values.fixed, xmm: Values.integer},
      count: 10,
    })
  }
}

export const x87: Family = {
  name: 'x87',
  density: {registerGroups: 3, memoryGroups: 3, casesPerGroup: 24},
  generate(generator: Generator) {
    generator.table(arithmeticForms())
    generator.table(table)
    environments(generator)
    decimals(generator)
    pending(generator)
  },
}
