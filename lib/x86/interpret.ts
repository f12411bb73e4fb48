/**
 * The interpreter tier: every template becomes one small function `(record) → status` that reads its operands from the decoded
 * record and keeps registers in vCPU state. Handlers are made when first needed and put into one function table.
 *
 * Status of a handler (and of translated regions): 0 next record, 1 return to the run loop (reason in state), 2 block ended, RIP set.
 */
import type {Code} from '../wasm/builder.js'
import {record} from './decode/record.js'
import {FlagKind} from './flags.js'
import type {Op, RegisterRef, Template} from './ir/op.js'
import {loadOf, storeOf} from './ir/types.js'
import {type CallHelper, Lowering} from './lower.js'
import {pushModeBase, tlbTable} from './mmu/probe.js'
import {AccessKind, state} from './state.js'

export const Status = {next: 0, exit: 1, blockEnd: 2} as const

/** Parameters of a handler: the record's address. */
const recordLocal = 0

export class Interpreter extends Lowering {
  /** Locals with the vCPU area's address, and the same moved to the TLB of the current mode. */
  private readonly cpu: number
  private readonly tlbLocal: number

  constructor(code: Code, callHelper: CallHelper, cpuGlobal: number) {
    super(code, callHelper)
    this.cpu = code.local('i32')
    this.tlbLocal = code.local('i32')
    code.globalGet(cpuGlobal)
    code.localSet(this.cpu)
  }

  /** Writes the whole handler body. */
  handler(template: Template): void {
    const {code} = this
    if (template.ops.some(op => op.kind === 'load' || op.kind === 'store')) {
      // User mode's tables lie behind supervisor mode's.
      pushModeBase(code, this.cpu)
      code.localSet(this.tlbLocal)
    }
    this.lower(template)
    code.i32Const(Status.next)
  }

  protected repeatable(op: Op): boolean {
    return op.kind === 'const'
  }

  /** Pushes the address (without static offset) of a register; gives the static offset. */
  private pushRegister(ref: RegisterRef, offset: number): number {
    const {code} = this
    code.localGet(this.cpu)
    if ('fixed' in ref) return ref.fixed + offset
    code.localGet(recordLocal)
    code.memory('i32.load16_u', record.operands[ref.slot])
    code.op('i32.add')
    return offset
  }

  protected getRegister(op: Op & {kind: 'get-register'}): void {
    const offset = this.pushRegister(op.ref, op.offset)
    this.code.memory(loadOf(op.bits), offset)
  }

  protected setRegister(op: Op & {kind: 'set-register'}): void {
    const {code} = this
    const offset = this.pushRegister(op.ref, op.offset)
    this.push(op.value)
    const general = !('fixed' in op.ref) || op.ref.fixed < state.rip
    if (op.bits === 32 && general && op.offset === 0 && !op.vector) {
      code.op('i64.extend_i32_u')
      return code.memory('i64.store', offset)
    }
    code.memory(storeOf(op.bits), offset)
  }

  protected registerAddress(op: Op & {kind: 'register-address'}): void {
    const offset = this.pushRegister(op.ref, 0)
    this.code.i32Const(offset)
    this.code.op('i32.add')
  }

  protected immediate(): void {
    this.code.localGet(recordLocal)
    this.code.memory('i64.load', record.immediate)
  }

  protected rip(next: boolean): void {
    const {code} = this
    code.localGet(recordLocal)
    code.memory('i64.load', record.rip)
    if (!next) return
    code.localGet(recordLocal)
    code.memory('i64.load8_u', record.length)
    code.op('i64.add')
  }

  protected address(segment: boolean): void {
    const {code} = this
    this.pushWord(record.base)
    this.pushWord(record.index)
    code.localGet(recordLocal)
    code.memory('i64.load8_u', record.scale)
    code.op('i64.shl')
    code.op('i64.add')
    code.localGet(recordLocal)
    code.memory('i64.load', record.displacement)
    code.op('i64.add')
    const {addressBits, codeBits} = this.variant
    if (addressBits < 64) {
      code.i64Const(addressBits === 32 ? 0xffffffffn : 0xffffn)
      code.op('i64.and')
    }
    if (!segment) return
    this.pushWord(record.segmentBase)
    code.op('i64.add')
    if (codeBits < 64) {
      code.i64Const(0xffffffffn)
      code.op('i64.and')
    }
  }

  /** Pushes the u64 of vCPU state that a record field points to. */
  private pushWord(field: number): void {
    const {code} = this
    code.localGet(this.cpu)
    code.localGet(recordLocal)
    code.memory('i32.load16_u', field)
    code.op('i32.add')
    code.memory('i64.load')
  }

  protected setFlags(op: Op & {kind: 'set-flags'}): void {
    const {code} = this
    for (const [name, value] of [
      ['flagA', op.a],
      ['flagB', op.b],
      ['flagR', op.r],
    ] as const) {
      if (value === undefined) continue
      code.localGet(this.cpu)
      this.push(value)
      extendTo64(code, op.bits)
      code.memory('i64.store', state[name])
    }
    code.localGet(this.cpu)
    code.i32Const(FlagKind[op.flags])
    code.memory('i32.store', state.flagKind)
  }

  protected condition(condition: number): void {
    this.callHelper(this.code, `condition${condition}`)
  }

  protected statusFlags(): void {
    this.callHelper(this.code, 'statusFlags')
  }

  protected jump(op: Op & {kind: 'jump'}): void {
    const {code} = this
    code.localGet(this.cpu)
    this.push(op.target)
    code.memory('i64.store', state.rip)
    code.i32Const(Status.blockEnd)
    code.return()
  }

  protected branch(op: Op & {kind: 'branch'}): void {
    const {code} = this
    code.localGet(this.cpu)
    this.immediate()
    this.rip(true)
    this.push(op.condition)
    code.select()
    code.memory('i64.store', state.rip)
    code.i32Const(Status.blockEnd)
    code.return()
  }

  protected system(name: string): void {
    const {code} = this
    code.localGet(this.cpu)
    this.rip(false)
    code.memory('i64.store', state.rip)
    code.localGet(recordLocal)
    code.i32Const(this.systemNumber(name))
    this.callHelper(this.code, 'system')
    const status = this.temporary('i32')
    code.localTee(status)
    code.if()
    code.localGet(status)
    code.return()
    code.end()
  }

  protected pushCpu(): void {
    this.code.localGet(this.cpu)
  }

  protected tlb(write: boolean): {base: number; table: number} {
    return {base: this.tlbLocal, table: tlbTable(0, write ? AccessKind.write : AccessKind.read)}
  }

  protected exit(): void {
    const {code} = this
    code.localGet(this.cpu)
    code.localGet(recordLocal)
    code.memory('i32.store', state.record)
    code.i32Const(Status.exit)
    code.return()
  }

  /** Set before `handler` by the owner: what the template was recorded for, and the numbers of slow paths. */
  variant: {addressBits: number; codeBits: number} = {addressBits: 64, codeBits: 64}
  systemNumber: (name: string) => number = () => 0
}

/** Sign-extends the value on the stack from a guest width to i64. */
export function extendTo64(code: Code, bits: number): void {
  if (bits === 8) code.op('i32.extend8_s')
  if (bits === 16) code.op('i32.extend16_s')
  if (bits < 64) code.op('i64.extend_i32_s')
}
