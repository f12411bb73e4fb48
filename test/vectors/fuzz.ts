/**
 * Fresh vectors from this machine's processor, compared in both tiers: `npm run fuzz:isa -- [options] [family …]`.
 *
 *   --seed N        seed of the inputs and of the choice of operands; default: the time, printed so that a run can be repeated
 *   --rounds N      how many times, each with another seed (default 1)
 *   --form TEXT     only forms whose name matches this regular expression
 *   --tier NAME     interpreter or translator; default both
 *   --stored        no new vectors: the ones in the repository
 */
import {parseArgs} from 'node:util'
import {checkVectors, reportFindings, type Tier} from '../support/vector-check.js'
import {groupsOf, readVectorFile} from '../support/vectors.js'
import {families} from './families/index.js'
import {decodeFile, encodeFile, type VectorFile} from './file.js'
import {Generator} from './generator.js'
import {canMapLowPages, canRunNatively, runNatively, thisProcessor} from './native.js'

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    seed: {type: 'string'},
    rounds: {type: 'string', default: '1'},
    form: {type: 'string', default: ''},
    tier: {type: 'string'},
    stored: {type: 'boolean', default: false},
  },
})

const chosen = families.filter(({name}) => positionals.length === 0 || positionals.includes(name))
const tiers: Tier[] = values.tier === undefined ? ['interpreter', 'baseline', 'optimized'] : [values.tier as Tier]
const pattern = new RegExp(values.form)
const firstSeed = values.seed === undefined ? Date.now() & 0x7fffffff : Number(values.seed)

if (!values.stored && !canRunNatively()) {
  process.stderr.write(
    'fuzz:isa: cannot make vectors here: needs x86-64 Linux and gcc\nhint: --stored compares the vectors in the repository\n',
  )
  process.exit(2)
}

let failed = 0
for (let round = 0; round < (values.stored ? 1 : Number(values.rounds)); round++) {
  const seed = firstSeed + round
  if (!values.stored) process.stdout.write(`seed ${seed}\n`)
  for (const family of chosen) {
    const file = values.stored ? readVectorFile(family.name) : freshFile(family, seed)
    for (const tier of tiers) {
      const findings = checkVectors(groupsOf(file), tier, name => pattern.test(name))
      failed += findings.mismatches
      process.stdout.write(`${family.name}, ${tier}: ${reportFindings(findings)}\n`)
    }
  }
}
process.exitCode = failed === 0 ? 0 : 1

function freshFile(family: (typeof families)[number], seed: number): VectorFile {
  const generator = new Generator(seed, family.density, canMapLowPages())
  family.generate(generator)
  return decodeFile(encodeFile(family.name, thisProcessor(), seed, generator.groups, runNatively(generator.groups), 1))
}
