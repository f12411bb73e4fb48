/** The manual says what the program does: every command, option and key is in it, and none that does not exist. */
import {spawnSync} from 'node:child_process'
import {readdirSync, readFileSync} from 'node:fs'
import {fileURLToPath} from 'node:url'
import t from 'tap'
import {commandNames, loadCommand} from '../../lib/cli/commands/index.js'
import {configKeys} from '../../lib/toolstack/config-keys.js'

const folder = fileURLToPath(new URL('../../../man/', import.meta.url))

/** The source of a page with its escapes undone. */
function page(name: string): string {
  return readFileSync(folder + name, 'utf8')
    .replaceAll('\\-', '-')
    .replaceAll('\\(dq', '"')
    .replaceAll('\\e', '\\')
}

/** The part of a page under each `.SS` of `.SH COMMANDS`. */
function commandSections(): Map<string, string> {
  const commands = page('xl.1').split('.SH COMMANDS\n')[1].split('\n.SH ')[0]
  return new Map(
    commands
      .split('.SS ')
      .slice(1)
      .map(text => [text.split('\n')[0], text]),
  )
}

t.test('xl(1) has every command and option, and no other', async t => {
  const sections = commandSections()
  t.strictSame([...sections.keys()], commandNames)
  for (const name of commandNames) {
    const {usage, summary, options} = await loadCommand(name)
    const section = sections.get(name)!
    t.ok(section.includes(`.B xl ${name}\n${usage === '' ? '' : `${usage}\n`}`), `the usage of ${name}`)
    t.ok(section.includes(`\n${summary}.\n`), `the summary of ${name}`)
    const written = [...section.matchAll(/^\.TP\n\.B (-.*)\n(.*)\.$/gm)].map(match => [match[1], match[2]])
    t.strictSame(written, options, `the options of ${name}`)
  }
})

t.test('xl.cfg(5) has every key where it belongs, and no other', async t => {
  const headings = {used: 'KEYS WITH EFFECT', refused: 'KEYS THAT ARE REFUSED', accepted: 'KEYS WITHOUT EFFECT'}
  for (const [effect, heading] of Object.entries(headings)) {
    const section = page('xl.cfg.5').split(`.SH ${heading}\n`)[1].split('\n.SH ')[0]
    const [described, named = ''] = section.split('.SS Other keys')
    const rows = [...configKeys].filter(([, row]) => row.effect === effect)
    t.strictSame(
      [...described.matchAll(/^\.TP\n\.BI (\S+) " = (.*)"\n(.*)$/gm)].map(match => match.slice(1)),
      rows.filter(([, row]) => row.summary !== '').map(([key, row]) => [key, row.value, row.summary]),
      heading,
    )
    t.strictSame(
      [...named.matchAll(/^\.BR (\S+)/gm)].map(match => match[1]),
      rows.filter(([, row]) => row.summary === '').map(([key]) => key),
    )
  }
})

t.test('the pages are sound roff', {skip: spawnSync('groff', ['--version']).error && 'no groff'}, async t => {
  for (const name of readdirSync(folder)) {
    const {status, stdout, stderr} = spawnSync('groff', ['-man', '-ww', '-z', folder + name], {encoding: 'utf8'})
    t.strictSame({status, stdout, stderr}, {status: 0, stdout: '', stderr: ''}, name)
  }
})
