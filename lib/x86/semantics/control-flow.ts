/**
 * JMP Jcc CALL RET LOOP JRCXZ, ENTER LEAVE, NOP, and the far transfers (slow paths).
 *
 * Source: SDM vol. 2.
 */
import type {Builder, Operand, Value} from '../ir/builder.js'
import {state} from '../state.js'
import {type FormOptions, form, type Instruction, instruction} from './instruction.js'
import {conditionSuffixes, moveStack, narrowed, push, stackAddress} from './moves.js'

const near: FormOptions = {size64: 'forced'}
const counted: FormOptions = {...near, usesAddress: true}

/** A computed branch target; in 64-bit code it must be canonical. */
function target(s: Builder, value: Value): Value {
  const to = s.hold(s.zeroExtend(s.resize(value, s.variant.operandBits), 64))
  if (s.long) {
    const top = s.add(s.shiftRightSigned(to, s.constant(64, 47)), s.constant(64, 1))
    s.if(s.below(s.constant(64, 1), top), () => s.fault(13, 0))
  }
  return to
}

const jmp = instruction('JMP', {
  source: 'SDM vol. 2A JMP',
  forms: [form('E9', 'Jz', {...near, names: narrowed('JMP')}), form('EB', 'Jb', near)],
  execute(s, destination) {
    s.jump(s.read({...destination, bits: 64}))
  },
})

const jmpIndirect = instruction('JMP', {
  source: 'SDM vol. 2A JMP',
  forms: [form('FF /4', 'Ev', near)],
  execute(s, destination) {
    s.jump(target(s, s.read(destination)))
  },
})

const call = instruction('CALL', {
  source: 'SDM vol. 2A CALL',
  forms: [form('E8', 'Jz', {...near, names: narrowed('CALL')})],
  execute(s, destination) {
    push(s, s.resize(s.nextRip(), s.variant.operandBits))
    s.jump(s.read({...destination, bits: 64}), {call: true})
  },
})

const callIndirect = instruction('CALL', {
  source: 'SDM vol. 2A CALL',
  forms: [form('FF /2', 'Ev', near)],
  execute(s, destination) {
    const to = s.hold(target(s, s.read(destination)))
    push(s, s.resize(s.nextRip(), s.variant.operandBits))
    s.jump(to, {call: true})
  },
})

const ret = instruction('RET', {
  source: 'SDM vol. 2B RET',
  forms: [form('C3', {...near, names: narrowed('RET')}), form('C2', 'Iw', {...near, names: narrowed('RET')})],
  execute(s, extra?: Operand) {
    const {operandBits} = s.variant
    const to = s.load(operandBits, stackAddress(s, 0))
    const destination = target(s, to)
    if (extra === undefined) moveStack(s, operandBits / 8)
    else {
      const pop = s.add(s.resize(s.read(extra), s.stackBits), s.constant(s.stackBits, operandBits / 8))
      s.setGpr('rsp', s.add(s.gpr('rsp', s.stackBits), pop))
    }
    s.jump(destination, {return: true})
  },
})

const conditionalJumps: Instruction[] = conditionSuffixes.map((suffix, code) =>
  instruction(`J${suffix}`, {
    source: 'SDM vol. 2A Jcc',
    forms: [
      form((0x70 + code).toString(16).toUpperCase(), 'Jb', near),
      form(`0F ${(0x80 + code).toString(16).toUpperCase()}`, 'Jz', near),
    ],
    execute: s => s.branch(s.condition(code)),
  }),
)

/** LOOP counts rCX of the address size down; LOOPE and LOOPNE also look at ZF. */
function loop(zeroFlag: boolean | undefined) {
  return (s: Builder) => {
    const bits = s.variant.addressBits
    const count = s.hold(s.subtract(s.gpr('rcx', bits), s.constant(bits, 1)))
    const more = s.notEqual(count, s.constant(bits, 0))
    const condition = zeroFlag === undefined ? more : s.and(more, s.condition(zeroFlag ? 4 : 5))
    const held = s.hold(condition)
    s.setGpr('rcx', count)
    s.branch(held)
  }
}

const loops: Instruction[] = [
  instruction('LOOPNE', {source: 'SDM vol. 2A LOOP/LOOPcc', forms: [form('E0', 'Jb', counted)], execute: loop(false)}),
  instruction('LOOPE', {source: 'SDM vol. 2A LOOP/LOOPcc', forms: [form('E1', 'Jb', counted)], execute: loop(true)}),
  instruction('LOOP', {
    source: 'SDM vol. 2A LOOP/LOOPcc',
    forms: [form('E2', 'Jb', counted)],
    execute: loop(undefined),
  }),
  instruction('JRCXZ', {
    source: 'SDM vol. 2A Jcc',
    forms: [form('E3', 'Jb', {...counted, addressNames: ['JCXZ', 'JECXZ', 'JRCXZ']})],
    execute: s => s.branch(s.isZero(s.gpr('rcx', s.variant.addressBits))),
  }),
]

const leave = instruction('LEAVE', {
  source: 'SDM vol. 2A ENTER, LEAVE',
  forms: [form('C9', {size64: 'default', names: narrowed('LEAVE')})],
  execute(s) {
    const {operandBits} = s.variant
    const {stackBits} = s
    const frame = s.gpr('rbp', stackBits)
    let address = s.zeroExtend(frame, 64)
    if (!s.long)
      address = s.and(s.add(address, s.state('i64.load', state.segmentBase + 16)), s.constant(64, 0xffffffffn))
    const saved = s.load(operandBits, address)
    s.setGpr('rsp', s.add(s.gpr('rbp', stackBits), s.constant(stackBits, operandBits / 8)))
    s.setGpr('rbp', saved)
  },
})

const nothing = (): void => {}

/** Instructions that change nothing a program can see. */
const hints: Instruction[] = [
  instruction('NOP', {
    source: 'SDM vol. 2B NOP',
    forms: [form('90'), form('0F 1F /0', 'Ev'), form('0F 1F /r', 'Ev')],
    execute: nothing,
  }),
  instruction('PAUSE', {source: 'SDM vol. 2B PAUSE', forms: [form('F3 90')], execute: nothing}),
  ...['PREFETCHNTA', 'PREFETCHT0', 'PREFETCHT1', 'PREFETCHT2'].map((mnemonic, digit) =>
    instruction(mnemonic, {
      source: 'SDM vol. 2B PREFETCHh',
      forms: [form(`0F 18 /${digit}`, 'Mb')],
      execute: nothing,
    }),
  ),
  instruction('PREFETCHW', {source: 'SDM vol. 2B PREFETCHW', forms: [form('0F 0D /1', 'Mb')], execute: nothing}),
  instruction('PREFETCH', {source: 'AMD APM vol. 3 PREFETCHlevel', forms: [form('0F 0D /r', 'Mb')], execute: nothing}),
  instruction('ENDBR64', {source: 'SDM vol. 2A ENDBR64', forms: [form('F3 0F 1E FA')], execute: nothing}),
  instruction('ENDBR32', {source: 'SDM vol. 2A ENDBR32', forms: [form('F3 0F 1E FB')], execute: nothing}),
  ...['18', '19', '1A', '1B', '1C', '1D', '1E'].map(encoding =>
    instruction('NOP', {
      source: 'SDM vol. 2D table A-3, reserved NOPs',
      forms: [form(`0F ${encoding} /r`, 'Ev')],
      execute: nothing,
    }),
  ),
]

const farReturn = ['RETFW', 'RETF', 'RETFQ'] as const

/** Far transfers and other block ends that only the slow paths know. */
function slow(mnemonic: string, source: string, name: string, ...forms: ReturnType<typeof form>[]): Instruction {
  return instruction(mnemonic, {source, forms, execute: s => s.system(name, true)})
}

export const controlFlow: Instruction[] = [
  jmp,
  jmpIndirect,
  call,
  callIndirect,
  ret,
  ...conditionalJumps,
  ...loops,
  leave,
  ...hints,
  slow('ENTER', 'SDM vol. 2A ENTER', 'enter', form('C8', 'Iw', 'Ib', {size64: 'default', names: narrowed('ENTER')})),
  slow('RETF', 'SDM vol. 2B RET', 'far-return', form('CB', {names: farReturn}), form('CA', 'Iw', {names: farReturn})),
  slow('JMP far', 'SDM vol. 2A JMP', 'far-jump', form('EA', 'Ap', {long: 'no'}), form('FF /5', 'Mp')),
  slow('CALL far', 'SDM vol. 2A CALL', 'far-call', form('9A', 'Ap', {long: 'no'}), form('FF /3', 'Mp')),
  slow('IRET', 'SDM vol. 2A IRET/IRETD/IRETQ', 'iret', form('CF', {names: ['IRETW', 'IRET', 'IRETQ']})),
  slow('INT3', 'SDM vol. 2A INT n/INTO/INT3', 'int3', form('CC')),
  slow('INT', 'SDM vol. 2A INT n/INTO/INT3', 'int', form('CD', 'Ib')),
  slow('INTO', 'SDM vol. 2A INT n/INTO/INT3', 'into', form('CE', {long: 'no'})),
  slow('BOUND', 'SDM vol. 2A BOUND', 'bound', form('62 /r', 'Gv', 'Ma', {long: 'no'})),
  slow('SYSCALL', 'SDM vol. 2B SYSCALL', 'syscall', form('0F 05')),
  slow('SYSENTER', 'SDM vol. 2B SYSENTER', 'sysenter', form('0F 34')),
]
