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
  return moduleOf(
    commonInstructions.map(hex => {
      const decoded = decode(Buffer.from(hex.padEnd(32, '0'), 'hex'), 0, 0, 64)
      if (typeof decoded === 'string') throw new Error(`bug: ${hex} is no instruction (${decoded})`)
      return decoded
    }),
  )
}

/** What a module exports the handler of an instruction's variant as. */
const nameOf = ({variantId}: DecodedInstruction): string => variantId.toString(36)

/** A module with the handlers of some instructions. */
function moduleOf(examples: readonly DecodedInstruction[]): Uint8Array<ArrayBuffer> {
  return handlerModule(
    examples.map(decoded => [
      nameOf(decoded),
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

type HandlerExports = Readonly<Record<string, () => void>>

export class Handlers {
  /** Index in the table by variant key. */
  private readonly indices: (number | undefined)[] = []
  private count = 0
  private readonly common: HandlerExports
  /** Instructions whose handlers are in modules made here, by index in the table, and how many modules these are. */
  private readonly others = new Map<number, DecodedInstruction>()
  private modules = 0

  /** Handlers stand in `table` from `first` on; `common` is the module of {@link commonHandlers}. */
  constructor(
    private readonly table: WebAssembly.Table,
    private readonly first: number,
    private readonly instantiate: (module: WebAssembly.Module) => HandlerExports,
    common?: WebAssembly.Module,
  ) {
    this.common = common === undefined ? {} : instantiate(common)
  }

  /** Where the handler of an instruction stands in the table; it comes there with the first of its kind. */
  indexOf(decoded: DecodedInstruction): number {
    return this.indices[decoded.variantKey] ?? this.add(decoded)
  }

  /** Makes one module of those that came in many. */
  compact(): void {
    if (this.modules < manyModules) return
    const made = this.make([...this.others.values()])
    for (const [index, decoded] of this.others) this.table.set(index, made[nameOf(decoded)])
    this.modules = 1
  }

  private add(decoded: DecodedInstruction): number {
    const name = nameOf(decoded)
    const index = this.first + this.count++
    this.indices[decoded.variantKey] = index
    if (this.common[name] === undefined) {
      this.others.set(index, decoded)
      this.modules++
    }
    this.table.set(index, this.common[name] ?? this.make([decoded])[name])
    return index
  }

  private make(examples: readonly DecodedInstruction[]): HandlerExports {
    return this.instantiate(new WebAssembly.Module(moduleOf(examples)))
  }
}
