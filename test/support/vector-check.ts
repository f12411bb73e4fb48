/**
 * Runs test vectors on our CPU and counts what differs from the real processor.
 */
import {commonHandlers} from '../../lib/x86/handlers.js'
import {VectorMachine} from './vector-machine.js'
import {describeCase, differences, type VectorGroup} from './vectors.js'

/** The two tiers, the translator in both its forms: what makes a machine use it. The interpreter's common handlers are those of a built project. */
export const tiers = {
  interpreter: {
    translateAfter: Number.POSITIVE_INFINITY,
    built: {handlers: new WebAssembly.Module(commonHandlers())},
  },
  baseline: {translateAfter: 1},
  optimized: {translateAfter: 1, optimizesAtOnce: true},
} as const
export type Tier = keyof typeof tiers

/** What a run over many groups found. */
export interface Findings {
  readonly cases: number
  readonly mismatches: number
  /** Forms that failed, with the number of their failing cases. */
  readonly forms: ReadonlyMap<string, number>
  /** The first failing case of each form, in words; at most `examplesKept`. */
  readonly examples: readonly string[]
}

/** A machine keeps the code it made: after so many groups a new one takes over. */
const groupsPerMachine = 500

/** Differences listed per example. */
const differencesShown = 6

/** Compares all cases of the groups that `wanted` accepts. */
export function checkVectors(
  groups: Iterable<VectorGroup>,
  tier: Tier,
  wanted: (name: string) => boolean = () => true,
  examplesKept = 8,
): Findings {
  let machine = new VectorMachine(tiers[tier])
  let groupsRun = 0
  const forms = new Map<string, number>()
  const examples: string[] = []
  let cases = 0
  let mismatches = 0
  for (const group of groups) {
    if (!wanted(group.form.name)) continue
    if (++groupsRun % groupsPerMachine === 0) machine = new VectorMachine(tiers[tier])
    machine.load(group)
    for (const {index, input, output} of group.cases()) {
      cases++
      // The first run of a block is what makes it hot: the translation is there from the second on.
      if (index === 0 && tier !== 'interpreter') machine.run(group, input)
      const actual = machine.run(group, input)
      const wrong = differences(group, output, actual)
      if (wrong.length === 0) continue
      mismatches++
      const form = `${group.form.name} (${group.bits}-bit)`
      const before = forms.get(form) ?? 0
      forms.set(form, before + 1)
      if (before === 0 && examples.length < examplesKept) {
        const expected = output.vector < 0 ? 'no exception' : `exception ${output.vector}`
        examples.push(
          `${describeCase(group, index, input)}\n  ${wrong.slice(0, differencesShown).join('; ')}; expected ${expected}`,
        )
      }
    }
  }
  return {cases, mismatches, forms, examples}
}

/** Findings as text for a person. */
export function reportFindings({cases, mismatches, forms, examples}: Findings): string {
  const list = [...forms].map(([form, count]) => `${form}: ${count}`)
  return [`${mismatches} of ${cases} cases differ, in ${forms.size} forms`, ...examples, ...list].join('\n')
}
