/**
 * FNSTENV after x87 instructions of a running program: where they stood, and the offset and segment of their operand. The expected
 * images are what an AMD processor shows.
 */
import t from 'tap'
import {Segment} from '../../lib/x86/state.js'
import {machine} from '../support/machine.js'

const code = 0x800000
const data = 0x900000

/** Runs code bytes in hex in both tiers; the environment image at `data` afterwards, as words. */
function environment(hex: string, fsBase = 0n): number[][] {
  return [Number.POSITIVE_INFINITY, 1].map(translateAfter => {
    const {vcpu, memory, at, run} = machine({translateAfter})
    for (let round = 0; round < 2; round++) {
      memory.bytes.set(Buffer.from(`dbe3${hex}d933cc`.replaceAll(' ', ''), 'hex'), at(code))
      vcpu.rip = BigInt(code)
      vcpu.setGpr(3, BigInt(data)) // RBX
      vcpu.setGpr(6, 0x20n) // RSI
      vcpu.setSegmentBase(Segment.fs, fsBase)
      vcpu.setSelector(Segment.fs, 0x53)
      vcpu.setSelector(Segment.ds, 0x2b)
      run()
    }
    return Array.from({length: 7}, (_, index) => memory.view.getUint32(at(data) + index * 4, true))
  })
}

const pointers = (words: number[]) => words.slice(3).map(word => word.toString(16))

t.test('a load', async t => {
  // FLD qword [RBX + 32]
  for (const words of environment('dd4320')) t.strictSame(pointers(words), ['800002', '5430033', '900020', 'ffff002b'])
})

t.test('a register form keeps the operand; control instructions change nothing', async t => {
  // FLD qword [RBX + 32], FLD1, FNSTCW [RBX + 64], FWAIT
  for (const words of environment('dd4320 d9e8 d97b40 9b'))
    t.strictSame(pointers(words), ['800005', '1e80033', '900020', 'ffff002b'])
})

t.test('an operand by FS is shown as offset and selector; prefixes belong to the instruction', async t => {
  // FLD qword FS:[RSI]
  for (const words of environment('64dd06', BigInt(data)))
    t.strictSame(pointers(words), ['800002', '5060033', '20', 'ffff0053'])
})

t.test('FNINIT clears them', async t => {
  for (const words of environment('dd4320 dbe3')) t.strictSame(pointers(words), ['0', '0', '0', 'ffff0000'])
})
