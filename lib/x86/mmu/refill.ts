/**
 * TLB misses that need no thought, in WebAssembly: walk the four levels, mark accessed and dirty, enter the page into the TLB, go on. A miss is
 * far too common (every address-space switch empties the TLB) to leave WebAssembly for it. Whatever is out of the ordinary (a fault, a
 * large page, an operand that spans two pages, a store to a page with decoded code) is left untouched to mmu/access.ts.
 *
 *   translate(address, access) → byte offset of the page in linear memory, 0 when it is not that simple
 *   refill(address, access)    → the same, and the page is in the TLB of the access
 *   slowRead, slowModify(address, bytes) → byte offset of the operand, 0 after a fault
 *   spanToRead, spanToWrite(address, bytes) → byte offset of so many bytes, 0 when they are not in one page or that is not simple
 *   slowWrite(address, bytes)  → 0 when `bytes` bytes of scratch are stored, 1 after a fault
 *
 * Source: SDM vol. 3A 4.5, 4.6; the walk in TypeScript is paging.ts.
 */
import {Code, type Module} from '../../wasm/builder.js'
import {AccessKind, state, tlb, tlbLog} from '../state.js'
import {Pte} from './paging.js'
import {toEntryOffset} from './probe.js'

/** Indices of imported functions in the module: what to call when a miss is not simple. */
export interface MissImports {
  readonly faultRead: number
  readonly faultModify: number
  readonly faultWrite: number
}

/** What finds an operand that the TLB does not know: (address, bytes) → byte offset, 0 after a fault; for stores, 1 after a fault. */
export interface SlowAccess {
  readonly read: number
  readonly modify: number
  readonly write: number
}

/** Indices of the functions in the core module. */
export interface Refill {
  readonly refill: number
  readonly slow: SlowAccess
}

/** Adds the functions to the core module. */
export function addRefill(module: Module, cpu: number, imports: MissImports): Refill {
  const translate = module.function('translate', ['i64', 'i32'], ['i32'], translateCode(cpu))
  const refill = module.function('refill', ['i64', 'i32'], ['i32'], refillCode(cpu, translate))
  const add = (name: string, code: Code) => module.function(name, ['i64', 'i32'], ['i32'], code)
  const slow = {
    read: add('slowRead', missCode(refill, AccessKind.read, imports.faultRead)),
    modify: add('slowModify', missCode(refill, AccessKind.write, imports.faultModify)),
    write: add('slowWrite', writeCode(cpu, refill, imports.faultWrite)),
  }
  add('spanToRead', missCode(refill, AccessKind.read))
  add('spanToWrite', missCode(refill, AccessKind.write))
  return {refill, slow}
}

/** Bits of the page offset: the shift of level 1. */
const pageShift = 12
/** The shift of level 4. */
const topShift = 39

function translateCode(cpuBase: number): Code {
  const code = new Code(['i64', 'i32'])
  const [address, access] = [0, 1]
  const cpu = code.local('i32')
  const at = code.local('i32')
  const user = code.local('i32')
  const marks = code.local('i64')
  const frame = code.local('i64')
  const shift = code.local('i64')
  const entry = code.local('i64')
  const rights = code.local('i64')
  const seen = code.local('i64')
  const inside = code.local('i64')
  const refuseIf = () => {
    code.if()
    code.i32Const(0)
    code.return()
    code.end()
  }
  const refuseForeignFrame = () => {
    code.localGet(frame)
    code.localGet(cpu)
    code.memory('i64.load32_u', state.frameCount)
    code.op('i64.ge_u')
    refuseIf()
  }
  const frameAddress = () => {
    code.localGet(cpu)
    code.memory('i32.load', state.frameBase)
    code.localGet(frame)
    code.op('i32.wrap_i64')
    code.i32Const(pageShift)
    code.op('i32.shl')
    code.op('i32.add')
  }
  /** Sets the bits of `marks` in the entry when one of them is missing. */
  const mark = () => {
    code.localGet(entry)
    code.localGet(marks)
    code.op('i64.and')
    code.localGet(marks)
    code.op('i64.ne')
    code.if()
    code.localGet(at)
    code.localGet(entry)
    code.localGet(marks)
    code.op('i64.or')
    code.memory('i64.store')
    noteWrite(code, cpu, at)
    code.end()
  }
  const bitClear = (local: number, bit: number) => {
    code.localGet(local)
    code.i64Const(bit)
    code.op('i64.and')
    code.op('i64.eqz')
  }

  code.i32Const(cpuBase)
  code.localSet(cpu)
  // Not canonical: somebody else's business.
  code.localGet(address)
  code.i64Const(16)
  code.op('i64.shl')
  code.i64Const(16)
  code.op('i64.shr_s')
  code.localGet(address)
  code.op('i64.ne')
  refuseIf()
  code.localGet(cpu)
  code.memory('i32.load', state.mmuMode)
  code.localSet(user)
  code.localGet(cpu)
  code.localGet(user)
  code.i32Const(2)
  code.op('i32.shl')
  code.op('i32.add')
  code.memory('i64.load32_u', state.root)
  code.localSet(frame)
  code.i64Const(-1)
  code.localSet(rights)
  code.i64Const(topShift)
  code.localSet(shift)
  code.i64Const(Pte.accessed)
  code.localSet(marks)
  code.loop()
  refuseForeignFrame()
  frameAddress()
  code.localGet(address)
  code.localGet(shift)
  code.op('i64.shr_u')
  code.op('i32.wrap_i64')
  code.i32Const(511)
  code.op('i32.and')
  code.i32Const(3)
  code.op('i32.shl')
  code.op('i32.add')
  code.localTee(at)
  code.memory('i64.load')
  code.localSet(entry)
  bitClear(entry, Pte.present)
  refuseIf()
  code.localGet(rights)
  code.localGet(entry)
  code.op('i64.and')
  code.localSet(rights)
  code.localGet(seen)
  code.localGet(entry)
  code.op('i64.or')
  code.localSet(seen)
  code.localGet(entry)
  code.i64Const(pageShift)
  code.op('i64.shr_u')
  code.i64Const(0xffffffffffn)
  code.op('i64.and')
  code.localSet(frame)
  // Not yet a leaf: mark it and go down.
  code.localGet(shift)
  code.i64Const(pageShift)
  code.op('i64.ne')
  bitClear(entry, Pte.large)
  code.op('i32.and')
  code.if()
  mark()
  code.localGet(shift)
  code.i64Const(9)
  code.op('i64.sub')
  code.localSet(shift)
  code.br(1)
  code.end()
  code.end()
  code.localGet(shift)
  code.i64Const(topShift)
  code.op('i64.eq')
  refuseIf()
  // A large page's low frame bits come from the address.
  code.i64Const(-1)
  code.localGet(shift)
  code.i64Const(pageShift)
  code.op('i64.sub')
  code.op('i64.shl')
  code.localSet(inside)
  code.localGet(frame)
  code.localGet(inside)
  code.op('i64.and')
  code.localGet(address)
  code.i64Const(pageShift)
  code.op('i64.shr_u')
  code.localGet(inside)
  code.i64Const(-1)
  code.op('i64.xor')
  code.op('i64.and')
  code.op('i64.or')
  code.localSet(frame)
  // The leaf's rights.
  bitClear(rights, Pte.user)
  code.localGet(user)
  code.op('i32.and')
  refuseIf()
  code.localGet(access)
  code.i32Const(AccessKind.fetch)
  code.op('i32.eq')
  code.localGet(seen)
  code.i64Const(0)
  code.op('i64.lt_s')
  code.op('i32.and')
  refuseIf()
  code.localGet(access)
  code.i32Const(AccessKind.write)
  code.op('i32.eq')
  code.if()
  bitClear(rights, Pte.writable)
  code.if()
  code.localGet(user)
  code.localGet(cpu)
  code.memory('i32.load', state.cr0)
  code.i32Const(0x10000)
  code.op('i32.and')
  code.op('i32.or')
  refuseIf()
  code.end()
  code.i64Const(Pte.accessed | Pte.dirty)
  code.localSet(marks)
  code.end()
  refuseForeignFrame()
  mark()
  frameAddress()
  return code
}

/** Marks the frame that a place in linear memory belongs to as written to. */
function noteWrite(code: Code, cpu: number, place: number): void {
  code.localGet(cpu)
  code.memory('i32.load', state.dirtyFrames)
  code.localGet(place)
  code.localGet(cpu)
  code.memory('i32.load', state.frameBase)
  code.op('i32.sub')
  code.i32Const(pageShift)
  code.op('i32.shr_u')
  code.op('i32.add')
  code.i32Const(1)
  code.memory('i32.store8')
}

function refillCode(cpuBase: number, translate: number): Code {
  const code = new Code(['i64', 'i32'])
  const [address, access] = [0, 1]
  const cpu = code.local('i32')
  const page = code.local('i32')
  const at = code.local('i32')
  const log = code.local('i32')
  code.i32Const(cpuBase)
  code.localSet(cpu)
  code.localGet(address)
  code.localGet(access)
  code.call(translate)
  code.localTee(page)
  code.op('i32.eqz')
  code.if()
  code.i32Const(0)
  code.return()
  code.end()
  // Nobody may store unseen to a page with decoded code.
  code.localGet(access)
  code.i32Const(AccessKind.write)
  code.op('i32.eq')
  code.if()
  code.localGet(cpu)
  code.memory('i32.load', state.codePages)
  code.localGet(page)
  code.i32Const(pageShift)
  code.op('i32.shr_u')
  code.op('i32.add')
  code.memory('i32.load8_u')
  code.if()
  code.i32Const(0)
  code.return()
  code.end()
  noteWrite(code, cpu, page)
  code.end()
  // entry = vCPU + table of (access, mode) + index
  code.localGet(cpu)
  code.localGet(access)
  code.localGet(cpu)
  code.memory('i32.load', state.mmuMode)
  code.i32Const(tlb.kinds)
  code.op('i32.mul')
  code.op('i32.add')
  code.i32Const(tlb.tableBytes)
  code.op('i32.mul')
  code.op('i32.add')
  code.localGet(address)
  toEntryOffset(code)
  code.op('i32.add')
  code.localTee(at)
  code.localGet(address)
  code.i64Const(-4096)
  code.op('i64.and')
  code.memory('i64.store', tlb.start)
  code.localGet(at)
  code.localGet(page)
  code.localGet(address)
  code.op('i32.wrap_i64')
  code.i32Const(-4096)
  code.op('i32.and')
  code.op('i32.sub')
  code.memory('i32.store', tlb.start + 8)
  // Remember it for the next flush, unless that clears everything anyway.
  code.localGet(cpu)
  code.memory('i32.load', state.tlbFilled)
  code.localTee(log)
  code.i32Const(tlbLog.entries)
  code.op('i32.lt_u')
  code.if()
  code.localGet(cpu)
  code.localGet(log)
  code.i32Const(2)
  code.op('i32.shl')
  code.op('i32.add')
  code.localGet(at)
  code.i32Const(tlb.start)
  code.op('i32.add')
  code.memory('i32.store', tlbLog.start)
  code.localGet(cpu)
  code.localGet(log)
  code.i32Const(1)
  code.op('i32.add')
  code.memory('i32.store', state.tlbFilled)
  code.end()
  code.localGet(page)
  return code
}

/** Leaves on the stack whether the operand stays inside its page and its page could be refilled; the page is then in `page`. */
function tryRefill(code: Code, page: number, refill: number, access: number): void {
  const [address, bytes] = [0, 1]
  code.localGet(address)
  code.op('i32.wrap_i64')
  code.i32Const(0xfff)
  code.op('i32.and')
  code.localGet(bytes)
  code.op('i32.add')
  code.i32Const(4096)
  code.op('i32.le_u')
  code.if('i32')
  code.localGet(address)
  code.i32Const(access)
  code.call(refill)
  code.localTee(page)
  code.else()
  code.i32Const(0)
  code.end()
}

function pushOperand(code: Code, page: number): void {
  code.localGet(page)
  code.localGet(0)
  code.op('i32.wrap_i64')
  code.i32Const(0xfff)
  code.op('i32.and')
  code.op('i32.add')
}

/** Calls TypeScript with the address in halves. */
function pushHalvesAndCall(code: Code, imported: number): void {
  code.localGet(0)
  code.op('i32.wrap_i64')
  code.localGet(0)
  code.i64Const(32)
  code.op('i64.shr_u')
  code.op('i32.wrap_i64')
  code.localGet(1)
  code.call(imported)
}

/** Without an imported function to ask, what is not simple has no place. */
function missCode(refill: number, access: number, imported?: number): Code {
  const code = new Code(['i64', 'i32'])
  const page = code.local('i32')
  tryRefill(code, page, refill, access)
  code.if('i32')
  pushOperand(code, page)
  code.else()
  if (imported === undefined) code.i32Const(0)
  else pushHalvesAndCall(code, imported)
  code.end()
  return code
}

function writeCode(cpuBase: number, refill: number, imported: number): Code {
  const code = new Code(['i64', 'i32'])
  const page = code.local('i32')
  tryRefill(code, page, refill, AccessKind.write)
  code.if('i32')
  pushOperand(code, page)
  code.i32Const(cpuBase)
  code.i32Const(state.scratch)
  code.op('i32.add')
  code.localGet(1)
  code.memoryCopy()
  code.i32Const(0)
  code.else()
  pushHalvesAndCall(code, imported)
  code.end()
  return code
}
