/**
 * The instructions this processor offers, ready for use: bytes to decoded instruction, decoded instruction to template. Both tiers and both
 * threads (the vCPU's and the translator's) share it.
 */
import {offered} from './cpuid.js'
import {createDecoder} from './decode/decode.js'
import type {DecodedInstruction} from './decode/instruction-record.js'
import {Builder} from './ir/builder.js'
import type {Template} from './ir/op.js'
import {instructions} from './semantics/index.js'
import {slowPathNames} from './slow/index.js'

/** Decodes one instruction; only what CPUID offers is known. */
export const decode = createDecoder(instructions, offered)

/** Templates by variant key: the same for every vCPU. */
const templates: (Template | undefined)[] = []

/** The template of an instruction's variant, recorded on first use. */
export function templateOf(decoded: DecodedInstruction): Template {
  let template = templates[decoded.variantKey]
  if (template === undefined) {
    const builder = new Builder(decoded.variant)
    decoded.instruction.execute(builder, ...decoded.operands)
    template = builder.finish()
    templates[decoded.variantKey] = template
  }
  return template
}

/** The number generated code calls a slow path by. */
export function slowPathNumber(name: string): number {
  const number = slowPathNames.indexOf(name)
  if (number < 0) throw new Error(`bug: no slow path ${name}`)
  return number
}
