/**
 * The ways out of a region. Each is a label around the region's code: it writes back what the place that comes there has changed, and ends the
 * function. Places with the same registers and flags to write back share one, so that a way out costs them a branch.
 *
 *   block way(n-1) … block way0
 *     the region's code
 *   end  way0: write back, return
 *   …
 *
 * The blocks are opened when the region's code is written and the number of ways is known.
 */
import type {Code} from '../../wasm/builder.js'
import type {FlagKindName} from '../flags.js'
import {Status} from '../interpret.js'
import {state} from '../state.js'

/** fault: at this instruction, which has changed nothing. leave: RIP as in `target`. jump: the same, by the link in `cell`. */
export type WayKind = 'fault' | 'leave' | 'jump'

interface Way {
  readonly kind: WayKind
  /** Mask of general registers to write back. */
  readonly changed: number
  /** How the flags in locals follow, undefined when vCPU state has them. */
  readonly flags: FlagKindName | undefined
}

/** What a way writes back. */
export interface Writer {
  storeRegisters(mask: number): void
  storeFlags(kind: FlagKindName): void
}

export class WaysOut {
  private readonly ways: Way[] = []
  private readonly start: number
  /** Locals: where in its page the instruction that faults stands, where a jump leads, its cell. */
  private readonly offset: number
  private readonly target: number
  private readonly cell: number

  /** `pageRip` is the linear address of the region's page. */
  constructor(
    private readonly code: Code,
    private readonly cpu: number,
    private readonly pageRip: number,
    private readonly jump: (code: Code) => void,
  ) {
    this.start = code.position
    this.offset = code.local('i32')
    this.target = code.local('i64')
    this.cell = code.local('i32')
  }

  /** Goes out at an instruction. `depth` counts the labels open inside the region's code. */
  fault(rip: number, changed: number, flags: FlagKindName | undefined, depth: number): void {
    this.code.i32Const(rip & 0xfff)
    this.code.localSet(this.offset)
    this.code.br(depth + this.way('fault', changed, flags))
  }

  /** Goes out to the address on the stack; by a link when there is a cell. */
  leave(cell: number | undefined, changed: number, flags: FlagKindName | undefined, depth: number): void {
    this.code.localSet(this.target)
    if (cell !== undefined) {
      this.code.i32Const(cell)
      this.code.localSet(this.cell)
    }
    this.code.br(depth + this.way(cell === undefined ? 'leave' : 'jump', changed, flags))
  }

  private way(kind: WayKind, changed: number, flags: FlagKindName | undefined): number {
    const known = this.ways.findIndex(way => way.kind === kind && way.changed === changed && way.flags === flags)
    return known >= 0 ? known : this.ways.push({kind, changed, flags}) - 1
  }

  /** Writes all ways, behind the region's code, which never gets here. */
  finish(writer: Writer): void {
    const {code} = this
    code.openBlocks(this.start, this.ways.length)
    code.unreachable()
    for (const {kind, changed, flags} of this.ways) {
      code.end()
      writer.storeRegisters(changed)
      if (flags !== undefined) writer.storeFlags(flags)
      if (kind === 'jump') {
        code.localGet(this.cell)
        code.localGet(this.target)
        this.jump(code)
        continue
      }
      code.localGet(this.cpu)
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
