/**
 * What GNU objdump prints for instructions, kept in data/objdump.br (write-objdump.ts writes it), and where our text differs from it.
 *
 * The file is brotli over lines: bits of the code, bytes in hex, text. The instructions stand one after the other, `slotBytes` apart, from
 * `firstAddress` on, 64-bit code where kernels lie.
 */
import {readFileSync} from 'node:fs'
import {brotliDecompressSync} from 'node:zlib'

export const dataFile = new URL('../../../../test/x86/decode/data/objdump.br', import.meta.url)
export const slotBytes = 32
/** Signed, as the decoder takes it. */
export const firstAddress = {64: -0x7f000000, 32: 0x400000} as const

export interface Row {
  readonly bits: 64 | 32
  readonly bytes: Buffer
  readonly rip: number
  readonly text: string
}

/** All rows of the file. */
export function objdumpRows(): Row[] {
  const places = {64: firstAddress[64] as number, 32: firstAddress[32] as number}
  const lines = brotliDecompressSync(readFileSync(dataFile)).toString().trim().split('\n')
  return lines.map(line => {
    const [, size, hex, text] = /^(\d\d) (\w+) (.*)$/.exec(line)!
    const bits = size === '64' ? 64 : 32
    const rip = places[bits]
    places[bits] += slotBytes
    return {bits, bytes: Buffer.from(hex, 'hex'), rip, text}
  })
}

/** A prefix that changes nothing, which we leave out: REX bits, sizes, segments, hints, and repetition of what is not repeated. */
const idlePrefix = new RegExp(
  '^((?:lock |repn?z |rep )*?)(?:rex(?:\\.[WRXB]+)?|data16|addr(?:16|32)(?! *(?:loop|mask))|[cdefgs]s|bnd|notrack|xacquire|xrelease|' +
    'repn?z(?! *(?:cmps|scas|movs|lods|stos|ins|outs) )) +(?=\\S)',
)

/** Objdump's text without what we do not write: idle prefixes, RIZ or EIZ for an index that is none, and remarks on old processors. */
export function withoutIdleParts(text: string): string {
  let kept = text.replace(/\+[re]iz\*\d|\(\d+ only\)/, '')
  while (idlePrefix.test(kept)) kept = kept.replace(idlePrefix, '$1')
  return kept === text ? text : kept.replace(/^((?:lock |repn?z |rep )?\S+) +/, (_, name) => `${name.padEnd(6)} `)
}

/** Where objdump's view of an encoding is not ours: such rows are not kept. */
const otherViews: [why: string, bits: 64 | 32 | undefined, text: RegExp][] = [
  ['it knows no instruction or no such register', undefined, /\(bad\)|\?|^(rex\S*|data16|lock|repn?z|[cdefgs]s)$/],
  ['an index that is none, and no base', undefined, /\[[re]iz/],
  ['66 90 is a NOP to us', undefined, /^xchg +ax,ax$/],
  ['the source of MOVSXD with 66 has 16 bits', 64, /movsxd +(\w\w|r\d+w),/],
  ['it names PCLMULQDQ by more than the two bits that count', undefined, /pclmul[lh]q[lh]qdq/],
  ['features not offered are NOPs', undefined, /\b(rdssp[dq]|bnd\w*|notrack|cldemote)\b/],
  ['near branches with 66 in 64-bit code: makers of processors differ', 64, /^(retw|(jmp|call) +WORD)/],
  ['with REX.W a far pointer has 64 bits of offset', 64, /^rex\S* (jmp|call) +FWORD/],
  ['short branches with 66 stay in the first 64 KiB', 32, /^data16 (j|loop)/],
  ['it names sizes only outside of 64-bit code', 32, /[sl][gi]dt[dw]/],
  ['it names sizes only in 64-bit code', 32, /sysret|sysexit/],
]

/** True when text and bytes make a row. */
export const isKept = (bits: 64 | 32, text: string): boolean =>
  !otherViews.some(([, only, pattern]) => (only === undefined || only === bits) && pattern.test(text))
