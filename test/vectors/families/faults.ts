/**
 * Exceptions: operands in pages that are not there, that may not be written, at addresses that do not exist, across the edge of
 * the last page; misaligned SSE operands; instructions that are undefined, privileged, or wrongly locked.
 *
 * A fault must leave registers and memory as they were. Error codes and CR2 are part of the vectors.
 */
import {encode, type Memory} from '../encode.js'
import type {Generator} from '../generator.js'
import {pinRegister, pinStack} from '../inputs.js'
import {Values} from '../random.js'
import {address} from '../state.js'
import type {Family} from './index.js'

/** Instructions with a memory operand: name, opcode, ModRM.reg (undefined: random), bytes, prefix. */
const accesses: readonly (readonly [string, readonly number[], number | undefined, number, number?])[] = [
  ['MOV Mv,Gv', [0x89], undefined, 8],
  ['MOV Gv,Mv', [0x8b], undefined, 8],
  ['ADD Mv,Gv', [0x01], undefined, 8],
  ['ADD Gv,Mv', [0x03], undefined, 8],
  ['ADD Mv,Ib', [0x83], 0, 8],
  ['INC Mv', [0xff], 0, 8],
  ['XCHG Mv,Gv', [0x87], undefined, 8],
  ['XADD Mv,Gv', [0x0f, 0xc1], undefined, 8],
  ['CMPXCHG Mv,Gv', [0x0f, 0xb1], undefined, 8],
  ['SHL Mv,1', [0xd1], 4, 8],
  ['RCL Mv,1', [0xd1], 2, 8],
  ['NOT Mv', [0xf7], 2, 8],
  ['MUL Mv', [0xf7], 4, 8],
  ['DIV Mv', [0xf7], 6, 8],
  ['SETZ Mb', [0x0f, 0x94], 0, 1],
  ['CMOVZ Gv,Mv', [0x0f, 0x44], undefined, 8],
  ['MOVZX Gv,Mw', [0x0f, 0xb7], undefined, 2],
  ['PUSH Mv', [0xff], 6, 8],
  ['POP Mv', [0x8f], 0, 8],
  ['CALL Mv', [0xff], 2, 8],
  ['JMP Mv', [0xff], 4, 8],
  ['MOVUPS Vx,Mx', [0x0f, 0x10], undefined, 16],
  ['MOVUPS Mx,Vx', [0x0f, 0x11], undefined, 16],
  ['MOVAPS Mx,Vx', [0x0f, 0x29], undefined, 16],
  ['MOVLPS Mq,Vx', [0x0f, 0x13], undefined, 8],
  ['ADDPS Vx,Mx', [0x0f, 0x58], undefined, 16],
  ['PADDB Vx,Mx', [0x0f, 0xfc], undefined, 16, 0x66],
  ['FLD Mt', [0xdb], 5, 10],
  ['FSTP Mt', [0xdb], 7, 10],
  ['FSTP Mq', [0xdd], 3, 8],
  ['FISTP Mw', [0xdf], 3, 2],
  ['FNSTENV M', [0xd9], 6, 28],
]

function places(generator: Generator, bits: 64 | 32, bytes: number): (readonly [string, bigint])[] {
  const list: (readonly [string, bigint])[] = [
    ['not mapped', BigInt(address.unmapped + 16 * generator.random.below(8))],
    ['read-only', BigInt(address.readOnly + 16 * generator.random.below(8))],
  ]
  // Which byte of a long image faults first is each processor's own.
  if (bytes > 1 && bytes <= 16)
    list.push(['across the edge', BigInt(address.unmapped - 1 - generator.random.below(bytes - 1))])
  if (bits === 64) {
    list.push(['non-canonical', 0x1234_5678_9abc_def0n])
    list.push(['half non-canonical', 0x8000_0000_0000n - BigInt(bytes) / 2n])
  }
  return list
}

function memoryFaults(generator: Generator): void {
  const {random} = generator
  for (const bits of [64, 32] as const) {
    for (const [name, opcode, digit, bytes, prefix] of accesses) {
      for (const [where, target] of places(generator, bits, bytes)) {
        // An operand that straddles the end of user space is the kernel's business.
        if (where === 'half non-canonical') continue
        const base = random.pick(bits === 64 ? [3, 6, 9, 14, 5, 4] : [3, 6, 5])
        const usesStack = name.startsWith('PUSH') || name.startsWith('POP') || name.startsWith('CALL')
        if (usesStack && base === 4) continue
        const memory: Memory = {base, displacement: 0, displacementBytes: 1, addressBits: bits}
        const rm = memory
        const reg = digit ?? random.below(8)
        const immediate = name.endsWith('Ib') ? [5] : []
        const code = encode(
          {
            bits,
            prefix,
            rexW: bits === 64 && bytes === 8 && !usesStack && opcode[0] < 0xd8,
            opcode,
            reg,
            rm,
            immediate,
          },
          0,
        )
        const float = opcode[0] >= 0xd8 && opcode[0] <= 0xdf
        generator.add(generator.form(`${name} ${where}`, undefinedAfter(name), float ? floatStatus : []), {
          bits,
          code,
          dataAddress: address.edgeWindow,
          patches: [...(usesStack ? pinStack(bits) : []), ...pinRegister(base, target, bits)],
          kinds: {
            data: Values.integer,
            xmm: Values.integer,
            stack: Values.integer,
            x87: float ? Values.extended : Values.fixed,
          },
          count: 6,
        })
      }
    }
  }
}

/** Status flags undefined where the access succeeds: a read-only page may be read, a small operand may end before the edge. */
function undefinedAfter(name: string): string[] {
  if (name.startsWith('SHL')) return ['AF']
  return name.startsWith('DIV') || name.startsWith('MUL') ? ['CF', 'PF', 'AF', 'ZF', 'SF', 'OF'] : []
}

const floatStatus = ['C0', 'C1', 'C2', 'C3']

function misaligned(generator: Generator): void {
  const table = `
    % align=0 use=integer
    MOVAPS Vx,Mx | NP 0F 28 /r
    MOVAPS Mx,Vx | NP 0F 29 /r
    MOVDQA Vx,Mx | 66 0F 6F /r
    MOVDQA Mx,Vx | 66 0F 7F /r
    MOVNTPS Mx,Vx | NP 0F 2B /r
    MOVNTDQA Vx,Mx | 66 0F 38 2A /r
    ADDPS Vx,Mx | NP 0F 58 /r
    SQRTPD Vx,Mx | 66 0F 51 /r
    PXOR Vx,Mx | 66 0F EF /r
    PSHUFB Vx,Mx | 66 0F 38 00 /r
    AESENC Vx,Mx | 66 0F 38 DC /r
    SHA256MSG1 Vx,Mx | NP 0F 38 CC /r
    CVTDQ2PS Vx,Mx | NP 0F 5B /r
    ADDSUBPD Vx,Mx | 66 0F D0 /r
    PBLENDW Vx,Mx,Ib | 66 0F 3A 0E /r
    CMPXCHG16B Mx | REX.W 0F C7 /1 | only64
    CVTPS2PD Vx,Mq | NP 0F 5A /r
    PMOVSXBW Vx,Mq | 66 0F 38 20 /r
  `
  generator.table(table)
}

/** Stack accesses that fault: the stack segment has its own exception for addresses that do not exist. */
function stackFaults(generator: Generator): void {
  for (const [name, code] of [
    ['PUSH', [0x50]],
    ['POP', [0x59]],
    ['CALL', [0xe8, 0x10, 0, 0, 0]],
    ['RET', [0xc3]],
    ['PUSHF', [0x9c]],
    ['ENTER', [0xc8, 16, 0, 0]],
    ['ENTER 2', [0xc8, 16, 0, 2]],
  ] as const) {
    for (const top of [0x1234_5678_9abc_def0n, BigInt(address.unmapped + 256), BigInt(address.readOnly + 64)]) {
      if (name === 'POP' && top === BigInt(address.readOnly + 64)) continue
      if (name === 'RET' && top === BigInt(address.readOnly + 64)) continue
      generator.add(generator.form(`${name} stack fault`), {
        code,
        patches: [...pinRegister(4, top), ...pinRegister(5, top)],
        count: 6,
      })
    }
  }
  generator.add(generator.form('LEAVE stack fault'), {
    code: [0xc9],
    patches: pinRegister(5, 0x1234_5678_9abc_def0n),
    count: 6,
  })
}

/** Byte sequences in hex: undefined in 64-bit code. */
const undefined64 =
  `0F0B 0FFFC1 0FB9C1 06 07 0E 16 17 1E 1F 27 2F 37 3F 60 61 62C0 82C001 9A0102030405060708 CE D401 D501 D6 EA01020304050607
  F00FAFC1 F001C0 F08903 F03903 F08503 F0FF33 F0F723 F0D123 F00FA303 F090 F00FB6C1 F00FBA2309 F00FBAE101 0F04 0F0A 0F0C 0F24C0 0F26C0
  0F3900 0F3B00 0FC7C9 FEF8 FFF8 8FC8C0 C6C800 660F3AFFC000 0FAEC8 0F00F0`.split(/\s+/)
const undefined32 =
  `0F0B 0FFFC1 0FB9C1 F001C0 F08903 F03903 8DC0 C4C0 C5C0 62C0 0FC7C9 FEF8 FFF8 8EC8 8CF0 0F04 F090`.split(/\s+/)

/** Not for user mode: all raise #GP. */
const privileged =
  `F4 FA FB E410 E510 E610 E710 EC ED EE EF 6C 6D 6E 6F 0F30 0F32 0F06 0F08 0F09 0F011D00000010 0F0115000000100 0F013B 0F0113 0F0133
  0F20C0 0F22C0 0F21C0 0F23C0 0F00D0 0F00D8`.split(/\s+/)

const fromHex = (text: string) => (text.match(/../g) ?? []).map(byte => Number.parseInt(byte, 16))

function undefinedAndPrivileged(generator: Generator): void {
  for (const text of undefined64) undefinedGroup(generator, text, 64)
  for (const text of undefined32) undefinedGroup(generator, text, 32)
  for (const text of privileged) {
    for (const bits of [64, 32] as const) {
      const patches = pinRegister(3, BigInt(address.dataWindow + 64), bits)
      generator.add(generator.form(`privileged ${text}`), {bits, code: fromHex(text), patches, count: 2})
    }
  }
}

function undefinedGroup(generator: Generator, text: string, bits: 64 | 32): void {
  const patches = pinRegister(3, BigInt(address.dataWindow + 64), bits)
  generator.add(generator.form(`undefined ${text}`), {bits, code: fromHex(text), patches, count: 2})
}

/** Code that runs into a page that is not there, and an instruction longer than 15 bytes. */
function fetchFaults(generator: Generator): void {
  const end = address.code + 0x2000
  for (const code of [[0x48, 0xb8, 1, 2, 3], [0x81, 0xc0], [0x0f], [0x66], [0xe8, 0]]) {
    generator.add(generator.form('fetch across the edge'), {code, codeAddress: end - code.length, count: 2})
  }
  const long = [...Array.from({length: 14}, () => 0x66), 0x01, 0xc0]
  generator.add(generator.form('too long'), {code: long, count: 2})
  generator.add(generator.form('longest'), {code: long.slice(1), count: 4})
}

export const faults: Family = {
  name: 'faults',
  density: {registerGroups: 4, memoryGroups: 6, casesPerGroup: 8},
  generate(generator: Generator) {
    memoryFaults(generator)
    misaligned(generator)
    stackFaults(generator)
    undefinedAndPrivileged(generator)
    fetchFaults(generator)
  },
}
