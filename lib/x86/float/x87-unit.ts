/**
 * The x87 unit: what each encoding D8–DF does. All state is in linear memory (`x87State`, x87-state.ts); `execute`
 * reads it, works, and writes it back.
 *
 *   const unit = new X87Unit(view, stateBase)
 *   operandSize(opcode, modrm)                    before anything changes: translate, fetch or probe the operand
 *   unit.execute(opcode, modrm, memoryAddress)    Outcome.done, or why nothing is to be done
 *   unit.note(opcode, modrm, code, data)          once it is done
 *
 * `memoryAddress` is a byte address in linear memory, of
 * - the operand, or a copy of it: loads read it, stores write it (nothing is written when the outcome is
 *   `storeSuppressed`);
 * - FNSTSW AX: the two bytes that receive the status word;
 * - FCMOVcc, FCOMI, FUCOMI and their popping forms: a u32 holding EFLAGS. FCMOVcc reads CF PF ZF; the comparisons write
 *   CF PF ZF and clear OF SF AF, unless an unmasked exception stops them.
 * An unmasked exception is not reported by the instruction that meets it but, as `mathFault`, by the next waiting one.
 * Source: SDM vol. 1, chapter 8; vol. 2D appendix A.4.
 */
import {double, single} from './formats.js'
import {
  arithmetic,
  arithmeticRegisters,
  compareOperands,
  compareRegisters,
  compareToFlags,
  partialRemainder,
  scale,
  underflowCompare,
  underflowInto,
  X87Operator,
} from './x87-arithmetic.js'
import {
  conditionalMove,
  exchange,
  load,
  loadDecimal,
  loadExtended,
  loadRegister,
  Operand,
  readOperand,
  store,
  storeDecimal,
  storeExtended,
  storeInteger,
  storeRegister,
  storeUnchecked,
} from './x87-memory.js'
import {X87Registers} from './x87-registers.js'
import {
  environmentBytes,
  type FarPointer,
  initialise,
  loadEnvironment,
  restore,
  Status,
  save,
  saveBytes,
  setControl,
  setPointers,
  storeEnvironment,
  summarise,
  x87State,
} from './x87-state.js'
import {transcendental} from './x87-transcendental.js'
import {changeSign, examine, extractTop, loadConstant, roundTop, squareRootTop, test} from './x87-unary.js'

const {offset} = x87State

export {x87State}

/** What `execute` answers. */
export const Outcome = {
  done: 0,
  mathFault: 1, //       #MF: an unmasked exception of an earlier instruction is pending
  invalidOpcode: 2, //   #UD: no instruction has this encoding
  storeSuppressed: 3, // done, but an unmasked exception kept the operand from being stored
} as const

/** Size of the memory operand and what the instruction does with it. */
export interface OperandSize {
  readonly bytes: number
  readonly direction: 'load' | 'store' | 'none'
}

const none: OperandSize = {bytes: 0, direction: 'none'}
const loads = (bytes: number): OperandSize => ({bytes, direction: 'load'})
const stores = (bytes: number): OperandSize => ({bytes, direction: 'store'})
const everyLoad = (bytes: number): OperandSize[] => Array(8).fill(loads(bytes))

/** Rows D8–DF, columns /0–/7; environment sizes are the 32-bit ones. */
const operandSizes: OperandSize[][] = [
  everyLoad(4),
  [
    loads(4),
    none,
    stores(4),
    stores(4),
    loads(environmentBytes.wide),
    loads(2),
    stores(environmentBytes.wide),
    stores(2),
  ],
  everyLoad(4),
  [loads(4), stores(4), stores(4), stores(4), none, loads(10), none, stores(10)],
  everyLoad(8),
  [loads(8), stores(8), stores(8), stores(8), loads(saveBytes.wide), none, stores(saveBytes.wide), stores(2)],
  everyLoad(2),
  [loads(2), stores(2), stores(2), stores(2), loads(10), loads(8), stores(10), stores(8)],
]
const narrowEnvironment = [loads(environmentBytes.narrow), stores(environmentBytes.narrow)]
const narrowSave = [loads(saveBytes.narrow), stores(saveBytes.narrow)]

/** The memory operand of an encoding; `narrow` is the 16-bit operand size, which shortens the environment images. */
export function operandSize(opcode: number, modrm: number, narrow = false): OperandSize {
  if (modrm >= 0xc0) return none
  const column = (modrm >> 3) & 7
  if (narrow && (column === 4 || column === 6)) {
    if (opcode === 0xd9) return narrowEnvironment[column === 4 ? 0 : 1]
    if (opcode === 0xdd) return narrowSave[column === 4 ? 0 : 1]
  }
  return operandSizes[opcode - 0xd8][column]
}

/** See the file's head. */
export class X87Unit {
  private readonly r: X87Registers

  constructor(view: DataView, base: number) {
    this.r = new X87Registers(view, base)
  }

  /** Whether an unmasked exception is pending: what FWAIT and every waiting instruction test. */
  get pending(): boolean {
    return (this.r.view.getUint16(this.r.base + offset.status, true) & Status.summary) !== 0
  }

  /**
   * Notes where the instruction just executed stands, for the images of FNSTENV, FNSAVE and FXSAVE; control instructions
   * are not noted. A register form has no `data` and leaves the data pointer as it was.
   */
  note(opcode: number, modrm: number, code: FarPointer, data?: FarPointer): void {
    if (isControl(opcode, modrm)) return
    setPointers(this.r.view, this.r.base, ((opcode & 7) << 8) | modrm, code, data)
  }

  /** See the file's head. `narrow` is the 16-bit operand size. */
  execute(opcode: number, modrm: number, memoryAddress: number, narrow = false): number {
    const isMemory = modrm < 0xc0
    const field = (modrm >> 3) & 7
    const control = isMemory
      ? this.controlMemory(opcode, field, memoryAddress, narrow)
      : this.controlRegister(opcode, modrm, memoryAddress)
    if (control !== undefined) return control
    if (isMemory ? operandSizes[opcode - 0xd8][field] === none : !isRegisterForm(opcode, modrm))
      return Outcome.invalidOpcode
    if (this.pending) return Outcome.mathFault
    const {r} = this
    r.open()
    const outcome = isMemory
      ? memoryForm(r, opcode, field, memoryAddress)
      : registerForm(r, opcode, modrm, memoryAddress)
    r.close()
    return outcome
  }

  /** Control instructions with a memory operand; those that do not wait ignore pending exceptions. */
  private controlMemory(opcode: number, field: number, at: number, narrow: boolean): number | undefined {
    const {view, base} = this.r
    if (opcode === 0xd9) {
      if (field === 7) view.setUint16(at, view.getUint16(base + offset.control, true), true)
      else if (field === 6) {
        storeEnvironment(view, base, at, narrow)
        const control = view.getUint16(base + offset.control, true)
        setControl(view, base, control | 0x3f)
      } else if (field === 5 || field === 4) {
        if (this.pending) return Outcome.mathFault
        if (field === 5) setControl(view, base, view.getUint16(at, true))
        else loadEnvironment(view, base, at, narrow)
      } else return undefined
      return Outcome.done
    }
    if (opcode !== 0xdd) return undefined
    if (field === 7) view.setUint16(at, view.getUint16(base + offset.status, true), true)
    else if (field === 6) save(view, base, at, narrow)
    else if (field === 4) {
      if (this.pending) return Outcome.mathFault
      restore(view, base, at, narrow)
    } else return undefined
    return Outcome.done
  }

  /** FNCLEX, FNINIT, FNSTSW AX, and the 8087 and 287 instructions that do nothing now. */
  private controlRegister(opcode: number, modrm: number, at: number): number | undefined {
    const {view, base} = this.r
    if (opcode === 0xdf && modrm === 0xe0) view.setUint16(at, view.getUint16(base + offset.status, true), true)
    else if (opcode !== 0xdb || modrm < 0xe0 || modrm > 0xe4) return undefined
    else if (modrm === 0xe2) {
      const status = view.getUint16(base + offset.status, true)
      const kept = Status.c0 | Status.c1 | Status.c2 | Status.c3 | Status.top
      view.setUint16(base + offset.status, summarise(status & kept, 0x3f), true)
    } else if (modrm === 0xe3) initialise(view, base)
    return Outcome.done
  }
}

/** FLDENV FLDCW FNSTENV FNSTCW FRSTOR FNSAVE FNSTSW FNCLEX FNINIT. */
function isControl(opcode: number, modrm: number): boolean {
  const field = (modrm >> 3) & 7
  if (modrm < 0xc0) return (opcode === 0xd9 && field >= 4) || (opcode === 0xdd && field >= 4)
  return (opcode === 0xdb && field === 4) || (opcode === 0xdf && modrm === 0xe0)
}

/** Per opcode, one bit per row of eight register forms (C0, C8, … F8) that exist in full. */
const fullRows = [0xff, 0x0b, 0x0f, 0x6f, 0xff, 0x3f, 0xf7, 0x6f]
/** Forms that exist although their row does not in full. */
const singleForms = new Set([
  0xd9d0, 0xd9e0, 0xd9e1, 0xd9e4, 0xd9e5, 0xd9e8, 0xd9e9, 0xd9ea, 0xd9eb, 0xd9ec, 0xd9ed, 0xd9ee, 0xdae9, 0xded9,
])

function isRegisterForm(opcode: number, modrm: number): boolean {
  if ((fullRows[opcode - 0xd8] >> ((modrm >> 3) & 7)) & 1) return true
  return (opcode === 0xd9 && modrm >= 0xf0) || singleForms.has((opcode << 8) | modrm)
}

function popIf(r: X87Registers, completed: boolean, pops: number): void {
  if (completed) for (let i = 0; i < pops; i++) r.pop()
}

function stored(r: X87Registers, completed: boolean, pops: boolean): number {
  if (!completed) return Outcome.storeSuppressed
  if (pops) r.pop()
  return Outcome.done
}

/** FFREE. */
function free(r: X87Registers, i: number): void {
  r.setC1(0)
  r.tags &= ~(1 << ((r.top + i) & 7))
}

function memoryForm(r: X87Registers, opcode: number, field: number, at: number): number {
  switch (opcode) {
    case 0xd8:
      return memoryArithmetic(r, field, Operand.single, at)
    case 0xda:
      return memoryArithmetic(r, field, Operand.int32, at)
    case 0xdc:
      return memoryArithmetic(r, field, Operand.double, at)
    case 0xde:
      return memoryArithmetic(r, field, Operand.int16, at)
    case 0xd9:
      if (field === 0) load(r, Operand.single, at)
      else return stored(r, store(r, single, at), field === 3)
      return Outcome.done
    case 0xdd:
      if (field === 0) load(r, Operand.double, at)
      else if (field === 1) return stored(r, storeInteger(r, 64, true, at), true)
      else return stored(r, store(r, double, at), field === 3)
      return Outcome.done
    case 0xdb:
      if (field === 0) load(r, Operand.int32, at)
      else if (field === 5) loadExtended(r, at)
      else if (field === 7) return stored(r, storeExtended(r, at), true)
      else return stored(r, storeInteger(r, 32, field === 1, at), field !== 2)
      return Outcome.done
    default:
      if (field === 0) load(r, Operand.int16, at)
      else if (field === 4) loadDecimal(r, at)
      else if (field === 5) load(r, Operand.int64, at)
      else if (field === 6) return stored(r, storeDecimal(r, at), true)
      else if (field === 7) return stored(r, storeInteger(r, 64, false, at), true)
      else return stored(r, storeInteger(r, 16, field === 1, at), field !== 2)
      return Outcome.done
  }
}

function memoryArithmetic(r: X87Registers, operator: number, operand: number, at: number): number {
  const compares = operator === X87Operator.compare || operator === X87Operator.comparePop
  if (r.isEmpty(0)) {
    const completed = compares ? underflowCompare(r) : underflowInto(r, 0)
    popIf(r, completed && operator === X87Operator.comparePop, 1)
    return Outcome.done
  }
  r.read(0, r.a)
  readOperand(r, operand, at)
  if (compares) popIf(r, compareOperands(r, false) && operator === X87Operator.comparePop, 1)
  else arithmetic(r, operator, 0)
  return Outcome.done
}

function registerForm(r: X87Registers, opcode: number, modrm: number, at: number): number {
  const field = (modrm >> 3) & 7
  const i = modrm & 7
  switch (opcode) {
    case 0xd9:
      topForm(r, modrm, field, i)
      break
    case 0xda:
      if (field < 4) conditionalMove(r, field, i, at)
      else popIf(r, compareRegisters(r, 1, true), 2)
      break
    case 0xdb:
      if (field < 4) conditionalMove(r, field + 4, i, at)
      else compareToFlags(r, i, field === 5, at)
      break
    case 0xdd:
      if (field === 0) free(r, i)
      else if (field === 1) exchange(r, i)
      else if (field < 4) popIf(r, storeRegister(r, i), field - 2)
      else popIf(r, compareRegisters(r, i, true), field - 4)
      break
    case 0xdf:
      if (field === 0) {
        free(r, i)
        r.pop()
      } else if (field === 1) exchange(r, i)
      else if (field < 4) popIf(r, storeRegister(r, i), 1)
      else popIf(r, compareToFlags(r, i, field === 5, at), 1)
      break
    default:
      arithmeticForm(r, opcode, field, i)
  }
  return Outcome.done
}

/** D8, DC, DE with a register: the last two write ST(i), DE pops. */
function arithmeticForm(r: X87Registers, opcode: number, field: number, i: number): void {
  const pops = opcode === 0xde ? 1 : 0
  if (field === X87Operator.compare) popIf(r, compareRegisters(r, i, false), pops)
  else if (field === X87Operator.comparePop) popIf(r, compareRegisters(r, i, false), 1 + pops)
  else popIf(r, arithmeticRegisters(r, field, i, opcode === 0xd8 ? 0 : i), pops)
}

/** D9 with a register. */
function topForm(r: X87Registers, modrm: number, field: number, i: number): void {
  if (field === 0) loadRegister(r, i)
  else if (field === 1) exchange(r, i)
  else if (field === 3) storeUnchecked(r, i)
  else if (field === 5) loadConstant(r, i)
  else {
    switch (modrm) {
      case 0xe0:
      case 0xe1:
        return changeSign(r, modrm === 0xe1)
      case 0xe4:
        return test(r)
      case 0xe5:
        return examine(r)
      case 0xf4:
        return extractTop(r)
      case 0xf5:
      case 0xf8:
        return partialRemainder(r, modrm === 0xf5)
      case 0xf6:
      case 0xf7:
        r.top = (r.top + (modrm === 0xf6 ? 7 : 1)) & 7
        return r.setC1(0)
      case 0xfa:
        return squareRootTop(r)
      case 0xfc:
        return roundTop(r)
      case 0xfd:
        return scale(r)
      case 0xd0:
        return
      default:
        transcendental(r, modrm)
    }
  }
}
