/**
 * A hostile guest: random hypercalls, returns and privileged instructions with arguments that are likely to hurt, from a seeded generator. None may
 * throw, none may write outside the domain's record and frames; page tables stay read-only and name only frames of the domain; the domain crashes
 * only where Xen would crash it; and afterwards the hypervisor still answers.
 */
import t from 'tap'
import {Hypercall} from '../../lib/abi/xen.js'
import {FrameType} from '../../lib/hypervisor/frame-types.js'
import type {PrivilegedInstruction} from '../../lib/x86/platform.js'
import {splitArea} from '../../lib/x86/record-area.js'
import {type PvMachine, pvMachine, ramPages, scratchFrame} from '../support/pv-machine.js'

const calls = 100_000
/** After so many calls the guest gets sane page tables again, so that its pointers mean something. */
const callsPerLife = 40
/** Where Xen crashes a domain: what must enter the kernel has nowhere to go, or iret nothing to return to. */
const xenCrashes = [
  'bad frame in HYPERVISOR_iret',
  'return to user mode without page tables for it',
  'exception without a handler',
  'exception found no stack',
  'bad kernel stack at an event',
  'bad kernel stack at a system call',
  'bad kernel stack at SYSENTER',
]

/** xorshift32: the same calls in every run. */
function generator(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

const edges = [
  0n,
  1n,
  2n,
  3n,
  7n,
  15n,
  64n,
  4095n,
  4096n,
  8192n,
  BigInt(ramPages),
  0x7ff0n,
  0x7ff1n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  0x100000000n,
  0x7fffffffffffn,
  0x800000000000n,
  0xffff800000000000n,
  0xffff7fffffffffffn,
  0xfffffffffffff000n,
  0xffffffffffffffffn,
  0x8000000000000000n,
]

const instructions: readonly PrivilegedInstruction['name'][] = [
  'rdmsr',
  'wrmsr',
  'mov-from-cr',
  'mov-to-cr',
  'mov-from-dr',
  'mov-to-dr',
  'clts',
  'cli',
  'wbinvd',
  'in',
  'out',
  'xsetbv',
  'hlt',
]
const registers = [0x10, 0x1b, 0xc0000080, 0xc0000100, 0xc0000101, 0xc0000102, 0x40000000, 0x277, 0x1a0]

/** Throws when a table of the machine breaks the rules: entries that may write to tables, or that name what is not the domain's. */
function checkTables({memory, layout, hypervisor, host}: PvMachine): void {
  const {types} = hypervisor.tables
  for (let frame = 0; frame < ramPages; frame++) {
    const level = types.typeOf(frame)
    if (level < FrameType.level1 || level > FrameType.level4) continue
    for (let slot = 0; slot < 512; slot++) {
      const low = memory.uint32[(host(frame) >>> 2) + slot * 2]
      const high = memory.uint32[(host(frame) >>> 2) + slot * 2 + 1]
      if ((low & 1) === 0 || (level === FrameType.level4 && slot >= 256 && slot < 272)) continue
      const target = (low >>> 12) + (high & 0xfffff) * 2 ** 20
      const kind = types.typeOf(target)
      const isGood =
        level > 1
          ? kind === level - 1 && (low & 0x80) === 0
          : target >= ramPages
            ? target < layout.m2p
            : (low & 2) === 0 || kind === FrameType.writable
      if (!isGood) throw new Error(`entry ${slot} of frame ${frame}, level ${level}: ${target} of type ${kind}`)
    }
  }
}

t.test('random hypercalls end with an answer', async t => {
  const guest = pvMachine()
  const {vcpu, hypervisor} = guest
  const random = generator(0x9e3779b9)
  const numbers = [...Object.values(Hypercall), 6, 7, 16, 22, 28, 31, 35, 36, 40, 48, 999]
  const address = () => guest.linear(random(ramPages + 2), random(4) === 0 ? random(4096) : random(512) * 8)
  const value = (): bigint => {
    const kind = random(6)
    if (kind === 0) return edges[random(edges.length)]
    if (kind === 1) return BigInt(random(guest.layout.frames + 2))
    if (kind === 2) return BigInt(random(ramPages)) * 4096n + BigInt(random(512))
    if (kind === 3) return BigInt(random(32))
    return address()
  }
  // The decoded code is no business of any hypercall made here: a stray write would show in it. No page has any, and the table says so.
  const {codeStart, codeEnd} = guest.layout
  const {blocks} = splitArea(guest.memory.bytes.length, {start: codeStart, end: codeEnd})
  const codePages = guest.memory.bytes.subarray(codeStart, codeStart + (guest.memory.bytes.length >>> 12))
  const code = guest.memory.bytes.subarray(blocks.start, codeEnd)
  code.fill(0xa5)
  let answers = 0
  /** Crashes by their reason, without the numbers in it. */
  const crashes = new Map<string, number>()
  for (let count = 0; count < calls; count++) {
    if (count % callsPerLife === 0 || hypervisor.isStopped()) {
      checkTables(guest)
      guest.restart()
    }
    for (let word = 0; word < 24; word++)
      guest.memory.view.setBigUint64(guest.host(scratchFrame) + word * 8, value(), true)
    const number = numbers[random(numbers.length)]
    const args = [0, 1, 2, 3, 4, 5].map(() => {
      const kind = random(4)
      return kind === 0 ? guest.linear(scratchFrame) : kind === 1 ? BigInt(random(24)) : value()
    })
    // Owners other than the guest itself are refused at once.
    if (random(4) > 0) args[3] = 0x7ff0n
    // A count in the billions over memory that is all there is legal and only slow.
    const isList = number === Hypercall.mmuUpdate || number === Hypercall.mmuextOp || number === Hypercall.multicall
    if (isList) args[1] = BigInt(random(16))
    if (number === Hypercall.grantTableOp) args[2] = BigInt(random(3))
    try {
      guest.clock.ns += random(1_000_000)
      if (random(10) === 0) {
        vcpu.setGpr(1, BigInt(registers[random(registers.length)]))
        const name = instructions[random(instructions.length)]
        hypervisor.privileged(vcpu, {name, length: 2, register: random(16), special: random(10), size: 1 << random(3)})
      }
      if (random(10) === 0) {
        const entry = [200, 201, 202, 203, 30][random(5)] * 4096 + random(4096)
        hypervisor.storeToReadOnly(vcpu, entry, guest.host(scratchFrame) + random(8) * 8, 1 << random(4), -1)
      }
      if (random(4) === 0) vcpu.setGpr(4, guest.linear(scratchFrame, random(2) * 2048))
      if (random(20) === 0) hypervisor.exception(vcpu, {vector: random(20), errorCode: random(32)})
      if (random(20) === 0) hypervisor.softwareInterrupt(vcpu, random(256))
      if (random(20) === 0) hypervisor.sysenter(vcpu)
      if (Number.isInteger(guest.call(number, ...args))) answers++
      for (const line of guest.log.splice(0)) {
        const reason = line.replace(/^domain crashed: /, '').replace(/exception .* at 0x[0-9a-f]+/, 'exception')
        crashes.set(reason, (crashes.get(reason) ?? 0) + 1)
      }
    } catch (error) {
      t.fail(`hypercall ${number}(${args.map(argument => argument.toString(16)).join(', ')}): ${error}`)
      throw error
    }
  }
  t.equal(answers, calls)
  t.same(
    [...crashes.keys()].filter(reason => !xenCrashes.includes(reason)),
    [],
    'it crashes only where Xen does',
  )
  t.ok(crashes.size > 3, `in several ways: ${[...crashes.keys()].join(', ')}`)
  t.ok(
    code.every(byte => byte === 0xa5) && codePages.every(byte => byte === 0),
    'nothing outside the record and the frames was written',
  )
  guest.restart()
  t.equal(guest.call(Hypercall.xenVersion, 0), (4 << 16) | 17, 'and the hypervisor still answers')
})
