/**
 * Accesses that share a look into the TLB: programs that read and write around a few addresses, in pages that end, that are missing and that
 * are read-only, must leave the same registers, memory and exceptions in all tiers. (Flags that nobody reads may differ behind a fault.)
 */
import t from 'tap'
import {assembled} from '../../support/assembler.js'
import {type Machine, machine, mappedFrames} from '../../support/machine.js'
import {tiers} from '../../support/vector-check.js'
import {Random} from '../../vectors/random.js'

const codeAt = 0x100000
const dataAt = 0x200000
/** Two writable pages, one that is missing, a writable one, a read-only one. */
const map = [
  {address: codeAt, pages: 1, write: false, execute: true},
  {address: dataAt, pages: 2, write: true, execute: false},
  {address: dataAt + 0x3000, pages: 1, write: true, execute: false},
  {address: dataAt + 0x4000, pages: 1, write: false, execute: false},
]
const dataPages = 4
/** Where pages begin and end. */
const edges = [0, 0x1000, 0x2000, 0x3000, 0x4000, 0x5000]

const operands = ['[rbx+8]', '[rbx]', '[rbx-16]', '[rbx+100]', '[rbx+rsi*4]', '[rbx+rsi*4+20]', '[rsp+24]', '[rsp]']
const sized = ['QWORD', 'DWORD', 'WORD', 'BYTE'].flatMap(size => operands.map(operand => `${size} PTR ${operand}`))

function line(random: Random): string {
  const operand = operands[random.below(operands.length)]
  const register = ['rax', 'rcx', 'rdx', 'rdi'][random.below(4)]
  switch (random.below(11)) {
    case 0:
      return `mov ${register},${operand}`
    case 1:
      return `mov ${operand},${register}`
    case 2:
      return `add ${sized[random.below(sized.length)]},1`
    case 3:
      return `movzx ecx,BYTE PTR ${operand}`
    case 4:
      return `push ${register}`
    case 5:
      return `pop ${register}`
    case 6:
      return `lea rbx,[rbx+${random.below(40)}]`
    case 7:
      return `sub rsp,${8 * random.below(4)}`
    case 8:
      return `xchg ${operand},${register}`
    case 9:
      return `movups xmm0,${operand}`
    default:
      return `movups ${operand},xmm0`
  }
}

/** Some lines, at times with a branch over the last of them or a loop around all, and INT3. */
function program(random: Random): number[] {
  const lines = Array.from({length: 3 + random.below(12)}, () => line(random))
  const rip = codeAt
  const head = assembled(lines.join(';'), {rip})
  const skipped = assembled(line(random), {rip})
  const over = random.below(2) === 0 ? [0x74, skipped.length] : []
  const tail = assembled('inc rax', {rip})
  const body = [...head, ...over, ...skipped, ...tail]
  const again = random.below(3) === 0 ? [0xff, 0xcd, 0x75, (-body.length - 4) & 0xff] : []
  return [...body, ...(body.length < 120 ? again : []), 0xcc]
}

function outcome({vcpu, memory, faults, at, run}: Machine, registers: readonly number[]): string {
  const data = memory.bytes.subarray(at((mappedFrames + 1) * 4096), at((mappedFrames + 1 + dataPages) * 4096))
  for (let index = 0; index < data.length; index++) data[index] = index * 7
  for (const [index, value] of registers.entries()) vcpu.setGpr(index, BigInt(value))
  vcpu.rip = BigInt(codeAt)
  vcpu.rflags = 2n
  faults.length = 0
  run()
  let hash = 0
  for (const byte of data) hash = (Math.imul(hash, 31) + byte) | 0
  return JSON.stringify([
    registers.map((_, index) => `${vcpu.gpr(index)}`),
    `${vcpu.rip}`,
    hash,
    faults.map(({vector, errorCode}) => [vector, errorCode]),
  ])
}

t.test('accesses around the edges of pages end alike in all tiers', async t => {
  const random = new Random(20261201)
  const machines = [tiers.interpreter, tiers.baseline, tiers.optimized].map(tier => machine({...tier, map}))
  const different: string[] = []
  for (let index = 0; index < 400; index++) {
    const code = program(random)
    for (const {memory, vcpu, at} of machines) {
      const place = at(mappedFrames * 4096)
      memory.bytes.set(code, place)
      vcpu.code.invalidatePage(place)
    }
    for (let turn = 0; turn < 8; turn++) {
      const near = () =>
        dataAt + edges[random.below(edges.length)] + 8 * (random.below(40) - 20) + (random.below(4) === 0 ? 3 : 0)
      const registers = Array.from({length: 16}, () => random.below(1000))
      registers[3] = near()
      registers[4] = near()
      registers[5] = 1 + random.below(6)
      registers[6] = random.below(3)
      const [wanted, ...others] = machines.map(each => outcome(each, registers))
      for (const [form, got] of others.entries())
        if (got !== wanted)
          different.push(
            `program ${index}, form ${form}: ${wanted} became ${got}: ${Buffer.from(code).toString('hex')}`,
          )
    }
  }
  t.same(different.slice(0, 5), [])
})
