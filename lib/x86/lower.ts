/**
 * Template → WebAssembly, the part both tiers share: values become locals or are computed at their use, guest memory goes through the
 * inline TLB probe, structured control maps one to one. A tier says where registers, immediates and flags live and how an
 * instruction is left early.
 *
 * A miss of the probe (mmu/probe.ts) calls the core module (mmu/refill.ts), which refills the TLB, or asks TypeScript (mmu/access.ts) for what is not simple.
 */
import type {Code, MemoryOp} from '../wasm/builder.js'
import type {WasmType} from '../wasm/opcodes.js'
import type {Op, Template, ValueId} from './ir/op.js'
import {probeOperand} from './mmu/probe.js'
import {state} from './state.js'

/** Writes a call of one of the functions in callable.ts; `tail`: as the end of the function. */
export type CallHelper = (code: Code, name: string, tail?: boolean) => void

export abstract class Lowering {
  protected template!: Template
  protected readonly localOf: number[] = []
  private readonly variableOf: number[] = []
  private readonly free: Record<WasmType, number[]> = {i32: [], i64: [], f32: [], f64: [], v128: []}
  private readonly taken: [WasmType, number][] = []
  /** Structured blocks open inside the current template. */
  protected depth = 0

  constructor(
    protected readonly code: Code,
    protected readonly callHelper: CallHelper,
  ) {}

  /** Writes the whole template. */
  protected lower(template: Template): void {
    this.template = template
    for (const op of template.ops) this.statement(op)
    for (const [type, local] of this.taken) this.free[type].push(local)
    this.taken.length = 0
  }

  /** A local for the rest of this template. */
  protected temporary(type: WasmType): number {
    const local = this.free[type].pop() ?? this.code.local(type)
    this.taken.push([type, local])
    return local
  }

  // ---- what a tier decides ----

  protected abstract getRegister(op: Op & {kind: 'get-register'}): void
  protected abstract setRegister(op: Op & {kind: 'set-register'}): void
  protected abstract registerAddress(op: Op & {kind: 'register-address'}): void
  protected abstract immediate(): void
  protected abstract rip(next: boolean): void
  protected abstract address(segment: boolean): void
  protected abstract setFlags(op: Op & {kind: 'set-flags'}): void
  protected abstract condition(code: number): void
  protected abstract statusFlags(): void
  protected abstract jump(op: Op & {kind: 'jump'}): void
  protected abstract branch(op: Op & {kind: 'branch'}): void
  protected abstract system(name: string): void
  /** Pushes the vCPU area's address. */
  protected abstract pushCpu(): void
  /** Where the TLB's table for reads or writes lies, from the local `base` on if there is one. */
  protected abstract tlb(write: boolean): {readonly base: number | undefined; readonly table: number}
  /** Leaves the instruction: an exit reason is already in state. */
  protected abstract exit(): void
  /** True when the operation is cheaper to repeat than to keep in a local. */
  protected abstract repeatable(op: Op): boolean

  // ---- values ----

  /** Pushes a value. */
  protected push(value: ValueId): void {
    const op = this.template.definitions[value]
    if (op && (this.template.inline[value] || this.repeatable(op))) return this.define(op)
    this.code.localGet(this.localOf[value])
  }

  /** Pushes what a value-defining operation computes. */
  private define(op: Op): void {
    const {code} = this
    switch (op.kind) {
      case 'pure':
        for (const arg of op.args) this.push(arg)
        code.opcode(op.code)
        if (op.lanes) for (const lane of op.lanes) code.byte(lane)
        return
      case 'const': {
        const type = this.template.types[op.out]
        if (type === 'v128') return code.v128Const(op.value as Uint8Array)
        return type === 'i64' ? code.i64Const(op.value as number | bigint) : code.i32Const(Number(op.value))
      }
      case 'immediate':
        return this.immediate()
      case 'rip':
        return this.rip(op.next)
      case 'get-register':
        return this.getRegister(op)
      case 'register-address':
        return this.registerAddress(op)
      case 'get-state':
        this.pushCpu()
        return code.memory(op.access, op.offset)
      case 'lookup':
        this.pushCpu()
        this.push(op.offset)
        code.op('i32.add')
        return code.memory(op.access, op.table)
      case 'address':
        return this.address(op.segment)
      case 'condition':
        return this.condition(op.code)
      case 'status-flags':
        return this.statusFlags()
      case 'get-variable':
        return code.localGet(this.variableOf[op.variable])
      default:
        throw new Error(`bug: ${op.kind} defines no value`)
    }
  }

  protected keep(value: ValueId): void {
    const local = this.temporary(this.template.types[value])
    this.localOf[value] = local
    this.code.localSet(local)
  }

  // ---- statements ----

  private statement(op: Op): void {
    const {code} = this
    switch (op.kind) {
      case 'set-register':
        return this.setRegister(op)
      case 'set-state':
        this.pushCpu()
        this.push(op.value)
        return code.memory(op.access, op.offset)
      case 'load':
        return this.load(op)
      case 'store':
        return this.store(op)
      case 'store-back':
        return this.storeBack(op)
      case 'set-flags':
        return this.setFlags(op)
      case 'if':
        this.push(op.condition)
        code.if()
        this.depth++
        return
      case 'else':
        return code.else()
      case 'loop':
        code.loop()
        this.depth++
        return
      case 'continue-if':
        this.push(op.condition)
        return code.brIf(0)
      case 'end':
        code.end()
        this.depth--
        return
      case 'declare':
        this.variableOf[op.variable] = this.temporary(op.type)
        return
      case 'set-variable':
        this.push(op.value)
        return code.localSet(this.variableOf[op.variable])
      case 'jump':
        return this.jump(op)
      case 'branch':
        return this.branch(op)
      case 'fault':
        code.i32Const(op.vector)
        code.i32Const(op.errorCode ?? -1)
        this.callHelper(this.code, 'raise')
        return this.exit()
      case 'system':
        return this.system(op.name)
      case 'call':
        for (const arg of op.args) this.push(arg)
        this.callHelper(this.code, op.name)
        if (op.out === undefined) return
        if (this.template.uses[op.out] === 0) return code.drop()
        return this.keep(op.out)
      default:
        if (this.template.inline[op.out] || this.template.uses[op.out] === 0 || this.repeatable(op)) return
        this.define(op)
        return this.keep(op.out)
    }
  }

  // ---- guest memory ----

  /** The probe; leaves the hit case's host address in `host`; `miss` replaces it when there is none. */
  private probe(address: number, bytes: number, write: boolean, host: number, miss: () => void): void {
    const {code} = this
    const entry = this.temporary('i32')
    probeOperand(code, {...this.tlb(write), entry, host, address, bytes})
    code.unlikely()
    code.if()
    this.depth++
    miss()
    code.end()
    this.depth--
  }

  protected addressLocal(value: ValueId): number {
    const local = this.temporary('i64')
    this.push(value)
    this.code.localSet(local)
    return local
  }

  private pushAccess(address: number, bytes: number): void {
    this.code.localGet(address)
    this.code.i32Const(bytes)
  }

  protected exitIf(): void {
    this.code.unlikely()
    this.code.if()
    this.depth++
    this.exit()
    this.code.end()
    this.depth--
  }

  protected load(op: Op & {kind: 'load'}): void {
    const {code} = this
    const address = this.addressLocal(op.address)
    const host = this.temporary('i32')
    const write = op.host !== undefined
    this.probe(address, op.bytes, write, host, () => {
      this.pushAccess(address, op.bytes)
      this.callHelper(this.code, write ? 'slowModify' : 'slowRead')
      code.localTee(host)
      code.op('i32.eqz')
      this.exitIf()
    })
    code.localGet(host)
    code.memory(op.access)
    this.keep(op.out)
    if (op.host !== undefined) this.localOf[op.host] = host
  }

  protected store(op: Op & {kind: 'store'}): void {
    const {code} = this
    const address = this.addressLocal(op.address)
    const host = this.temporary('i32')
    const value = this.temporary(this.template.types[op.value])
    this.push(op.value)
    code.localSet(value)
    this.probe(address, op.bytes, true, host, () => {
      this.pushCpu()
      code.localGet(value)
      code.memory(op.access, state.scratch)
      this.pushAccess(address, op.bytes)
      this.callHelper(this.code, 'slowWrite')
      this.exitIf()
      // The slow path has stored; the common store below then repeats it into scratch.
      this.pushCpu()
      code.i32Const(state.scratch)
      code.op('i32.add')
      code.localSet(host)
    })
    code.localGet(host)
    code.localGet(value)
    code.memory(op.access)
  }

  private storeBack(op: Op & {kind: 'store-back'}): void {
    const {code} = this
    const host = this.localOf[op.host]
    const value = this.temporary(this.template.types[op.value])
    this.push(op.value)
    code.localSet(value)
    if (op.locked && op.bytes <= 8) this.exchange(op, host, value)
    else {
      code.localGet(host)
      code.localGet(value)
      code.memory(op.access)
    }
    code.localGet(host)
    this.pushCpu()
    code.i32Const(state.crossing)
    code.op('i32.add')
    code.op('i32.eq')
    code.unlikely()
    code.if()
    this.depth++
    code.i32Const(op.bytes)
    this.callHelper(this.code, 'commit')
    this.exitIf()
    code.end()
    this.depth--
  }

  /** LOCK: stores only if memory still holds the old value; otherwise the whole instruction runs again. */
  private exchange(op: Op & {kind: 'store-back'}, host: number, value: number): void {
    const {code} = this
    const names: Record<number, [MemoryOp, string]> = {
      1: ['i32.atomic.rmw8.cmpxchg_u', 'i32.ne'],
      2: ['i32.atomic.rmw16.cmpxchg_u', 'i32.ne'],
      4: ['i32.atomic.rmw.cmpxchg', 'i32.ne'],
      8: ['i64.atomic.rmw.cmpxchg', 'i64.ne'],
    }
    const [access, differs] = names[op.bytes]
    if (op.bytes > 1) {
      code.localGet(host)
      code.i32Const(op.bytes - 1)
      code.op('i32.and')
      code.if()
      this.depth++
      // An unaligned operand cannot be exchanged atomically; one vCPU thread alone reaches it.
      code.localGet(host)
      code.localGet(value)
      code.memory(op.access)
      code.else()
    }
    code.localGet(host)
    this.push(op.old)
    code.localGet(value)
    code.memory(access)
    this.push(op.old)
    code.op(differs)
    code.if()
    this.depth++
    this.callHelper(this.code, 'retry')
    this.exit()
    code.end()
    this.depth--
    if (op.bytes > 1) {
      code.end()
      this.depth--
    }
  }
}
