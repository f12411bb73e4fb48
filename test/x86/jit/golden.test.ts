/**
 * What the translator emits for a handful of instructions, as text in expect/: a change in it is read as a diff. After a wanted change:
 *
 *   npx tsc -p . && GASTWIRT_GOLDEN=write node dist/test/x86/jit/golden.test.js
 *
 * writes the files anew. Shown is the whole function of a region; in front of it the instructions; behind them stands a jump to another page.
 */
import {readFileSync, writeFileSync} from 'node:fs'
import t, {type Test} from 'tap'
import {printModule} from '../../../lib/wasm/print.js'
import {callableNames} from '../../../lib/x86/callable.js'
import {disassemble} from '../../../lib/x86/decode/disassemble.js'
import {decode} from '../../../lib/x86/instruction-set.js'
import {RegionTranslator} from '../../../lib/x86/jit/translator.js'
import {linearMemory} from '../../../lib/x86/memory.js'
import {slowPathNames} from '../../../lib/x86/slow/index.js'
import {assembled} from '../../support/assembler.js'

const folder = new URL('../../../../test/x86/jit/expect/', import.meta.url)
const page = 0x8000
const rip = 0x401000
/** JMP to two pages further on. */
const away = [0xe9, 0, 0x20, 0, 0]
/** Every place counts as one that has run. */
const met = [...Array(4096).keys()]

/** Name of the file → instructions. */
const snippets: Record<string, string> = {
  loop: 'add rax,rcx; dec rdx; jne 0x401000',
  load: 'mov eax,[rdi+rsi*4+8]',
  store: 'mov [rdi+8],rax',
  'read-modify-write': 'add DWORD PTR [rbx],1',
  locked: 'lock cmpxchg [rbx],ecx',
  'byte-registers': 'mov ah,bl; add cl,ah',
  conditions: 'cmp eax,ecx; setl al; cmova rbx,rdx',
  stack: 'push rbp; pop rbp',
  vector: 'paddd xmm0,xmm1; pshufd xmm2,[rax],0x1b',
  sha256: 'sha256rnds2 xmm1,xmm2,xmm0',
  return: 'ret',
  'slow-path': 'cpuid',
}

/** Address, bytes and text of each instruction. */
function listing(code: Buffer): string {
  let text = ''
  for (let at = 0; at < code.length; ) {
    const decoded = decode(Buffer.concat([code, Buffer.alloc(15)]), at, rip + at, 64)
    if (typeof decoded === 'string') throw new Error(`${decoded} at ${at}`)
    const bytes = code.toString('hex', at, at + decoded.length)
    text += `# ${(rip + at).toString(16)}  ${bytes.padEnd(16)} ${disassemble(decoded, rip + at)}\n`
    at += decoded.length
  }
  return text
}

/** The text of the translation of a snippet at `rip`, in user mode. */
function translation(t: Test, text: string): string {
  const memory = linearMemory(new WebAssembly.Memory({initial: 1, maximum: 1, shared: true}))
  const code = Buffer.from(assembled(text, {rip}))
  memory.bytes.set([...code, ...away], page)
  const translator = new RegionTranslator(memory, 0x10000, {start: 0x9000, end: 0xa000})
  const job = {epoch: 0, ticket: 0, page, mode: 64 | 1, ripLow: rip, ripHigh: 0, met, optimize: true, taken: 0}
  const {bytes} = translator.translate([job])
  t.ok(WebAssembly.validate(bytes), `${text} is a valid module`)
  const [, body] = printModule(bytes, callableNames).split('\n\n')
  const named = body.replace(/(call system\(\w+, )(\d+)/, (_, call, number) => call + slowPathNames[number])
  return `${listing(code)}${named}`
}

for (const [name, text] of Object.entries(snippets)) {
  t.test(name, async t => {
    const file = new URL(`${name}.txt`, folder)
    const actual = translation(t, text)
    if (process.env.GASTWIRT_GOLDEN === 'write') writeFileSync(file, actual)
    t.equal(actual, readFileSync(file, 'utf8'))
  })
}
