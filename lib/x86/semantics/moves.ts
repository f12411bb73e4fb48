/**
 * MOV MOVZX MOVSX MOVSXD LEA XCHG PUSH POP CMOVcc SETcc BSWAP MOVBE CBW CWD XLAT LAHF SAHF and flag moves.
 *
 * Source: SDM vol. 2.
 */
import type {Builder, Operand, Value} from '../ir/builder.js'
import {Rflags} from '../registers.js'
import {state} from '../state.js'
import {setFlagsSome} from './flag-writers.js'
import {type Form, form, type Instruction, instruction} from './instruction.js'

/** Condition suffixes in code order. Source: SDM vol. 2D appendix B, table B-10. */
export const conditionSuffixes = [
  'O',
  'NO',
  'B',
  'AE',
  'E',
  'NE',
  'BE',
  'A',
  'S',
  'NS',
  'P',
  'NP',
  'L',
  'GE',
  'LE',
  'G',
]

/** What assemblers call a MOV with 64 bits of address or immediate. */
const wideMov = ['MOV', 'MOV', 'MOVABS'] as const

const mov = instruction('MOV', {
  source: 'SDM vol. 2B MOV',
  forms: [
    form('88 /r', 'Eb', 'Gb'),
    form('89 /r', 'Ev', 'Gv'),
    form('8A /r', 'Gb', 'Eb'),
    form('8B /r', 'Gv', 'Ev'),
    form('A0', 'AL', 'Ob', {addressNames: wideMov}),
    form('A1', 'rAX', 'Ov', {addressNames: wideMov}),
    form('A2', 'Ob', 'AL', {addressNames: wideMov}),
    form('A3', 'Ov', 'rAX', {addressNames: wideMov}),
    form('B0+r', 'Zb', 'Ib'),
    form('B8+r', 'Zv', 'Iv', {names: wideMov}),
    form('C6 /0', 'Eb', 'Ib'),
    form('C7 /0', 'Ev', 'Iz'),
  ],
  execute(s, target, source) {
    s.write(target, s.read(source))
  },
})

const movnti = instruction('MOVNTI', {
  source: 'SDM vol. 2B MOVNTI',
  forms: [form('0F C3 /r', 'My', 'Gy', {feature: 'sse2'})],
  execute(s, target, source) {
    s.write(target, s.read(source))
  },
})

const movSegment = instruction('MOV', {
  source: 'SDM vol. 2B MOV',
  forms: [form('8C /r', 'Mw', 'Sw'), form('8C /r', 'Rv', 'Sw')],
  execute(s, target, source) {
    s.write(target, s.resize(s.read(source), target.bits))
  },
})

const movToSegment = instruction('MOV', {
  source: 'SDM vol. 2B MOV',
  forms: [form('8E /r', 'Sw', 'Mw'), form('8E /r', 'Sw', 'Rv')],
  execute(s, _target, source) {
    s.setState('i32.store', state.scratch, s.zeroExtend(s.read({...source, bits: 16}), 32))
    s.system('load-segment', true)
  },
})

function extend(kind: 'zeroExtend' | 'signExtend') {
  return (s: Builder, target: Operand, source: Operand) => s.write(target, s[kind](s.read(source), target.bits))
}

const movzx = instruction('MOVZX', {
  source: 'SDM vol. 2B MOVZX',
  forms: [form('0F B6 /r', 'Gv', 'Eb'), form('0F B7 /r', 'Gv', 'Ew')],
  execute: extend('zeroExtend'),
})

const movsx = instruction('MOVSX', {
  source: 'SDM vol. 2B MOVSX/MOVSXD',
  forms: [form('0F BE /r', 'Gv', 'Eb'), form('0F BF /r', 'Gv', 'Ew')],
  execute: extend('signExtend'),
})

const movsxd = instruction('MOVSXD', {
  source: 'SDM vol. 2B MOVSX/MOVSXD',
  forms: [form('63 /r', 'Gv', 'Ez', {long: 'only'})],
  execute: extend('signExtend'),
})

const lea = instruction('LEA', {
  source: 'SDM vol. 2A LEA',
  forms: [form('8D /r', 'Gv', 'M')],
  execute(s, target) {
    s.write(target, s.resize(s.address(false), target.bits))
  },
})

const xchg = instruction('XCHG', {
  source: 'SDM vol. 2B XCHG',
  forms: [form('86 /r', 'Eb', 'Gb', {lock: true}), form('87 /r', 'Ev', 'Gv', {lock: true}), form('90+r', 'Zv', 'rAX')],
  execute(s, left, right) {
    const one = s.read(left)
    const other = s.read(right)
    s.write(left, other)
    s.write(right, one)
  },
})

/** The stack pointer's linear address for an access at RSP + offset. */
export function stackAddress(s: Builder, offset: number): Value {
  const {stackBits} = s
  const top = s.gpr('rsp', stackBits)
  const pointer = offset === 0 ? top : s.add(top, s.constant(stackBits, offset))
  const linear = s.zeroExtend(pointer, 64)
  if (s.long) return linear
  return s.and(s.add(linear, s.state('i64.load', state.segmentBase + 2 * 8)), s.constant(64, 0xffffffffn))
}

/** Moves the stack pointer by a constant. */
export function moveStack(s: Builder, by: number): void {
  s.setGpr('rsp', s.add(s.gpr('rsp', s.stackBits), s.constant(s.stackBits, by)))
}

export function push(s: Builder, value: Value): void {
  const bytes = value.bits / 8
  s.store(value.bits, stackAddress(s, -bytes), value)
  moveStack(s, -bytes)
}

/** Names that say W where no operand shows that there are 16 bits only. */
export const narrowed = (name: string): [string, string, string] => [`${name}W`, name, name]

const pushInstruction = instruction('PUSH', {
  source: 'SDM vol. 2B PUSH',
  forms: [
    form('50+r', 'Zv', {size64: 'default'}),
    form('FF /6', 'Ev', {size64: 'default'}),
    form('68', 'Iz', {size64: 'default', names: narrowed('PUSH')}),
    form('6A', 'Ibs', {size64: 'default', names: narrowed('PUSH')}),
  ],
  execute(s, source) {
    push(s, s.resize(s.read(source), s.variant.operandBits))
  },
})

const pop = instruction('POP', {
  source: 'SDM vol. 2B POP',
  forms: [form('58+r', 'Zv', {size64: 'default'}), form('8F /0', 'Ev', {size64: 'default'})],
  execute(s, target) {
    // With RSP as base the address counts from the moved stack pointer: the slow path sorts that out.
    if (target.kind === 'memory') return s.system('pop-memory')
    const {operandBits} = s.variant
    const value = s.load(operandBits, stackAddress(s, 0))
    moveStack(s, operandBits / 8)
    s.write(target, value)
  },
})

const pushSegment = instruction('PUSH', {
  source: 'SDM vol. 2B PUSH',
  forms: [
    form('06', 'ES', {long: 'no', names: narrowed('PUSH')}),
    form('0E', 'CS', {long: 'no', names: narrowed('PUSH')}),
    form('16', 'SS', {long: 'no', names: narrowed('PUSH')}),
    form('1E', 'DS', {long: 'no', names: narrowed('PUSH')}),
    form('0F A0', 'FS', {size64: 'default', names: narrowed('PUSH')}),
    form('0F A8', 'GS', {size64: 'default', names: narrowed('PUSH')}),
  ],
  execute(s) {
    s.system('push-segment')
  },
})

const popSegment = instruction('POP', {
  source: 'SDM vol. 2B POP',
  forms: [
    form('07', 'ES', {long: 'no', names: narrowed('POP')}),
    form('17', 'SS', {long: 'no', names: narrowed('POP')}),
    form('1F', 'DS', {long: 'no', names: narrowed('POP')}),
    form('0F A1', 'FS', {size64: 'default', names: narrowed('POP')}),
    form('0F A9', 'GS', {size64: 'default', names: narrowed('POP')}),
  ],
  execute(s) {
    s.system('pop-segment', true)
  },
})

const pusha = instruction('PUSHA', {
  source: 'SDM vol. 2B PUSHA/PUSHAD',
  forms: [form('60', {long: 'no', names: narrowed('PUSHA')})],
  execute(s) {
    s.system('pusha')
  },
})

const popa = instruction('POPA', {
  source: 'SDM vol. 2B POPA/POPAD',
  forms: [form('61', {long: 'no', names: narrowed('POPA')})],
  execute(s) {
    s.system('popa')
  },
})

const pushf = instruction('PUSHF', {
  source: 'SDM vol. 2B PUSHF',
  forms: [form('9C', {size64: 'default', names: narrowed('PUSHF')})],
  execute(s) {
    const kept = s.and(s.state('i32.load', state.rflags), s.constant(32, ~(Rflags.rf | Rflags.vm)))
    push(s, s.resize(s.or(kept, s.statusFlags()), s.variant.operandBits))
  },
})

const popf = instruction('POPF', {
  source: 'SDM vol. 2B POPF',
  forms: [form('9D', {size64: 'default', names: narrowed('POPF')})],
  execute(s) {
    s.system('popf', true)
  },
})

const conditional: Instruction[] = conditionSuffixes.flatMap((suffix, code) => {
  const hex = (base: number) => (base + code).toString(16).toUpperCase()
  return [
    instruction(`CMOV${suffix}`, {
      source: 'SDM vol. 2A CMOVcc',
      forms: [form(`0F ${hex(0x40)} /r`, 'Gv', 'Ev')],
      execute(s, target, source) {
        // Memory is read, and a 32-bit target's upper half cleared, whether or not the condition holds.
        const value = s.read(source)
        s.write(target, s.select(s.condition(code), value, s.read(target)))
      },
    }),
    instruction(`SET${suffix}`, {
      source: 'SDM vol. 2B SETcc',
      forms: [form(`0F ${hex(0x90)} /r`, 'Eb')],
      execute(s, target) {
        s.write(target, {...s.condition(code), bits: 8})
      },
    }),
  ]
})

const bswap = instruction('BSWAP', {
  source: 'SDM vol. 2A BSWAP',
  forms: [form('0F C8+r', 'Zv')],
  execute(s, target) {
    s.write(target, swapBytes(s, s.read(target)))
  },
})

/** The value's bytes in opposite order; a 16-bit BSWAP gives 0 as processors do. */
function swapBytes(s: Builder, value: Value): Value {
  if (value.bits === 16) return s.constant(16, 0)
  if (value.bits === 32) {
    const pairs = s.and(s.wasm('i32.rotl', [value, s.constant(32, 8)]), s.constant(32, 0x00ff00ff))
    const others = s.and(s.wasm('i32.rotr', [value, s.constant(32, 8)]), s.constant(32, 0xff00ff00))
    return s.or(pairs, others)
  }
  const low = s.zeroExtend(swapBytes(s, s.narrow(value, 32)), 64)
  const high = s.zeroExtend(swapBytes(s, s.narrow(s.shiftRight(value, s.constant(64, 32)), 32)), 64)
  return s.or(s.shiftLeft(low, s.constant(64, 32)), high)
}

const movbe = instruction('MOVBE', {
  source: 'SDM vol. 2B MOVBE',
  forms: [form('0F 38 F0 /r', 'Gv', 'Mv', {feature: 'movbe'}), form('0F 38 F1 /r', 'Mv', 'Gv', {feature: 'movbe'})],
  execute(s, target, source) {
    const value = s.read(source)
    if (value.bits !== 16) return s.write(target, swapBytes(s, value))
    const low = s.shiftRight(value, s.constant(16, 8))
    s.write(target, s.or(low, s.shiftLeft(value, s.constant(16, 8))))
  },
})

const cbw = instruction('CBW', {
  source: 'SDM vol. 2A CBW/CWDE/CDQE',
  forms: [form('98', {names: ['CBW', 'CWDE', 'CDQE']})],
  execute(s) {
    const {operandBits} = s.variant
    s.setGpr('rax', s.signExtend(s.gpr('rax', operandBits / 2), operandBits))
  },
})

const cwd = instruction('CWD', {
  source: 'SDM vol. 2A CWD/CDQ/CQO',
  forms: [form('99', {names: ['CWD', 'CDQ', 'CQO']})],
  execute(s) {
    const {operandBits} = s.variant
    s.setGpr('rdx', s.shiftRightSigned(s.gpr('rax', operandBits), s.constant(operandBits, operandBits - 1)))
  },
})

const xlat = instruction('XLAT', {
  source: 'SDM vol. 2B XLAT',
  forms: [form('D7', 'Xb')],
  execute(s) {
    const {addressBits} = s.variant
    const address = s.add(s.gpr('rbx', addressBits), s.resize(s.gpr('rax', 8), addressBits))
    s.setGpr('rax', s.load(8, s.add(s.zeroExtend(address, 64), s.address())))
  },
})

const lahf = instruction('LAHF', {
  source: 'SDM vol. 2A LAHF',
  forms: [form('9F')],
  execute(s) {
    const flags = s.or(s.and(s.statusFlags(), s.constant(32, 0xd5)), s.constant(32, 2))
    s.setRegister({fixed: state.gpr + 1}, 8, s.narrow(flags, 8))
  },
})

const sahf = instruction('SAHF', {
  source: 'SDM vol. 2B SAHF',
  forms: [form('9E')],
  execute(s) {
    const high = s.zeroExtend(s.register({fixed: state.gpr + 1}, 8), 32)
    setFlagsSome(s, 0xd5, s.and(high, s.constant(32, 0xd5)))
  },
})

/** Undocumented but present on every processor: AL = CF ? 0xff : 0. */
const salc = instruction('SALC', {
  source: 'AMD APM vol. 3 appendix A (opcode D6)',
  forms: [form('D6', {long: 'no'})],
  execute(s) {
    s.setGpr('rax', s.narrow(s.negate(s.condition(2)), 8))
  },
})

const carryMoves: Form[][] = [[form('F8')], [form('F9')], [form('F5')]]
const [clc, stc, cmc] = carryMoves.map((forms, which) =>
  instruction(['CLC', 'STC', 'CMC'][which], {
    source: 'SDM vol. 2A CLC, 2B STC, 2A CMC',
    forms,
    execute(s) {
      if (which < 2) return setFlagsSome(s, 1, s.constant(32, which))
      s.setFlags('explicit', 32, {a: s.xor(s.statusFlags(), s.constant(32, 1))})
    },
  }),
)

export const moves: Instruction[] = [
  mov,
  movnti,
  movSegment,
  movToSegment,
  movzx,
  movsx,
  movsxd,
  lea,
  xchg,
  pushInstruction,
  pop,
  pushSegment,
  popSegment,
  pusha,
  popa,
  pushf,
  popf,
  ...conditional,
  bswap,
  movbe,
  cbw,
  cwd,
  xlat,
  lahf,
  sahf,
  salc,
  clc,
  stc,
  cmc,
]
