/**
 * What the translator emits for a handful of instructions, as text in expect/: a change in it is read as a diff. After a wanted change:
 *
 *   npx tsc -p . && GASTWIRT_GOLDEN=write node dist/test/x86/jit/golden.test.js
 *
 * writes the files anew. Shown is the whole function of a region; behind each snippet stands a jump to another page.
 */
import {readFileSync, writeFileSync} from 'node:fs'
import t, {type Test} from 'tap'
import {printModule} from '../../../lib/wasm/print.js'
import {callableNames} from '../../../lib/x86/callable.js'
import {RegionTranslator} from '../../../lib/x86/jit/translator.js'
import {linearMemory} from '../../../lib/x86/memory.js'
import {slowPathNames} from '../../../lib/x86/slow/index.js'

const folder = new URL('../../../../test/x86/jit/expect/', import.meta.url)
const page = 0x8000
/** JMP to two pages further on. */
/** Every place counts as one that has run. */
const met = [...Array(4096).keys()]
const away = 'e900200000'

/** Name of the file → instructions, and their bytes in hex. */
const snippets: Record<string, [text: string, hex: string]> = {
  loop: ['top: ADD RAX, RCX; DEC RDX; JNE top', '4801c8 48ffca 75f8'],
  load: ['MOV EAX, [RDI + RSI * 4 + 8]', '8b44b708'],
  store: ['MOV [RDI + 8], RAX', '48894708'],
  'read-modify-write': ['ADD dword [RBX], 1', '830301'],
  locked: ['LOCK CMPXCHG [RBX], ECX', 'f00fb10b'],
  'byte-registers': ['MOV AH, BL; ADD CL, AH', '88dc 00e1'],
  conditions: ['CMP EAX, ECX; SETL AL; CMOVA RBX, RDX', '39c8 0f9cc0 480f47da'],
  stack: ['PUSH RBP; POP RBP', '55 5d'],
  vector: ['PADDD XMM0, XMM1; PSHUFD XMM2, [RAX], 0x1b', '660ffec1 660f70101b'],
  sha256: ['SHA256RNDS2 XMM1, XMM2', '0f38cbca'],
  return: ['RET', 'c3'],
  'slow-path': ['CPUID', '0fa2'],
}

/** The text of the translation of a snippet at 0x401000, in user mode. */
function translation(t: Test, text: string, hex: string): string {
  const memory = linearMemory(new WebAssembly.Memory({initial: 1, maximum: 1, shared: true}))
  memory.bytes.set(Buffer.from(hex.replaceAll(' ', '') + away, 'hex'), page)
  const translator = new RegionTranslator(memory, {start: 0x9000, end: 0xa000})
  const job = {epoch: 0, ticket: 0, page, mode: 64 | 1, ripLow: 0x401000, ripHigh: 0, met, optimize: true, taken: 0}
  const {bytes} = translator.translate([job])
  t.ok(WebAssembly.validate(bytes), `${text} is a valid module`)
  const [, body] = printModule(bytes, callableNames).split('\n\n')
  const named = body.replace(/(call system\(\w+, )(\d+)/, (_, call, number) => call + slowPathNames[number])
  return `# ${text}\n# ${hex}\n${named}`
}

for (const [name, [text, hex]] of Object.entries(snippets)) {
  t.test(name, async t => {
    const file = new URL(`${name}.txt`, folder)
    const actual = translation(t, text, hex)
    if (process.env.GASTWIRT_GOLDEN === 'write') writeFileSync(file, actual)
    t.equal(actual, readFileSync(file, 'utf8'))
  })
}
