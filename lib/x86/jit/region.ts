/**
 * Finds what to translate together: the basic blocks of one page that direct jumps and branches connect, in address order, and
 * where status flags are wanted.
 *
 * Linear addresses are signed numbers, as the decoder has them.
 *
 * Flags live at a point when an instruction reads them later, before they are written again, or control leaves the region with them. The
 * frame of a fault shows dead flags as they last were in vCPU state. CF has a life of its own, because INC and DEC keep it.
 */
import type {DecodedInstruction} from '../decode/instruction-record.js'
import type {Template} from '../ir/op.js'
import {withoutCarry, withoutFlags} from '../ir/template.js'
import type {SpanPart} from './spans.js'

export interface RegionInstruction {
  readonly decoded: DecodedInstruction
  readonly template: Template
  readonly rip: number
  /** The status flags live before it, after it, and CF after it. */
  flagsBefore: boolean
  flagsAfter: boolean
  carryAfter: boolean
  /** Masks of general registers (registers.ts): may differ from vCPU state before it, and after it. */
  changedBefore: number
  changedAfter: number
  /** What a call or slow path in it finds in vCPU state: all that may differ. */
  writtenBack: number
  /** Read after it before they are set: what is loaded behind a call or slow path. */
  neededAfter: number
  /** What its memory accesses share with others (spans.ts), in the order of its template. */
  parts: readonly (SpanPart | undefined)[]
}

export interface RegionBlock {
  readonly rip: number
  readonly instructions: RegionInstruction[]
  /** RIP after the last instruction. */
  readonly end: number
  /** RIPs that control may go to directly. */
  readonly successors: readonly number[]
  /** RIP → index of the block that it leads to from here. */
  targets: ReadonlyMap<number, number>
  /** Control may come from outside: the dispatcher can start here. */
  entry: boolean
  /** Blocks of the region that lead here. */
  predecessors: number
  /** The status flags, and CF, live at its start. */
  flagsBefore: boolean
  carryBefore: boolean
  /** Masks of general registers at its start (registers.ts). */
  changedBefore: number
  needed: number
}

/** Blocks in address order; copies of loops (unroll.ts) follow their originals. */
export type Region = readonly RegionBlock[]

const maximumBlocks = 64
const maximumInstructions = 600

/** Decodes at a RIP inside the region's page; undefined when there is nothing to translate (fault, page end, spans pages). */
export type DecodeAt = (rip: number) => {decoded: DecodedInstruction; template: Template} | undefined

/** Where to look: blocks that have not run are not worth it, and one that is translated already can be linked to. */
export interface Bounds {
  hasRun(rip: number): boolean
  stopsAt(rip: number): boolean
}

/** The blocks that are reached from `start`; none when there is nothing to translate. */
export function findBlocks(start: number, decodeAt: DecodeAt, {hasRun, stopsAt}: Bounds): RegionBlock[] {
  const starts = new Set<number>([start])
  const entries = new Set<number>([start])
  const seen = new Map<number, RegionInstruction>()
  const work = [start]
  while (work.length > 0 && starts.size <= maximumBlocks && seen.size < maximumInstructions) {
    // Nearest first: what is far away is the least likely to belong to the loop.
    for (let rip = work.shift()!; !seen.has(rip) && (rip === start || !stopsAt(rip)); ) {
      const found = decodeAt(rip)
      if (found === undefined) break
      const instruction: RegionInstruction = {
        decoded: found.decoded,
        template: found.template,
        rip,
        flagsBefore: true,
        flagsAfter: true,
        carryAfter: true,
        changedBefore: 0,
        changedAfter: 0,
        writtenBack: 0,
        neededAfter: 0,
        parts: [],
      }
      seen.set(rip, instruction)
      const next = rip + found.decoded.length
      if (!found.template.endsBlock) {
        rip = next
        continue
      }
      for (const target of targetsOf(instruction, next)) {
        if (!hasRun(target.rip) || (target.rip !== start && stopsAt(target.rip))) continue
        if (target.after) entries.add(target.rip)
        if (!starts.has(target.rip)) {
          starts.add(target.rip)
          work.push(target.rip)
        }
      }
      break
    }
  }
  return assemble(starts, entries, seen)
}

/** The region of some blocks: what leads to each, and who reads flags, is marked. */
export function asRegion(blocks: readonly RegionBlock[]): Region {
  for (const block of blocks) for (const at of successorsOf(block)) blocks[at].predecessors++
  markFlags(blocks)
  return blocks
}

/** Direct successors of a block-ending instruction; `after` marks where control comes back from elsewhere, a callee for one. */
function targetsOf(instruction: RegionInstruction, next: number): {rip: number; after: boolean}[] {
  const {decoded, template} = instruction
  const last = template.ops.at(-1)
  const direct = decoded.operands[0]?.kind === 'immediate' && decoded.form.operands[0]?.startsWith('J')
  const target = Number(decoded.immediate)
  if (last?.kind === 'branch')
    return [
      {rip: next, after: false},
      {rip: target, after: false},
    ]
  if (last?.kind === 'jump') {
    if (last.call) return [{rip: next, after: true}]
    return direct && !last.return ? [{rip: target, after: false}] : []
  }
  // A slow path that usually goes on behind itself.
  return last?.kind === 'system' ? [{rip: next, after: true}] : []
}

function assemble(starts: Set<number>, entries: Set<number>, seen: Map<number, RegionInstruction>): RegionBlock[] {
  const blocks: RegionBlock[] = []
  for (const rip of [...starts].filter(start => seen.has(start)).sort((a, b) => a - b)) {
    const instructions: RegionInstruction[] = []
    let at = rip
    let successors: number[] = []
    for (;;) {
      const instruction = seen.get(at)
      if (instruction === undefined || (at !== rip && starts.has(at))) {
        successors = [at]
        break
      }
      // Overlapping decodings would share the object: each block marks flags on its own copy.
      instructions.push({...instruction})
      at = at + instruction.decoded.length
      if (instruction.template.endsBlock) {
        successors = targetsOf(instruction, at).map(target => target.rip)
        break
      }
    }
    blocks.push({
      rip,
      instructions,
      end: at,
      successors,
      targets: new Map(),
      entry: entries.has(rip),
      predecessors: 0,
      flagsBefore: true,
      carryBefore: true,
      changedBefore: 0,
      needed: 0,
    })
  }
  const targets = new Map(blocks.map((block, at) => [block.rip, at]))
  for (const block of blocks) block.targets = targets
  return blocks
}

/** Indices of the blocks that follow a block in the region. */
export function successorsOf({successors, targets}: RegionBlock): number[] {
  const indices: number[] = []
  for (const rip of successors) {
    const at = targets.get(rip)
    if (at !== undefined) indices.push(at)
  }
  return indices
}

/** All jumps inside a region, as pairs of block indices. */
export function jumpsOf(blocks: Region): (readonly [from: number, to: number])[] {
  return blocks.flatMap((block, from) => successorsOf(block).map(to => [from, to] as const))
}

/** What is lowered for an instruction, given who looks at its flags. */
export function loweredTemplate({template, flagsAfter, carryAfter}: RegionInstruction): Template {
  if (!flagsAfter) return withoutFlags(template)
  return template.keepsCarry && !carryAfter ? withoutCarry(template) : template
}

/** Flag life, backwards to a fixed point. */
function markFlags(blocks: Region): void {
  for (const block of blocks) block.flagsBefore = block.carryBefore = false
  for (let changed = true; changed; ) {
    changed = false
    for (const block of blocks.toReversed()) {
      let [flags, carry] = lifeAfter(block, blocks)
      for (const instruction of block.instructions.toReversed()) {
        const {template} = instruction
        instruction.flagsAfter = flags
        instruction.carryAfter = carry
        if (template.setsFlags) {
          flags = false
          if (!template.keepsCarry) carry = false
        }
        const {readsFlags, readsCarry} = loweredTemplate(instruction)
        flags ||= readsFlags
        carry ||= readsCarry
        instruction.flagsBefore = flags || carry
      }
      if (flags === block.flagsBefore && carry === block.carryBefore) continue
      block.flagsBefore = flags
      block.carryBefore = carry
      changed = true
    }
  }
}

/** Whether the flags, and CF, live behind a block. */
function lifeAfter(block: RegionBlock, blocks: Region): [flags: boolean, carry: boolean] {
  const {template} = block.instructions.at(-1)!
  const last = template.ops.at(-1)
  const staysInside = last?.kind === 'branch' || (last?.kind === 'jump' && !last.call) || !template.endsBlock
  const inside = successorsOf(block)
  if (!staysInside || inside.length < block.successors.length || inside.length === 0) return [true, true]
  return [inside.some(at => blocks[at].flagsBefore), inside.some(at => blocks[at].carryBefore)]
}
