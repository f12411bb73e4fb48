/**
 * A module's bytes as text, for golden tests and for a person who debugs generated code. Reads what builder.ts writes; not a general
 * disassembler. Values are written where they are used, one statement a line:
 *
 *   $3 = i64.add($3, 16)                local 3; in an expression ($3 := …) is local.tee
 *   i64.store[$1 + 128]($3)             memory at local 1 plus a constant offset
 *   if unlikely i32.eqz($2) {           a branch that the branch hints call unlikely
 *   push …                              a value that stays on the stack over other statements; `pop` is its use
 *
 * Source: WebAssembly Core Specification 2.0, chapter 5 "Binary Format".
 */
import {memoryOps} from './builder.js'
import {pureOps, typeCode} from './opcodes.js'

/** The text of a module. `tableNames` names the functions of its table, by their place. */
export function printModule(bytes: Uint8Array, tableNames: readonly string[] = []): string {
  const reader = new Reader(bytes)
  reader.at = 8
  const parts: Parts = {types: [], functions: [], imported: 0, names: new Map(), hints: new Set(), tableNames}
  const lines: string[] = []
  while (reader.at < bytes.length) {
    const id = reader.byte()
    const end = reader.unsigned() + reader.at
    if (id === 0) readHints(reader, parts)
    else if (id === 1) reader.list(() => parts.types.push(readType(reader)))
    else if (id === 2) reader.list(() => lines.push(readImport(reader, parts)))
    else if (id === 3) reader.list(() => parts.functions.push(parts.types[reader.unsigned()]))
    else if (id === 7) reader.list(() => readExport(reader, parts))
    else if (id === 10) reader.list(index => lines.push(...new Body(reader, parts, index).print()))
    reader.at = end
  }
  return `${lines.join('\n')}\n`
}

interface FunctionType {
  readonly parameters: readonly string[]
  readonly results: readonly string[]
}

interface Parts {
  readonly types: FunctionType[]
  /** Every function, imported ones first. */
  readonly functions: FunctionType[]
  imported: number
  /** Function index → name. */
  readonly names: Map<number, string>
  /** `function index:offset` of unlikely branches. */
  readonly hints: Set<string>
  readonly tableNames: readonly string[]
}

const typeNames = new Map(Object.entries(typeCode).map(([name, code]) => [code, name]))
const pureByCode = new Map([...pureOps].map(([name, op]) => [op.code, {name, ...op}]))
const memoryByCode = new Map(Object.entries(memoryOps).map(([name, [code]]) => [code as number, name]))

class Reader {
  at = 0
  private readonly view: DataView

  constructor(readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  byte(): number {
    return this.view.getUint8(this.at++)
  }
  unsigned(): number {
    return Number(BigInt.asUintN(32, this.signed(false)))
  }
  /** LEB128, at most 64 bits. */
  signed(extend = true): bigint {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.byte()
      value |= BigInt(byte & 0x7f) << shift
      if (byte & 0x80) continue
      return extend && byte & 0x40 ? value - (1n << (shift + 7n)) : value
    }
  }
  take(length: number): Uint8Array {
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }
  text(): string {
    return new TextDecoder().decode(this.take(this.unsigned()))
  }
  type(): string {
    return typeNames.get(this.byte()) ?? 'none'
  }
  list(entry: (index: number) => void): void {
    const count = this.unsigned()
    for (let index = 0; index < count; index++) entry(index)
  }
}

function readType(reader: Reader): FunctionType {
  reader.byte()
  const lists = [0, 1].map(() => {
    const types: string[] = []
    reader.list(() => types.push(reader.type()))
    return types
  })
  return {parameters: lists[0], results: lists[1]}
}

const signature = ({parameters, results}: FunctionType) => `(${parameters.join(' ')}) -> (${results.join(' ')})`

function readImport(reader: Reader, parts: Parts): string {
  const module = reader.text()
  const own = reader.text()
  const name = `import ${module}.${own}`
  switch (reader.byte()) {
    case 0: {
      const type = parts.types[reader.unsigned()]
      parts.names.set(parts.imported++, own)
      parts.functions.push(type)
      return `${name}: function ${signature(type)}`
    }
    case 1:
      reader.take(3)
      return `${name}: table`
    case 2:
      reader.byte()
      return `${name}: memory of ${reader.unsigned()} to ${reader.unsigned()} pages`
    default: {
      const type = reader.type()
      reader.byte()
      return `${name}: global ${type}`
    }
  }
}

function readExport(reader: Reader, parts: Parts): void {
  const name = reader.text()
  reader.byte()
  parts.names.set(reader.unsigned(), name)
}

function readHints(reader: Reader, {hints}: Parts): void {
  if (reader.text() !== 'metadata.code.branch_hint') return
  reader.list(() => {
    const index = reader.unsigned()
    reader.list(() => {
      hints.add(`${index}:${reader.unsigned()}`)
      reader.take(2)
    })
  })
}

/** A number in the base in which it is easier to read. */
function constant(value: bigint): string {
  const size = value < 0n ? -value : value
  return size < 4096n ? `${value}` : `${value < 0n ? '-' : ''}0x${size.toString(16)}`
}

/** One function's code. */
class Body {
  private readonly lines: string[] = []
  private indent = 1
  /** Values computed and not used yet, as text. */
  private stack: string[] = []
  /** Stacks outside the open blocks, and whether the block gives a value. */
  private readonly open: {stack: string[]; result: boolean}[] = []

  constructor(
    private readonly reader: Reader,
    private readonly parts: Parts,
    private readonly index: number,
  ) {}

  print(): string[] {
    const {reader, parts} = this
    const end = reader.unsigned() + reader.at
    const start = reader.at
    const number = parts.imported + this.index
    const type = parts.functions[number]
    this.lines.push('', `function ${parts.names.get(number)} ${signature(type)}`)
    let local = type.parameters.length
    reader.list(() => {
      const count = reader.unsigned()
      this.line(`local $${local}${count > 1 ? ` to $${local + count - 1}` : ''}: ${reader.type()}`)
      local += count
    })
    // The last byte ends the function.
    while (reader.at < end - 1) this.instruction(parts.hints.has(`${number}:${reader.at - start}`) ? 'unlikely ' : '')
    this.flush()
    reader.at = end
    return this.lines
  }

  private line(text: string): void {
    this.lines.push('  '.repeat(this.indent) + text)
  }
  /** Writes values that are still to be used, so that the order of effects shows. */
  private flush(): void {
    this.stack = this.stack.map(value => {
      if (value !== 'pop') this.line(`push ${value}`)
      return 'pop'
    })
  }
  private statement(text: string): void {
    this.flush()
    this.line(text)
  }
  private pop(): string {
    return this.stack.pop() ?? 'pop'
  }
  private operands(count: number): string {
    return Array.from({length: count}, () => this.pop())
      .reverse()
      .join(', ')
  }

  private enter(head: string): void {
    const result = this.reader.type()
    this.statement(result === 'none' ? `${head}{` : `${head}-> ${result} {`)
    this.open.push({stack: this.stack, result: result !== 'none'})
    this.stack = []
    this.indent++
  }
  private leave(): void {
    const {stack, result} = this.open.pop()!
    this.flush()
    this.indent--
    this.line('}')
    this.stack = result ? [...stack, 'pop'] : stack
  }
  private else(): void {
    this.flush()
    this.lines.push(`${'  '.repeat(this.indent - 1)}} else {`)
    this.stack = []
  }

  private call(type: FunctionType, target: string): void {
    const text = `${target}(${this.operands(type.parameters.length)})`
    if (type.results.length > 0) this.stack.push(text)
    else this.statement(text)
    // Further results lie above the first.
    for (let index = 1; index < type.results.length; index++) this.stack.push(`result ${index}`)
  }

  private instruction(hint: string): void {
    const {reader, stack} = this
    const first = reader.byte()
    switch (first) {
      case 0x00:
        return this.statement('unreachable')
      case 0x02:
        return this.enter('block ')
      case 0x03:
        return this.enter('loop ')
      case 0x04:
        return this.enter(`if ${hint}${this.pop()} `)
      case 0x05:
        return this.else()
      case 0x0b:
        return this.leave()
      case 0x0c:
        return this.statement(`br ${reader.unsigned()}`)
      case 0x0d: {
        const condition = this.pop()
        return this.statement(`br ${reader.unsigned()} if ${hint}${condition}`)
      }
      case 0x0e: {
        const value = this.pop()
        const depths: number[] = []
        reader.list(() => depths.push(reader.unsigned()))
        return this.statement(`br ${depths.join(' ')} else ${reader.unsigned()} by ${value}`)
      }
      case 0x0f:
        this.line(`return ${this.pop()}`)
        return this.flush()
      case 0x10:
      case 0x12: {
        const index = reader.unsigned()
        const how = first === 0x12 ? 'return call' : 'call'
        return this.call(this.parts.functions[index], `${how} ${this.parts.names.get(index)}`)
      }
      case 0x11:
      case 0x13: {
        const index = this.pop()
        const type = this.parts.types[reader.unsigned()]
        reader.byte()
        const name = this.parts.tableNames[Number(index)] ?? `table[${index}]`
        return this.call(type, `${first === 0x13 ? 'return ' : ''}call ${name}`)
      }
      case 0x1a:
        return this.statement(`drop ${this.pop()}`)
      case 0x1b: {
        const [yes, no, condition] = [this.pop(), this.pop(), this.pop()].reverse()
        stack.push(`(${condition} ? ${yes} : ${no})`)
        return
      }
      case 0x20:
        stack.push(`$${reader.unsigned()}`)
        return
      case 0x21: {
        const value = this.pop()
        return this.statement(`$${reader.unsigned()} = ${value}`)
      }
      case 0x22: {
        const value = this.pop()
        stack.push(`($${reader.unsigned()} := ${value})`)
        return
      }
      case 0x23:
        stack.push(`global ${reader.unsigned()}`)
        return
      case 0x41:
      case 0x42:
        stack.push(constant(reader.signed()))
        return
      default:
        this.tabled(first)
    }
  }

  /** Instructions that the tables describe: pure ones and those that access memory. */
  private tabled(first: number): void {
    const {reader, stack} = this
    const code = first < 0xfc ? first : (first << 8) | reader.unsigned()
    if (code === 0xfc0a) {
      reader.take(2)
      return this.statement(`memory.copy(${this.operands(3)})`)
    }
    if (code === 0xfd0c) {
      stack.push(`0x${[...reader.take(16)].map(byte => byte.toString(16).padStart(2, '0')).join('')}`)
      return
    }
    const pure = pureByCode.get(code)
    if (pure !== undefined) {
      const lanes = pure.lanes > 0 ? ` ${[...reader.take(pure.lanes)].join(' ')}` : ''
      stack.push(`${pure.name}${lanes}(${this.operands(pure.args.length)})`)
      return
    }
    const name = memoryByCode.get(code)
    if (name === undefined) throw new Error(`bug: unknown instruction ${code.toString(16)} at ${reader.at}`)
    reader.byte()
    const offset = reader.unsigned()
    const values = name.includes('cmpxchg') ? this.operands(2) : name.includes('store') ? this.pop() : ''
    const access = `${name}[${this.pop()}${offset === 0 ? '' : ` + ${constant(BigInt(offset))}`}]`
    if (name.includes('store')) this.statement(`${access}(${values})`)
    else stack.push(values === '' ? access : `${access}(${values})`)
  }
}
