/**
 * Which guest memory accesses of a region can share one look into the TLB: those whose addresses differ by constants (the fields of a structure, the
 * words of a stack frame) on a path that nothing joins. The first of them looks up the whole span; the others add to what it found.
 *
 * Addresses are followed as root + offset, where a root is whatever a register held, or a sum of two. The first access decides about the table:
 * what may be written may be read. A system path may change the tables, so no span goes on behind it.
 */
import {pureOps} from '../../wasm/opcodes.js'
import type {DecodedInstruction} from '../decode/instruction-record.js'
import type {Op} from '../ir/op.js'
import {state} from '../state.js'
import {loweredTemplate, type Region, type RegionInstruction, successorsOf} from './region.js'

/** Bytes from the first to behind the last of a span. The longer it is, the oftener it does not lie in one page. */
const longestSpan = 256

/** Accesses that share one look into the TLB. */
export interface Span {
  readonly write: boolean
  /** From the root: its first byte, and the one behind its last. */
  start: number
  end: number
  /** How many accesses there are. */
  uses: number
  /** The local with its place in linear memory, 0 when that is not one; the translator's. */
  host?: number
}

/** What an access has of a span. */
export interface SpanPart {
  readonly span: Span
  /** From the root. */
  readonly offset: number
  readonly opens: boolean
}

interface Address {
  readonly root: string
  readonly offset: number
}

const [add64, sub64] = [pureOps.get('i64.add')!.code, pureOps.get('i64.sub')!.code]

/** What is known at a point of a path. */
class Knowledge {
  constructor(
    readonly registers: Address[],
    /** Open spans by root and table. */
    readonly spans: Map<string, Span>,
  ) {}

  copy(): Knowledge {
    return new Knowledge([...this.registers], new Map(this.spans))
  }
}

/** Gives each instruction of a region the parts that its accesses have, in the order of its template. */
export function planSpans(blocks: Region): void {
  new Planner(blocks).plan()
}

class Planner {
  private roots = 0
  private known!: Knowledge
  /** What was known at the end of the only block that leads to a block. */
  private readonly inherited = new Map<number, Knowledge>()

  constructor(private readonly blocks: Region) {}

  plan(): void {
    for (const [at, block] of this.blocks.entries()) {
      this.known = this.inherited.get(at) ?? new Knowledge(this.unknown(), new Map())
      for (const instruction of block.instructions) this.instruction(instruction)
      for (const target of successorsOf(block)) {
        if (target <= at) continue
        const {predecessors, entry} = this.blocks[target]
        if (predecessors === 1 && !entry) this.inherited.set(target, this.known.copy())
      }
    }
  }

  private fresh(): Address {
    return {root: `${this.roots++}`, offset: 0}
  }

  private unknown(): Address[] {
    return Array.from({length: 16}, () => this.fresh())
  }

  private instruction(instruction: RegionInstruction): void {
    const {known} = this
    const {decoded} = instruction
    const template = loweredTemplate(instruction)
    const values: (Address | undefined)[] = []
    const parts: (SpanPart | undefined)[] = []
    let depth = 0
    for (const op of template.ops) {
      switch (op.kind) {
        case 'if':
        case 'loop':
          depth++
          break
        case 'end':
          depth--
          break
        case 'load':
        case 'store': {
          const address = depth === 0 ? values[op.address] : undefined
          const writes = op.kind === 'store' || op.host !== undefined
          parts.push(address && this.part(address, op.bytes, writes))
          break
        }
        case 'set-register': {
          const offset = ('fixed' in op.ref ? op.ref.fixed : decoded.slots[op.ref.slot]) + op.offset
          if (offset >= state.rip) break
          const whole = op.bits === 64 && depth === 0
          known.registers[offset >> 3] = (whole && values[op.value]) || this.fresh()
          break
        }
        case 'system':
          known.spans.clear()
          for (const register of known.registers.keys()) known.registers[register] = this.fresh()
          break
        default:
          if ('out' in op && op.out !== undefined) values[op.out] = this.value(op, values, instruction)
      }
    }
    instruction.parts = parts
  }

  /** The value of an operation as an address, when it is worth to be known. */
  private value(
    op: Op,
    values: readonly (Address | undefined)[],
    {decoded, rip}: RegionInstruction,
  ): Address | undefined {
    switch (op.kind) {
      case 'const':
        return typeof op.value === 'object' ? undefined : absolute(op.value)
      case 'immediate':
        return absolute(decoded.immediate)
      case 'rip':
        return absolute(op.next ? rip + decoded.length : rip)
      case 'get-register': {
        const offset = ('fixed' in op.ref ? op.ref.fixed : decoded.slots[op.ref.slot]) + op.offset
        return op.bits === 64 && offset < state.rip ? this.known.registers[offset >> 3] : undefined
      }
      case 'pure': {
        if (op.code !== add64 && op.code !== sub64) return undefined
        const [left, right] = op.args.map(value => values[value])
        if (left === undefined || right === undefined) return undefined
        if (op.code === add64) return sum(left, right, 1)
        return right.root === '' ? checked({root: left.root, offset: left.offset - right.offset}) : undefined
      }
      case 'address':
        return this.operand(decoded, op.segment)
      default:
        return undefined
    }
  }

  private operand({memory, variant}: DecodedInstruction, segment: boolean): Address | undefined {
    if (memory === undefined || variant.addressBits < 64 || variant.codeBits < 64) return undefined
    const {registers} = this.known
    let address = absolute(memory.displacement)
    if (address !== undefined && memory.base !== state.zero) address = sum(registers[memory.base >> 3], address, 1)
    if (address !== undefined && memory.index !== state.zero)
      address = sum(address, registers[memory.index >> 3], 2 ** memory.scale)
    // What a segment's base is, is not followed.
    if (address !== undefined && segment && memory.addsSegmentBase) return undefined
    return address
  }

  /** Takes an access into a span. */
  private part({root, offset}: Address, bytes: number, write: boolean): SpanPart {
    const {spans} = this.known
    const end = offset + bytes
    for (const table of write ? ['w'] : ['w', 'r']) {
      const span = spans.get(table + root)
      if (span === undefined) continue
      const [start, last] = [Math.min(span.start, offset), Math.max(span.end, end)]
      if (last - start > longestSpan) continue
      span.start = start
      span.end = last
      span.uses++
      return {span, offset, opens: false}
    }
    const span = {write, start: offset, end, uses: 1}
    spans.set((write ? 'w' : 'r') + root, span)
    return {span, offset, opens: true}
  }
}

/** An address without a root. */
function absolute(value: number | bigint): Address | undefined {
  return checked({root: '', offset: Number(value)})
}

function checked(address: Address): Address | undefined {
  return Number.isSafeInteger(address.offset) ? address : undefined
}

function sum(left: Address, right: Address, scale: number): Address | undefined {
  const offset = left.offset + right.offset * scale
  const term = right.root === '' ? '' : scale === 1 ? right.root : `${scale}*(${right.root})`
  const root = left.root === '' ? term : term === '' ? left.root : `${left.root}+${term}`
  return root.length > 64 ? undefined : checked({root, offset})
}
