/**
 * What MMX instructions do to the x87 unit beside their own work, in both tiers. The native vectors cover the results; here are the turn to
 * MMX, the exceptions that come first, and the forms that do neither. Expected is what an AMD processor does.
 */
import t from 'tap'
import {x87State} from '../../lib/x86/float/x87-state.js'
import {state} from '../../lib/x86/state.js'
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

/** Runs FNINIT, the code in hex, FNSAVE [RBX] in both tiers. */
function after(hex: string): Outcome[] {
  return [Number.POSITIVE_INFINITY, 1].map(translateAfter => {
    const {vcpu, memory, at, run, faults} = machine({translateAfter})
    for (let round = 0; round < 2; round++) {
      faults.length = 0
      memory.bytes.set(Buffer.from(`dbe3${hex}dd33cc`.replaceAll(' ', ''), 'hex'), at(code))
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
const twice = 'd9e8 d9e8'
/** FLDCW [RBX + 256], FLD1, FIDIV dword [RBX + 260]: an unmasked zero division waits. */
const pending = 'd9ab00010000 d9e8 dab304010000'

t.test('the unit turns to MMX', async t => {
  for (const [name, hex] of [
    ['PADDB MM0, MM1', '0ffcc1'],
    ['MOVQ [RBX], MM0', '0f7f03'],
    ['CVTPI2PD XMM0, MM1', '660f2ac1'],
  ])
    for (const {status, tags, vector} of after(`${twice} ${hex}`)) {
      t.equal(vector, 3, name)
      t.equal(status & 0x3800, 0, `${name}: TOP 0`)
      t.equal(tags & 0xc000, 0, `${name}: R7 still valid`)
      t.not(tags & 3, 3, `${name}: R0 in use`)
    }
})

t.test('a write fills sign and exponent', async t => {
  // PCMPEQB MM0, MM0: all ones, and the tag says special.
  for (const {tags, significand} of after('0f74c0')) {
    t.equal(tags & 3, 2)
    t.equal(significand, 0xffffffffffffffffn)
  }
})

t.test('conversions from memory leave the unit alone', async t => {
  // CVTPI2PD XMM0, [RBX]; CVTPI2PS XMM0, [RBX]
  for (const hex of ['660f2a03', '0f2a03'])
    for (const {status, tags} of after(`${twice} ${hex}`)) {
      t.equal(status & 0x3800, 0x3000)
      t.equal(tags, 0x0fff)
    }
})

t.test('a pending x87 exception comes before the access to memory', async t => {
  // PADDB MM0, [RSI]; MOVQ [RSI], MM0; MASKMOVQ MM0, MM1
  for (const hex of ['0ffc06', '0f7f06', '0ff7c1'])
    for (const {vector} of after(`${pending} ${hex}`)) t.equal(vector, 16, hex)
  // CVTPI2PD XMM0, [RSI]
  for (const {vector} of after(`${pending} 660f2a06`)) t.equal(vector, 14)
})

t.test('an instruction that faults does not turn the unit', async t => {
  // PADDB MM0, [RSI]; MOVQ [RSI], MM0
  for (const hex of ['0ffc06', '0f7f06'])
    for (const {vector, inUse} of after(`${twice} ${hex}`)) {
      t.equal(vector, 14)
      t.equal(inUse, 0xc0)
    }
})
