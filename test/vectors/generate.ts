/**
 * Makes the stored test vectors anew on the processor of this machine: `node dist/test/vectors/generate.js [family …]`.
 * The seed is fixed: the same machine makes the same files.
 */
import {writeFileSync} from 'node:fs'
import {families} from './families/index.js'
import {encodeFile} from './file.js'
import {Generator} from './generator.js'
import {canMapLowPages, runNatively, thisProcessor} from './native.js'

const fileSeed = 20260801
const wanted = process.argv.slice(2)

for (const family of families) {
  if (wanted.length > 0 && !wanted.includes(family.name)) continue
  const generator = new Generator(fileSeed, family.density, canMapLowPages())
  family.generate(generator)
  const outputs = runNatively(generator.groups)
  const file = encodeFile(family.name, thisProcessor(), fileSeed, generator.groups, outputs)
  writeFileSync(new URL(`../../../test/vectors/data/${family.name}.br`, import.meta.url), file)
  const cases = generator.groups.reduce((sum, group) => sum + group.count, 0)
  process.stdout.write(`${family.name}: ${generator.groups.length} groups, ${cases} cases, ${file.length} bytes\n`)
}
