/**
 * Repeated string instructions and those with ports, a run of elements inside one page at a time. After each run the registers are right, so a fault or an
 * interrupt in the middle finds RIP at the instruction and the counts where they stand. The plain cases of MOVS and STOS do not come here:
 * see ../string-runs.ts.
 *
 * Source: SDM vol. 2B REP/REPE/REPZ/REPNE/REPNZ.
 */
import {FlagKind} from '../flags.js'
import {Rflags} from '../registers.js'
import {state} from '../state.js'
import type {Vcpu} from '../vcpu.js'
import {
  addressBits,
  advance,
  blockEnd,
  exit,
  hasPrefix,
  load,
  opcode,
  operandBits,
  type SlowPath,
  segmentBase,
  store,
  writeRegister,
} from './operand.js'

/** Elements done before pending work is looked at. */
const burst = 65_536

interface Run {
  readonly vcpu: Vcpu
  readonly at: number
  readonly bytes: number
  readonly address: number
  readonly backward: boolean
  readonly sourceBase: bigint
  readonly targetBase: bigint
  readonly long: boolean
}

function open(vcpu: Vcpu, at: number): Run {
  const long = vcpu.u32(state.codeBits) === 64
  return {
    vcpu,
    at,
    bytes: vcpu.u32(state.scratch),
    address: addressBits(vcpu, at),
    backward: (vcpu.u32(state.rflags) & Rflags.df) !== 0,
    sourceBase: segmentBase(vcpu, at),
    targetBase: long ? 0n : vcpu.segmentBase(0),
    long,
  }
}

const count = (run: Run) => BigInt.asUintN(run.address, run.vcpu.gpr(1))
const linear = (run: Run, register: 6 | 7) => {
  const sum = BigInt.asUintN(run.address, run.vcpu.gpr(register)) + (register === 6 ? run.sourceBase : run.targetBase)
  return BigInt.asUintN(run.long ? 64 : 32, sum)
}

/** How many whole elements from an address lie in its page, in the direction of travel; 0 when the first one spans two pages. */
function inPage(run: Run, address: bigint): number {
  const offset = Number(address & 0xfffn)
  if (offset + run.bytes > 4096) return 0
  return run.backward ? Math.floor(offset / run.bytes) + 1 : Math.floor((4096 - offset) / run.bytes)
}

/** Elements until an index register of 16 or 32 bits wraps. */
function untilWrap(run: Run, register: 6 | 7): number {
  if (run.address === 64) return burst
  const pointer = Number(BigInt.asUintN(run.address, run.vcpu.gpr(register)))
  const room = run.backward ? pointer + run.bytes : 2 ** run.address - pointer
  return Math.max(1, Math.floor(room / run.bytes))
}

function move(run: Run, elements: number, ...registers: (6 | 7)[]): void {
  const {vcpu, address} = run
  const by = BigInt(elements * run.bytes * (run.backward ? -1 : 1))
  for (const register of registers)
    writeRegister(vcpu, register * 8, address, BigInt.asUintN(address, vcpu.gpr(register) + by))
}

function step(run: Run, elements: number, ...registers: (6 | 7)[]): void {
  const {vcpu, address} = run
  move(run, elements, ...registers)
  writeRegister(vcpu, 8, address, BigInt.asUintN(address, count(run) - BigInt(elements)))
}

/** Byte offset of a run's lowest byte in linear memory, or -1 when it must go element by element. */
function host(run: Run, address: bigint, elements: number, access: 'read' | 'write'): number {
  const {vcpu} = run
  if (vcpu.access.watch !== undefined) return -1
  const lowest = run.backward ? address - BigInt((elements - 1) * run.bytes) : address
  const at = vcpu.hostAddress(Number(lowest & 0xffffffffn), Number(BigInt.asIntN(32, lowest >> 32n)), access)
  if (at < 0 || (access === 'write' && vcpu.code.hasCode((at & ~0xfff) >>> 0))) return -1
  return at
}

/** Runs `bulk` on whole runs and `single` where a run is not possible. Both return false with a fault in state. */
function repeat(
  run: Run,
  uses: readonly (6 | 7)[],
  bulk: (elements: number) => boolean | undefined,
  single: () => boolean | 'stop',
): number {
  let left = burst
  while (count(run) !== 0n) {
    if (left <= 0) return blockEnd
    let elements = Number(count(run) < BigInt(left) ? count(run) : BigInt(left))
    for (const register of uses)
      elements = Math.min(elements, inPage(run, linear(run, register)), untilWrap(run, register))
    if (elements > 0 && bulk(elements)) {
      step(run, elements, ...uses)
      left -= elements
      continue
    }
    const done = single()
    if (done === false) return exit
    step(run, 1, ...uses)
    left--
    if (done === 'stop') break
  }
  return advance(run.vcpu, run.at)
}

function movs(vcpu: Vcpu, at: number): number {
  const run = open(vcpu, at)
  const {bytes} = run
  return repeat(
    run,
    [6, 7],
    elements => {
      const from = host(run, linear(run, 6), elements, 'read')
      const to = host(run, linear(run, 7), elements, 'write')
      if (from < 0 || to < 0) return false
      const length = elements * bytes
      // An overlap that feeds on itself (a fill by copying) must go byte after byte in order.
      const distance = run.backward ? from - to : to - from
      if (distance > 0 && distance < length) return overlapping(run, from, to, elements)
      vcpu.memory.bytes.copyWithin(to, from, from + length)
      return true
    },
    () => {
      const value = load(vcpu, linear(run, 6), bytes)
      return value !== undefined && store(vcpu, linear(run, 7), bytes, value)
    },
  )
}

function overlapping(run: Run, from: number, to: number, elements: number): boolean {
  const {bytes} = run.vcpu.memory
  const size = run.bytes
  for (let index = 0; index < elements; index++) {
    const offset = (run.backward ? elements - 1 - index : index) * size
    bytes.copyWithin(to + offset, from + offset, from + offset + size)
  }
  return true
}

function stos(vcpu: Vcpu, at: number): number {
  const run = open(vcpu, at)
  const {bytes} = run
  const {memory} = vcpu
  return repeat(
    run,
    [7],
    elements => {
      const to = host(run, linear(run, 7), elements, 'write')
      if (to < 0) return false
      const low = vcpu.gprLow(0)
      if (bytes === 1) memory.bytes.fill(low & 0xff, to, to + elements)
      else {
        const value = bytes === 8 ? vcpu.gpr(0) : BigInt(low)
        if (value === 0n) memory.bytes.fill(0, to, to + elements * bytes)
        else {
          memory.view.setBigUint64(vcpu.base + state.scratch + 16, value, true)
          const pattern = vcpu.base + state.scratch + 16
          for (let index = 0; index < elements; index++)
            memory.bytes.copyWithin(to + index * bytes, pattern, pattern + bytes)
        }
      }
      return true
    },
    () => store(vcpu, linear(run, 7), bytes, vcpu.gpr(0)),
  )
}

function lods(vcpu: Vcpu, at: number): number {
  const run = open(vcpu, at)
  const {bytes} = run
  return repeat(
    run,
    [6],
    () => false,
    () => {
      const value = load(vcpu, linear(run, 6), bytes)
      if (value === undefined) return false
      writeRegister(vcpu, 0, bytes * 8, value)
      return true
    },
  )
}

/** Records the flags of left - right. */
function compare(vcpu: Vcpu, left: bigint, right: bigint, bits: number): boolean {
  const [a, b] = [BigInt.asIntN(bits, left), BigInt.asIntN(bits, right)]
  vcpu.setU32(state.flagKind, FlagKind.sub)
  vcpu.setU64(state.flagA, BigInt.asUintN(64, a))
  vcpu.setU64(state.flagB, BigInt.asUintN(64, b))
  vcpu.setU64(state.flagR, BigInt.asUintN(64, BigInt.asIntN(bits, a - b)))
  return a === b
}

/** SCAS and CMPS end when ZF differs from what the prefix wants. */
function comparing(uses: readonly (6 | 7)[]): SlowPath {
  return (vcpu, at) => {
    const run = open(vcpu, at)
    const bits = run.bytes * 8
    const wanted = !hasPrefix(vcpu, at, 'repne')
    const {memory} = vcpu
    return repeat(
      run,
      uses,
      elements => {
        // Only whole equal (or unequal) runs are skipped in bulk; the element that decides is done alone.
        if (run.bytes !== 1 || run.backward || elements < 2) return false
        const target = host(run, linear(run, 7), elements, 'read')
        const source = uses.length === 2 ? host(run, linear(run, 6), elements, 'read') : -1
        if (target < 0 || (uses.length === 2 && source < 0)) return false
        const al = vcpu.gprLow(0) & 0xff
        let same = 0
        while (
          same < elements &&
          ((source < 0 ? al : memory.bytes[source + same]) === memory.bytes[target + same]) === wanted
        )
          same++
        if (same < 2) return false
        // Leave the last element of the run to `single`, which sets the flags.
        step(run, same - 1, ...uses)
        return undefined
      },
      () => {
        const left = uses.length === 2 ? load(vcpu, linear(run, 6), run.bytes) : BigInt.asUintN(bits, vcpu.gpr(0))
        if (left === undefined) return false
        const right = load(vcpu, linear(run, 7), run.bytes)
        if (right === undefined) return false
        return compare(vcpu, left, right, bits) === wanted ? true : 'stop'
      },
    )
  }
}

/** INS and OUTS. The Platform has the ports; it is asked for each element as for IN and OUT, whose value is in RAX. */
function portString(name: 'in' | 'out'): SlowPath {
  const register = name === 'in' ? 7 : 6
  return (vcpu, at) => {
    const bytes = opcode(vcpu, at) & 1 ? Math.min(operandBits(vcpu, at), 32) / 8 : 1
    const run = {...open(vcpu, at), bytes}
    const access = {name, size: bytes, length: 0}
    const single = (): boolean => {
      const refusal = vcpu.platform.privileged(vcpu, {...access, asks: true})
      if (refusal !== undefined) {
        vcpu.raise(refusal)
        return false
      }
      const sent = name === 'in' ? 0n : load(vcpu, linear(run, register), bytes)
      if (sent === undefined) return false
      const rax = vcpu.gpr(0)
      vcpu.setGpr(0, sent)
      vcpu.platform.privileged(vcpu, access)
      const received = vcpu.gpr(0)
      vcpu.setGpr(0, rax)
      return name === 'out' || store(vcpu, linear(run, register), bytes, received)
    }
    if (hasPrefix(vcpu, at, 'rep') || hasPrefix(vcpu, at, 'repne')) return repeat(run, [register], () => false, single)
    if (!single()) return exit
    move(run, 1, register)
    return advance(vcpu, at)
  }
}

export const stringPaths: Record<string, SlowPath> = {
  'rep-movs': movs,
  'rep-stos': stos,
  'rep-lods': lods,
  'rep-scas': comparing([7]),
  'rep-cmps': comparing([6, 7]),
  ins: portString('in'),
  outs: portString('out'),
}
