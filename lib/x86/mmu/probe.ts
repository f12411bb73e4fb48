/**
 * Looking into the software TLB from generated code: the pieces that translations, handlers and the core module are put together from. `entry` is a
 * local with the address of an entry less `table`, the offset of its table in the vCPU area; addresses are i64 locals.
 *
 * Source: tlb in state.ts (geometry).
 */
import type {Code} from '../../wasm/builder.js'
import {AccessKind, state, tlb} from '../state.js'

/** Offset in the vCPU area of a mode's table for a kind of access. */
export function tlbTable(mode: number, kind: number): number {
  return tlb.start + (mode * tlb.kinds + kind) * tlb.tableBytes
}

/** A mode's table for fetches. */
export const fetchTable = (mode: number) => tlbTable(mode, AccessKind.fetch)

/** Pushes the vCPU's address moved to the tables of the current mode: the base of tables of mode 0. */
export function pushModeBase(code: Code, cpu: number): void {
  code.localGet(cpu)
  code.localGet(cpu)
  code.memory('i32.load', state.mmuMode)
  code.i32Const(tlb.kinds * tlb.tableBytes)
  code.op('i32.mul')
  code.op('i32.add')
}

/** Makes of the address on the stack what lies between a table's start and its entry. */
export function toEntryOffset(code: Code): void {
  code.op('i32.wrap_i64')
  code.i32Const(8)
  code.op('i32.shr_u')
  code.i32Const((tlb.entries - 1) * tlb.entryBytes)
  code.op('i32.and')
}

/** Pushes whether the entry is of the address's page. */
export function pushIsMapped(code: Code, entry: number, table: number, address: number): void {
  code.localGet(entry)
  code.memory('i64.load', table)
  code.localGet(address)
  code.i64Const(-4096)
  code.op('i64.and')
  code.op('i64.eq')
}

/** Pushes where the address lies in linear memory, when the entry is of its page. */
export function pushPlace(code: Code, entry: number, table: number, address: number): void {
  code.localGet(entry)
  code.memory('i32.load', table + 8)
  code.localGet(address)
  code.op('i32.wrap_i64')
  code.op('i32.add')
}

/** Locals, the offset of a table, and the operand's size. */
interface Probe {
  readonly base: number | undefined
  readonly entry: number
  readonly host: number
  readonly table: number
  readonly address: number
  readonly bytes: number
}

/**
 * Looks up an operand in the table at `table`, from where the local `base` points if there is one. Sets `entry`, and `host` to the operand's place;
 * pushes whether that is of no use: another page's entry, or an operand that does not end in its page. Tag ^ address <= 4096 - bytes proves both.
 */
export function probeOperand(code: Code, {base, entry, host, table, address, bytes}: Probe): void {
  code.localGet(address)
  toEntryOffset(code)
  if (base !== undefined) {
    code.localGet(base)
    code.op('i32.add')
  }
  code.localSet(entry)
  pushPlace(code, entry, table, address)
  code.localSet(host)
  code.localGet(entry)
  code.memory('i64.load', table)
  code.localGet(address)
  code.op('i64.xor')
  code.i64Const(4096 - bytes)
  code.op('i64.gt_u')
}
