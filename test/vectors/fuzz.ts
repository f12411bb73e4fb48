/**
 * Fresh vectors from this machine's processor, compared in both tiers: `npm run fuzz:isa -- [options] [family …]`.
 *
 *   --seed N        seed of the inputs and of the choice of operands; default: the time, printed so that a run can be repeated
 *   --rounds N      how many times, each with another seed (default 1)
 *   --form TEXT     only forms whose name matches this regular expression
 *   --tier NAME     interpreter, baseline or optimized; default all
 *   --stored        no new vectors: the ones in the repository
 */
import {parseArgs} from 'node:util'
import {checkVectors, reportFindings, type Tier} from '../support/vector-check.js'
import {groupsOf, readVectorFile} from '../support/vectors.js'
import {families} from './families/index.js'
import {decodeFile, encodeFile, type VectorFile} from './file.js'
import {Generator} from './generator.js'
import {canMapLowPages, canRunNatively, runNatively, thisProcessor} from './native.js'

const allTiers: readonly Tier[] = ['interpreter', 'baseline', 'optimized']

const {values, positionals} = readWords()
for (const name of positionals)
  oneOf(
    'family',
    name,
    families.map(family => family.name),
  )
const chosen = families.filter(({name}) => positionals.length === 0 || positionals.includes(name))
const tiers = values.tier === undefined ? allTiers : [oneOf('tier', values.tier, allTiers)]
const pattern = new RegExp(values.form)
const firstSeed = values.seed === undefined ? Date.now() & 0x7fffffff : wholeNumber('seed', values.seed)
const rounds = wholeNumber('rounds', values.rounds)

if (!values.stored && !canRunNatively()) {
  refuse('cannot make vectors here: needs x86-64 Linux and gcc', '--stored compares the vectors in the repository')
}

let failed = 0
for (let round = 0; round < (values.stored ? 1 : rounds); round++) {
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

function readWords() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        seed: {type: 'string'},
        rounds: {type: 'string', default: '1'},
        form: {type: 'string', default: ''},
        tier: {type: 'string'},
        stored: {type: 'boolean', default: false},
      },
    })
  } catch (error) {
    return refuse((error as Error).message, 'options are --seed N, --rounds N, --form TEXT, --tier NAME and --stored')
  }
}

function oneOf<Name extends string>(what: string, name: string, names: readonly Name[]): Name {
  return (
    names.find(other => other === name) ?? refuse(`there is no ${what} "${name}"`, `it is one of ${names.join(', ')}`)
  )
}

function wholeNumber(option: string, text: string): number {
  return /^\d+$/.test(text) ? Number(text) : refuse(`--${option} takes a whole number, not "${text}"`, 'such as 3')
}

function refuse(why: string, hint: string): never {
  process.stderr.write(`fuzz:isa: ${why}\nhint: ${hint}\n`)
  process.exit(2)
}
