/**
 * The ways out of a region, in the two forms that the two forms of a translation need.
 *
 * SharedWays: registers are in locals. Each way is a label around the region's code: it writes back what the place that comes there has changed,
 * and ends the function. Places with the same registers and flags to write back share one, so that a way out costs them a branch.
 *
 *   block way(n-1) … block way0
 *     the region's code
 *   end  way0: write back, return
 *   …
 *
 * The blocks are opened when the region's code is written and the number of ways is known.
 *
 * DirectWays: registers are in vCPU state. A way out is a tail call on the spot; branches to labels would cost more, in moves that agree on
 * where locals are.
 */
import type {Code} from '../../wasm/builder.js'
import type {FlagKindName} from '../flags.js'
import {Status} from '../interpret.js'
import {state} from '../state.js'

/** `depth` counts the labels open inside the region's code. `changed` is a mask of general registers; `flags` says how those in locals follow. */
export interface WaysOut {
  /** Goes out at an instruction, which has changed nothing. */
  fault(rip: number, changed: number, flags: FlagKindName | undefined, depth: number): void
  /** Goes out when the value on the stack is not 0: an accessor has left a fault and RIP in state. */
  faultedIf(flags: FlagKindName | undefined, depth: number): void
  /** Goes out to the address on the stack; by a link when there is a cell. */
  leave(cell: number | undefined, changed: number, flags: FlagKindName | undefined, depth: number): void
  /** Writes what stands behind the region's code, which never gets there. */
  finish(): void
}

/** What a way writes back. */
export interface Writer {
  storeRegisters(mask: number): void
  storeFlags(kind: FlagKindName): void
}

export class DirectWays implements WaysOut {
  private readonly start: number

  /** `call` writes a tail call of a function in callable.ts. */
  constructor(
    private readonly code: Code,
    private readonly writer: Writer,
    private readonly call: (name: string) => void,
    private readonly jumpName: string,
  ) {
    this.start = code.position
  }

  fault(rip: number, _changed: number, flags: FlagKindName | undefined): void {
    if (flags !== undefined) this.writer.storeFlags(flags)
    this.code.i64Const(rip)
    this.call('stop')
  }

  faultedIf(flags: FlagKindName | undefined, depth: number): void {
    this.code.unlikely()
    if (flags === undefined) return this.code.brIf(depth)
    this.code.if()
    this.writer.storeFlags(flags)
    this.code.br(depth + 1)
    this.code.end()
  }

  leave(cell: number | undefined, _changed: number, flags: FlagKindName | undefined): void {
    if (flags !== undefined) this.writer.storeFlags(flags)
    if (cell === undefined) return this.call('leave')
    this.code.i32Const(cell)
    this.call(this.jumpName)
  }

  finish(): void {
    this.code.openBlocks(this.start, 1)
    this.code.unreachable()
    this.code.end()
    this.code.i32Const(Status.exit)
  }
}

interface Way {
  readonly kind: 'fault' | 'leave' | 'jump'
  readonly changed: number
  readonly flags: FlagKindName | undefined
}

export class SharedWays implements WaysOut {
  private readonly ways: Way[] = []
  private readonly start: number
  /** Locals: where in its page the instruction that faults stands, where a jump leads, its cell. */
  private readonly offset: number
  private readonly target: number
  private readonly cell: number

  /** `pageRip` is the linear address of the region's page; `jump` writes the tail call of a link's function. */
  constructor(
    private readonly code: Code,
    /** The vCPU area's address. */
    private readonly cpu: number,
    private readonly pageRip: number,
    private readonly writer: Writer,
    private readonly jump: () => void,
  ) {
    this.start = code.position
    this.offset = code.local('i32')
    this.target = code.local('i64')
    this.cell = code.local('i32')
  }

  fault(rip: number, changed: number, flags: FlagKindName | undefined, depth: number): void {
    this.code.i32Const(rip & 0xfff)
    this.code.localSet(this.offset)
    this.code.br(depth + this.way('fault', changed, flags))
  }

  faultedIf(): void {
    throw new Error('bug: no accessors where registers are in locals')
  }

  leave(cell: number | undefined, changed: number, flags: FlagKindName | undefined, depth: number): void {
    this.code.localSet(this.target)
    if (cell !== undefined) {
      this.code.i32Const(cell)
      this.code.localSet(this.cell)
    }
    this.code.br(depth + this.way(cell === undefined ? 'leave' : 'jump', changed, flags))
  }

  private way(kind: Way['kind'], changed: number, flags: FlagKindName | undefined): number {
    const known = this.ways.findIndex(way => way.kind === kind && way.changed === changed && way.flags === flags)
    return known >= 0 ? known : this.ways.push({kind, changed, flags}) - 1
  }

  finish(): void {
    const {code, writer} = this
    code.openBlocks(this.start, this.ways.length)
    code.unreachable()
    for (const {kind, changed, flags} of this.ways) {
      code.end()
      writer.storeRegisters(changed)
      if (flags !== undefined) writer.storeFlags(flags)
      if (kind === 'jump') {
        code.localGet(this.target)
        code.localGet(this.cell)
        this.jump()
        continue
      }
      code.i32Const(this.cpu)
      if (kind === 'fault') {
        code.i64Const(this.pageRip)
        code.localGet(this.offset)
        code.op('i64.extend_i32_u')
        code.op('i64.or')
      } else code.localGet(this.target)
      code.memory('i64.store', state.rip)
      code.i32Const(kind === 'fault' ? Status.exit : Status.blockEnd)
      code.return()
    }
    code.unreachable()
  }
}
