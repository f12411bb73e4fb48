/**
 * What a kernel uses: control and debug registers, descriptor tables, MSRs, ports, CPUID, time and random numbers, segment bases. All but
 * the simplest are slow paths; privileged ones ask the Platform when CPL is above 0.
 *
 * Source: SDM vol. 2, vol. 3A 2.8.
 */
import {state} from '../state.js'
import {type Form, type FormOptions, form, type Instruction, instruction} from './instruction.js'

/** A slow path that may move RIP or switch modes. */
function slow(mnemonic: string, name: string, ...forms: Form[]): Instruction {
  return instruction(mnemonic, {source: `SDM vol. 2 ${mnemonic}`, forms, execute: s => s.system(name, true)})
}

/** A slow path after which the next instruction simply follows. */
function plain(mnemonic: string, name: string, ...forms: Form[]): Instruction {
  return instruction(mnemonic, {source: `SDM vol. 2 ${mnemonic}`, forms, execute: s => s.system(name)})
}

const fixed64: FormOptions = {size64: 'forced'}
/** The guest's kernel lets programs use these instructions. */
const cr4Fsgsbase = 1 << 16
const fsgsbase: FormOptions = {feature: 'fsgsbase', long: 'only'}

/** RDFSBASE and its kin; the registers of FS and GS lie side by side in state. */
function segmentBase(mnemonic: string, digit: number, segment: number, writes: boolean): Instruction {
  return instruction(mnemonic, {
    source: `SDM vol. 2B ${mnemonic}`,
    forms: [form(`F3 0F AE /${digit}`, 'Ry', fsgsbase)],
    execute(s, operand) {
      const isEnabled = s.and(s.state('i32.load', state.cr4), s.constant(32, cr4Fsgsbase))
      s.if(s.isZero(isEnabled), () => s.fault(6))
      if (!writes) return s.write(operand, s.resize(s.state('i64.load', state.segmentBase + segment * 8), operand.bits))
      const value = s.hold(s.zeroExtend(s.read(operand), 64))
      const top = s.shiftRightSigned(value, s.constant(64, 47))
      const bad = s.notEqual(s.shiftRightSigned(top, s.constant(64, 1)), top)
      s.if(bad, () => s.fault(13, 0))
      s.setState('i64.store', state.segmentBase + segment * 8, value)
    },
  })
}

const fences = ['E8', 'F0', 'F8'].map((modrm, index) =>
  instruction(['LFENCE', 'MFENCE', 'SFENCE'][index], {
    source: 'SDM vol. 2A LFENCE, MFENCE, 2B SFENCE',
    forms: [form(`NP 0F AE ${modrm}`)],
    execute: () => {},
  }),
)

export const system: Instruction[] = [
  plain('CPUID', 'cpuid', form('0F A2')),
  plain('RDTSC', 'rdtsc', form('0F 31')),
  plain('RDTSCP', 'rdtscp', form('0F 01 F9', {feature: 'rdtscp'})),
  plain('RDRAND', 'rdrand', form('0F C7 /6', 'Rv', {feature: 'rdrand'})),
  plain('RDSEED', 'rdseed', form('0F C7 /7', 'Rv', {feature: 'rdseed'})),
  slow('UD2', 'undefined', form('0F 0B')),
  slow('UD1', 'undefined', form('0F B9 /r', 'Gv', 'Ev')),
  slow('UD0', 'undefined', form('0F FF /r', 'Gv', 'Ev')),
  instruction('CLD', {
    source: 'SDM vol. 2A CLD',
    forms: [form('FC')],
    execute: s =>
      s.setState('i32.store', state.rflags, s.and(s.state('i32.load', state.rflags), s.constant(32, ~0x400))),
  }),
  instruction('STD', {
    source: 'SDM vol. 2B STD',
    forms: [form('FD')],
    execute: s => s.setState('i32.store', state.rflags, s.or(s.state('i32.load', state.rflags), s.constant(32, 0x400))),
  }),
  slow('CLI', 'cli', form('FA')),
  slow('STI', 'sti', form('FB')),
  slow('HLT', 'hlt', form('F4')),
  slow('CLTS', 'clts', form('0F 06')),
  slow('INVD', 'invd', form('0F 08')),
  slow('WBINVD', 'wbinvd', form('0F 09')),
  slow('RDMSR', 'rdmsr', form('0F 32')),
  slow('WRMSR', 'wrmsr', form('0F 30')),
  slow('RDPMC', 'rdpmc', form('0F 33')),
  slow('SYSRET', 'sysret', form('0F 07', {names: ['SYSRETD', 'SYSRETD', 'SYSRETQ']})),
  slow('SYSEXIT', 'sysexit', form('0F 35', {names: ['SYSEXITD', 'SYSEXITD', 'SYSEXITQ']})),
  slow('SWAPGS', 'swapgs', form('0F 01 F8', {long: 'only'})),
  slow('XGETBV', 'xgetbv', form('0F 01 D0', {feature: 'xsave'})),
  slow('XSETBV', 'xsetbv', form('0F 01 D1', {feature: 'xsave'})),
  slow('MONITOR', 'monitor', form('0F 01 C8', {usesAddress: true})),
  slow('MWAIT', 'mwait', form('0F 01 C9')),
  slow('INVLPG', 'invlpg', form('0F 01 /7', 'Mb')),
  slow('LGDT', 'lgdt', form('0F 01 /2', 'M')),
  slow('LIDT', 'lidt', form('0F 01 /3', 'M')),
  slow('LLDT', 'lldt', form('0F 00 /2', 'Ew')),
  slow('LTR', 'ltr', form('0F 00 /3', 'Ew')),
  slow('LMSW', 'lmsw', form('0F 01 /6', 'Ew')),
  slow('SGDT', 'sgdt', form('0F 01 /0', 'M')),
  slow('SIDT', 'sidt', form('0F 01 /1', 'M')),
  slow('SLDT', 'sldt', form('0F 00 /0', 'Mw'), form('0F 00 /0', 'Rv')),
  slow('STR', 'str', form('0F 00 /1', 'Mw'), form('0F 00 /1', 'Rv')),
  slow('SMSW', 'smsw', form('0F 01 /4', 'Mw'), form('0F 01 /4', 'Rv')),
  slow('VERR', 'verr', form('0F 00 /4', 'Ew')),
  slow('VERW', 'verw', form('0F 00 /5', 'Ew')),
  slow('LAR', 'lar', form('0F 02 /r', 'Gv', 'Mw'), form('0F 02 /r', 'Gv', 'Rv')),
  slow('LSL', 'lsl', form('0F 03 /r', 'Gv', 'Mw'), form('0F 03 /r', 'Gv', 'Rv')),
  slow('ARPL', 'arpl', form('63 /r', 'Ew', 'Gw', {long: 'no'})),
  slow('LES', 'les', form('C4 /r', 'Gz', 'Mp', {long: 'no'})),
  slow('LDS', 'lds', form('C5 /r', 'Gz', 'Mp', {long: 'no'})),
  slow('LSS', 'lss', form('0F B2 /r', 'Gv', 'Mp')),
  slow('LFS', 'lfs', form('0F B4 /r', 'Gv', 'Mp')),
  slow('LGS', 'lgs', form('0F B5 /r', 'Gv', 'Mp')),
  slow('MOV from CR', 'mov-from-cr', form('0F 20 /r', 'Ry', 'Cy', fixed64)),
  slow('MOV from DR', 'mov-from-dr', form('0F 21 /r', 'Ry', 'Dy', fixed64)),
  slow('MOV to CR', 'mov-to-cr', form('0F 22 /r', 'Cy', 'Ry', fixed64)),
  slow('MOV to DR', 'mov-to-dr', form('0F 23 /r', 'Dy', 'Ry', fixed64)),
  slow(
    'IN',
    'in',
    form('E4', 'AL', 'Ib', {operandBits: 8}),
    form('E5', 'eAX', 'Ib'),
    form('EC', 'AL', 'DX', {operandBits: 8}),
    form('ED', 'eAX', 'DX'),
  ),
  slow(
    'OUT',
    'out',
    form('E6', 'Ib', 'AL', {operandBits: 8}),
    form('E7', 'Ib', 'eAX'),
    form('EE', 'DX', 'AL', {operandBits: 8}),
    form('EF', 'DX', 'eAX'),
  ),
  slow('INS', 'ins', form('6C', 'Yb', 'DX', {operandBits: 8}), form('6D', 'Yz', 'DX')),
  slow('OUTS', 'outs', form('6E', 'DX', 'Xb', {operandBits: 8}), form('6F', 'DX', 'Xz')),
  instruction('CLFLUSH', {
    source: 'SDM vol. 2A CLFLUSH',
    forms: [form('NP 0F AE /7', 'Mb')],
    // The line must be readable; there is no cache to flush.
    execute(s, operand) {
      s.setState('i32.store8', s.scratch, s.zeroExtend(s.read(operand), 32))
    },
  }),
  ...fences,
  segmentBase('RDFSBASE', 0, 4, false),
  segmentBase('RDGSBASE', 1, 5, false),
  segmentBase('WRFSBASE', 2, 4, true),
  segmentBase('WRGSBASE', 3, 5, true),
]
