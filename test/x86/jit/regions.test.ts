/**
 * Control flow through both tiers: random programs of small blocks with jumps, branches and calls in every direction must end with the same
 * registers and flags whether interpreted or translated. Each block counts R15 down and leaves when it gets negative, so all end.
 */
import t from 'tap'
import {type Machine, machine} from '../../support/machine.js'
import {tiers} from '../../support/vector-check.js'
import {Random} from '../../vectors/random.js'

const codeAt = 0x100000
const stackAt = 0x200000n
const counter = 15

/** DEC R15D; JS out. */
const countDown = [0x41, 0xff, 0xcf, 0x0f, 0x88, 0, 0, 0, 0]

interface Piece {
  readonly bytes: number[]
  /** Where a 32-bit displacement stands, and the block it leads to. */
  readonly links: [at: number, target: number][]
}

function body(random: Random): number[] {
  const register = random.below(4)
  const other = random.below(4) << 3
  return [
    [0x48, 0x83, 0xc0 | register, random.below(256)], // ADD
    [0x48, 0x83, 0xe8 | register, random.below(256)], // SUB
    [0x48, 0x31, 0xc0 | register | other], //            XOR
    [0x48, 0xff, 0xc0 | register], //                    INC
    [0x48, 0xd1, 0xe0 | register], //                    SHL
    [0x39, 0xc0 | register | other], //                  CMP
    [0x48, 0x89, 0x44 | other, 0x24, 0xc0], //           MOV [RSP - 64]
    [0x48, 0x03, 0x44 | other, 0x24, 0xc0], //           ADD of [RSP - 64]
    [0x50 | register, 0x58 | (other >> 3)], //           PUSH, POP
    [0x9c, 0x9d], //                                     PUSHF, POPF: a slow path
    [0x48, 0x83, 0xc9, 1, 0x31, 0xd2, 0x48, 0xf7, 0xf1], // OR RCX, 1; XOR EDX, EDX; DIV RCX: a slow path at times
  ][random.below(11)]
}

/** A program: blocks in a row, then INT3. */
function program(random: Random): Uint8Array {
  const count = 2 + random.below(12)
  const pieces: Piece[] = []
  for (let index = 0; index < count; index++) {
    const bytes = [...countDown]
    const links: Piece['links'] = [[5, count]]
    for (let left = random.below(4); left > 0; left--) bytes.push(...body(random))
    const link = (...opcode: number[]) => {
      bytes.push(...opcode, 0, 0, 0, 0)
      links.push([bytes.length - 4, random.below(count)])
    }
    const end = random.below(7)
    if (end < 4) link(0x0f, 0x80 + random.below(16))
    else if (end === 4) link(0xe9)
    else if (end === 5) link(0xe8)
    pieces.push({bytes, links})
  }
  const starts = [0]
  for (const {bytes} of pieces) starts.push(starts.at(-1)! + bytes.length)
  const out = new Uint8Array(starts[count] + 1).fill(0xcc)
  const view = new DataView(out.buffer)
  for (const [index, {bytes, links}] of pieces.entries()) {
    out.set(bytes, starts[index])
    for (const [at, target] of links) view.setInt32(starts[index] + at, starts[target] - (starts[index] + at + 4), true)
  }
  return out
}

function load(target: Machine, code: Uint8Array): void {
  const at = target.at(codeAt)
  target.memory.bytes.fill(0xcc, at, at + 4096)
  target.memory.bytes.set(code, at)
  target.vcpu.code.invalidatePage(at)
}

function run(target: Machine, values: readonly bigint[]): string {
  const {vcpu} = target
  for (const [index, value] of values.entries()) vcpu.setGpr(index, value)
  vcpu.setGpr(4, stackAt)
  vcpu.rip = BigInt(codeAt)
  vcpu.rflags = 2n
  target.run()
  return [0, 1, 2, 3, 4, counter]
    .map(index => vcpu.gpr(index))
    .concat(vcpu.rip, vcpu.rflags)
    .join(' ')
}

t.test('random control flow ends alike in both tiers and both forms', async t => {
  const random = new Random(20261123)
  const interpreter = machine(tiers.interpreter)
  // What runs long enough becomes optimized on the way.
  const translators = [machine(tiers.baseline), machine(tiers.optimized)]
  const different: string[] = []
  for (let index = 0; index < 600; index++) {
    const code = program(random)
    load(interpreter, code)
    for (const translator of translators) load(translator, code)
    for (let turn = 0; turn < 4; turn++) {
      const values = Array.from({length: 16}, () => BigInt(random.below(1000)))
      values[counter] = BigInt(40 + random.below(random.below(12) === 0 ? 30_000 : 200))
      const wanted = run(interpreter, values)
      for (const [form, translator] of translators.entries()) {
        const got = run(translator, values)
        if (wanted !== got)
          different.push(
            `program ${index}, form ${form}: ${wanted} became ${got}: ${Buffer.from(code).toString('hex')}`,
          )
      }
    }
  }
  t.same(different, [])
})
