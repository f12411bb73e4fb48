/**
 * x87 and the instructions that move whole floating-point states. What they do is in the x87 unit, by opcode byte and ModRM; here are their forms.
 *
 * Source: SDM vol. 1 8, vol. 2A F2XM1 … FYL2XP1, FXSAVE, FXRSTOR, vol. 2B XSAVE, XRSTOR.
 */
import {type Form, form, type Instruction, instruction} from './instruction.js'
import {narrowed} from './moves.js'

const x87 = {feature: 'x87'}
const fxsr = {feature: 'fxsr'}
const xsave = {feature: 'xsave'}
const wide = (name: string): [string, string, string] => [name, name, `${name}64`]

function slow(mnemonic: string, name: string, ...forms: Form[]): Instruction {
  return instruction(mnemonic, {source: `SDM vol. 2 ${mnemonic}`, forms, execute: s => s.system(name)})
}

/** One of the x87 unit's own: forms are encoding and operands, apart from each other by spaces. */
function unit(mnemonic: string, ...forms: string[]): Instruction {
  const parsed = forms.map(text => {
    const [, encoding, operands] = /^(\w\w \S+) ?(.*)$/.exec(text)!
    return form(encoding, ...operands.split(' ').filter(operand => operand !== ''), x87)
  })
  return slow(mnemonic, 'x87', ...parsed)
}

/** Images whose layout follows the operand size. */
function environment(mnemonic: string, encoding: string): Instruction {
  return slow(mnemonic, 'x87', form(encoding, 'M', {...x87, names: narrowed(mnemonic)}))
}

/** ADD and its kin by their digit: of memory (D8 single, DC double, DA and DE integers), to ST, to ST(i), and to ST(i) with a pop. */
const arithmetic = ['ADD', 'MUL', 'SUB', 'SUBR', 'DIV', 'DIVR'].flatMap((name, index) => {
  const digit = index < 2 ? index : index + 2
  // With ST(i) as destination SUB and SUBR, DIV and DIVR swap places.
  const toOther = digit < 2 ? digit : digit ^ 1
  return [
    unit(`F${name}`, `D8 /${digit} Md`, `DC /${digit} Mq`, `D8 /${digit} ST STi`, `DC /${toOther} STi ST`),
    unit(`F${name}P`, `DE /${toOther} STi ST`),
    unit(`FI${name}`, `DA /${digit} Md`, `DE /${digit} Mw`),
  ]
})

const conditions = ['B', 'E', 'BE', 'U'].flatMap((condition, digit) => [
  unit(`FCMOV${condition}`, `DA /${digit} ST STi`),
  unit(`FCMOVN${condition}`, `DB /${digit} ST STi`),
])

/** Without operands: the mnemonics of D9 E0, D9 E1 and so on, and of a few others. */
const plain: [mnemonic: string, encoding: string][] = [
  ['FNOP', 'D9 D0'],
  ['FCHS', 'D9 E0'],
  ['FABS', 'D9 E1'],
  ['FTST', 'D9 E4'],
  ['FXAM', 'D9 E5'],
  ...['FLD1', 'FLDL2T', 'FLDL2E', 'FLDPI', 'FLDLG2', 'FLDLN2', 'FLDZ'].map(rowFrom(0xe8)),
  ...['F2XM1', 'FYL2X', 'FPTAN', 'FPATAN', 'FXTRACT', 'FPREM1', 'FDECSTP', 'FINCSTP'].map(rowFrom(0xf0)),
  ...['FPREM', 'FYL2XP1', 'FSQRT', 'FSINCOS', 'FRNDINT', 'FSCALE', 'FSIN', 'FCOS'].map(rowFrom(0xf8)),
  ['FUCOMPP', 'DA E9'],
  // 8087 and 287 instructions that do nothing now.
  ['FNENI', 'DB E0'],
  ['FNDISI', 'DB E1'],
  ['FNCLEX', 'DB E2'],
  ['FNINIT', 'DB E3'],
  ['FNSETPM', 'DB E4'],
  ['FCOMPP', 'DE D9'],
]

function rowFrom(first: number) {
  return (mnemonic: string, index: number): [string, string] => [
    mnemonic,
    `D9 ${(first + index).toString(16).toUpperCase()}`,
  ]
}

export const x87Instructions: Instruction[] = [
  ...arithmetic,
  ...conditions,
  ...plain.map(([mnemonic, encoding]) => unit(mnemonic, encoding)),
  unit('FCOM', 'D8 /2 Md', 'DC /2 Mq', 'D8 /2 STi'),
  unit('FCOMP', 'D8 /3 Md', 'DC /3 Mq', 'D8 /3 STi'),
  unit('FICOM', 'DA /2 Md', 'DE /2 Mw'),
  unit('FICOMP', 'DA /3 Md', 'DE /3 Mw'),
  unit('FUCOM', 'DD /4 STi'),
  unit('FUCOMP', 'DD /5 STi'),
  unit('FUCOMI', 'DB /5 ST STi'),
  unit('FCOMI', 'DB /6 ST STi'),
  unit('FUCOMIP', 'DF /5 ST STi'),
  unit('FCOMIP', 'DF /6 ST STi'),
  unit('FLD', 'D9 /0 Md', 'DD /0 Mq', 'DB /5 Mt', 'D9 /0 STi'),
  unit('FST', 'D9 /2 Md', 'DD /2 Mq', 'DD /2 STi'),
  unit('FSTP', 'D9 /3 Md', 'DD /3 Mq', 'DB /7 Mt', 'DD /3 STi'),
  unit('FXCH', 'D9 /1 STi'),
  unit('FILD', 'DF /0 Mw', 'DB /0 Md', 'DF /5 Mq'),
  unit('FIST', 'DF /2 Mw', 'DB /2 Md'),
  unit('FISTP', 'DF /3 Mw', 'DB /3 Md', 'DF /7 Mq'),
  unit('FISTTP', 'DF /1 Mw', 'DB /1 Md', 'DD /1 Mq'),
  unit('FBLD', 'DF /4 Mt'),
  unit('FBSTP', 'DF /6 Mt'),
  unit('FFREE', 'DD /0 STi'),
  unit('FFREEP', 'DF /0 STi'),
  // Other encodings of FCOM, FCOMP, FXCH and FSTP that processors know.
  unit('FCOM2', 'DC /2 STi'),
  unit('FCOMP3', 'DC /3 STi'),
  unit('FCOMP5', 'DE /2 STi'),
  unit('FXCH4', 'DD /1 STi'),
  unit('FXCH7', 'DF /1 STi'),
  unit('FSTP1', 'D9 /3 STi'),
  unit('FSTP8', 'DF /2 STi'),
  unit('FSTP9', 'DF /3 STi'),
  environment('FLDENV', 'D9 /4'),
  unit('FLDCW', 'D9 /5 Mw'),
  environment('FNSTENV', 'D9 /6'),
  unit('FNSTCW', 'D9 /7 Mw'),
  environment('FRSTOR', 'DD /4'),
  environment('FNSAVE', 'DD /6'),
  unit('FNSTSW', 'DD /7 Mw', 'DF E0 AX'),
  slow('FWAIT', 'fwait', form('9B', x87)),
  slow('EMMS', 'emms', form('NP 0F 77', x87)),
  slow('FXSAVE', 'fxsave', form('NP 0F AE /0', 'M', {...fxsr, names: wide('FXSAVE')})),
  slow('FXRSTOR', 'fxrstor', form('NP 0F AE /1', 'M', {...fxsr, names: wide('FXRSTOR')})),
  slow('LDMXCSR', 'ldmxcsr', form('NP 0F AE /2', 'Md', {feature: 'sse'})),
  slow('STMXCSR', 'stmxcsr', form('NP 0F AE /3', 'Md', {feature: 'sse'})),
  slow('XSAVE', 'xsave', form('NP 0F AE /4', 'M', {...xsave, names: wide('XSAVE')})),
  slow('XRSTOR', 'xrstor', form('NP 0F AE /5', 'M', {...xsave, names: wide('XRSTOR')})),
]
