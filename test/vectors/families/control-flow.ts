/**
 * Jumps, calls, returns, loops; pushes, pops, stack frames; string instructions with every REP, both directions and both address
 * sizes; XLAT, flags through the stack; address arithmetic with every ModRM and SIB form.
 */
import {encode, littleEndian, type Memory} from '../encode.js'
import {defaultCodeAddress, type Generator, type GroupDraft} from '../generator.js'
import {type Patch, pinRegister, pinStack} from '../inputs.js'
import {Values} from '../random.js'
import {address, offset} from '../state.js'
import type {Family} from './index.js'

const centre = address.dataWindow + 256
/** Words of the stack window, counted in bytes from the top of the stack. */
const stackWord = (bytes: number) => (offset.stack + address.stackTop - address.stackWindow + bytes) >> 2
const dataWord = (byteAddress: number) => (offset.data + byteAddress - address.dataWindow) >> 2
const modes = [64, 32] as const

/** A group on the stack: RSP pinned, the stack window random. */
function onStack(bits: 64 | 32, code: number[], extra: Partial<GroupDraft> = {}): GroupDraft {
  const {patches = [], kinds = {}, ...rest} = extra
  return {bits, code, ...rest, patches: [...pinStack(bits), ...patches], kinds: {stack: Values.integer, ...kinds}}
}

/** Puts a code address where RET or POP finds it. */
const addressOnStack = (target: number, at = 0): Patch[] => [
  {word: stackWord(at), and: 0, or: target},
  {word: stackWord(at) + 1, and: 0, or: 0},
]

function branches(generator: Generator): void {
  const {random} = generator
  const target = address.code + 0x400
  for (const bits of modes) {
    for (let condition = 0; condition < 16; condition++) {
      const form = generator.form(`Jcc ${condition}`)
      generator.add(form, {bits, code: [0x70 + condition, 0x20]})
      generator.add(form, {bits, code: [0x70 + condition, 0x80]})
      generator.add(form, {
        bits,
        code: [0x0f, 0x80 + condition, ...littleEndian(0x345, 4)],
        codeAddress: generator.codeAddress(),
      })
      generator.add(form, {bits, code: [0x2e, 0x0f, 0x80 + condition, ...littleEndian(-0x345, 4)]})
    }
    for (const [name, opcode] of [
      ['LOOPNE', 0xe0],
      ['LOOPE', 0xe1],
      ['LOOP', 0xe2],
      ['JCXZ', 0xe3],
    ] as const) {
      const form = generator.form(`${name} Jb`)
      for (const prefix of [[], [0x67]]) {
        for (const count of [0n, 1n, 2n, 0x10000n, 0x100000000n, 0xffff0000n]) {
          const value = bits === 32 ? BigInt.asUintN(32, count) : count
          generator.add(form, {bits, code: [...prefix, opcode, 0x30], patches: pinRegister(1, value), count: 6})
        }
        generator.add(form, {bits, code: [...prefix, opcode, 0x90]})
      }
    }
    generator.add(generator.form('JMP Jb'), {bits, code: [0xeb, 0x11], count: 3})
    generator.add(generator.form('JMP Jz'), {bits, code: [0xe9, ...littleEndian(-0x234, 4)], count: 3})
    generator.add(generator.form('JMP Jz to nowhere'), {bits, code: [0xe9, ...littleEndian(0x345678, 4)], count: 3})
    generator.add(generator.form('JMP Jz no-execute'), {
      bits,
      code: [0xe9, ...littleEndian(centre - (defaultCodeAddress + 5), 4)],
      count: 3,
    })
    generator.add(generator.form('CALL Jz'), onStack(bits, [0xe8, ...littleEndian(-0x234, 4)]))
    generator.add(generator.form('RET'), onStack(bits, [0xc3], {patches: addressOnStack(target)}))
    generator.add(generator.form('REP RET'), onStack(bits, [0xf3, 0xc3], {patches: addressOnStack(target)}))
    generator.add(generator.form('RET Iw'), onStack(bits, [0xc2, 0x10, 0], {patches: addressOnStack(target)}))
    generator.add(generator.form('RET Iw'), onStack(bits, [0xc2, 0xf0, 0xff], {patches: addressOnStack(target)}))
    for (const [name, digit] of [
      ['CALL', 2],
      ['JMP', 4],
    ] as const) {
      for (let again = 0; again < 12; again++) {
        const register = random.below(bits === 64 ? 16 : 8)
        if (register === 4 && digit === 2) continue
        const code = encode({bits, opcode: [0xff], reg: digit, rm: register}, 0)
        const patches = [...pinStack(bits), ...pinRegister(register, BigInt(target))]
        generator.add(generator.form(`${name} Ev`), {bits, code, patches, kinds: {stack: Values.integer}, count: 4})
        const memory: Memory = {displacement: centre + 8, displacementBytes: 4, addressBits: bits}
        const pins = [
          {word: dataWord(centre + 8), and: 0, or: target},
          {word: dataWord(centre + 12), and: 0, or: 0},
        ]
        const indirect = encode({bits, opcode: [0xff], reg: digit, rm: memory}, 0)
        generator.add(generator.form(`${name} Mv`), onStack(bits, indirect, {patches: pins, count: 4}))
      }
    }
    generator.add(generator.form('JMP Ev non-canonical'), {
      code: [0xff, 0xe0],
      patches: pinRegister(0, 0x1234567890abcdefn),
      count: 3,
    })
  }
}

function stack(generator: Generator): void {
  const {random} = generator
  for (const bits of modes) {
    const registers = bits === 64 ? 16 : 8
    for (const short of [false, true]) {
      const prefix = short ? [0x66] : []
      for (let register = 0; register < registers; register++) {
        const rex = register > 7 ? [0x41] : []
        generator.add(generator.form('PUSH Zv'), onStack(bits, [...prefix, ...rex, 0x50 + (register & 7)], {count: 5}))
        generator.add(generator.form('POP Zv'), onStack(bits, [...prefix, ...rex, 0x58 + (register & 7)], {count: 5}))
        generator.add(
          generator.form('PUSH Ev'),
          onStack(bits, [...prefix, ...rex, 0xff, 0xf0 + (register & 7)], {count: 3}),
        )
        generator.add(
          generator.form('POP Ev'),
          onStack(bits, [...prefix, ...rex, 0x8f, 0xc0 + (register & 7)], {count: 3}),
        )
      }
      for (const displacement of [0, 8, -8, -3]) {
        const memory: Memory = {displacement: centre + displacement, displacementBytes: 4, addressBits: bits}
        for (const [name, opcode, digit] of [
          ['PUSH Mv', 0xff, 6],
          ['POP Mv', 0x8f, 0],
        ] as const) {
          const code = encode({bits, operandPrefix: short, opcode: [opcode], reg: digit, rm: memory}, 0)
          generator.add(generator.form(name), onStack(bits, code, {kinds: {data: Values.integer}, count: 6}))
          // RSP as base: POP computes the address after it has moved RSP.
          const based: Memory = {base: 4, displacement: displacement - 16, displacementBytes: 1, addressBits: bits}
          const relative = encode({bits, operandPrefix: short, opcode: [opcode], reg: digit, rm: based}, 0)
          generator.add(generator.form(name), onStack(bits, relative, {count: 6}))
        }
      }
      for (const value of [0, 1, -1, 127, -128]) {
        generator.add(generator.form('PUSH Ib'), onStack(bits, [...prefix, 0x6a, value & 0xff], {count: 3}))
        const immediate = littleEndian(value * 0x1234567, short ? 2 : 4)
        generator.add(generator.form('PUSH Iz'), onStack(bits, [...prefix, 0x68, ...immediate], {count: 3}))
      }
      generator.add(generator.form('PUSHF'), onStack(bits, [...prefix, 0x9c], {count: 40}))
      // TF and AC stay clear: they would trap at the next instruction.
      const flags = {word: stackWord(0), and: ~0x40100, or: 0}
      generator.add(generator.form('POPF'), onStack(bits, [...prefix, 0x9d], {patches: [flags], count: 80}))
      generator.add(generator.form('LEAVE'), {
        bits,
        code: [...prefix, 0xc9],
        patches: [...pinRegister(5, BigInt(address.stackTop - 40), bits)],
        kinds: {stack: Values.integer},
        count: 20,
      })
      for (let level = 0; level < 34; level += level < 4 ? 1 : 9) {
        for (const size of [0, 8, 33]) {
          // The old frame pointers are read from below RBP: RBP points into the upper part of the window.
          const patches = pinRegister(5, BigInt(address.stackTop + 60), bits)
          generator.add(
            generator.form('ENTER Iw,Ib'),
            onStack(bits, [...prefix, 0xc8, size, 0, level], {patches, count: 5}),
          )
        }
      }
      if (bits === 32) {
        generator.add(generator.form('PUSHA'), onStack(bits, [...prefix, 0x60], {count: 30}))
        generator.add(generator.form('POPA'), onStack(bits, [...prefix, 0x61], {count: 30}))
      }
    }
    for (let again = 0; again < 4; again++) {
      const low = address.stackTop + random.below(100) - 80
      const misaligned = pinRegister(4, BigInt(low), bits)
      generator.add(generator.form('PUSH Zv misaligned'), {
        bits,
        code: [0x50],
        patches: misaligned,
        kinds: {stack: Values.integer},
      })
      generator.add(generator.form('POP Zv misaligned'), {
        bits,
        code: [0x5b],
        patches: misaligned,
        kinds: {stack: Values.integer},
      })
    }
  }
  generator.add(generator.form('BOUND Gd,Mq'), {
    bits: 32,
    code: encode(
      {bits: 32, opcode: [0x62], reg: 3, rm: {displacement: centre, displacementBytes: 4, addressBits: 32}},
      0,
    ),
    kinds: {data: Values.integer},
    count: 60,
  })
  generator.add(generator.form('BOUND Gw,Md'), {
    bits: 32,
    code: encode(
      {
        bits: 32,
        operandPrefix: true,
        opcode: [0x62],
        reg: 1,
        rm: {displacement: centre, displacementBytes: 4, addressBits: 32},
      },
      0,
    ),
    kinds: {data: Values.integer},
    count: 60,
  })
  generator.add(generator.form('INTO'), {bits: 32, code: [0xce], count: 30})
}

const stringOperations = [
  ['MOVS', 0xa4],
  ['CMPS', 0xa6],
  ['STOS', 0xaa],
  ['LODS', 0xac],
  ['SCAS', 0xae],
] as const

/** After a fault in the middle of a repeated compare one maker's processors restore the flags, the other's do not. */
const everyFlag = ['CF', 'PF', 'AF', 'ZF', 'SF', 'OF']

function strings(generator: Generator): void {
  const {random} = generator
  for (const bits of modes) {
    for (const [name, opcode] of stringOperations) {
      for (const size of bits === 64 ? [1, 2, 4, 8] : [1, 2, 4]) {
        for (const repeat of [0, 0xf3, 0xf2]) {
          for (const narrow of [false, true]) {
            if (narrow && bits === 32) continue
            for (let again = 0; again < (repeat ? 5 : 2); again++) {
              const pinned = narrow ? 32 : bits
              const count = repeat ? random.pick([0, 1, 2, 3, 5, 8, 11]) : 0
              const pins: Patch[] = []
              if (repeat) pins.push(...pinRegister(1, BigInt(count), pinned))
              // Twelve elements fit in both directions; sometimes source and target overlap or cross the page boundary.
              const source = centre + random.below(60) - 30
              const target =
                random.below(3) === 0
                  ? source + random.pick([1, -1, size, -size, 2 * size])
                  : centre + random.below(200) - 100
              pins.push(...pinRegister(6, BigInt(source), pinned), ...pinRegister(7, BigInt(target), pinned))
              if ((name === 'CMPS' || name === 'SCAS') && random.below(2) === 0) {
                for (let word = 0; word < 128; word++) {
                  if (random.below(12) > 0) pins.push({word: (offset.data >> 2) + word, and: 0, or: 0x41414141})
                }
                if (name === 'SCAS') pins.push(...pinRegister(0, 0x4141414141414141n, bits))
              }
              const code = [
                ...(narrow ? [0x67] : []),
                ...(size === 2 ? [0x66] : []),
                ...(repeat ? [repeat] : []),
                ...(size === 8 ? [0x48] : []),
                opcode + (size === 1 ? 0 : 1),
              ]
              const title = `${repeat === 0xf3 ? 'REP ' : repeat ? 'REPNE ' : ''}${name}`
              generator.add(generator.form(title), {bits, code, patches: pins, kinds: {data: Values.integer}})
            }
          }
        }
      }
      // The middle of a repeated operation faults: registers tell how far it came.
      const pins = [
        ...pinRegister(1, 5n),
        ...pinRegister(6, BigInt(address.edgeWindow + 64)),
        ...pinRegister(7, BigInt(address.unmapped - 8)),
        {word: offset.rflags >> 2, and: ~0x400, or: 0},
      ]
      if (name === 'CMPS')
        pins.push(...[16, 17, 18, 158, 159].map(word => ({word: (offset.data >> 2) + word, and: 0, or: 0})))
      if (name === 'SCAS')
        pins.push(...[158, 159].map(word => ({word: (offset.data >> 2) + word, and: 0, or: 0})), ...pinRegister(0, 0n))
      if (name !== 'LODS') {
        generator.add(generator.form(`REP ${name} into a hole`, name === 'CMPS' || name === 'SCAS' ? everyFlag : []), {
          bits,
          code: [0xf3, opcode + 1],
          dataAddress: address.edgeWindow,
          patches: pins,
          kinds: {data: Values.integer},
          count: 4,
        })
      }
    }
    for (let again = 0; again < 3; again++) {
      const base = pinRegister(3, BigInt(address.dataWindow + random.below(200)), bits)
      generator.add(generator.form('XLAT'), {bits, code: [0xd7], patches: base, kinds: {data: Values.integer}})
      const wide = [0x67, 0xd7]
      if (bits === 64)
        generator.add(generator.form('XLAT'), {
          bits,
          code: wide,
          patches: pinRegister(3, BigInt(centre), 32),
          kinds: {data: Values.integer},
        })
    }
  }
}

/** LEA reads nothing, so registers need not fit: every ModRM and SIB byte, every address size. */
function addresses(generator: Generator): void {
  const {random} = generator
  const form = generator.form('LEA Gv,M')
  for (const bits of modes) {
    for (let mod = 0; mod < 3; mod++) {
      for (let rm = 0; rm < 8; rm++) {
        for (let sib = 0; sib < (rm === 4 ? 256 : 1); sib++) {
          for (const rexBits of bits === 64 ? [0, 1, 2, 3] : [0]) {
            if (rexBits > 1 && rm !== 4) continue
            const size = random.pick(bits === 64 ? [16, 32, 64, 64] : [16, 32, 32])
            const narrow = random.below(3) === 0 && bits === 64
            const reg = random.below(bits === 64 ? 16 : 8)
            const noBase = (rm === 5 || (rm === 4 && (sib & 7) === 5)) && mod === 0
            const displacementBytes = mod === 1 ? 1 : mod === 2 || noBase ? 4 : 0
            const rex = 0x40 | (size === 64 ? 8 : 0) | (reg > 7 ? 4 : 0) | rexBits
            const code = [
              ...(narrow ? [0x67] : []),
              ...(size === 16 ? [0x66] : []),
              ...(bits === 64 && rex !== 0x40 ? [rex] : []),
              0x8d,
              (mod << 6) | ((reg & 7) << 3) | rm,
              ...(rm === 4 ? [sib] : []),
              ...littleEndian(random.next() >> random.below(25), displacementBytes),
            ]
            generator.add(form, {bits, code, count: 2})
          }
        }
      }
    }
  }
  for (let mod = 0; mod < 3; mod++) {
    for (let rm = 0; rm < 8; rm++) {
      for (const prefix of [[], [0x66]]) {
        const displacementBytes = mod === 1 ? 1 : mod === 2 || rm === 6 ? 2 : 0
        const code = [
          0x67,
          ...prefix,
          0x8d,
          (mod << 6) | (random.below(8) << 3) | rm,
          ...littleEndian(random.next() >> 12, displacementBytes),
        ]
        generator.add(form, {bits: 32, code, count: 6})
      }
    }
  }
}

const exhaustiveMoves = `
  MOV Gv,Mv | 8B /r | weight=30
  MOV Mv,Gv | 89 /r | weight=15
  MOV Gb,Mb | 8A /r | weight=10
  ADD Mv,Gv | 01 /r | weight=12
  ADD Mv,Ib | 83 /0 | weight=6
  MOVZX Gv,Mb | 0F B6 /r | weight=6
`

/** MOV between the accumulator and an address in the instruction. */
function absoluteMoves(generator: Generator): void {
  for (const bits of modes) {
    for (const [name, opcode, bytes] of [
      ['MOV AL,Ob', 0xa0, 1],
      ['MOV rAX,Ov', 0xa1, 4],
      ['MOV Ob,AL', 0xa2, 1],
      ['MOV Ov,rAX', 0xa3, 4],
    ] as const) {
      for (const prefix of bits === 64 && bytes === 4 ? [[], [0x66], [0x48], [0x67]] : [[], [0x66]]) {
        for (let again = 0; again < 3; again++) {
          const target = centre + generator.random.below(200) - 100
          const addressBytes = bits === 32 || prefix[0] === 0x67 ? 4 : 8
          const code = [...prefix, opcode, ...littleEndian(target, addressBytes)]
          generator.add(generator.form(name), {bits, code, kinds: {data: Values.integer}, count: 8})
        }
      }
    }
  }
}

export const controlFlow: Family = {
  name: 'control-flow',
  density: {registerGroups: 3, memoryGroups: 3, casesPerGroup: 10},
  generate(generator: Generator) {
    branches(generator)
    stack(generator)
    strings(generator)
    absoluteMoves(generator)
  },
}

export const addressing: Family = {
  name: 'addressing',
  density: {registerGroups: 3, memoryGroups: 4, casesPerGroup: 6},
  generate(generator: Generator) {
    addresses(generator)
    generator.table(exhaustiveMoves)
  },
}
