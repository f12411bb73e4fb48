/**
 * Reads the tables of instruction forms. One line a form, in the manual's notation:
 *
 *   ADD Ev,Gv | 01 /r | lock undef=AF
 *
 * mnemonic and operands, encoding, options. A line `% options` holds for the lines after it, each line's own options come on top.
 * Operands are the letters of the manual's opcode map: E G M R I J Z V W U P Q N B with a
 * size letter (b w d q x t v y z, o = 512 bytes), anything else is implied by the opcode. The encoding is bytes in hex with
 * NP, 66, F2, F3 first where mandatory, REX.W, `VEX.<prefix>.<map>.<W>`, then /r, /digit, +r. Options:
 *
 *   lock        also with a LOCK prefix, on memory            undef=OF,AF  status flags left undefined
 *   d64         64-bit operands by default in 64-bit code      ignore=NAME  parts of the state not compared (see compare.ts)
 *   only64 only32   modes                                      use=KIND     operands: integer single double extended
 *   sizes=16,32,64  for operands that no letter shows          align=16     memory operands aligned (0: never mind)
 *   mxcsr control   these registers vary                       weight=2     more or fewer cases
 *   same=no     never the same register twice                  ulp          results may be off by one unit in the last place
 *   pin=2:0:32  register 2 holds 0 in its low 32 bits          imm=0-7      range of the immediate byte
 *
 * Source: SDM vol. 2A 3.1.1, vol. 2D appendix A.
 */
import {type ValueKind, Values} from './random.js'

export interface Form {
  /** Mnemonic and operands, as in the table. */
  readonly name: string
  readonly operands: readonly string[]
  readonly opcode: readonly number[]
  readonly mandatory: number | undefined
  readonly plusRegister: boolean
  /** ModRM is there: /r or the digit. */
  readonly modrm: 'r' | number | undefined
  readonly rexW: boolean
  readonly vex: {map: 1 | 2 | 3; prefix: 0 | 1 | 2 | 3; w: 0 | 1 | 'y'} | undefined
  readonly undefinedFlags: readonly string[]
  readonly ignored: readonly string[]
  readonly kind: ValueKind
  readonly option: ReadonlySet<string>
  readonly sizes: readonly number[] | undefined
  readonly align: number | undefined
  readonly weight: number
  readonly pins: readonly (readonly [register: number, value: bigint, width: number])[]
  readonly immediateRange: readonly [number, number] | undefined
}

const vexMaps: Record<string, 1 | 2 | 3> = {'0F': 1, '0F38': 2, '0F3A': 3}
const vexPrefixes: Record<string, 0 | 1 | 2 | 3> = {NP: 0, '66': 1, F3: 2, F2: 3}

/** The forms of a table; empty lines and lines that start with # are skipped. */
export function parseForms(table: string): Form[] {
  const forms: Form[] = []
  let common = ''
  for (const line of table.split('\n').map(text => text.trim())) {
    if (line === '' || line.startsWith('#')) continue
    if (line.startsWith('%')) common = line.slice(1)
    else {
      const [name, encoding, options = ''] = line.split('|')
      forms.push(parseForm(line, name.trim(), (encoding ?? '').trim(), `${common} ${options}`))
    }
  }
  return forms
}

function parseForm(line: string, name: string, encoding: string, options: string): Form {
  if (encoding === '') throw new Error(`no encoding in the form "${line}"`)
  const operands = name.includes(' ') ? name.slice(name.indexOf(' ') + 1).split(',') : []
  let mandatory: number | undefined
  let modrm: 'r' | number | undefined
  let vex: Form['vex']
  let rexW = false
  let plusRegister = false
  const opcode: number[] = []
  const tokens = encoding.split(' ')
  for (const [place, token] of tokens.entries()) {
    if (token === 'NP') continue
    if (token === 'REX.W') rexW = true
    else if (token === '/r') modrm = 'r'
    else if (token === '+r') plusRegister = true
    else if (token.startsWith('/')) modrm = Number(token.slice(1))
    else if (token.startsWith('VEX.')) {
      const [, prefix, map, w] = token.split('.')
      vex = {prefix: vexPrefixes[prefix], map: vexMaps[map], w: w === 'W1' ? 1 : w === 'Wy' ? 'y' : 0}
    } else if (place === 0 && ['66', 'F2', 'F3'].includes(token) && tokens.length > 1)
      mandatory = Number.parseInt(token, 16)
    else if (/^[0-9A-F]{2}$/.test(token)) opcode.push(Number.parseInt(token, 16))
    else throw new Error(`unknown token "${token}" in the form "${line}"`)
  }
  const option = new Set<string>()
  const settings: Record<string, string> = {}
  for (const word of options.split(' ').filter(text => text !== '')) {
    const [key, value] = word.split('=')
    if (value === undefined) option.add(key)
    else settings[key] = value
  }
  if (option.has('ulp')) settings.ignore = settings.ignore ? `${settings.ignore},C1` : 'C1'
  const range = settings.imm?.split('-').map(Number)
  return {
    name,
    operands,
    opcode,
    mandatory,
    plusRegister,
    modrm,
    rexW,
    vex,
    undefinedFlags: settings.undef?.split(',') ?? [],
    ignored: [...(settings.ignore?.split(',') ?? []), ...(option.has('ulp') ? ['last place'] : [])],
    kind: settings.use ? Values[settings.use as keyof typeof Values] : Values.integer,
    option,
    sizes: settings.sizes?.split(',').map(Number),
    align: settings.align === undefined ? undefined : Number(settings.align),
    weight: Number(settings.weight ?? 1),
    pins: (settings.pin?.split(',') ?? []).map(pin => {
      const [register, value, width] = pin.split(':')
      return [Number(register), BigInt(value), Number(width)] as const
    }),
    immediateRange: range && [range[0], range[1] ?? range[0]],
  }
}

const byteCounts: Record<string, number> = {b: 1, w: 2, d: 4, q: 8, x: 16, t: 10, o: 512}

/** Bytes of a memory operand written with size letter `letter` when the operand size is `size` bits. */
export function operandBytes(letter: string, size: number): number {
  if (letter === 'v' || letter === 'y') return size / 8
  if (letter === 'z') return size === 16 ? 2 : 4
  return byteCounts[letter] ?? 8
}
