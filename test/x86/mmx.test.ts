/**
 * What MMX instructions do to the x87 unit beside their own work, in both tiers. The native vectors cover the results; here are the turn to
 * MMX, the exceptions that come first, and the forms that do neither. Expected is what an AMD processor does.
 */
import t from 'tap'
import {x87State} from '../../lib/x86/float/x87-state.js'
import {state} from '../../lib/x86/state.js'
import {assembled} from '../support/assembler.js'
import {machine} from '../support/machine.js'

const code = 0x800000
const data = 0x900000

/** Where nothing is mapped, for RSI. */
const nowhere = 0x180000000n

interface Outcome {
  /** Status word, tag word and ST(0)'s significand in the image of FNSAVE [RBX], when the code got there. */
  readonly status: number
  readonly tags: number
  readonly significand: bigint
  readonly vector: number
  /** A bit per register of the unit, as it is at the end. */
  readonly inUse: number
}

/** Runs FNINIT, the instructions, FNSAVE [RBX] in both tiers. */
function after(text: string): Outcome[] {
  return [Number.POSITIVE_INFINITY, 1].map(translateAfter => {
    const {vcpu, memory, at, run, faults} = machine({translateAfter})
    for (let round = 0; round < 2; round++) {
      faults.length = 0
      memory.bytes.set(assembled(`fninit; ${text}; fnsave [rbx]; int3`), at(code))
      // Control word with zero division unmasked for FLDCW [RBX + 256], 0 behind it for FIDIV.
      memory.view.setUint32(at(data) + 256, 0x37b, true)
      memory.view.setUint32(at(data) + 260, 0, true)
      vcpu.rip = BigInt(code)
      vcpu.setGpr(3, BigInt(data))
      vcpu.setGpr(6, nowhere)
      run()
    }
    const image = at(data)
    return {
      status: memory.view.getUint16(image + 4, true),
      tags: memory.view.getUint16(image + 8, true),
      significand: memory.view.getBigUint64(image + 28, true),
      inUse: memory.bytes[vcpu.base + state.x87 + x87State.offset.tags],
      vector: faults[0].vector,
    }
  })
}

/** Two values on the stack: TOP 6. */
const twice = 'fld1; fld1'
/** An unmasked zero division waits. */
const pending = 'fldcw WORD PTR [rbx+256]; fld1; fidiv DWORD PTR [rbx+260]'

t.test('the unit turns to MMX', async t => {
  for (const text of ['paddb mm0,mm1', 'movq [rbx],mm0', 'cvtpi2pd xmm0,mm1'])
    for (const {status, tags, vector} of after(`${twice}; ${text}`)) {
      t.equal(vector, 3, text)
      t.equal(status & 0x3800, 0, `${text}: TOP 0`)
      t.equal(tags & 0xc000, 0, `${text}: R7 still valid`)
      t.not(tags & 3, 3, `${text}: R0 in use`)
    }
})

t.test('a write fills sign and exponent', async t => {
  // All ones, and the tag says special.
  for (const {tags, significand} of after('pcmpeqb mm0,mm0')) {
    t.equal(tags & 3, 2)
    t.equal(significand, 0xffffffffffffffffn)
  }
})

t.test('conversions from memory leave the unit alone', async t => {
  for (const name of ['cvtpi2pd', 'cvtpi2ps'])
    for (const {status, tags} of after(`${twice}; ${name} xmm0,[rbx]`)) {
      t.equal(status & 0x3800, 0x3000)
      t.equal(tags, 0x0fff)
    }
})

t.test('a pending x87 exception comes before the access to memory', async t => {
  for (const text of ['paddb mm0,[rsi]', 'movq [rsi],mm0', 'maskmovq mm0,mm1'])
    for (const {vector} of after(`${pending}; ${text}`)) t.equal(vector, 16, text)
  for (const {vector} of after(`${pending}; cvtpi2pd xmm0,[rsi]`)) t.equal(vector, 14)
})

t.test('an instruction that faults does not turn the unit', async t => {
  for (const text of ['paddb mm0,[rsi]', 'movq [rsi],mm0'])
    for (const {vector, inUse} of after(`${twice}; ${text}`)) {
      t.equal(vector, 14)
      t.equal(inUse, 0xc0)
    }
})
