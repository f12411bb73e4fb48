/**
 * FNSTENV after x87 instructions of a running program: where they stood, and the offset and segment of their operand. The expected
 * images are what an AMD processor shows.
 */
import t from 'tap'
import {Segment} from '../../lib/x86/state.js'
import {assembled} from '../support/assembler.js'
import {machine} from '../support/machine.js'

const code = 0x800000
const data = 0x900000

/** Runs instructions in both tiers; the environment image at `data` afterwards, as words. */
function environment(text: string, fsBase = 0n): number[][] {
  return [Number.POSITIVE_INFINITY, 1].map(translateAfter => {
    const {vcpu, memory, at, run} = machine({translateAfter})
    for (let round = 0; round < 2; round++) {
      memory.bytes.set(assembled(`fninit; ${text}; fnstenv [rbx]; int3`), at(code))
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

const load = 'fld QWORD PTR [rbx+32]'
const pointers = (words: number[]) => words.slice(3).map(word => word.toString(16))

t.test('a load', async t => {
  for (const words of environment(load)) t.strictSame(pointers(words), ['800002', '5430033', '900020', 'ffff002b'])
})

t.test('a register form keeps the operand; control instructions change nothing', async t => {
  for (const words of environment(`${load}; fld1; fnstcw WORD PTR [rbx+64]; fwait`))
    t.strictSame(pointers(words), ['800005', '1e80033', '900020', 'ffff002b'])
})

t.test('an operand by FS is shown as offset and selector; prefixes belong to the instruction', async t => {
  for (const words of environment('fld QWORD PTR fs:[rsi]', BigInt(data)))
    t.strictSame(pointers(words), ['800002', '5060033', '20', 'ffff0053'])
})

t.test('FNINIT clears them', async t => {
  for (const words of environment(`${load}; fninit`)) t.strictSame(pointers(words), ['0', '0', '0', 'ffff0000'])
})
