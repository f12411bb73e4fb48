/**
 * The list of families: every instruction the processor knows.
 */
import {aesInstructions} from './aes.js'
import {bits} from './bits.js'
import {controlFlow} from './control-flow.js'
import type {Instruction} from './instruction.js'
import {integerAlu} from './integer-alu.js'
import {mmx} from './mmx.js'
import {moves} from './moves.js'
import {multiplyDivide} from './multiply-divide.js'
import {polynomials} from './polynomials.js'
import {shaExtensions} from './sha.js'
import {shifts} from './shifts.js'
import {sseArithmetic} from './sse-arithmetic.js'
import {sseConversions} from './sse-convert.js'
import {sseInteger} from './sse-integer.js'
import {sseMoves} from './sse-moves.js'
import {sse4} from './sse4.js'
import {ssse3} from './ssse3.js'
import {stringCompares} from './string-compare.js'
import {strings} from './strings.js'
import {system} from './system.js'
import {x87Instructions} from './x87.js'

export const instructions: Instruction[] = [
  ...moves,
  ...integerAlu,
  ...multiplyDivide,
  ...shifts,
  ...bits,
  ...controlFlow,
  ...strings,
  ...system,
  ...x87Instructions,
  ...sseMoves,
  ...sseInteger,
  ...sseArithmetic,
  ...sseConversions,
  ...ssse3,
  ...sse4,
  ...mmx,
  ...shaExtensions,
  ...aesInstructions,
  ...polynomials,
  ...stringCompares,
]
