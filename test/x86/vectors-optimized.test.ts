/**
 * The translator's optimized form agrees with a real processor on every stored vector. Which processor, and what is masked: test/vectors/README.md.
 */
import t from 'tap'
import {checkVectors, reportFindings} from '../support/vector-check.js'
import {vectorFamilies, vectors} from '../support/vectors.js'

// Thousands of WebAssembly modules: slow machines need minutes.
t.setTimeout(280_000)

for (const family of vectorFamilies()) {
  t.test(family, async t => {
    const findings = checkVectors(vectors(family), 'optimized')
    t.ok(findings.cases > 0)
    t.equal(findings.mismatches, 0, reportFindings(findings))
  })
}
