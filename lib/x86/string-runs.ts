/**
 * REP STOS and REP MOVS upward in 64-bit code, in WebAssembly: the way programs clear and copy, often only some dozen bytes, so that a call of
 * TypeScript would cost more than the work. Whole runs of elements inside a page, through the TLB. What is out of the ordinary (another
 * direction or mode, an element that spans two pages, a fault, an overlap that feeds on itself) is left to slow/strings.ts, which
 * goes on from the registers.
 *
 *   storeRun(record), moveRun(record) → 1 when RCX has come to 0
 *
 * Source: SDM vol. 2B MOVS, STOS, REP.
 */
import {Code, type Module} from '../wasm/builder.js'
import {record} from './decode/record.js'
import {pushModeBase, tlbTable, toEntryOffset} from './mmu/probe.js'
import {Rflags} from './registers.js'
import {AccessKind, state} from './state.js'

const rax = state.gpr
const rcx = state.gpr + 8
const rsi = state.gpr + 48
const rdi = state.gpr + 56

/** Bytes done here at most: longer runs look at pending work between bursts, in TypeScript. */
const longestRun = 1 << 20

/** Adds the two functions to the core module; `refill` is the index of the function of that name. */
export function addStringRuns(module: Module, cpu: number, refill: number): {storeRun: number; moveRun: number} {
  return {
    storeRun: module.function('storeRun', ['i32'], ['i32'], runCode(cpu, refill, false)),
    moveRun: module.function('moveRun', ['i32'], ['i32'], runCode(cpu, refill, true)),
  }
}

function runCode(cpuBase: number, refill: number, moves: boolean): Code {
  const code = new Code(['i32'])
  const at = 0
  const cpu = code.local('i32')
  const size = code.local('i32')
  const length = code.local('i32')
  const to = code.local('i32')
  const from = code.local('i32')
  const entry = code.local('i32')
  const end = code.local('i32')
  const count = code.local('i64')
  const giveUpIf = () => {
    code.if()
    code.i32Const(0)
    code.return()
    code.end()
  }
  const register = (offset: number) => {
    code.localGet(cpu)
    code.memory('i64.load', offset)
  }
  /** Bytes from RSI or RDI to the end of its page bound `length`. */
  const boundByPage = (offset: number) => {
    code.i32Const(4096)
    register(offset)
    code.op('i32.wrap_i64')
    code.i32Const(4095)
    code.op('i32.and')
    code.op('i32.sub')
    code.localTee(entry)
    code.localGet(length)
    code.localGet(entry)
    code.localGet(length)
    code.op('i32.lt_u')
    code.select()
    code.localSet(length)
  }
  /** The byte offset in linear memory of what RSI or RDI points to. */
  const place = (offset: number, kind: number, into: number) => {
    const table = tlbTable(0, kind)
    pushModeBase(code, cpu)
    register(offset)
    toEntryOffset(code)
    code.op('i32.add')
    code.localTee(entry)
    code.memory('i64.load', table)
    register(offset)
    code.i64Const(-4096)
    code.op('i64.and')
    code.op('i64.ne')
    code.if()
    register(offset)
    code.i32Const(kind)
    code.call(refill)
    code.op('i32.eqz')
    giveUpIf()
    code.end()
    code.localGet(entry)
    code.memory('i32.load', table + 8)
    register(offset)
    code.op('i32.wrap_i64')
    code.op('i32.add')
    code.localSet(into)
  }
  const advance = (offset: number) => {
    code.localGet(cpu)
    register(offset)
    code.localGet(length)
    code.op('i64.extend_i32_u')
    code.op('i64.add')
    code.memory('i64.store', offset)
  }

  code.i32Const(cpuBase)
  code.localSet(cpu)
  // Upward, 64-bit code and addresses, no segment base.
  code.localGet(cpu)
  code.memory('i32.load', state.rflags)
  code.i32Const(Rflags.df)
  code.op('i32.and')
  code.localGet(cpu)
  code.memory('i32.load', state.codeBits)
  code.i32Const(64)
  code.op('i32.ne')
  code.op('i32.or')
  code.localGet(at)
  code.memory('i32.load8_u', record.addressBits)
  code.i32Const(64)
  code.op('i32.ne')
  code.op('i32.or')
  code.localGet(at)
  code.memory('i32.load16_u', record.segmentBase)
  code.i32Const(state.zero)
  code.op('i32.ne')
  code.op('i32.or')
  giveUpIf()
  code.localGet(cpu)
  code.memory('i32.load', state.scratch)
  code.localSet(size)
  register(rcx)
  code.i64Const(longestRun / 8)
  code.op('i64.gt_u')
  giveUpIf()
  code.block()
  code.loop()
  register(rcx)
  code.localTee(count)
  code.op('i64.eqz')
  code.brIf(1)
  // length: what is left, to the end of the page, in whole elements.
  code.localGet(count)
  code.op('i32.wrap_i64')
  code.localGet(size)
  code.op('i32.mul')
  code.localSet(length)
  boundByPage(rdi)
  if (moves) boundByPage(rsi)
  code.localGet(length)
  code.i32Const(0)
  code.localGet(size)
  code.op('i32.sub')
  code.op('i32.and')
  code.localTee(length)
  code.op('i32.eqz')
  giveUpIf()
  if (moves) place(rsi, AccessKind.read, from)
  place(rdi, AccessKind.write, to)
  if (moves) {
    code.localGet(to)
    code.localGet(from)
    code.op('i32.sub')
    code.i32Const(1)
    code.op('i32.sub')
    code.localGet(length)
    code.i32Const(1)
    code.op('i32.sub')
    code.op('i32.lt_u')
    giveUpIf()
    code.localGet(to)
    code.localGet(from)
    code.localGet(length)
    code.memoryCopy()
  } else storeElements()
  advance(rdi)
  if (moves) advance(rsi)
  // RCX loses length / size; sizes are powers of two.
  code.localGet(cpu)
  code.localGet(count)
  code.localGet(length)
  code.localGet(size)
  code.op('i32.ctz')
  code.op('i32.shr_u')
  code.op('i64.extend_i32_u')
  code.op('i64.sub')
  code.memory('i64.store', rcx)
  code.br(0)
  code.end()
  code.end()
  code.i32Const(1)
  return code

  /** AL, AX, EAX or RAX to every element from `to` on; zeros and bytes in one go. */
  function storeElements(): void {
    code.localGet(size)
    code.i32Const(1)
    code.op('i32.eq')
    register(rax)
    code.op('i64.eqz')
    code.op('i32.or')
    code.if()
    code.localGet(to)
    code.localGet(cpu)
    code.memory('i32.load8_u', rax)
    code.localGet(length)
    code.memoryFill()
    code.else()
    code.localGet(to)
    code.localGet(length)
    code.op('i32.add')
    code.localSet(end)
    code.loop()
    code.localGet(to)
    register(rax)
    code.op('i32.wrap_i64')
    code.memory('i32.store16')
    code.localGet(size)
    code.i32Const(2)
    code.op('i32.gt_u')
    code.if()
    code.localGet(to)
    register(rax)
    code.op('i32.wrap_i64')
    code.memory('i32.store')
    code.localGet(size)
    code.i32Const(8)
    code.op('i32.eq')
    code.if()
    code.localGet(to)
    register(rax)
    code.memory('i64.store')
    code.end()
    code.end()
    code.localGet(to)
    code.localGet(size)
    code.op('i32.add')
    code.localTee(to)
    code.localGet(end)
    code.op('i32.lt_u')
    code.brIf(0)
    code.end()
    code.end()
  }
}
