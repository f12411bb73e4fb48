/**
 * Which general registers a region holds in locals, and when: what a path needs is read from vCPU state where the path begins (at an entry, behind
 * a call or slow path), what it changed is written back where it ends. Two flows over the blocks, each to a fixed point:
 *
 *   changed  forward:  registers that may differ from vCPU state; none where a path begins
 *   needed   backward: registers whose local is read before the whole of it is set, at a way out also those that have to be written back
 *
 * Masks have bit n for register n.
 */
import type {DecodedInstruction} from '../decode/instruction-record.js'
import type {Op} from '../ir/op.js'
import {state} from '../state.js'
import {loweredTemplate, type Region, successorsOf} from './region.js'

/** What one instruction does with general registers. */
interface RegisterUse {
  reads: number
  writes: number
  /** Among those it writes: set as a whole, whatever happens. */
  sets: number
  canFault: boolean
  /** A slow path, for which all registers are in vCPU state: none, on some ways through the instruction, or on all. */
  syncs: 'never' | 'sometimes' | 'always'
  /** It ends in a call that may come back. */
  calls: boolean
}

const maskOf = (offset: number) => (offset < state.rip ? 1 << (offset >> 3) : 0)

function useOf(decoded: DecodedInstruction, ops: readonly Op[], canFault: boolean): RegisterUse {
  const use: RegisterUse = {reads: 0, writes: 0, sets: 0, canFault, syncs: 'never', calls: false}
  if (decoded.memory) use.reads |= maskOf(decoded.memory.base) | maskOf(decoded.memory.index)
  let depth = 0
  for (const op of ops) {
    if (op.kind === 'if' || op.kind === 'loop') depth++
    else if (op.kind === 'end') depth--
    else if (op.kind === 'system') use.syncs = depth > 0 ? 'sometimes' : 'always'
    else if (op.kind === 'jump' && op.call) use.calls = true
    else if (op.kind === 'get-register' || op.kind === 'set-register') {
      const mask = maskOf('fixed' in op.ref ? op.ref.fixed : decoded.slots[op.ref.slot])
      if (op.kind === 'get-register') use.reads |= mask
      else {
        use.writes |= mask
        // The rest of a narrow register stays.
        if (op.bits < 32) use.reads |= mask
        else if (depth === 0) use.sets |= mask
      }
    }
  }
  // What a slow path finds, and leaves to the rest of its instruction, is all the instruction's.
  if (use.syncs !== 'never') use.reads |= use.writes
  return use
}

/** Fills in the masks of all instructions and blocks of a region. */
export function planRegisters(blocks: Region): void {
  const uses = blocks.map(({instructions}) =>
    instructions.map(instruction => {
      const template = loweredTemplate(instruction)
      return useOf(instruction.decoded, template.ops, template.canFault)
    }),
  )
  const inside = blocks.map(successorsOf)
  flowForward(blocks, uses, inside)
  flowBackward(blocks, uses, inside)
}

function flowForward(blocks: Region, uses: RegisterUse[][], inside: number[][]): void {
  for (const block of blocks) block.changedBefore = 0
  for (let again = true; again; ) {
    again = false
    for (const [at, {instructions, changedBefore}] of blocks.entries()) {
      let changed = changedBefore
      for (const [position, instruction] of instructions.entries()) {
        const use = uses[at][position]
        instruction.changedBefore = changed
        instruction.writtenBack = changed | use.writes
        changed = use.syncs === 'always' ? use.writes : changed | use.writes
        instruction.changedAfter = changed
      }
      if (uses[at].at(-1)!.calls) changed = 0
      for (const target of inside[at]) {
        if ((blocks[target].changedBefore | changed) === blocks[target].changedBefore) continue
        blocks[target].changedBefore |= changed
        again = true
      }
    }
  }
}

function flowBackward(blocks: Region, uses: RegisterUse[][], inside: number[][]): void {
  for (const block of blocks) block.needed = 0
  for (let again = true; again; ) {
    again = false
    for (let at = blocks.length - 1; at >= 0; at--) {
      const {instructions, successors} = blocks[at]
      const last = instructions.at(-1)!
      // Behind a call, and at the budget's end of a jump back, everything changed is written back.
      let needed = inside[at].reduce((all, target) => all | blocks[target].needed, 0)
      const leaves = inside[at].length < successors.length || successors.length === 0 || inside[at].some(to => to <= at)
      if (leaves) needed |= last.changedAfter
      for (let position = instructions.length - 1; position >= 0; position--) {
        const instruction = instructions[position]
        const use = uses[at][position]
        instruction.neededAfter = use.syncs === 'never' ? needed : needed | use.reads
        if (use.calls || use.syncs === 'always') needed = instruction.writtenBack
        needed = (needed & ~use.sets) | use.reads
        if (use.canFault || use.syncs !== 'never') needed |= instruction.changedBefore
      }
      if (needed === blocks[at].needed) continue
      blocks[at].needed = needed
      again = true
    }
  }
}
