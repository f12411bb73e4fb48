/**
 * Turns a recorded list of operations into a Template: counts uses, drops pure operations nobody uses, and marks values that may
 * be computed where they are used. A value may move to its use when it has one use, no control flow lies between, and nothing between
 * could change what it reads (a register, vCPU state, a variable).
 */
import type {Op, Template, ValueId} from './op.js'
import type {WasmType} from './types.js'

const control = new Set<Op['kind']>([
  'if',
  'else',
  'end',
  'loop',
  'continue-if',
  'jump',
  'branch',
  'fault',
  'system',
  'call',
])
const effects = new Set<Op['kind']>(['set-register', 'set-state', 'set-variable', 'set-flags'])
const removable = new Set<Op['kind']>([
  'pure',
  'const',
  'immediate',
  'rip',
  'get-register',
  'get-state',
  'lookup',
  'register-address',
  'address',
  'condition',
  'status-flags',
  'get-variable',
])
/** Operations whose result depends on nothing that changes during an instruction. */
const constant = new Set<Op['kind']>(['const', 'immediate', 'rip', 'register-address'])

/** The values an operation reads. */
export function inputs(op: Op): ValueId[] {
  switch (op.kind) {
    case 'pure':
    case 'call':
      return op.args
    case 'set-register':
    case 'set-state':
    case 'set-variable':
      return [op.value]
    case 'load':
      return [op.address]
    case 'lookup':
      return [op.offset]
    case 'store':
      return [op.address, op.value]
    case 'store-back':
      return [op.host, op.old, op.value]
    case 'set-flags':
      return [op.a, op.b, op.r].filter(value => value !== undefined)
    case 'if':
    case 'continue-if':
    case 'branch':
      return [op.condition]
    case 'jump':
      return [op.target]
    default:
      return []
  }
}

/** The finished template of a recorded list. */
export function finish(recorded: readonly Op[], types: readonly WasmType[], endsBlock: boolean): Template {
  const ops = dropUnused(recorded, types.length)
  const uses = new Array<number>(types.length).fill(0)
  for (const op of ops) for (const value of inputs(op)) uses[value]++
  const definitions = new Array<Op | undefined>(types.length).fill(undefined)
  for (const op of ops) if ('out' in op && op.out !== undefined) definitions[op.out] = op
  return {ops, types, uses, definitions, inline: findInline(ops, uses), endsBlock, ...flagUse(ops)}
}

/** Pairs of conditions that look at CF: B, BE. */
const carryConditions = new Set([1, 3])

/** How the operations treat the status flags. */
function flagUse(
  ops: readonly Op[],
): Pick<Template, 'readsFlags' | 'readsCarry' | 'keepsCarry' | 'setsFlags' | 'maySetFlags' | 'canFault'> {
  let depth = 0
  let readsFlags = false
  let readsCarry = false
  let keepsCarry = false
  let setsFlags = false
  let maySetFlags = false
  let canFault = false
  for (const op of ops) {
    if (op.kind === 'if' || op.kind === 'loop') depth++
    else if (op.kind === 'end') depth--
    else if (op.kind === 'condition' || op.kind === 'status-flags' || op.kind === 'system') {
      readsFlags = true
      if (op.kind !== 'condition' || carryConditions.has(op.code >> 1)) readsCarry = true
    } else if (op.kind === 'set-flags') {
      if (op.flags === 'inc' || op.flags === 'dec') keepsCarry = true
      if (depth === 0) setsFlags = true
      else maySetFlags = true
    }
    if (['load', 'store', 'store-back', 'fault', 'system'].includes(op.kind)) canFault = true
  }
  return {readsFlags, readsCarry, keepsCarry, setsFlags: setsFlags && !maySetFlags, maySetFlags, canFault}
}

function dropUnused(recorded: readonly Op[], count: number): Op[] {
  const needed = new Array<boolean>(count).fill(false)
  const kept: Op[] = []
  for (let index = recorded.length - 1; index >= 0; index--) {
    const op = recorded[index]
    if (removable.has(op.kind) && 'out' in op && op.out !== undefined && !needed[op.out]) continue
    for (const value of inputs(op)) needed[value] = true
    kept.push(op)
  }
  return kept.reverse()
}

function findInline(ops: readonly Op[], uses: readonly number[]): boolean[] {
  const inline = uses.map(() => false)
  /** Values that could still move, and those among them that read something changeable. */
  let movable = new Set<ValueId>()
  let fragile = new Set<ValueId>()
  for (const op of ops) {
    for (const value of inputs(op)) {
      if (movable.has(value) && uses[value] === 1) inline[value] = true
    }
    if (control.has(op.kind)) {
      // Constants may still move past control flow; anything else is computed before it.
      movable = new Set([...movable].filter(value => !fragile.has(value)))
    }
    if (effects.has(op.kind)) {
      for (const value of fragile) movable.delete(value)
      fragile = new Set()
    }
    if (!removable.has(op.kind) || !('out' in op) || op.out === undefined) continue
    const reads = inputs(op)
    if (constant.has(op.kind)) movable.add(op.out)
    else if ((op.kind === 'pure' || op.kind === 'lookup') && reads.every(value => inline[value] && !fragile.has(value)))
      movable.add(op.out)
    else {
      movable.add(op.out)
      fragile.add(op.out)
    }
  }
  return inline
}

const flagless = new WeakMap<Template, Template>()
const carryless = new WeakMap<Template, Template>()

/** The template without its flag computation, for instructions whose flags nobody reads. */
export function withoutFlags(template: Template): Template {
  return cached(flagless, template, op => (op.kind === 'set-flags' ? undefined : op))
}

/** The template of INC or DEC that does not carry CF along, for when nobody reads it. */
export function withoutCarry(template: Template): Template {
  return cached(carryless, template, op => (op.kind === 'set-flags' ? {...op, a: undefined} : op))
}

function cached(cache: WeakMap<Template, Template>, template: Template, change: (op: Op) => Op | undefined): Template {
  let result = cache.get(template)
  if (result === undefined) {
    result = strip(template, change)
    cache.set(template, result)
  }
  return result
}

/** Changes operations or leaves them out, and what is then of no use. */
function strip(template: Template, change: (op: Op) => Op | undefined): Template {
  const uses = template.types.map(() => 0)
  const ops: Op[] = []
  for (let at = template.ops.length - 1; at >= 0; at--) {
    const op = change(template.ops[at])
    if (op === undefined) continue
    const pure = 'out' in op && op.out !== undefined && op.kind !== 'load' && op.kind !== 'call'
    if (pure && uses[op.out!] === 0) continue
    for (const value of inputs(op)) uses[value]++
    ops.push(op)
  }
  return {...template, ops: ops.reverse(), uses, ...flagUse(ops)}
}
