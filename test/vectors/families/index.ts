/**
 * The families of test vectors: one stored file each.
 */
import type {Density, Generator} from '../generator.js'
import {addressing, controlFlow} from './control-flow.js'
import {faults} from './faults.js'
import {integerAlu} from './integer-alu.js'
import {shiftsAndBits} from './shifts-and-bits.js'
import {sseArithmetic, sseInteger} from './sse.js'
import {system} from './system.js'
import {x87} from './x87.js'

/** One file of vectors: what it covers and how densely. */
export interface Family {
  readonly name: string
  readonly density: Density
  generate(generator: Generator): void
}

export const families: readonly Family[] = [
  integerAlu,
  shiftsAndBits,
  addressing,
  controlFlow,
  sseArithmetic,
  sseInteger,
  x87,
  faults,
  system,
]
