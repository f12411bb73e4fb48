/**
 * Both tiers agree with a real processor on every stored vector. Which processor, and what is masked: test/vectors/README.md.
 */
import t from 'tap'
import {checkVectors, reportFindings, type Tier} from '../support/vector-check.js'
import {vectorFamilies, vectors} from '../support/vectors.js'

for (const family of vectorFamilies()) {
  for (const tier of ['interpreter', 'translator'] satisfies Tier[]) {
    t.test(`${family}, ${tier}`, async t => {
      const findings = checkVectors(vectors(family), tier)
      t.ok(findings.cases > 0)
      t.equal(findings.mismatches, 0, reportFindings(findings))
    })
  }
}
