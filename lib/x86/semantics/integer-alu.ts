/**
 * ADD ADC SUB SBB CMP AND OR XOR TEST, INC DEC NEG NOT, XADD CMPXCHG CMPXCHG8B/16B, ADCX ADOX.
 *
 * Source: SDM vol. 2.
 */
import type {Builder, Operand, Value} from '../ir/builder.js'
import {carryFlag, setFlagsAdd, setFlagsLogic, setFlagsSome, setFlagsSubtract} from './flag-writers.js'
import {type Form, form, type Instruction, instruction} from './instruction.js'

/** The eight ALU operations share their encodings: base opcode + 0 to 5, and group 1 `80 81 83 /digit`. */
function aluForms(base: number, digit: number, writes: boolean): Form[] {
  const hex = (offset: number) => (base + offset).toString(16).toUpperCase().padStart(2, '0')
  const lock = writes ? {lock: true} : {}
  return [
    form(`${hex(0)} /r`, 'Eb', 'Gb', lock),
    form(`${hex(1)} /r`, 'Ev', 'Gv', lock),
    form(`${hex(2)} /r`, 'Gb', 'Eb'),
    form(`${hex(3)} /r`, 'Gv', 'Ev'),
    form(hex(4), 'AL', 'Ib'),
    form(hex(5), 'rAX', 'Iz'),
    form(`80 /${digit}`, 'Eb', 'Ib', lock),
    form(`81 /${digit}`, 'Ev', 'Iz', lock),
    form(`82 /${digit}`, 'Eb', 'Ib', {...lock, long: 'no'}),
    form(`83 /${digit}`, 'Ev', 'Ibs', lock),
  ]
}

/** The carry as a value of the operands' width. */
function carryIn(s: Builder, bits: number): Value {
  return s.resize({...carryFlag(s), bits: 32}, bits)
}

const add = instruction('ADD', {
  source: 'SDM vol. 2A ADD',
  forms: aluForms(0x00, 0, true),
  execute(s, target, addend) {
    const left = s.read(target)
    const right = s.read(addend)
    const sum = s.add(left, right)
    s.write(target, sum)
    setFlagsAdd(s, left, right, sum)
  },
})

const or = instruction('OR', {
  source: 'SDM vol. 2B OR',
  forms: aluForms(0x08, 1, true),
  undefinedFlags: ['AF'],
  execute: logic('or'),
})

const adc = instruction('ADC', {
  source: 'SDM vol. 2A ADC',
  forms: aluForms(0x10, 2, true),
  execute(s, target, addend) {
    const left = s.read(target)
    const right = s.read(addend)
    const sum = s.add(s.add(left, right), carryIn(s, left.bits))
    s.write(target, sum)
    s.setFlags('adc', left.bits, {a: left, b: right, r: sum})
  },
})

const sbb = instruction('SBB', {
  source: 'SDM vol. 2B SBB',
  forms: aluForms(0x18, 3, true),
  execute(s, target, subtrahend) {
    const left = s.read(target)
    const right = s.read(subtrahend)
    const difference = s.subtract(s.subtract(left, right), carryIn(s, left.bits))
    s.write(target, difference)
    s.setFlags('sbb', left.bits, {a: left, b: right, r: difference})
  },
})

const and = instruction('AND', {
  source: 'SDM vol. 2A AND',
  forms: aluForms(0x20, 4, true),
  undefinedFlags: ['AF'],
  execute: logic('and'),
})

const sub = instruction('SUB', {
  source: 'SDM vol. 2B SUB',
  forms: aluForms(0x28, 5, true),
  execute(s, target, subtrahend) {
    const left = s.read(target)
    const right = s.read(subtrahend)
    const difference = s.subtract(left, right)
    s.write(target, difference)
    setFlagsSubtract(s, left, right, difference)
  },
})

const xor = instruction('XOR', {
  source: 'SDM vol. 2B XOR',
  forms: aluForms(0x30, 6, true),
  undefinedFlags: ['AF'],
  execute: logic('xor'),
})

const cmp = instruction('CMP', {
  source: 'SDM vol. 2A CMP',
  forms: aluForms(0x38, 7, false),
  execute(s, target, subtrahend) {
    const left = s.read(target)
    const right = s.read(subtrahend)
    setFlagsSubtract(s, left, right, s.subtract(left, right))
  },
})

function logic(name: 'and' | 'or' | 'xor') {
  return (s: Builder, target: Operand, other: Operand) => {
    const result = s[name](s.read(target), s.read(other))
    s.write(target, result)
    setFlagsLogic(s, result)
  }
}

const test = instruction('TEST', {
  source: 'SDM vol. 2B TEST',
  forms: [
    form('84 /r', 'Eb', 'Gb'),
    form('85 /r', 'Ev', 'Gv'),
    form('A8', 'AL', 'Ib'),
    form('A9', 'rAX', 'Iz'),
    form('F6 /0', 'Eb', 'Ib'),
    form('F6 /1', 'Eb', 'Ib'),
    form('F7 /0', 'Ev', 'Iz'),
    form('F7 /1', 'Ev', 'Iz'),
  ],
  undefinedFlags: ['AF'],
  execute(s, left, right) {
    setFlagsLogic(s, s.and(s.read(left), s.read(right)))
  },
})

/** INC and DEC keep CF, which travels in A. */
function step(kind: 'inc' | 'dec') {
  return (s: Builder, target: Operand) => {
    const old = s.read(target)
    const {bits} = old
    const one = s.constant(bits, 1)
    const result = kind === 'inc' ? s.add(old, one) : s.subtract(old, one)
    s.write(target, result)
    const smallest = bits === 64 ? -(1n << 63n) : 2 ** (bits - 1)
    const edge = kind === 'inc' ? smallest : bits === 64 ? (1n << 63n) - 1n : 2 ** (bits - 1) - 1
    s.setFlags(kind, bits, {a: carryIn(s, bits), b: s.constant(bits, edge), r: result})
  }
}

const inc = instruction('INC', {
  source: 'SDM vol. 2A INC',
  forms: [form('FE /0', 'Eb', {lock: true}), form('FF /0', 'Ev', {lock: true}), form('40+r', 'Zv', {long: 'no'})],
  execute: step('inc'),
})

const dec = instruction('DEC', {
  source: 'SDM vol. 2A DEC',
  forms: [form('FE /1', 'Eb', {lock: true}), form('FF /1', 'Ev', {lock: true}), form('48+r', 'Zv', {long: 'no'})],
  execute: step('dec'),
})

const neg = instruction('NEG', {
  source: 'SDM vol. 2B NEG',
  forms: [form('F6 /3', 'Eb', {lock: true}), form('F7 /3', 'Ev', {lock: true})],
  execute(s, target) {
    const old = s.read(target)
    const zero = s.constant(old.bits, 0)
    const result = s.subtract(zero, old)
    s.write(target, result)
    setFlagsSubtract(s, zero, old, result)
  },
})

const not = instruction('NOT', {
  source: 'SDM vol. 2B NOT',
  forms: [form('F6 /2', 'Eb', {lock: true}), form('F7 /2', 'Ev', {lock: true})],
  execute(s, target) {
    s.write(target, s.not(s.read(target)))
  },
})

const xadd = instruction('XADD', {
  source: 'SDM vol. 2B XADD',
  forms: [form('0F C0 /r', 'Eb', 'Gb', {lock: true}), form('0F C1 /r', 'Ev', 'Gv', {lock: true})],
  execute(s, target, register) {
    const left = s.read(target)
    const right = s.read(register)
    const sum = s.add(left, right)
    if (target.kind === 'memory') {
      s.write(target, sum)
      s.write(register, left)
    } else {
      s.write(register, left)
      s.write(target, sum)
    }
    setFlagsAdd(s, left, right, sum)
  },
})

const cmpxchg = instruction('CMPXCHG', {
  source: 'SDM vol. 2A CMPXCHG',
  forms: [form('0F B0 /r', 'Eb', 'Gb', {lock: true}), form('0F B1 /r', 'Ev', 'Gv', {lock: true})],
  execute(s, target, source) {
    const old = s.read(target)
    const expected = s.gpr('rax', old.bits)
    const equal = s.equal(old, expected)
    // Memory is written either way, so that a failing exchange faults like a succeeding one; a register only on success.
    if (target.kind === 'memory') s.write(target, s.select(equal, s.read(source), old))
    else s.if(equal, () => s.write(target, s.read(source)))
    s.if(s.isZero(equal), () => s.setGpr('rax', old))
    setFlagsSubtract(s, expected, old, s.subtract(expected, old))
  },
})

const cmpxchgWide = instruction('CMPXCHG8B', {
  source: 'SDM vol. 2A CMPXCHG8B/CMPXCHG16B',
  forms: [form('0F C7 /1', 'Mo', {lock: true, names: ['CMPXCHG8B', 'CMPXCHG8B', 'CMPXCHG16B']})],
  execute(s) {
    s.system(s.variant.operandBits === 64 ? 'cmpxchg16b' : 'cmpxchg8b')
  },
})

/** ADCX and ADOX add through one flag and leave the other five alone. */
function addThrough(mask: number, shift: number) {
  return (s: Builder, target: Operand, source: Operand) => {
    const left = s.read(target)
    const right = s.read(source)
    const bit = s.and(s.shiftRight(s.statusFlags(), s.constant(32, shift)), s.constant(32, 1))
    const partial = s.add(left, right)
    const sum = s.add(partial, s.resize(bit, left.bits))
    const carry = s.or(s.below(partial, left), s.below(sum, partial))
    s.write(target, sum)
    setFlagsSome(s, mask, s.shiftLeft(carry, s.constant(32, shift)))
  }
}

const adcx = instruction('ADCX', {
  source: 'SDM vol. 2A ADCX',
  forms: [form('66 0F 38 F6 /r', 'Gy', 'Ey', {feature: 'adx'})],
  execute: addThrough(1, 0),
})

const adox = instruction('ADOX', {
  source: 'SDM vol. 2A ADOX',
  forms: [form('F3 0F 38 F6 /r', 'Gy', 'Ey', {feature: 'adx'})],
  execute: addThrough(0x800, 11),
})

export const integerAlu: Instruction[] = [
  add,
  or,
  adc,
  sbb,
  and,
  sub,
  xor,
  cmp,
  test,
  inc,
  dec,
  neg,
  not,
  xadd,
  cmpxchg,
  cmpxchgWide,
  adcx,
  adox,
]
