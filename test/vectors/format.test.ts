/**
 * The stored vectors can be read: inputs are those of the writer, every byte of a file is used, and the set is as large and as
 * small as promised. What the CPU makes of them is test/x86/vectors-interpreter.test.ts and its sibling.
 */
import {readdirSync, statSync} from 'node:fs'
import t from 'tap'
import {differences, groupsOf, readVectorFile, vectorFamilies} from '../support/vectors.js'
import {families} from './families/index.js'
import {hashInputs} from './file.js'
import {stateBytes, VectorState} from './state.js'

const dataDirectory = new URL('../../../test/vectors/data/', import.meta.url)

t.test('every family has a file and every file a family', async t => {
  t.same(vectorFamilies(), families.map(family => family.name).sort())
})

let total = 0
for (const family of vectorFamilies()) {
  t.test(`${family}: inputs and changes read back`, async t => {
    const file = readVectorFile(family)
    t.equal(hashInputs(file.groups), file.header.inputHash, 'the generator still makes the inputs of the writer')
    let cases = 0
    let ended = 0
    for (const group of groupsOf(file)) {
      for (const {output} of group.cases()) {
        cases++
        if (output.vector < 0) ended++
      }
    }
    t.equal(cases, file.header.cases)
    t.ok(ended > cases / 10, 'code runs to its end')
    t.ok(file.header.processor.features.includes('lm'), 'the processor is described')
    total += cases
  })
}

t.test('size of the set', async t => {
  const bytes = readdirSync(dataDirectory).reduce((sum, name) => sum + statSync(new URL(name, dataDirectory)).size, 0)
  t.ok(bytes < 10 << 20, `${bytes} bytes`)
  t.ok(total >= 200_000, `${total} cases`)
})

t.test('comparison masks by name', async t => {
  const [group] = groupsOf(readVectorFile('integer-alu'))
  const left = new VectorState()
  const right = new VectorState(new ArrayBuffer(stateBytes))
  left.rflags = 0x212
  right.rflags = 0x203
  const named = (undefinedFlags: string[], ignored: string[] = []) => ({
    ...group,
    form: {name: 'x', undefinedFlags, ignored},
  })
  t.same(differences(named(['AF']), left, right).length, 1, 'CF still counts')
  t.same(differences(named(['AF', 'CF']), left, right), [])
  right.rflags = 0x212
  right.view.setUint16(194, 0x4000, true)
  t.same(differences(named([]), left, right).length, 1)
  t.same(differences(named([], ['C3']), left, right), [])
  right.view.setUint16(194, 0, true)
  left.view.setBigUint64(224, 0x8000000000000000n, true)
  left.view.setUint16(232, 0x3fff, true)
  right.view.setBigUint64(224, 0xffffffffffffffffn, true)
  right.view.setUint16(232, 0x3ffe, true)
  t.same(differences(named([], ['last place']), left, right), [], 'neighbours across a binade')
  right.view.setBigUint64(224, 0xfffffffffffffffen, true)
  t.not(differences(named([], ['last place']), left, right).length, 0)
  right.fxsave.set(left.fxsave)
  right.data[13] = 1
  t.same(differences(named([], ['data 12-13']), left, right), [])
  t.same(differences(named([], ['data 14-20']), left, right), ['data+12 is 0x00000100, expected 0x00000000'])
})
