/**
 * Disassembler and assembler against GNU objdump, over instructions of all forms: the text is objdump's, and the text assembled again is an
 * instruction with the same text.
 */
import t, {type Test} from 'tap'
import {offered} from '../../../lib/x86/cpuid.js'
import {disassemble} from '../../../lib/x86/decode/disassemble.js'
import {createAssembler} from '../../../lib/x86/decode/encode.js'
import {opcodeMap} from '../../../lib/x86/decode/opcode-map.js'
import {decode} from '../../../lib/x86/instruction-set.js'
import {instructions} from '../../../lib/x86/semantics/index.js'
import {objdumpRows, withoutIdleParts} from './objdump.js'

const rows = objdumpRows()
const assemble = createAssembler(instructions, offered)

/** The first instruction of the bytes, which are all of it. */
function textOf(bytes: Uint8Array, rip: number, bits: 64 | 32): string {
  const decoded = decode(Buffer.concat([bytes, Buffer.alloc(15)]), 0, rip, bits)
  if (typeof decoded === 'string') return decoded
  return disassemble(decoded, rip) + (decoded.length === bytes.length ? '' : ` (${decoded.length} bytes)`)
}

/** Mnemonics of undocumented instructions that processors have all the same. */
const unknownToObjdump = ['FCOM2', 'FCOMP3', 'FCOMP5', 'FSTP1', 'FSTP8', 'FSTP9', 'FXCH4', 'FXCH7', 'SALC']

/** Few of many differences are enough to read. */
function sameForAll(t: Test, what: string, differences: readonly string[]): void {
  t.strictSame(differences.slice(0, 20), [], `${differences.length} of ${rows.length} ${what}`)
}

t.test("texts are objdump's", async t => {
  const differences: string[] = []
  for (const {bits, bytes, rip, text} of rows) {
    const actual = textOf(bytes, rip, bits)
    // Objdump does not cut the sum of EIP and a displacement to 32 bits.
    const compared = (it: string) => it.replace(/(\[eip.*?) +#.*/, '$1')
    if (compared(actual) !== compared(withoutIdleParts(text)))
      differences.push(`${bits} ${bytes.toString('hex')}: "${text}", not "${actual}"`)
  }
  sameForAll(t, 'texts differ', differences)
})

t.test('assembled again, they are the same instructions', async t => {
  const differences: string[] = []
  // Where the code became shorter, the target of a RIP-relative operand moves along.
  const withoutTarget = (text: string) => text.replace(/ +#.*/, '')
  for (const {bits, bytes, rip} of rows) {
    const text = textOf(bytes, rip, bits)
    const again = assemble(text, {bits, rip})
    const actual = textOf(again, rip, bits)
    if (withoutTarget(actual) !== withoutTarget(text) || again.length > bytes.length)
      differences.push(`${bits} ${bytes.toString('hex')} "${text}": ${Buffer.from(again).toString('hex')} "${actual}"`)
  }
  sameForAll(t, 'texts change', differences)
})

t.test('no form is left out', async t => {
  const seen = new Set<unknown>()
  for (const {bits, bytes, rip} of rows) {
    const decoded = decode(Buffer.concat([bytes, Buffer.alloc(15)]), 0, rip, bits)
    if (typeof decoded !== 'string') seen.add(decoded.form)
  }
  const all = new Set(opcodeMap(instructions, offered).tables.flat(2))
  const missing = [...all].filter(({form}) => !seen.has(form))
  t.strictSame(missing.map(({instruction}) => instruction.mnemonic).sort(), unknownToObjdump)
})
