/**
 * The assembler for tests: instructions as text, with a semicolon between two of them.
 */
import {offered} from '../../lib/x86/cpuid.js'
import {createAssembler, type Place} from '../../lib/x86/decode/encode.js'
import {instructions} from '../../lib/x86/semantics/index.js'

const assemble = createAssembler(instructions, offered)

/** Their bytes; the first stands at `rip`. */
export function assembled(text: string, {bits = 64, rip = 0}: Place = {}): number[] {
  const code: number[] = []
  for (const instruction of text.split(';')) code.push(...assemble(instruction, {bits, rip: rip + code.length}))
  return code
}
