/**
 * Writes WebAssembly modules. A Code is the body of one function, written instruction by instruction; a Module collects
 * functions, imports and one shared memory, and gives the bytes. Nothing here knows what the code is for.
 *
 *   const code = new Code([…parameter types])
 *   code.localGet(0); code.i32Const(1); code.op('i32.add')
 *   const module = new Module(); module.function('next', ['i32'], ['i32'], code); module.bytes()
 *
 * 64-bit constants are given as number (when exact) or bigint.
 * Source: WebAssembly Core Specification 2.0, chapter 5 "Binary Format".
 */
import {pureOps, typeCode, type WasmType} from './opcodes.js'

/** Buffers to write into: engines make one slowly, and a module takes several for each function. */
const spare: Uint8Array[] = []
const mostSpare = 8

/** A growing row of bytes with LEB128 writers. */
export class Bytes {
  data = spare.pop() ?? new Uint8Array(8192)
  length = 0

  byte(value: number): void {
    if (this.length === this.data.length) this.grow(this.length + 1)
    this.data[this.length++] = value
  }

  append(bytes: Uint8Array): void {
    if (this.length + bytes.length > this.data.length) this.grow(this.length + bytes.length)
    this.data.set(bytes, this.length)
    this.length += bytes.length
  }

  unsigned(value: number): void {
    let rest = value >>> 0
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80)
      rest >>>= 7
    }
    this.byte(rest)
  }

  signed(value: number): void {
    let rest = value | 0
    for (;;) {
      const low = rest & 0x7f
      rest >>= 7
      if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) return this.byte(low)
      this.byte(low | 0x80)
    }
  }

  signed64(value: number | bigint): void {
    if (typeof value === 'number') {
      if (value === (value | 0)) return this.signed(value)
      let rest = value
      for (;;) {
        const low = rest & 0x7f
        rest = Math.floor(rest / 128)
        if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) return this.byte(low)
        this.byte(low | 0x80)
      }
    }
    let rest = BigInt.asIntN(64, value)
    for (;;) {
      const low = Number(rest & 0x7fn)
      rest >>= 7n
      if ((rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0)) return this.byte(low)
      this.byte(low | 0x80)
    }
  }

  /** A name, of ASCII letters. */
  text(value: string): void {
    this.unsigned(value.length)
    for (let at = 0; at < value.length; at++) this.byte(value.charCodeAt(at))
  }

  /** A copy of what was written, which is the last that is asked of this object. */
  taken(): Uint8Array<ArrayBuffer> {
    const bytes = this.data.slice(0, this.length)
    if (spare.length < mostSpare) spare.push(this.data)
    return bytes
  }

  private grow(least: number): void {
    const larger = new Uint8Array(Math.max(least, this.data.length * 2))
    larger.set(this.data.subarray(0, this.length))
    this.data = larger
  }
}

/** A structured block's result: none, or one value. */
type BlockType = WasmType | undefined

/** The memory instructions: name → [code, natural alignment as a power of two]. */
// biome-ignore format: a table
export const memoryOps = {
  'i32.load': [0x28, 2], 'i64.load': [0x29, 3], 'f32.load': [0x2a, 2], 'f64.load': [0x2b, 3],
  'i32.load8_s': [0x2c, 0], 'i32.load8_u': [0x2d, 0], 'i32.load16_s': [0x2e, 1], 'i32.load16_u': [0x2f, 1],
  'i64.load8_s': [0x30, 0], 'i64.load8_u': [0x31, 0], 'i64.load16_s': [0x32, 1], 'i64.load16_u': [0x33, 1],
  'i64.load32_s': [0x34, 2], 'i64.load32_u': [0x35, 2],
  'i32.store': [0x36, 2], 'i64.store': [0x37, 3], 'f32.store': [0x38, 2], 'f64.store': [0x39, 3],
  'i32.store8': [0x3a, 0], 'i32.store16': [0x3b, 1], 'i64.store8': [0x3c, 0], 'i64.store16': [0x3d, 1], 'i64.store32': [0x3e, 2],
  'v128.load': [0xfd00, 4], 'v128.store': [0xfd0b, 4],
  'i32.atomic.load': [0xfe10, 2], 'i32.atomic.store': [0xfe17, 2],
  'i32.atomic.rmw.cmpxchg': [0xfe48, 2], 'i64.atomic.rmw.cmpxchg': [0xfe49, 3],
  'i32.atomic.rmw8.cmpxchg_u': [0xfe4a, 0], 'i32.atomic.rmw16.cmpxchg_u': [0xfe4b, 1],
} as const satisfies Record<string, readonly [code: number, align: number]>

export type MemoryOp = keyof typeof memoryOps

/** One function body. Locals are numbered after the parameters in the order they are declared. */
export class Code extends Bytes {
  private readonly localTypes: WasmType[] = []
  /** Offsets in this body of branches that are seldom taken. */
  private readonly unlikelyAt: number[] = []

  constructor(readonly parameters: readonly WasmType[] = []) {
    super()
  }

  /** The index of a new local of the type, initially zero. */
  local(type: WasmType): number {
    return this.parameters.length + this.localTypes.push(type) - 1
  }

  get localCount(): number {
    return this.localTypes.length
  }

  /** A pure instruction by name; `lanes` are its immediate bytes. */
  op(name: string, lanes?: readonly number[]): void {
    const op = pureOps.get(name)
    if (!op) throw new Error(`bug: no WebAssembly instruction ${name}`)
    this.opcode(op.code)
    if (lanes) for (const lane of lanes) this.byte(lane)
  }

  /** An instruction code as the tables hold it. */
  opcode(code: number): void {
    if (code < 0x100) return this.byte(code)
    this.byte(code >> 8)
    this.unsigned(code & 0xff)
  }

  memory(name: MemoryOp, offset = 0): void {
    const [code, align] = memoryOps[name]
    this.opcode(code)
    this.byte(name.includes('atomic') ? align : 0)
    this.unsigned(offset)
  }

  localGet(index: number): void {
    this.byte(0x20)
    this.unsigned(index)
  }
  localSet(index: number): void {
    this.byte(0x21)
    this.unsigned(index)
  }
  localTee(index: number): void {
    this.byte(0x22)
    this.unsigned(index)
  }
  globalGet(index: number): void {
    this.byte(0x23)
    this.unsigned(index)
  }
  i32Const(value: number): void {
    this.byte(0x41)
    this.signed(value)
  }
  i64Const(value: number | bigint): void {
    this.byte(0x42)
    this.signed64(value)
  }
  v128Const(bytes: Uint8Array): void {
    this.opcode(0xfd0c)
    this.append(bytes)
  }
  unreachable(): void {
    this.byte(0x00)
  }
  block(type?: BlockType): void {
    this.byte(0x02)
    this.byte(type ? typeCode[type] : 0x40)
  }
  loop(type?: BlockType): void {
    this.byte(0x03)
    this.byte(type ? typeCode[type] : 0x40)
  }
  /** The `if` or `br_if` written next is seldom taken. Source: the Branch Hinting proposal. */
  unlikely(): void {
    this.unlikelyAt.push(this.length)
  }
  if(type?: BlockType): void {
    this.byte(0x04)
    this.byte(type ? typeCode[type] : 0x40)
  }
  else(): void {
    this.byte(0x05)
  }
  end(): void {
    this.byte(0x0b)
  }
  br(depth: number): void {
    this.byte(0x0c)
    this.unsigned(depth)
  }
  brIf(depth: number): void {
    this.byte(0x0d)
    this.unsigned(depth)
  }
  brTable(depths: readonly number[], other: number): void {
    this.byte(0x0e)
    this.unsigned(depths.length)
    for (const depth of depths) this.unsigned(depth)
    this.unsigned(other)
  }
  return(): void {
    this.byte(0x0f)
  }
  call(index: number): void {
    this.byte(0x10)
    this.unsigned(index)
  }
  returnCall(index: number): void {
    this.byte(0x12)
    this.unsigned(index)
  }
  callIndirect(type: number): void {
    this.byte(0x11)
    this.unsigned(type)
    this.byte(0)
  }
  returnCallIndirect(type: number): void {
    this.byte(0x13)
    this.unsigned(type)
    this.byte(0)
  }
  /** Copies bytes: target, source, length. */
  memoryCopy(): void {
    this.byte(0xfc)
    this.append(new Uint8Array([10, 0, 0]))
  }
  /** Fills bytes: target, value, length. */
  memoryFill(): void {
    this.byte(0xfc)
    this.append(new Uint8Array([11, 0]))
  }
  drop(): void {
    this.byte(0x1a)
  }
  select(): void {
    this.byte(0x1b)
  }

  /** Where the next instruction will stand. */
  get position(): number {
    return this.length
  }

  /** Opens `count` blocks at a position, around all that has been written since and whatever closes them. */
  openBlocks(at: number, count: number): void {
    const opening = new Uint8Array(count * 2).map((_, index) => (index % 2 === 0 ? 0x02 : 0x40))
    const rest = this.data.slice(at, this.length)
    this.length = at
    this.append(opening)
    this.append(rest)
    for (const [index, hint] of this.unlikelyAt.entries())
      if (hint >= at) this.unlikelyAt[index] = hint + opening.length
  }

  private declarations(): Uint8Array {
    const body = new Bytes()
    const runs: [count: number, type: WasmType][] = []
    for (const type of this.localTypes) {
      const last = runs.at(-1)
      if (last?.[1] === type) last[0]++
      else runs.push([1, type])
    }
    body.unsigned(runs.length)
    for (const [count, type] of runs) {
      body.unsigned(count)
      body.byte(typeCode[type])
    }
    return body.taken()
  }

  /** The finished body. Its entry in the code section: size, local declarations, code, end; offsets of unlikely branches from the declarations on. */
  finished(): {entry: Uint8Array; hints: number[]} {
    const declarations = this.declarations()
    const code = this.taken()
    const out = new Bytes()
    out.unsigned(declarations.length + code.length + 1)
    out.append(declarations)
    out.append(code)
    out.byte(0x0b)
    return {entry: out.taken(), hints: this.unlikelyAt.map(at => at + declarations.length)}
  }
}

interface FunctionImport {
  module: string
  name: string
  type: number
}

/** Pages that 32-bit addresses reach. */
const largestMemory = 65_536

/** A module: imports first (their indices come first), then functions, all exported under their names. */
export class Module {
  private readonly types: string[] = []
  private readonly typeBytes: Uint8Array[] = []
  private readonly imports: FunctionImport[] = []
  private readonly globals: {module: string; name: string; type: WasmType}[] = []
  private readonly functions: {name: string; type: number; entry: Uint8Array; hints: number[]}[] = []
  private table: {module: string; name: string} | undefined

  /** `pages` is the exact size of the imported shared memory `env.memory` in 64 KiB pages; without it the module goes with any. */
  constructor(private readonly pages?: number) {}

  type(parameters: readonly WasmType[], results: readonly WasmType[]): number {
    const key = `${parameters.join(',')}:${results.join(',')}`
    const known = this.types.indexOf(key)
    if (known >= 0) return known
    const bytes = new Bytes()
    bytes.byte(0x60)
    for (const list of [parameters, results]) {
      bytes.unsigned(list.length)
      for (const type of list) bytes.byte(typeCode[type])
    }
    this.typeBytes.push(bytes.taken())
    return this.types.push(key) - 1
  }

  /** Declares an imported function and gives its index; all imports come before the first function. */
  import(name: string, parameters: readonly WasmType[], results: readonly WasmType[]): number {
    return this.imports.push({module: 'env', name, type: this.type(parameters, results)}) - 1
  }

  /** Declares an imported immutable global and gives its index. */
  importGlobal(name: string, type: WasmType): number {
    return this.globals.push({module: 'env', name, type}) - 1
  }

  importTable(name: string): void {
    this.table = {module: 'env', name}
  }

  /** Adds and exports a function and gives its index. */
  function(name: string, parameters: readonly WasmType[], results: readonly WasmType[], code: Code): number {
    return (
      this.imports.length + this.functions.push({name, type: this.type(parameters, results), ...code.finished()}) - 1
    )
  }

  /** The module's binary form. */
  bytes(): Uint8Array<ArrayBuffer> {
    const out = new Bytes()
    out.append(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]))
    section(out, 1, this.typeBytes.length, body => {
      for (const bytes of this.typeBytes) body.append(bytes)
    })
    section(out, 2, this.imports.length + this.globals.length + (this.table ? 2 : 1), body => {
      body.text('env')
      body.text('memory')
      body.append(new Uint8Array([2, 3]))
      body.unsigned(this.pages ?? 1)
      body.unsigned(this.pages ?? largestMemory)
      if (this.table) {
        body.text(this.table.module)
        body.text(this.table.name)
        body.append(new Uint8Array([1, 0x70, 0, 0]))
      }
      for (const {module, name, type} of this.imports) {
        body.text(module)
        body.text(name)
        body.byte(0)
        body.unsigned(type)
      }
      for (const {module, name, type} of this.globals) {
        body.text(module)
        body.text(name)
        body.byte(3)
        body.byte(typeCode[type])
        body.byte(0)
      }
    })
    section(out, 3, this.functions.length, body => {
      for (const {type} of this.functions) body.unsigned(type)
    })
    section(out, 7, this.functions.length, body => {
      this.functions.forEach(({name}, index) => {
        body.text(name)
        body.byte(0)
        body.unsigned(this.imports.length + index)
      })
    })
    this.branchHints(out)
    section(out, 10, this.functions.length, body => {
      for (const {entry} of this.functions) body.append(entry)
    })
    return out.taken()
  }

  /** The custom section that tells engines which branches are seldom taken; others ignore it. */
  private branchHints(out: Bytes): void {
    const hinted = this.functions
      .map(({hints}, index) => ({hints, index: this.imports.length + index}))
      .filter(({hints}) => hints.length > 0)
    if (hinted.length === 0) return
    const body = new Bytes()
    body.text('metadata.code.branch_hint')
    body.unsigned(hinted.length)
    for (const {hints, index} of hinted) {
      body.unsigned(index)
      body.unsigned(hints.length)
      for (const at of hints) {
        body.unsigned(at)
        body.byte(1)
        body.byte(0)
      }
    }
    out.byte(0)
    out.unsigned(body.length)
    out.append(body.taken())
  }
}

function section(out: Bytes, id: number, count: number, write: (body: Bytes) => void): void {
  const body = new Bytes()
  body.unsigned(count)
  write(body)
  out.byte(id)
  out.unsigned(body.length)
  out.append(body.taken())
}
