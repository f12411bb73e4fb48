/**
 * PCMPISTRI with the sum "any of a set" on bytes, in WebAssembly: what C libraries look for the end of a word with (strspn, strcspn, strpbrk).
 *
 *   compareAnyBytes(control, set, text) → flags | index << 16      set and text: byte offsets of 16 bytes that end before their first zero
 *
 * Source: SDM vol. 2B 4.1 (imm8 control byte operation).
 */
import {Code, type Module} from '../wasm/builder.js'

/** Adds the function to the core module. */
export function addByteSets(module: Module): void {
  const code = new Code(['i32', 'i32', 'i32'])
  const [control, set, text] = [0, 1, 2]
  const setBytes = code.local('i32')
  const textBytes = code.local('i32')
  const at = code.local('i32')
  const bits = code.local('i32')
  const value = code.local('v128')
  const found = code.local('v128')
  const zero = () => code.v128Const(new Uint8Array(16))
  /** Pushes the number of bytes of the vector on the stack before its first zero. */
  const lengthOf = () => {
    zero()
    code.op('i8x16.eq')
    code.op('i8x16.bitmask')
    code.i32Const(0x10000)
    code.op('i32.or')
    code.op('i32.ctz')
  }
  /** Pushes a flag when the value on the stack is not 0. */
  const flag = (mask: number) => {
    code.i32Const(mask)
    code.i32Const(0)
    code.localGet(at)
    code.select()
    code.op('i32.or')
  }
  code.localGet(set)
  code.memory('v128.load')
  lengthOf()
  code.localSet(setBytes)
  code.localGet(text)
  code.memory('v128.load')
  code.localTee(value)
  lengthOf()
  code.localSet(textBytes)
  // Each byte of the set against all of the text.
  code.block()
  code.loop()
  code.localGet(at)
  code.localGet(setBytes)
  code.op('i32.ge_u')
  code.brIf(1)
  code.localGet(value)
  code.localGet(set)
  code.localGet(at)
  code.op('i32.add')
  code.memory('i32.load8_u')
  code.op('i8x16.splat')
  code.op('i8x16.eq')
  code.localGet(found)
  code.op('v128.or')
  code.localSet(found)
  code.localGet(at)
  code.i32Const(1)
  code.op('i32.add')
  code.localSet(at)
  code.br(0)
  code.end()
  code.end()
  // Bits of valid text; then the polarity.
  code.i32Const(1)
  code.localGet(textBytes)
  code.op('i32.shl')
  code.i32Const(1)
  code.op('i32.sub')
  code.localTee(at)
  code.localGet(found)
  code.op('i8x16.bitmask')
  code.op('i32.and')
  code.localGet(at)
  code.i32Const(0xffff)
  code.localGet(control)
  code.i32Const(0x20)
  code.op('i32.and')
  code.select()
  code.i32Const(0)
  code.localGet(control)
  code.i32Const(0x10)
  code.op('i32.and')
  code.select()
  code.op('i32.xor')
  code.localSet(bits)
  // The index of the lowest or highest bit, 16 for none.
  code.i32Const(31)
  code.localGet(bits)
  code.op('i32.clz')
  code.op('i32.sub')
  code.i32Const(16)
  code.localGet(bits)
  code.select()
  code.localGet(bits)
  code.i32Const(0x10000)
  code.op('i32.or')
  code.op('i32.ctz')
  code.localGet(control)
  code.i32Const(0x40)
  code.op('i32.and')
  code.select()
  code.i32Const(16)
  code.op('i32.shl')
  for (const [mask, push] of [
    [0x01, () => code.localGet(bits)],
    [0x40, () => lessThan16(code, textBytes)],
    [0x80, () => lessThan16(code, setBytes)],
    [0x800, () => lowest(code, bits)],
  ] as const) {
    push()
    code.localSet(at)
    flag(mask)
  }
  module.function('compareAnyBytes', ['i32', 'i32', 'i32'], ['i32'], code)
}

function lessThan16(code: Code, local: number): void {
  code.localGet(local)
  code.i32Const(16)
  code.op('i32.lt_u')
}

function lowest(code: Code, local: number): void {
  code.localGet(local)
  code.i32Const(1)
  code.op('i32.and')
}
