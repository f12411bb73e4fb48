/**
 * One `instruction()` per mnemonic: encodings and meaning together. Everything else (opcode map, decoder, interpreter, translator,
 * disassembler, test assembler) is derived from these objects.
 *
 * A form's encoding is written as in the manual: `'01 /r'`, `'81 /0'`, `'0F AF /r'`, `'66 0F EF /r'`, `'F3 0F 10 /r'`, `'50+r'`, `'VEX.NDS.LZ.0F38.W F2 /r'`.
 * A mandatory prefix stands first: NP (none), 66, F3, F2; an encoding without one takes 66/F2/F3 as operand-size or REP prefixes.
 * Operands use the manual's letters (appendix A.2): E G M R I J O Z X Y B V W U P Q N S C D and a size letter
 *
 *   b 8 bits            w 16              v operand size 16/32/64     z 16/32 (immediates: sign-extended to v)
 *   d 32                q 64              y 32 or 64                  x 128       ss sd: V W U read or write 32 or 64 bits of XMM
 *   bs  8-bit immediate sign-extended to the operand size              o 64 or 128        a t p m  memory of a size the slow path knows
 *
 * or fixed registers: AL rAX CL DX rDX ES … GS XMM0 ST, the x87 register STi of ModRM.rm, or the constant 1.
 *
 * Assemblers call an instruction by its mnemonic, up to the first space, or by a name that the form gives for a size or an immediate.
 * Source: SDM vol. 2A 3.1.1, vol. 2D appendix A.
 */
import type {Builder, Operand} from '../ir/builder.js'

export interface FormOptions {
  /** Legal with a LOCK prefix when the destination is memory. */
  readonly lock?: boolean
  /** Operand size in 64-bit mode is 64 without REX.W ('default') or always ('forced'). */
  readonly size64?: 'default' | 'forced'
  /** Encodable only in 64-bit code ('only') or never there ('no'). */
  readonly long?: 'only' | 'no'
  /** CPUID feature that must be offered, else #UD. */
  readonly feature?: string
  /** Fixed operand size in bits, whatever the prefixes say. */
  readonly operandBits?: number
  /** The immediate is a shift count: a masked count of 0 is a variant of its own. */
  readonly shiftCount?: boolean
  /** The REP prefixes mean something. */
  readonly rep?: boolean
  /** Registers are used at the address size though no operand says so. */
  readonly usesAddress?: boolean
  /** Names instead of the mnemonic, for operands of 16, 32 and 64 bits. */
  readonly names?: readonly [string, string, string]
  /** Names instead of the mnemonic, for addresses of 16, 32 and 64 bits. */
  readonly addressNames?: readonly [string, string, string]
  /** Names for values of the immediate, which is not written then. */
  readonly immediateNames?: Readonly<Record<number, string>>
}

export interface Form {
  readonly encoding: string
  readonly operands: readonly string[]
  readonly options: FormOptions
}

export interface Instruction {
  readonly mnemonic: string
  readonly source: string
  readonly forms: readonly Form[]
  /** Status flags the manual leaves undefined, by name. */
  readonly undefinedFlags: readonly string[]
  execute(s: Builder, ...operands: Operand[]): void
}

export function form(encoding: string, ...rest: (string | FormOptions)[]): Form {
  const last = rest.at(-1)
  const options = typeof last === 'object' ? last : {}
  return {encoding, operands: rest.filter(entry => typeof entry === 'string'), options}
}

export function instruction(
  mnemonic: string,
  description: {
    source: string
    forms: Form[]
    undefinedFlags?: string[]
    execute(s: Builder, ...operands: Operand[]): void
  },
): Instruction {
  return {mnemonic, undefinedFlags: [], ...description}
}
