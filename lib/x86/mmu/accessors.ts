/**
 * Guest memory by one call: what generated code uses that runs too seldom for a TLB probe of its own at every access, which would be five times as
 * long. One set for each MMU mode; `rip` is the instruction's, stored in state when it faults.
 *
 *   read8 read16 read32 read64 (address, rip) → value, fault       fault: 0, or 1 when a reason to leave is in state
 *   write8 … write64 (address, value, rip) → fault
 *   open8 … open64 (address, rip) → byte offset of the operand for a read-modify-write, 0 after a fault
 */
import {Code, type MemoryOp, type Module} from '../../wasm/builder.js'
import type {WasmType} from '../../wasm/opcodes.js'
import {AccessKind, state} from '../state.js'
import {probeOperand, tlbTable} from './probe.js'
import type {SlowAccess} from './refill.js'

const modeNames = ['Supervisor', 'User'] as const

type Access = 'read' | 'write' | 'open'

/** The name of an accessor. */
export function accessorName(access: Access, bytes: number, mode: 0 | 1): string {
  return `${access}${bytes * 8}${modeNames[mode]}`
}

const wordOf = (bytes: number): WasmType => (bytes === 8 ? 'i64' : 'i32')

function signatureOf(access: Access, bytes: number): [WasmType[], WasmType[]] {
  if (access === 'read')
    return [
      ['i64', 'i64'],
      [wordOf(bytes), 'i32'],
    ]
  if (access === 'open') return [['i64', 'i64'], ['i32']]
  return [['i64', wordOf(bytes), 'i64'], ['i32']]
}

const all = ([0, 1] as const).flatMap(mode =>
  (['read', 'write', 'open'] as const).flatMap(access => [1, 2, 4, 8].map(bytes => ({access, bytes, mode}))),
)

/** Parameters and results of all accessors, by name. */
export const accessorSignatures: Record<string, [WasmType[], WasmType[]]> = Object.fromEntries(
  all.map(({access, bytes, mode}) => [accessorName(access, bytes, mode), signatureOf(access, bytes)]),
)

/** Adds all accessors to the core module. */
export function addAccessors(module: Module, cpuBase: number, slow: SlowAccess): void {
  for (const {access, bytes, mode} of all) {
    const [parameters, results] = signatureOf(access, bytes)
    const code = new Code(parameters)
    const kind = access === 'read' ? AccessKind.read : AccessKind.write
    const accessor = new Accessor(code, cpuBase, tlbTable(mode, kind))
    accessor[access](bytes, slow[access === 'open' ? 'modify' : access])
    module.function(accessorName(access, bytes, mode), parameters, results, code)
  }
}

const loads: Record<number, MemoryOp> = {1: 'i32.load8_u', 2: 'i32.load16_u', 4: 'i32.load', 8: 'i64.load'}
const stores: Record<number, MemoryOp> = {1: 'i32.store8', 2: 'i32.store16', 4: 'i32.store', 8: 'i64.store'}

/** Writes one accessor. */
class Accessor {
  private readonly cpu: number
  private readonly entry: number
  private readonly host: number

  constructor(
    private readonly code: Code,
    private readonly cpuBase: number,
    private readonly table: number,
  ) {
    this.cpu = code.local('i32')
    this.entry = code.local('i32')
    this.host = code.local('i32')
  }

  read(bytes: number, slow: number): void {
    const {code} = this
    this.findOr(bytes, slow, () => {
      if (bytes === 8) code.i64Const(0)
      else code.i32Const(0)
      code.i32Const(1)
      code.return()
    })
    code.memory(loads[bytes])
    code.i32Const(0)
  }

  open(bytes: number, slow: number): void {
    this.findOr(bytes, slow, () => {})
  }

  write(bytes: number, slow: number): void {
    const {code} = this
    const [value, rip] = [1, 2]
    this.find(bytes)
    code.localGet(this.cpu)
    code.localGet(value)
    code.memory(stores[bytes], state.scratch)
    this.callSlow(bytes, slow)
    code.if()
    this.storeRip(rip)
    code.i32Const(1)
    code.return()
    code.end()
    code.i32Const(0)
    code.return()
    code.end()
    code.localGet(this.host)
    code.localGet(value)
    code.memory(stores[bytes])
    code.i32Const(0)
  }

  /** Pushes the operand's place, 0 after a fault, for which `faulted` is written. RIP is the second parameter. */
  private findOr(bytes: number, slow: number, faulted: () => void): void {
    const {code} = this
    this.find(bytes)
    this.callSlow(bytes, slow)
    code.localTee(this.host)
    code.op('i32.eqz')
    code.if()
    this.storeRip(1)
    faulted()
    code.end()
    code.end()
    code.localGet(this.host)
  }

  /** Looks into the TLB: leaves the operand's place in `host`; opens an `if` for when it is not there. */
  private find(bytes: number): void {
    const {code, entry, host, table} = this
    code.i32Const(this.cpuBase)
    code.localSet(this.cpu)
    probeOperand(code, {base: undefined, entry, host, table: this.cpuBase + table, address: 0, bytes})
    code.unlikely()
    code.if()
  }

  private callSlow(bytes: number, slow: number): void {
    this.code.localGet(0)
    this.code.i32Const(bytes)
    this.code.call(slow)
  }

  private storeRip(rip: number): void {
    this.code.localGet(this.cpu)
    this.code.localGet(rip)
    this.code.memory('i64.store', state.rip)
  }
}
