/**
 * The families of test vectors: one stored file each.
 */
import type {Density, Generator} from '../generator.js'
import {integerAlu} from './integer-alu.js'

/** One file of vectors: what it covers and how densely. */
export interface Family {
  readonly name: string
  readonly density: Density
  generate(generator: Generator): void
}

export const families: readonly Family[] = [integerAlu]
