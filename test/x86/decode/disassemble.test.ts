/**
 * Disassembler and assembler against GNU objdump, over instructions of all forms: the text is objdump's, and the text assembled again is an
 * instruction with the same text.
 */
import t, {type Test} from 'tap'
import {offered} from '../../../lib/x86/cpuid.js'
import {disassemble} from '../../../lib/x86/decode/disassemble.js'
import {createAssembler} from '../../../lib/x86/decode/encode.js'
import {OpcodeMap} from '../../../lib/x86/decode/opcode-map.js'
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
  const all = new OpcodeMap(instructions, offered).all()
  const missing = [...all].filter(({form}) => !seen.has(form))
  t.strictSame(missing.map(({instruction}) => instruction.mnemonic).sort(), unknownToObjdump)
})

t.test('the assembler takes the shortest form, and knows sizes by registers', async t => {
  for (const [text, hex] of [
    ['add eax,1', '83c001'],
    ['add eax,0x12345678', '0578563412'],
    ['add rax, 0xffffffffffffffff', '4883c0ff'],
    ['mov [rbx + 0x10], al', '884310'],
    ['MOV DWORD [RSP+RCX*4-8], 5', 'c7448cf805000000'],
    ['movabs rdx,-1', '48baffffffffffffffff'],
    ['mov spl,ah', undefined],
    ['mov bpl,sil', '4088f5'],
    ['jmp 0x1010', 'eb0e'],
    ['jmp 0x2000', 'e9fb0f0000'],
    ['shl eax,1', 'd1e0'],
    ['shl eax,0x1', 'c1e001'],
    ['mov ecx,fs:[0x28]', '648b0c2528000000'],
    ['lock inc QWORD PTR [rdi]', 'f048ff07'],
    ['lock inc rdi', undefined],
    ['lock mov [rdi],rax', undefined],
    ['mov [rdi],1', undefined],
    ['mov eax,rbx', undefined],
    ['add eax,0x123456789', undefined],
    ['lea rax,[rbx+rsp*2]', undefined],
    ['mov rax,[rbx*3]', undefined],
    ['mov rax,[rbx+ecx]', undefined],
    ['mov rax,[rax+rbx+rcx]', undefined],
    ['mov rax,[rip+rcx]', undefined],
    ['loop 0x2000', undefined],
    ['nonsense', undefined],
    ['mov eax,nonsense', undefined],
    ['', undefined],
  ] as const) {
    if (hex === undefined) t.throws(() => assemble(text, {rip: 0x1000}), `"${text}"`)
    else t.equal(Buffer.from(assemble(text, {rip: 0x1000})).toString('hex'), hex, text)
  }
})
