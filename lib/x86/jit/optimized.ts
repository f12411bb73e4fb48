/**
 * The optimized form of a translation, for code that has become hot: general registers are WebAssembly locals, and each memory access, or each span
 * of them (spans.ts), looks into the TLB by itself.
 */
import type {MemoryOp} from '../../wasm/builder.js'
import type {WasmType} from '../../wasm/opcodes.js'
import type {Op, Template, ValueId} from '../ir/op.js'
import {loadOf, storeOf} from '../ir/types.js'
import {accessorName} from '../mmu/accessors.js'
import {probeOperand} from '../mmu/probe.js'
import {state} from '../state.js'
import {type Place, Translator} from './lower.js'
import type {SpanPart} from './spans.js'

/** A memory access of the current instruction. */
interface Access {
  readonly value: ValueId
  /** The local that has its address; undefined where only a slow path needs it. */
  readonly address: number | undefined
  readonly bytes: number
  readonly write: boolean
  /** The span it shares with others. */
  readonly shared: SpanPart | undefined
  /** From the span's start. */
  readonly offset: number
}

export class Optimized extends Translator {
  private readonly gprLocals: number[] = []
  /** Accesses of the current instruction so far. */
  private accesses = 0

  override instruction(template: Template, place: Place): void {
    this.accesses = 0
    super.instruction(template, place)
  }

  /** The local that holds a general register. */
  private gpr(register: number): number {
    this.gprLocals[register] ??= this.code.local('i64')
    return this.gprLocals[register]
  }

  loadRegisters(mask: number): void {
    for (let register = 0; register < 16; register++) {
      if (((mask >> register) & 1) === 0) continue
      this.pushCpu()
      this.code.memory('i64.load', state.gpr + register * 8)
      this.code.localSet(this.gpr(register))
    }
  }

  storeRegisters(mask: number): void {
    for (let register = 0; register < 16; register++) {
      if (((mask >> register) & 1) === 0) continue
      this.pushCpu()
      this.code.localGet(this.gpr(register))
      this.code.memory('i64.store', state.gpr + register * 8)
    }
  }

  protected pushGpr(register: number): void {
    this.code.localGet(this.gpr(register))
  }

  protected override getRegister(op: Op & {kind: 'get-register'}): void {
    const {code} = this
    const offset = this.offsetOf(op.ref) + op.offset
    if (offset >= state.rip) {
      this.pushCpu()
      return code.memory(loadOf(op.bits), offset)
    }
    code.localGet(this.gpr(offset >> 3))
    if (op.bits === 64) return
    if (offset & 1) {
      code.i64Const(8)
      code.op('i64.shr_u')
    }
    code.op('i32.wrap_i64')
    if (op.bits === 32) return
    code.i32Const(op.bits === 8 ? 0xff : 0xffff)
    code.op('i32.and')
  }

  protected setRegister(op: Op & {kind: 'set-register'}): void {
    const {code} = this
    const offset = this.offsetOf(op.ref) + op.offset
    if (offset >= state.rip) {
      this.pushCpu()
      this.push(op.value)
      return code.memory(storeOf(op.bits), offset)
    }
    const local = this.gpr(offset >> 3)
    this.push(op.value)
    if (op.bits < 64) code.op('i64.extend_i32_u')
    if (op.bits < 32) {
      const high = offset & 1
      if (high) {
        code.i64Const(8)
        code.op('i64.shl')
      }
      code.localGet(local)
      code.i64Const(op.bits === 16 ? ~0xffffn : high ? ~0xff00n : ~0xffn)
      code.op('i64.and')
      code.op('i64.or')
    }
    code.localSet(local)
  }

  protected override load(op: Op & {kind: 'load'}): void {
    const {code} = this
    const access = this.nextAccess(op.address, op.bytes, op.host !== undefined)
    if (op.host !== undefined) {
      const host = this.temporary('i32')
      this.withHost(
        access,
        'i32',
        () => {
          if (access.offset > 0) {
            code.i32Const(access.offset)
            code.op('i32.add')
          }
        },
        () => this.openSlowly(access),
      )
      code.localTee(host)
      code.memory(op.access)
      this.localOf[op.host] = host
    } else {
      this.withHost(
        access,
        this.template.types[op.out],
        () => code.memory(op.access, access.offset),
        () => this.readSlowly(access, op.access),
      )
    }
    this.keep(op.out)
  }

  protected override store(op: Op & {kind: 'store'}): void {
    const {code} = this
    const access = this.nextAccess(op.address, op.bytes, true)
    const value = this.temporary(this.template.types[op.value])
    this.push(op.value)
    code.localSet(value)
    this.withHost(
      access,
      undefined,
      () => {
        code.localGet(value)
        code.memory(op.access, access.offset)
      },
      () => this.writeSlowly(access, op.access, value),
    )
  }

  /** The access that comes next. */
  private nextAccess(address: ValueId, bytes: number, write: boolean): Access {
    const part = this.place.parts[this.accesses++]
    const shared = part !== undefined && part.span.uses > 1 ? part : undefined
    const offset = shared === undefined ? 0 : shared.offset - shared.span.start
    const isLookedUp = shared?.opens !== false
    return {value: address, address: isLookedUp ? this.addressLocal(address) : undefined, bytes, write, shared, offset}
  }

  private pushAddress({address, value}: Access): void {
    if (address === undefined) this.push(value)
    else this.code.localGet(address)
  }

  /** Writes `fast` behind the place of the access's span on the stack, `slow` for when there is none; both leave a value of the type. */
  private withHost(access: Access, type: WasmType | undefined, fast: () => void, slow: () => void): void {
    const {code} = this
    code.block(type)
    code.block()
    this.depth += 2
    this.findHost(access)
    fast()
    code.br(1)
    code.end()
    this.depth--
    slow()
    code.end()
    this.depth--
  }

  /** Pushes the place of the access's span; branches to label 0 when there is none. */
  private findHost(access: Access): void {
    const {code} = this
    const {shared, address} = access
    if (shared !== undefined) shared.span.host ??= code.local('i32')
    const host = shared?.span.host ?? this.temporary('i32')
    if (address !== undefined) this.lookUp(access, address, host)
    else {
      code.localGet(host)
      code.op('i32.eqz')
      code.unlikely()
      code.brIf(0)
    }
    code.localGet(host)
  }

  /** Sets `host` to the place of the access's span, to 0 before it branches to label 0. */
  private lookUp({shared, bytes, write, offset}: Access, address: number, host: number): void {
    const {code} = this
    let start = address
    if (offset > 0) {
      start = this.temporary('i64')
      code.localGet(address)
      code.i64Const(offset)
      code.op('i64.sub')
      code.localSet(start)
    }
    const length = shared === undefined ? bytes : shared.span.end - shared.span.start
    const entry = this.temporary('i32')
    probeOperand(code, {...this.tlb(write), entry, host, address: start, bytes: length})
    code.unlikely()
    if (shared === undefined) return code.brIf(0)
    code.if()
    code.localGet(start)
    code.i32Const(length)
    this.callHelper(code, write ? 'spanToWrite' : 'spanToRead')
    code.localTee(host)
    code.op('i32.eqz')
    code.brIf(1)
    code.end()
  }

  // What the TLB does not know, or belongs to a span that is not in one page: up to 8 bytes by accessors, as in the baseline form.

  private readSlowly(access: Access, load: MemoryOp): void {
    const {code} = this
    if (access.bytes > 8) {
      this.pushAddress(access)
      code.i32Const(access.bytes)
      this.callHelper(code, 'slowRead')
      this.keepPlace()
      return code.memory(load)
    }
    this.pushAddress(access)
    this.rip(false)
    this.callHelper(code, accessorName('read', access.bytes, this.mmuMode))
    this.exitIf()
  }

  private writeSlowly(access: Access, store: MemoryOp, value: number): void {
    const {code} = this
    if (access.bytes > 8) {
      this.pushCpu()
      code.localGet(value)
      code.memory(store, state.scratch)
      this.pushAddress(access)
      code.i32Const(access.bytes)
      this.callHelper(code, 'slowWrite')
      return this.exitIf()
    }
    this.pushAddress(access)
    code.localGet(value)
    this.rip(false)
    this.callHelper(code, accessorName('write', access.bytes, this.mmuMode))
    this.exitIf()
  }

  /** Pushes the place of an operand that is going to be written, too. */
  private openSlowly(access: Access): void {
    this.pushAddress(access)
    if (access.bytes > 8) {
      this.code.i32Const(access.bytes)
      this.callHelper(this.code, 'slowModify')
    } else {
      this.rip(false)
      this.callHelper(this.code, accessorName('open', access.bytes, this.mmuMode))
    }
    this.keepPlace()
  }

  /** Leaves when the place on the stack is 0. */
  private keepPlace(): void {
    const {code} = this
    const host = this.temporary('i32')
    code.localTee(host)
    code.op('i32.eqz')
    this.exitIf()
    code.localGet(host)
  }
}
