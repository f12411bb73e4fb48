/** The list of common instructions: each is one, and each is of another variant. That their handlers are right, vectors-interpreter.test.ts shows. */
import t from 'tap'
import {commonInstructions} from '../../lib/x86/common-instructions.js'
import {decode} from '../../lib/x86/instruction-set.js'

t.test('every entry is one whole instruction of a variant of its own', async t => {
  const seen = new Map<number, string>()
  for (const hex of commonInstructions) {
    const bytes = Buffer.from(hex, 'hex')
    const decoded = decode(bytes, 0, 0, 64)
    if (typeof decoded === 'string') {
      t.fail(`${hex} is ${decoded}`)
      continue
    }
    if (decoded.length !== bytes.length) t.fail(`${hex} ends after ${decoded.length} bytes`)
    const former = seen.get(decoded.variantKey)
    if (former !== undefined) t.fail(`${hex} is as ${former}`)
    seen.set(decoded.variantKey, hex)
  }
  t.ok(seen.size > 400)
})
