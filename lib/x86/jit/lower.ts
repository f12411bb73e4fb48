/**
 * The translator tier: templates with the operands of this instruction as constants, general registers in locals, flags kept as the
 * operands they follow from until somebody needs them. Vector and other registers stay in vCPU state.
 *
 * Ways out of a region (ways-out.ts) write changed registers and flags back.
 */
import type {Code} from '../../wasm/builder.js'
import type {DecodedInstruction} from '../decode/instruction-record.js'
import {FlagKind, type FlagKindName} from '../flags.js'
import {extendTo64} from '../interpret.js'
import type {Op, RegisterRef, Template} from '../ir/op.js'
import {callNames} from '../links.js'
import {type CallHelper, Lowering} from '../lower.js'
import {tlbTable} from '../mmu/probe.js'
import {AccessKind, state} from '../state.js'
import type {SpanPart} from './spans.js'

/** What the current instruction is. */
export interface Place {
  readonly decoded: DecodedInstruction
  readonly rip: number
  readonly next: number
  /** Somebody reads the flags it finds. */
  readonly flagsLive: boolean
  /** Masks of general registers, see registers.ts. */
  readonly changedBefore: number
  readonly changedAfter: number
  readonly writtenBack: number
  readonly neededAfter: number
  readonly parts: readonly (SpanPart | undefined)[]
}

/** Control flow, which the region's writer knows. Depth counts from inside the current instruction; `flags` are what is in locals. */
export interface Exits {
  /** Goes to a known RIP: a block of the region, or out. */
  goTo(rip: number, depth: number): void
  /** Leaves to the address on the stack; `linked`: by a link of its own. */
  leave(linked: boolean, flags: FlagKindName | undefined, depth: number): void
  /** Leaves at the current instruction, which has changed nothing. */
  fault(flags: FlagKindName | undefined, depth: number): void
  /** The same when the value on the stack is not 0; RIP is in state. */
  faultedIf(flags: FlagKindName | undefined, depth: number): void
  /** A call can come back to this RIP without leaving the region. */
  returnsTo(rip: number): boolean
  /** Pushes the byte offset in linear memory of code at a RIP of the region's page. */
  pushPlace(rip: number): void
  /** Address of a new cell of a link. */
  linkCell(): number
  /** Address of a permanent record of the current instruction, for slow paths. */
  recordAddress(): number
  systemNumber(name: string): number
}

export abstract class Translator extends Lowering {
  /** FlagKind name of the flags in locals, or undefined when they are in vCPU state. */
  flags: FlagKindName | undefined
  protected place!: Place
  /** Parameters of the region's function that serve as locals. */
  private readonly flagA = 1
  private readonly flagB = 2
  private readonly flagR = 3

  constructor(
    code: Code,
    /** The vCPU area's address. */
    private readonly cpu: number,
    callHelper: CallHelper,
    protected readonly mmuMode: 0 | 1,
    protected readonly exits: Exits,
  ) {
    super(code, callHelper)
  }

  /** Reads general registers into where this form keeps them. */
  abstract loadRegisters(mask: number): void
  /** Writes general registers back to vCPU state. */
  abstract storeRegisters(mask: number): void
  /** Pushes a whole general register. */
  protected abstract pushGpr(register: number): void

  instruction(template: Template, place: Place): void {
    this.place = place
    if (template.maySetFlags || template.readsFlags) {
      // Conditional setters and slow paths need the flags in state; conditions can use the locals.
      const needsState =
        template.maySetFlags || template.ops.some(op => op.kind === 'status-flags' || op.kind === 'system')
      if (needsState) this.flushFlags()
    }
    this.lower(template)
  }

  /** Puts the flags into vCPU state. */
  flushFlags(): void {
    if (this.flags !== undefined) this.storeFlags(this.flags)
    this.flags = undefined
  }

  /** Writes flags in locals, which follow in this way, to vCPU state. */
  storeFlags(kind: FlagKindName): void {
    const {code} = this
    for (const [field, local] of this.flagLocals(kind)) {
      this.pushCpu()
      code.localGet(local)
      code.memory('i64.store', state[field])
    }
    this.pushCpu()
    code.i32Const(FlagKind[kind])
    code.memory('i32.store', state.flagKind)
  }

  /** The flag fields a kind uses. */
  private flagLocals(kind: FlagKindName): ['flagA' | 'flagB' | 'flagR', number][] {
    const list: ['flagA' | 'flagB' | 'flagR', number][] = []
    if (kind !== 'logic') list.push(['flagA', this.flagA])
    if (kind !== 'logic' && kind !== 'explicit' && kind !== 'result') list.push(['flagB', this.flagB])
    if (kind !== 'explicit') list.push(['flagR', this.flagR])
    return list
  }

  protected repeatable(op: Op): boolean {
    return op.kind === 'const' || op.kind === 'immediate' || op.kind === 'rip'
  }

  protected offsetOf(ref: RegisterRef): number {
    return 'fixed' in ref ? ref.fixed : this.place.decoded.slots[ref.slot]
  }

  protected registerAddress(op: Op & {kind: 'register-address'}): void {
    this.pushCpu()
    this.code.i32Const(this.offsetOf(op.ref))
    this.code.op('i32.add')
  }

  protected immediate(): void {
    this.code.i64Const(this.place.decoded.immediate)
  }

  protected rip(next: boolean): void {
    this.code.i64Const(next ? this.place.next : this.place.rip)
  }

  protected address(segment: boolean): void {
    const {code} = this
    const {decoded} = this.place
    const {memory, variant} = decoded
    if (memory === undefined) return code.i64Const(0)
    let terms = 0
    const plus = () => {
      if (terms++ > 0) code.op('i64.add')
    }
    if (memory.base !== state.zero) {
      this.pushGpr(memory.base >> 3)
      plus()
    }
    if (memory.index !== state.zero) {
      this.pushGpr(memory.index >> 3)
      if (memory.scale > 0) {
        code.i64Const(memory.scale)
        code.op('i64.shl')
      }
      plus()
    }
    if (memory.displacement !== 0 || terms === 0) {
      code.i64Const(memory.displacement)
      plus()
    }
    if (variant.addressBits < 64) {
      code.i64Const(variant.addressBits === 32 ? 0xffffffffn : 0xffffn)
      code.op('i64.and')
    }
    if (!segment) return
    if (memory.addsSegmentBase) {
      this.pushCpu()
      code.memory('i64.load', state.segmentBase + memory.segment * 8)
      code.op('i64.add')
    }
    if (variant.codeBits < 64) {
      code.i64Const(0xffffffffn)
      code.op('i64.and')
    }
  }

  protected setFlags(op: Op & {kind: 'set-flags'}): void {
    const {code, depth} = this
    const conditional = depth > 0
    for (const [field, value, local] of [
      ['flagA', op.a, this.flagA],
      ['flagB', op.b, this.flagB],
      ['flagR', op.r, this.flagR],
    ] as const) {
      if (value === undefined) continue
      if (conditional) this.pushCpu()
      this.push(value)
      extendTo64(code, op.bits)
      if (conditional) code.memory('i64.store', state[field])
      else code.localSet(local)
    }
    if (!conditional) {
      this.flags = op.flags
      return
    }
    this.pushCpu()
    code.i32Const(FlagKind[op.flags])
    code.memory('i32.store', state.flagKind)
  }

  protected condition(condition: number): void {
    const {code, flags} = this
    const known = flags === undefined ? undefined : conditionFrom(flags, condition >> 1)
    if (known === undefined) {
      if (flags !== undefined) this.storeFlagsKeeping()
      return this.callHelper(this.code, `condition${condition}`)
    }
    known(code, {a: this.flagA, b: this.flagB, r: this.flagR})
    if (condition & 1) code.op('i32.eqz')
  }

  /** Copies flags to state for a condition function; they are then in state for good. */
  private storeFlagsKeeping(): void {
    const {flags} = this
    this.flushFlags()
    // Inside structured control the copy may not have happened on every path: the locals stay the truth there.
    if (this.depth > 0) this.flags = flags
  }

  protected statusFlags(): void {
    this.callHelper(this.code, 'statusFlags')
  }

  protected jump(op: Op & {kind: 'jump'}): void {
    const {decoded, next} = this.place
    const direct = this.template.definitions[op.target]?.kind === 'immediate'
    const isLong = decoded.variant.codeBits === 64
    if (op.call && isLong && this.exits.returnsTo(next)) return this.call(op)
    if (direct && !op.call) return this.exits.goTo(Number(decoded.immediate), this.depth)
    this.push(op.target)
    // A table of targets is no use to a link, nor is a link to a RET.
    const linked = isLong && !op.return && (decoded.memory === undefined || decoded.memory.index === state.zero)
    this.exits.leave(linked, this.flags, this.depth)
  }

  /** A call that the region goes on behind. */
  private call(op: Op & {kind: 'jump'}): void {
    const {code} = this
    const {next, writtenBack, neededAfter} = this.place
    this.flushFlags()
    this.storeRegisters(writtenBack)
    this.push(op.target)
    code.i32Const(this.exits.linkCell())
    code.i64Const(next)
    this.exits.pushPlace(next)
    this.callHelper(code, callNames[this.mmuMode])
    this.returnUnlessNext()
    this.loadRegisters(neededAfter)
    this.exits.goTo(next, this.depth)
  }

  /** Returns the status on the stack unless it says to go on; registers are in state. */
  private returnUnlessNext(): void {
    const {code} = this
    const status = this.temporary('i32')
    code.localTee(status)
    code.unlikely()
    code.if()
    code.localGet(status)
    code.return()
    code.end()
  }

  protected branch(op: Op & {kind: 'branch'}): void {
    const {code} = this
    this.push(op.condition)
    const {flags} = this
    code.if()
    this.exits.goTo(Number(this.place.decoded.immediate), this.depth + 1)
    code.end()
    this.flags = flags
    this.exits.goTo(this.place.next, this.depth)
  }

  protected system(name: string): void {
    const {code} = this
    this.flushFlags()
    this.storeRegisters(this.place.writtenBack)
    this.pushCpu()
    code.i64Const(this.place.rip)
    code.memory('i64.store', state.rip)
    code.i32Const(this.exits.recordAddress())
    code.i32Const(this.exits.systemNumber(name))
    this.callHelper(this.code, 'system')
    this.returnUnlessNext()
    this.loadRegisters(this.place.neededAfter)
    if (this.template.endsBlock) this.exits.goTo(this.place.next, this.depth)
  }

  protected pushCpu(): void {
    this.code.i32Const(this.cpu)
  }

  protected tlb(write: boolean): {base: undefined; table: number} {
    return {base: undefined, table: this.cpu + tlbTable(this.mmuMode, write ? AccessKind.write : AccessKind.read)}
  }

  protected exit(): void {
    this.exits.fault(this.flagsAtFault, this.depth)
  }

  /** Flags in locals that a fault at this instruction has to write back. */
  protected get flagsAtFault(): FlagKindName | undefined {
    return this.place.flagsLive ? this.flags : undefined
  }
}

type FlagLocals = {a: number; b: number; r: number}
type ConditionCode = (code: Code, flags: FlagLocals) => void

/** compare(x, y) on two flag locals. */
const compare =
  (name: string, left: keyof FlagLocals, right: keyof FlagLocals): ConditionCode =>
  (code, flags) => {
    code.localGet(flags[left])
    code.localGet(flags[right])
    code.op(name)
  }
const zero: ConditionCode = (code, flags) => {
  code.localGet(flags.r)
  code.op('i64.eqz')
}
const negative: ConditionCode = (code, flags) => {
  code.localGet(flags.r)
  code.i64Const(0)
  code.op('i64.lt_s')
}
const notPositive: ConditionCode = (code, flags) => {
  code.localGet(flags.r)
  code.i64Const(1)
  code.op('i64.lt_s')
}
const never: ConditionCode = code => code.i32Const(0)

/** How a pair of conditions (O B E BE S P L LE) follows directly from the flag locals; undefined asks the general function. */
function conditionFrom(kind: FlagKindName, pair: number): ConditionCode | undefined {
  const sub: (ConditionCode | undefined)[] = [
    undefined,
    compare('i64.lt_u', 'a', 'b'),
    compare('i64.eq', 'a', 'b'),
    compare('i64.le_u', 'a', 'b'),
    negative,
    undefined,
    compare('i64.lt_s', 'a', 'b'),
    compare('i64.le_s', 'a', 'b'),
  ]
  const logic: (ConditionCode | undefined)[] = [never, never, zero, zero, negative, undefined, negative, notPositive]
  if (kind === 'sub') return sub[pair]
  if (kind === 'logic') return logic[pair]
  if (kind === 'explicit') return undefined
  if (kind === 'add' && pair === 1) return compare('i64.lt_u', 'r', 'a')
  return pair === 2 ? zero : pair === 4 ? negative : undefined
}
