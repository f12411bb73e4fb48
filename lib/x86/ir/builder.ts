/**
 * The vocabulary semantics are written in. A Builder records the operations of one instruction form at one operand size; it runs
 * nothing. Values know their guest width; arithmetic on 8 and 16 bits is wrapped here, so a family never masks by hand.
 *
 * Order matters as on the processor: reads of memory come first, then the write to memory (which may fault), then registers and
 * flags. A memory operand that is read and then written is one access: the read already asks for write permission.
 *
 * Source: the IR is ours; widths and conditions after SDM vol. 2A 3.1.1, appendix B.
 */
import {pureOps} from '../../wasm/opcodes.js'
import type {FlagKindName} from '../flags.js'
import {Gpr} from '../registers.js'
import {state} from '../state.js'
import type {Op, RegisterRef, Template, ValueId} from './op.js'
import {finish} from './template.js'
import {loadOf, type MemoryOp, storeOf, type WasmType} from './types.js'
import type {Operand, Value, Variant} from './value.js'

export type {Operand, Value, Variant} from './value.js'

const widthOp: Record<number, string> = {8: 'i32.and', 16: 'i32.and'}
const maskOf: Record<number, number> = {8: 0xff, 16: 0xffff}

export class Builder {
  private readonly ops: Op[] = []
  private readonly types: WasmType[] = []
  private variables = 0
  private readonly opened = new Map<Operand, {load: Op & {kind: 'load'}; host: ValueId}>()
  private ends = false

  constructor(readonly variant: Variant) {}

  /** Mode facts families ask for: 64-bit code, width of the stack pointer. */
  get long(): boolean {
    return this.variant.codeBits === 64
  }
  get stackBits(): number {
    return this.variant.codeBits
  }

  finish(): Template {
    return finish(this.ops, this.types, this.ends)
  }

  // ---- values ----

  private value(type: WasmType, bits: number): Value {
    return {id: this.types.push(type) - 1, type, bits}
  }

  /** A constant of the given width. */
  constant(bits: number, value: number | bigint): Value {
    const out = this.value(bits === 64 ? 'i64' : 'i32', bits)
    this.ops.push({kind: 'const', value: bits === 64 ? value : Number(value) | 0, out: out.id})
    return out
  }

  vector(bytes: Uint8Array): Value {
    const out = this.value('v128', 128)
    this.ops.push({kind: 'const', value: bytes, out: out.id})
    return out
  }

  /** A WebAssembly instruction by name; the result has `bits` (default: its natural width). */
  wasm(name: string, args: readonly Value[], options: {bits?: number; lanes?: readonly number[]} = {}): Value {
    const op = pureOps.get(name)
    if (!op || op.args.length !== args.length) throw new Error(`bug: ${name} with ${args.length} operands`)
    if (args.some((arg, index) => arg.type !== op.args[index])) throw new Error(`bug: operands of ${name}`)
    const out = this.value(op.result, options.bits ?? {i32: 32, i64: 64, f32: 32, f64: 64, v128: 128}[op.result])
    const {lanes} = options
    this.ops.push({kind: 'pure', code: op.code, args: args.map(arg => arg.id), out: out.id, ...(lanes ? {lanes} : {})})
    return out
  }

  private binary(name: string, left: Value, right: Value, wraps: boolean): Value {
    if (left.type !== right.type) throw new Error(`bug: ${name} of ${left.type} and ${right.type}`)
    const {bits} = left
    const result = this.wasm(`${left.type}.${name}`, [left, right], {bits})
    return wraps && bits < 32 ? this.wasm(widthOp[bits], [result, this.constant(32, maskOf[bits])], {bits}) : result
  }

  add(left: Value, right: Value): Value {
    return this.binary('add', left, right, true)
  }
  subtract(left: Value, right: Value): Value {
    return this.binary('sub', left, right, true)
  }
  multiply(left: Value, right: Value): Value {
    return this.binary('mul', left, right, true)
  }
  and(left: Value, right: Value): Value {
    return this.binary('and', left, right, false)
  }
  or(left: Value, right: Value): Value {
    return this.binary('or', left, right, false)
  }
  xor(left: Value, right: Value): Value {
    return this.binary('xor', left, right, false)
  }
  not(value: Value): Value {
    return this.xor(
      value,
      this.constant(value.bits, value.bits === 64 ? -1n : value.bits === 32 ? -1 : maskOf[value.bits]),
    )
  }
  negate(value: Value): Value {
    return this.subtract(this.constant(value.bits, 0), value)
  }
  /** Shifts by `count` of the same width as `value` and below it. */
  shiftLeft(value: Value, count: Value): Value {
    return this.binary('shl', value, count, true)
  }
  shiftRight(value: Value, count: Value): Value {
    return this.binary('shr_u', value, count, false)
  }
  shiftRightSigned(value: Value, count: Value): Value {
    if (value.bits >= 32) return this.binary('shr_s', value, count, false)
    return this.narrow(this.wasm('i32.shr_s', [this.signed32(value), count]), value.bits)
  }

  /** 0 or 1. */
  equal(left: Value, right: Value): Value {
    return this.wasm(`${left.type}.eq`, [left, right])
  }
  notEqual(left: Value, right: Value): Value {
    return this.wasm(`${left.type}.ne`, [left, right])
  }
  isZero(value: Value): Value {
    return this.wasm(`${value.type}.eqz`, [value])
  }
  below(left: Value, right: Value): Value {
    return this.wasm(`${left.type}.lt_u`, [left, right])
  }
  less(left: Value, right: Value): Value {
    return this.wasm(`${left.type}.lt_s`, [this.signed32(left), this.signed32(right)])
  }

  /** `condition` ? yes : no. */
  select(condition: Value, yes: Value, no: Value): Value {
    const variable = this.declare(yes.type)
    this.assign(variable, no)
    this.if(condition, () => this.assign(variable, yes))
    return this.variable(variable, yes.bits)
  }

  /** An 8- or 16-bit value as a signed i32; wider values unchanged. */
  signed32(value: Value): Value {
    if (value.bits === 8) return this.wasm('i32.extend8_s', [value])
    if (value.bits === 16) return this.wasm('i32.extend16_s', [value])
    return value
  }

  /** The low `bits` of a value. */
  narrow(value: Value, bits: number): Value {
    if (bits === value.bits) return value
    if (bits > value.bits) throw new Error('bug: narrow to a wider value')
    const low = value.type === 'i64' ? this.wasm('i32.wrap_i64', [value], {bits: 32}) : value
    if (bits === 32) return low
    return this.wasm('i32.and', [low, this.constant(32, maskOf[bits])], {bits})
  }
  zeroExtend(value: Value, bits: number): Value {
    if (bits === value.bits) return value
    if (bits === 64) return this.wasm('i64.extend_i32_u', [value])
    return {...value, bits}
  }
  signExtend(value: Value, bits: number): Value {
    if (bits === value.bits) return value
    const wide = this.signed32(value)
    if (bits === 64) return this.wasm('i64.extend_i32_s', [wide])
    return bits === 32 ? {...wide, bits} : this.wasm('i32.and', [wide, this.constant(32, maskOf[bits])], {bits})
  }
  /** The value at another width: narrowed or zero-extended. */
  resize(value: Value, bits: number): Value {
    return bits < value.bits ? this.narrow(value, bits) : this.zeroExtend(value, bits)
  }

  /** The value, computed now rather than where it is used. */
  hold(value: Value): Value {
    const variable = this.declare(value.type)
    this.assign(variable, value)
    return this.variable(variable, value.bits)
  }

  /** Both halves of a product. */
  multiplyWide(left: Value, right: Value, signed: boolean): {low: Value; high: Value} {
    const {bits} = left
    if (bits === 64) return this.multiplyWide64(left, right, signed)
    const extend = (value: Value) => (signed ? this.signExtend(value, 64) : this.zeroExtend(value, 64))
    const product = this.hold(this.multiply(extend(left), extend(right)))
    return {low: this.narrow(product, bits), high: this.narrow(this.shiftRight(product, this.constant(64, bits)), bits)}
  }

  /** Schoolbook product of 32-bit halves; the signed upper half is the unsigned one less each operand where the other is negative. */
  private multiplyWide64(left: Value, right: Value, signed: boolean): {low: Value; high: Value} {
    const half = this.constant(64, 32)
    const lowMask = this.constant(64, 0xffffffffn)
    const [a0, a1] = [this.hold(this.and(left, lowMask)), this.hold(this.shiftRight(left, half))]
    const [b0, b1] = [this.hold(this.and(right, lowMask)), this.hold(this.shiftRight(right, half))]
    const low = this.hold(this.multiply(left, right))
    const middle = this.hold(this.add(this.multiply(a1, b0), this.shiftRight(this.multiply(a0, b0), half)))
    const other = this.hold(this.add(this.multiply(a0, b1), this.and(middle, lowMask)))
    let high = this.add(this.add(this.multiply(a1, b1), this.shiftRight(middle, half)), this.shiftRight(other, half))
    if (signed) {
      const sign = this.constant(64, 63)
      high = this.subtract(high, this.and(this.shiftRightSigned(left, sign), right))
      high = this.subtract(high, this.and(this.shiftRightSigned(right, sign), left))
    }
    return {low, high: this.hold(high)}
  }

  // ---- operands and registers ----

  /** The operand's value; reads memory where it is in memory. */
  read(operand: Operand): Value {
    switch (operand.kind) {
      case 'immediate':
        return this.immediate(operand)
      case 'memory': {
        const host = this.value('i32', 32)
        const out = this.load(operand.bits, this.address())
        const load = this.ops.at(-1)
        if (load?.kind !== 'load') throw new Error('bug: a load ends a read')
        this.opened.set(operand, {load, host: host.id})
        return out
      }
      default:
        return this.register(operand.ref!, operand.bits)
    }
  }

  /** Writes the operand. After a read of the same memory operand this completes that access. */
  write(operand: Operand, value: Value): void {
    if (operand.kind !== 'memory') return this.setRegister(operand.ref!, operand.bits, value, 0, operand.vector)
    const opened = this.opened.get(operand)
    if (!opened) return this.store(operand.bits, this.address(), value)
    const {load, host} = opened
    load.host = host
    load.locked = this.variant.locked
    const {locked} = this.variant
    this.ops.push({
      kind: 'store-back',
      access: storeOf(operand.bits),
      bytes: operand.bits / 8,
      host,
      old: load.out,
      value: value.id,
      locked,
    })
  }

  private immediate(operand: Operand): Value {
    if (operand.constant !== undefined) return this.constant(operand.bits, operand.constant)
    const wide = this.value('i64', 64)
    this.ops.push({kind: 'immediate', out: wide.id})
    return this.narrow(wide, operand.bits)
  }

  /** `bits` of a register given by reference, at a byte offset into it. */
  register(ref: RegisterRef, bits: number, offset = 0): Value {
    const out = this.value(bits === 128 ? 'v128' : bits === 64 ? 'i64' : 'i32', bits)
    this.ops.push({kind: 'get-register', ref, bits, offset, out: out.id})
    return out
  }
  setRegister(ref: RegisterRef, bits: number, value: Value, offset = 0, vector = false): void {
    if (value.bits !== bits) throw new Error(`bug: ${value.bits}-bit value into ${bits} bits`)
    this.ops.push({kind: 'set-register', ref, bits, offset, value: value.id, ...(vector ? {vector} : {})})
  }
  /** A general register by name, at any width. */
  gpr(name: keyof typeof Gpr, bits: number): Value {
    return this.register({fixed: state.gpr + Gpr[name] * 8}, bits)
  }
  setGpr(name: keyof typeof Gpr, value: Value): void {
    this.setRegister({fixed: state.gpr + Gpr[name] * 8}, value.bits, value)
  }
  registerAddress(ref: RegisterRef): Value {
    const out = this.value('i32', 32)
    this.ops.push({kind: 'register-address', ref, out: out.id})
    return out
  }

  /** vCPU state other than general registers. */
  state(access: MemoryOp, offset: number): Value {
    const type = access.slice(0, access.indexOf('.')) as WasmType
    const out = this.value(type, type === 'i64' ? 64 : type === 'v128' ? 128 : 32)
    this.ops.push({kind: 'get-state', access, offset, out: out.id})
    return out
  }
  setState(access: MemoryOp, offset: number, value: Value): void {
    this.ops.push({kind: 'set-state', access, offset, value: value.id})
  }
  /** What a constant table (see state.ts) holds at a byte offset; i32. */
  lookup(access: MemoryOp, table: number, offset: Value): Value {
    const out = this.value('i32', 32)
    this.ops.push({kind: 'lookup', access, table, offset: offset.id, out: out.id})
    return out
  }

  /** Linear address of the next instruction. */
  nextRip(): Value {
    const out = this.value('i64', 64)
    this.ops.push({kind: 'rip', next: true, out: out.id})
    return out
  }

  // ---- memory ----

  /** The memory operand's linear address; without `segment` its effective address. */
  address(segment = true): Value {
    const out = this.value('i64', 64)
    this.ops.push({kind: 'address', segment, out: out.id})
    return out
  }

  /** `bits` (8 to 128) at a linear address. */
  load(bits: number, address: Value): Value {
    const out = this.value(bits === 128 ? 'v128' : bits === 64 ? 'i64' : 'i32', bits)
    this.ops.push({kind: 'load', access: loadOf(bits), bytes: bits / 8, address: address.id, out: out.id})
    return out
  }
  store(bits: number, address: Value, value: Value): void {
    if (value.bits !== bits) throw new Error(`bug: ${value.bits}-bit value into ${bits} bits of memory`)
    this.ops.push({kind: 'store', access: storeOf(bits), bytes: bits / 8, address: address.id, value: value.id})
  }

  /** The memory operand's linear address moved by an offset: the effective address wraps at the address size, then the segment base. */
  addressPlus(offset: Value): Value {
    const {addressBits} = this.variant
    if (addressBits === 64) return this.add(this.address(), offset)
    const mask = this.constant(64, addressBits === 32 ? 0xffffffffn : 0xffffn)
    const effective = this.and(this.add(this.address(false), offset), mask)
    return this.add(this.subtract(this.address(), this.address(false)), effective)
  }

  /** One read-modify-write access at a computed address. */
  modify(bits: number, address: Value, writes: boolean): {value: Value; write(value: Value): void} {
    const out = this.load(bits, address)
    const load = this.ops.at(-1)
    const {locked} = this.variant
    if (writes && load?.kind === 'load') load.host = this.value('i32', 32).id
    const host = load?.kind === 'load' ? load.host : undefined
    return {
      value: out,
      write: value => {
        if (host === undefined) throw new Error('bug: write of a read-only access')
        this.ops.push({
          kind: 'store-back',
          access: storeOf(bits),
          bytes: bits / 8,
          host,
          old: out.id,
          value: value.id,
          locked,
        })
      },
    }
  }

  /** Address in linear memory (i32) of a place in vCPU state. */
  stateAddress(offset: number): Value {
    return this.registerAddress({fixed: offset})
  }

  /** Offset of the scratch area, for handing values to slow paths. */
  readonly scratch = state.scratch

  // ---- flags ----

  /** Records the status flags; see flags.ts for the kinds. Values narrower than 64 bits are sign-extended by the tiers. */
  setFlags(flags: FlagKindName, bits: number, values: {a?: Value; b?: Value; r?: Value}): void {
    const {a, b, r} = values
    this.ops.push({
      kind: 'set-flags',
      flags,
      bits,
      ...(a ? {a: a.id} : {}),
      ...(b ? {b: b.id} : {}),
      ...(r ? {r: r.id} : {}),
    })
  }
  /** Condition code 0 to 15 (O NO B AE E NE BE A S NS P NP L GE LE G) as 0 or 1. */
  condition(code: number): Value {
    const out = this.value('i32', 32)
    this.ops.push({kind: 'condition', code, out: out.id})
    return out
  }
  /** All six status flags as RFLAGS bits. */
  statusFlags(): Value {
    const out = this.value('i32', 32)
    this.ops.push({kind: 'status-flags', out: out.id})
    return out
  }

  // ---- control ----

  if(condition: Value, then: () => void, otherwise?: () => void): void {
    this.ops.push({kind: 'if', condition: condition.id})
    then()
    if (otherwise) {
      this.ops.push({kind: 'else'})
      otherwise()
    }
    this.ops.push({kind: 'end'})
  }
  /** Runs `body` until the condition it returns is 0. */
  loop(body: () => Value): void {
    this.ops.push({kind: 'loop'})
    const again = body()
    this.ops.push({kind: 'continue-if', condition: again.id}, {kind: 'end'})
  }
  declare(type: WasmType): number {
    const variable = this.variables++
    this.ops.push({kind: 'declare', variable, type})
    return variable
  }
  assign(variable: number, value: Value): void {
    this.ops.push({kind: 'set-variable', variable, value: value.id})
  }
  variable(variable: number, bits: number): Value {
    const out = this.value(bits === 128 ? 'v128' : bits === 64 ? 'i64' : 'i32', bits)
    this.ops.push({kind: 'get-variable', variable, out: out.id})
    return out
  }

  /** Ends the block at a computed RIP. */
  jump(target: Value, hint: {call?: boolean; return?: boolean} = {}): void {
    this.ops.push({kind: 'jump', target: target.id, ...hint})
    this.ends = true
  }
  /** Ends the block: the form's relative target when the condition holds. */
  branch(condition: Value): void {
    this.ops.push({kind: 'branch', condition: condition.id})
    this.ends = true
  }
  fault(vector: number, errorCode?: number): void {
    this.ops.push(errorCode === undefined ? {kind: 'fault', vector} : {kind: 'fault', vector, errorCode})
  }
  /** A slow path in TypeScript with all registers in state memory; `ends` when it may move RIP or switch modes. */
  system(name: string, ends = false): void {
    this.ops.push({kind: 'system', name})
    this.ends ||= ends
  }
  /** A helper of numbers only. */
  call(name: string, args: readonly Value[], result?: WasmType): Value | undefined {
    const out =
      result === undefined ? undefined : this.value(result, result === 'i64' ? 64 : result === 'v128' ? 128 : 32)
    this.ops.push({kind: 'call', name, args: args.map(arg => arg.id), ...(out ? {out: out.id} : {})})
    return out
  }
}
