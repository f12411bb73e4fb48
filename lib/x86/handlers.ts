/**
 * The interpreter's handlers: one function for each variant of an instruction, in the function table that records refer to. Those of common
 * instructions stand in a module that is written when the project is built; others are made when the first instruction of their kind is met.
 */
import {Code} from '../wasm/builder.js'
import {commonInstructions} from './common-instructions.js'
import type {DecodedInstruction} from './decode/instruction-record.js'
import {handlerModule} from './generated-module.js'
import {decode, slowPathNumber, templateOf} from './instruction-set.js'
import {Interpreter} from './interpret.js'

/** So many new modules of handlers are worth being made one. */
const manyModules = 8

/** The bytes of the module of common handlers; an engine that is given it need not make them. */
export function commonHandlers(): Uint8Array<ArrayBuffer> {
  return moduleOf(decodeCommon())
}

/** One instruction of each common variant, in order. The numbers of variants are this process's own, but the order is always the same. */
function decodeCommon(): DecodedInstruction[] {
  return commonInstructions.map(hex => {
    const decoded = decode(Buffer.from(hex.padEnd(32, '0'), 'hex'), 0, 0, 64)
    if (typeof decoded === 'string') throw new Error(`bug: ${hex} is no instruction (${decoded})`)
    return decoded
  })
}

/** A module with the handlers of some instructions: `h0`, `h1` … */
function moduleOf(examples: readonly DecodedInstruction[]): Uint8Array<ArrayBuffer> {
  return handlerModule(
    examples.map((decoded, index) => [
      `h${index}`,
      (callHelper, cpu) => {
        const code = new Code(['i32'])
        const interpreter = new Interpreter(code, callHelper, cpu)
        interpreter.variant = decoded.variant
        interpreter.systemNumber = slowPathNumber
        interpreter.handler(templateOf(decoded))
        return code
      },
    ]),
  )
}

export class Handlers {
  /** Index in the table by variant key. */
  private readonly indices: (number | undefined)[] = []
  /** An instruction of each variant that has a handler, in the order of the table. */
  private readonly examples: DecodedInstruction[] = []
  /** Modules that the handlers are in. */
  private modules = 0

  /** Handlers stand in `table` from `first` on; `common` is the module of {@link commonHandlers}. */
  constructor(
    private readonly table: WebAssembly.Table,
    private readonly first: number,
    private readonly instantiate: (module: WebAssembly.Module) => Record<string, () => void>,
    common?: WebAssembly.Module,
  ) {
    if (common !== undefined) this.add(decodeCommon(), common)
  }

  /** Where the handler of an instruction stands in the table; it is made when it is the first of its kind. */
  indexOf(decoded: DecodedInstruction): number {
    return this.indices[decoded.variantKey] ?? this.add([decoded], new WebAssembly.Module(moduleOf([decoded])))
  }

  /** Makes one module of those that came in many. */
  compact(): void {
    if (this.modules < manyModules) return
    this.place(this.examples, this.first, new WebAssembly.Module(moduleOf(this.examples)))
    this.modules = 1
  }

  /** Gives the index of the first. */
  private add(examples: readonly DecodedInstruction[], module: WebAssembly.Module): number {
    const start = this.first + this.examples.length
    for (const [index, decoded] of examples.entries()) this.indices[decoded.variantKey] = start + index
    this.examples.push(...examples)
    this.place(examples, start, module)
    this.modules++
    return start
  }

  private place(examples: readonly DecodedInstruction[], start: number, module: WebAssembly.Module): void {
    const functions = this.instantiate(module)
    for (const index of examples.keys()) this.table.set(start + index, functions[`h${index}`])
  }
}
