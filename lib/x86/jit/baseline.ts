/**
 * The first form of a translation, for code that has run some dozens of times: general registers stay in vCPU state, and memory is reached by
 * calls (mmu/accessors.ts). Made for size: the baseline compiler of V8 gives a quarter of the code that it gives for the translator's form,
 * which is made again when the region's counter has run down. In code that runs here and there, size is what decides about speed.
 */
import type {Op} from '../ir/op.js'
import {loadOf, storeOf} from '../ir/types.js'
import {accessorName} from '../mmu/accessors.js'
import {state} from '../state.js'
import {Translator} from './lower.js'

export class Baseline extends Translator {
  override loadRegisters(): void {}
  override storeRegisters(): void {}

  protected override pushGpr(register: number): void {
    this.pushCpu()
    this.code.memory('i64.load', state.gpr + register * 8)
  }

  protected override getRegister(op: Op & {kind: 'get-register'}): void {
    this.pushCpu()
    this.code.memory(loadOf(op.bits), this.offsetOf(op.ref) + op.offset)
  }

  protected override setRegister(op: Op & {kind: 'set-register'}): void {
    const {code} = this
    const offset = this.offsetOf(op.ref) + op.offset
    this.pushCpu()
    this.push(op.value)
    // A 32-bit result clears the upper half.
    const wide = op.bits === 32 && offset < state.rip
    if (wide) code.op('i64.extend_i32_u')
    code.memory(wide ? 'i64.store' : storeOf(op.bits), offset)
  }

  protected override load(op: Op & {kind: 'load'}): void {
    if (op.bytes > 8) return super.load(op)
    const {code} = this
    this.push(op.address)
    this.rip(false)
    if (op.host === undefined) {
      this.callHelper(code, accessorName('read', op.bytes, this.mmuMode))
      this.exitFaultedIf()
    } else {
      const host = this.temporary('i32')
      this.callHelper(code, accessorName('open', op.bytes, this.mmuMode))
      code.localTee(host)
      code.op('i32.eqz')
      this.exitFaultedIf()
      code.localGet(host)
      code.memory(op.access)
      this.localOf[op.host] = host
    }
    this.keep(op.out)
  }

  protected override store(op: Op & {kind: 'store'}): void {
    if (op.bytes > 8) return super.store(op)
    this.push(op.address)
    this.push(op.value)
    this.rip(false)
    this.callHelper(this.code, accessorName('write', op.bytes, this.mmuMode))
    this.exitFaultedIf()
  }

  /** Leaves at this instruction when the value on the stack is not 0; the accessor has stored RIP. */
  private exitFaultedIf(): void {
    this.exits.faultedIf(this.flagsAtFault, this.depth)
  }
}
