/**
 * What user code can do with the system side of the processor: segment registers and far transfers between 64-bit and compatibility
 * mode, FS and GS bases, XSAVE and XRSTOR; and prefixes in places where they mean nothing or something else.
 */
import {encode, littleEndian} from '../encode.js'
import type {Generator} from '../generator.js'
import {type Patch, pinRegister, pinStack} from '../inputs.js'
import {Values} from '../random.js'
import {address, offset} from '../state.js'
import type {Family} from './index.js'

const target = address.code + 0x400
const dataWord = (place: number, value: number, and = 0): Patch => ({word: (offset.data + place) >> 2, and, or: value})
const stackWord = (place: number, value: number): Patch => ({
  word: (offset.stack + address.stackTop - address.stackWindow + place) >> 2,
  and: 0,
  or: value,
})
const at = (place: number, bits: 64 | 32) =>
  ({displacement: address.dataWindow + place, displacementBytes: 4, addressBits: bits}) as const

/** Flat segments that a user process has: 64-bit code, 32-bit code, data. */
const code64 = 0x33
const code32 = 0x23
const data = 0x2b

function segments(generator: Generator): void {
  for (const bits of [64, 32] as const) {
    for (const [name, segment] of [
      ['ES', 0],
      ['CS', 1],
      ['SS', 2],
      ['DS', 3],
      ['FS', 4],
      ['GS', 5],
    ] as const) {
      for (const prefix of [[], [0x66], ...(bits === 64 ? [[0x48]] : [])]) {
        generator.add(generator.form('MOV Rv,Sw'), {bits, code: [...prefix, 0x8c, 0xc2 | (segment << 3)], count: 3})
      }
      const store = encode({bits, opcode: [0x8c], reg: segment, rm: at(64, bits)}, 0)
      generator.add(generator.form('MOV Mw,Sw'), {bits, code: store, kinds: {data: Values.integer}, count: 3})
      if (name === 'CS') {
        generator.add(generator.form('MOV CS,Ew'), {
          bits,
          code: [0x8e, 0xc8],
          patches: pinRegister(0, BigInt(data), 16),
          count: 2,
        })
        continue
      }
      const selectors = name === 'SS' ? [data, 0] : name === 'DS' || name === 'ES' ? [data, 0, code32] : [0]
      for (const selector of selectors) {
        // Null selectors with RPL 3 are left out: the way back through the kernel makes them 0.
        const patches = pinRegister(0, BigInt(selector), 16)
        const form = generator.form(`MOV ${name},Ew`)
        generator.add(form, {bits, code: [0x8e, 0xc0 | (segment << 3)], patches, count: 3})
        const load = encode({bits, opcode: [0x8e], reg: segment, rm: at(64, bits)}, 0)
        generator.add(form, {bits, code: load, patches: [dataWord(64, selector)], count: 2})
      }
    }
    const pushes =
      bits === 64
        ? [
            [0x0f, 0xa0],
            [0x0f, 0xa8],
          ]
        : [[0x06], [0x0e], [0x16], [0x1e], [0x0f, 0xa0], [0x0f, 0xa8]]
    for (const code of pushes) {
      // Some processors write two bytes of the four, others four: the stack holds zeros.
      generator.add(generator.form('PUSH Sw'), {bits, code, patches: pinStack(bits), count: 3})
      generator.add(generator.form('PUSH Sw'), {bits, code: [0x66, ...code], patches: pinStack(bits), count: 3})
    }
    const pops =
      bits === 64
        ? [
            [0x0f, 0xa1],
            [0x0f, 0xa9],
          ]
        : [[0x07], [0x1f], [0x0f, 0xa1], [0x0f, 0xa9]]
    for (const code of pops) {
      const selector = code.length === 1 ? data : 0
      const patches = [...pinStack(bits), stackWord(0, selector)]
      generator.add(generator.form('POP Sw'), {bits, code, patches, count: 3})
      generator.add(generator.form('POP Sw'), {bits, code: [0x66, ...code], patches, count: 3})
    }
    for (const [name, opcode] of [
      ['LAR', 0x02],
      ['LSL', 0x03],
    ] as const) {
      for (const selector of [code64, code32, data, 0, 3]) {
        for (const prefix of [[], [0x66], ...(bits === 64 ? [[0x48]] : [])]) {
          const patches = pinRegister(0, BigInt(selector), 16)
          generator.add(generator.form(`${name} Gv,Ew`), {
            bits,
            code: [...prefix, 0x0f, opcode, 0xd0],
            patches,
            count: 4,
          })
        }
      }
    }
    for (const [name, modrm] of [
      ['VERR', 0xe0],
      ['VERW', 0xe8],
    ] as const) {
      for (const selector of [code64, code32, data, 0, 3]) {
        generator.add(generator.form(`${name} Ew`), {
          bits,
          code: [0x0f, 0x00, modrm],
          patches: pinRegister(0, BigInt(selector), 16),
          count: 3,
        })
      }
    }
  }
}

function farTransfers(generator: Generator): void {
  for (const bits of [64, 32] as const) {
    for (const selector of [code64, code32]) {
      const pointer = [dataWord(64, target), dataWord(68, selector, ~0xffff)]
      const jump = encode({bits, opcode: [0xff], reg: 5, rm: at(64, bits)}, 0)
      generator.add(generator.form('JMP Mp'), {
        bits,
        code: jump,
        patches: [...pinStack(bits), ...pointer],
        kinds: {data: Values.integer},
        count: 3,
      })
      const call = encode({bits, opcode: [0xff], reg: 3, rm: at(64, bits)}, 0)
      generator.add(generator.form('CALL Mp'), {
        bits,
        code: call,
        patches: [...pinStack(bits), ...pointer],
        kinds: {data: Values.integer},
        count: 3,
      })
      if (bits === 32) {
        const direct = [...littleEndian(target, 4), selector, 0]
        generator.add(generator.form('JMP Ap'), {bits, code: [0xea, ...direct], count: 3})
        generator.add(generator.form('CALL Ap'), {bits, code: [0x9a, ...direct], patches: pinStack(bits), count: 3})
      }
      for (const wide of bits === 64 ? [true, false] : [false]) {
        const step = wide ? 8 : 4
        const prefix = wide ? [0x48] : []
        const frame = [
          stackWord(0, target),
          ...(wide ? [stackWord(4, 0), stackWord(12, 0)] : []),
          stackWord(step, selector),
        ]
        const patches = [...pinStack(bits), ...frame]
        generator.add(generator.form('RETF'), {bits, code: [...prefix, 0xcb], patches, count: 3})
        generator.add(generator.form('RETF Iw'), {bits, code: [...prefix, 0xca, 16, 0], patches, count: 3})
        const flags = stackWord(step * 2, 0x246)
        const rest = [stackWord(step * 3, address.stackTop - 64), stackWord(step * 4, data)]
        const high = wide ? [stackWord(20, 0), stackWord(28, 0), stackWord(36, 0)] : []
        // 64-bit code always returns with a new stack; 32-bit code to the same ring keeps its own.
        generator.add(generator.form('IRET'), {
          bits,
          code: [...prefix, 0xcf],
          patches: [...patches, flags, ...rest, ...high],
          count: 3,
        })
      }
    }
    const nowhere = [dataWord(64, target), dataWord(68, 0, ~0xffff)]
    const jump = encode({bits, opcode: [0xff], reg: 5, rm: at(64, bits)}, 0)
    generator.add(generator.form('JMP Mp null selector'), {bits, code: jump, patches: nowhere, count: 2})
    generator.add(generator.form('JMP Mp data selector'), {
      bits,
      code: jump,
      patches: [dataWord(64, target), dataWord(68, data, ~0xffff)],
      count: 2,
    })
  }
}

const bases = [0n, 0x10000f00n, 0x7fff_ffff_f000n, 0xffff_8000_0000_0000n, 0x1234_5678_9abc_def0n, 0xffff_ffffn]

/** Words of a base register in the state. */
function pinBase(place: number, value: bigint): Patch[] {
  return [
    {word: place >> 2, and: 0, or: Number(value & 0xffffffffn) | 0},
    {word: (place >> 2) + 1, and: 0, or: Number(value >> 32n) | 0},
  ]
}

function segmentBases(generator: Generator): void {
  for (const rex of [[], [0x48], [0x49]]) {
    for (const base of bases) {
      const register = rex[0] === 0x49 ? 10 : 2
      for (const [name, modrm] of [
        ['WRFSBASE', 0xd2],
        ['WRGSBASE', 0xda],
      ] as const) {
        const code = [0xf3, ...rex, 0x0f, 0xae, modrm]
        generator.add(generator.form(`${name} Ry`), {code, patches: pinRegister(register, base), count: 3})
      }
      // Reads of what a non-canonical base would be make no sense: it cannot be loaded.
      if (base === 0x1234_5678_9abc_def0n) continue
      for (const [name, modrm, place] of [
        ['RDFSBASE', 0xc2, offset.fsBase],
        ['RDGSBASE', 0xca, offset.gsBase],
      ] as const) {
        const code = [0xf3, ...rex, 0x0f, 0xae, modrm]
        generator.add(generator.form(`${name} Ry`), {code, patches: pinBase(place, base), count: 3})
      }
    }
  }
  for (const [segment, place] of [
    [0x64, offset.fsBase],
    [0x65, offset.gsBase],
  ] as const) {
    for (const code of [[0xac], [0x48, 0xad], [0xa4], [0xf3, 0xa4], [0x48, 0xa7], [0x67, 0xad]]) {
      const patches = [
        ...pinBase(place, BigInt(address.dataWindow)),
        ...pinRegister(6, 0x60n),
        ...pinRegister(7, BigInt(address.dataWindow + 300)),
        ...pinRegister(1, 7n),
      ]
      generator.add(generator.form('string with a segment base'), {
        code: [segment, ...code],
        patches,
        kinds: {data: Values.integer},
        count: 6,
      })
    }
    const lea = [segment, 0x48, 0x8d, 0x44, 0x8b, 0x10]
    generator.add(generator.form('LEA with a segment base'), {code: lea, patches: pinBase(place, 0x10000n), count: 4})
    const negative = [...pinBase(place, 0x10001000n), ...pinRegister(3, -0x40n & 0xffff_ffff_ffff_ffffn)]
    const load = [segment, 0x48, 0x8b, 0x03]
    generator.add(generator.form('MOV with a negative offset'), {
      code: load,
      patches: negative,
      kinds: {data: Values.integer},
      count: 6,
    })
    const narrow = [segment, 0x67, 0x48, 0x8b, 0x03]
    generator.add(generator.form('MOV with a 32-bit offset'), {
      code: narrow,
      patches: [...pinBase(place, 0x10000f00n), ...pinRegister(3, 0x77n, 32)],
      kinds: {data: Values.integer},
      count: 6,
    })
  }
}

const everything = {x87: Values.extended, xmm: Values.single, data: Values.integer, mxcsr: true, control: true} as const

/** XSAVE and XRSTOR of the x87 and SSE parts, in the components that EDX:EAX names. */
function extendedState(generator: Generator): void {
  // Bytes 6–23: pointers of the x87. 28–31: MXCSR_MASK. 512: which parts were not in their initial state is up to the processor.
  const ignored = ['data 6-23', 'data 28-31']
  for (const bits of [64, 32] as const) {
    for (const wide of bits === 64 ? [false, true] : [false]) {
      for (const components of [0, 1, 2, 3]) {
        const request = [...pinRegister(0, BigInt(components), bits), ...pinRegister(2, 0n, bits)]
        const save = encode({bits, rexW: wide, opcode: [0x0f, 0xae], reg: 4, rm: at(0, bits)}, 0)
        generator.add(generator.form('XSAVE M', [], ignored), {
          bits,
          code: save,
          patches: request,
          kinds: everything,
          count: 8,
        })
        const restore = encode({bits, rexW: wide, opcode: [0x0f, 0xae], reg: 5, rm: at(0, bits)}, 0)
        for (const present of [0, 1, 2, 3]) {
          const header = Array.from({length: 16}, (_, word) => dataWord(512 + word * 4, word === 0 ? present : 0))
          const patches = [...request, ...header, dataWord(0, 0x40, 0x7fff0f3f), dataWord(24, 0, 0xffff)]
          generator.add(generator.form('XRSTOR M'), {bits, code: restore, patches, kinds: everything, count: 5})
        }
      }
    }
    const restore = encode({bits, opcode: [0x0f, 0xae], reg: 5, rm: at(0, bits)}, 0)
    const request = [...pinRegister(0, 3n, bits), ...pinRegister(2, 0n, bits)]
    const header = Array.from({length: 16}, (_, word) => dataWord(512 + word * 4, 0))
    for (const bad of [dataWord(528, 1), dataWord(516, 0x40000000), dataWord(24, 0x10000, 0xffff)]) {
      const patches = [
        ...request,
        ...header,
        bad.word === dataWord(24, 0).word ? dataWord(0, 0x37f) : dataWord(24, 0x1f80),
        bad,
      ]
      generator.add(generator.form('XRSTOR M bad header'), {bits, code: restore, patches, kinds: everything, count: 2})
    }
    const crooked = encode({bits, opcode: [0x0f, 0xae], reg: 4, rm: at(16, bits)}, 0)
    generator.add(generator.form('XSAVE M misaligned'), {
      bits,
      code: crooked,
      patches: request,
      kinds: everything,
      count: 2,
    })
  }
}

/** Prefixes that change nothing here, or that win over others. Hex; [rbx] points into the data window. */
const prefixed = `6648 01C8|4866 01C8|F3 01C8|F2 01C8|2E 01C8|3E 01C8|36 01C8|64 01C8|48 00C8|66 00C8|67 01C8|66 66 01C8|40 01C8|66 40 01C8|4F 01C8
  66 48 B8 0102030405060708|48 66 B8 0102|66 B8 0102|48 C7C0 FFFFFFFF|66 48 81C0 01020304|48 98|66 98|66 48 98|48 90|41 90|4F 90|66 90|F2 90
  66 F3 0FB8C1|F3 66 0FB8C1|F3 48 0FB8C1|66 F3 0FBCC1|F3 48 0FBDC1|F2 0FBCC1|66 0FBCC1|F2 F3 0F10C1|F3 F2 0F10C1|66 F2 0F10C1|66 F3 0F10C1|F2 66 0F5AC1
  48 0F6EC1|66 48 0F6EC1|66 4D 0F6EC1|48 0F7EC1|F3 48 0F2AC1|66 F3 48 0F2AC1|F2 48 0F2CC1|48 0F28C1|66 48 0FEFC1|48 660FEFC1|F3 0F6FC1|F2 0F70C11B
  F3 0F1EFA|F3 0F1EFB|F3 0F1EC8|F3 48 0F1EC8|0F1F00|0F19C0|0F1AC0|0F1BC0|0F1CC0|0F1DC0|0F1EC0|0F1FC0|66 0F1F440000|0F0D0B|0F180B|0F1823
  F3 0FBC03|3E 8B03|36 8B03|2E 8B03|26 8B03|3E 2E 8B03|F3 8B03|F2 8903|F0 48 0FC103|F2 F0 0103|F0 F2 0103|F0 66 0103|66 F0 0103|F3 F0 8703|48 8D03|40 8A03
  C4E2F0F2C2|C4C270F2C2|C4E278F3CA|C4E2F8F3CA|C4E2F8F7C1|C4E273F6C2|C4E2F3F5C2|C4E3FBF0C20D|48 0FC8|66 0FBAE803|48 0FBAE83F|48 69C1FFFFFF7F|66 69C11234`

function prefixes(generator: Generator): void {
  const all = prefixed.split(/[|\n]/).map(text => text.replaceAll(' ', ''))
  for (const text of all) {
    const code = (text.match(/../g) ?? []).map(byte => Number.parseInt(byte, 16))
    const undefinedFlags = ['AF', 'PF', 'SF', 'ZF', 'OF', 'CF']
    // Flags are the business of each instruction's own family, except that plain additions define all of them.
    const form = generator.form(`prefixes ${text}`, /01C8$|00C8$|0103$/.test(text) ? [] : undefinedFlags)
    const patches = pinRegister(3, BigInt(address.dataWindow + 128))
    const kinds = {xmm: Values.single, x87: Values.integer, data: Values.integer} as const
    generator.add(form, {code, patches, kinds, count: 8})
  }
}

/** A 16-bit operand size on a branch of 32-bit code keeps 16 bits of EIP: what follows is a fault at the low address. */
function shortBranches(generator: Generator): void {
  const bits = 32
  for (const code of [
    [0x66, 0xeb, 0x10],
    [0x66, 0xe9, 0x34, 0x12],
    [0x66, 0xff, 0xe0],
    [0x66, 0x74, 0x10],
  ]) {
    generator.add(generator.form('short branch'), {bits, code, count: 6})
  }
  for (const code of [
    [0x66, 0xe8, 0x34, 0x12],
    [0x66, 0xc3],
    [0x66, 0xc2, 4, 0],
    [0x66, 0xff, 0xd0],
  ]) {
    generator.add(generator.form('short call'), {
      bits,
      code,
      patches: pinStack(bits),
      kinds: {stack: Values.integer},
      count: 6,
    })
  }
}

/** Strings and XLAT with 16-bit addresses, where the low window can be mapped. */
function lowStrings(generator: Generator): void {
  const bits = 32
  if (!generator.allow16) return
  for (const code of [
    [0xa4],
    [0xf3, 0xa5],
    [0xa6],
    [0xf3, 0xa6],
    [0xaa],
    [0xf3, 0xab],
    [0xac],
    [0xae],
    [0xf2, 0xae],
    [0xd7],
  ]) {
    const patches = [
      ...pinRegister(1, 9n, 16),
      ...pinRegister(6, BigInt(address.lowWindow + 200), 16),
      ...pinRegister(7, BigInt(address.lowWindow + 300), 16),
      ...pinRegister(3, BigInt(address.lowWindow), 16),
    ]
    generator.add(generator.form('string with 16-bit addresses'), {
      bits,
      code: [0x67, ...code],
      dataAddress: address.lowWindow,
      patches,
      kinds: {data: Values.integer},
      count: 8,
    })
  }
}

export const system: Family = {
  name: 'system',
  density: {registerGroups: 1, memoryGroups: 1, casesPerGroup: 4},
  generate(generator: Generator) {
    segments(generator)
    farTransfers(generator)
    segmentBases(generator)
    extendedState(generator)
    prefixes(generator)
    shortBranches(generator)
    lowStrings(generator)
  },
}
