/** Words sorted without commander come out as commander sorts them. */
import t from 'tap'
import {commandNames, loadCommand} from '../../lib/cli/commands/index.js'
import {sortByRules, sortPlainWords} from '../../lib/cli/options.js'

t.test('flags and arguments of every command', async t => {
  for (const name of commandNames) {
    const command = await loadCommand(name)
    const flags = command.options.flatMap(([words]) => words.split(', ').filter(word => /^[^ <]+$/.test(word)))
    const declaredValue = new Set(command.options.filter(([words]) => words.includes('<')).map(([words]) => words[1]))
    const plain = flags.filter(flag => !declaredValue.has(flag[1]) || flag.startsWith('--'))
    for (const words of [
      [],
      ['a', 'key="va lue"', '-'],
      ...plain.map(flag => ['first', flag, 'last']),
      [...plain, 'a', ...plain.slice(0, 1)],
    ]) {
      t.strictSame(sortPlainWords(command, words), await sortByRules(command, words), `${name} ${words.join(' ')}`)
    }
  }
})

t.test('what needs rules is left to commander', async t => {
  const create = await loadCommand('create')
  for (const words of [['-qc'], ['-f', 'file'], ['--defconfig=file'], ['--', '-q'], ['--quux'], ['-Q'], ['--quie']]) {
    t.equal(sortPlainWords(create, words), undefined, words.join(' '))
  }
  t.strictSame(await sortByRules(create, ['-qc', '-f', 'file', 'memory=128']), {
    arguments: ['memory=128'],
    options: {quiet: true, c: true, defconfig: 'file'},
    counts: {quiet: 1, c: 1, defconfig: 1},
  })
})
