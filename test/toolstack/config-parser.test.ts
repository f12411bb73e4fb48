/** The grammar of xl.cfg: what a text means, and where its mistakes are. */
import t from 'tap'
import {parseConfig, parseOverride, strtol} from '../../lib/toolstack/config-parser.js'
import {ConfigError, type ConfigValue, type Settings} from '../../lib/toolstack/config-text.js'

function plain(value: ConfigValue): unknown {
  return value.kind === 'list' ? value.items.map(plain) : value.value
}

function read(settings: Settings): Record<string, unknown> {
  return Object.fromEntries([...settings].map(([key, setting]) => [key, plain(setting.value)]))
}

function parse(text: string): Record<string, unknown> {
  return read(parseConfig({name: 'web1.cfg', text}))
}

function mistake(text: string): ConfigError {
  try {
    parse(text)
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
  throw new Error(`no mistake was found in ${text}`)
}

const meanings: [text: string, meaning: Record<string, unknown>][] = [
  ['', {}],
  ['\n\n;;\n', {}],
  ['# only a comment', {}],
  ['name = "web1"', {name: 'web1'}],
  ["name='web1'; memory=256", {name: 'web1', memory: 256}],
  ['memory = 256 # MiB', {memory: 256}],
  ['memory=0x100', {memory: 256}],
  ['memory=0400', {memory: 256}],
  ['memory=0', {memory: 0}],
  ['a.b_9 = 1', {'a.b_9': 1}],
  ['disk = []', {disk: []}],
  ['disk = [ "a", \'b\', ]', {disk: ['a', 'b']}],
  ['disk = [\n  "a", # first\n\n  "b"\n]\nx = 1', {disk: ['a', 'b'], x: 1}],
  ['v = [ [ 1, 2 ], [ "x" ] ]', {v: [[1, 2], ['x']]}],
  ['s = "a\\"b\\\\c\\x41\\101\\n"', {s: 'a"b\\cAA\n'}],
  ['s = "#no comment"', {s: '#no comment'}],
  ['x = 1\nx = 2', {x: 2}],
  ['x = "a"\nx += "b"', {x: 'ab'}],
  ['x = [ "a" ]\nx += [ "b", "c" ]', {x: ['a', 'b', 'c']}],
  ['x += [ "b" ]', {x: ['b']}],
  ['x = 1\r\ny = 2\r\n', {x: 1, y: 2}],
]
for (const [text, meaning] of meanings) t.strictSame(parse(text), meaning, JSON.stringify(text))

const mistakes: [text: string, place: string, says: string, hint?: string][] = [
  [
    'memory = true',
    'web1.cfg:1:10',
    'expected a string, a number or "[", found the name "true"',
    'booleans are 1 and 0',
  ],
  ['x = 1\nmemory = -5', 'web1.cfg:2:10', 'unexpected "-"', 'quote it'],
  ['memory 256', 'web1.cfg:1:8', 'expected "=" after the key "memory", found the number "256"'],
  ['memory = ', 'web1.cfg:1:10', 'found the end of the file'],
  ['memory = \nname = "x"', 'web1.cfg:1:10', 'found the end of the line'],
  ['Name = "x"', 'web1.cfg:1:1', 'unexpected "N"', 'lower case'],
  ['name = "x', 'web1.cfg:1:8', 'this string is not closed'],
  ["name = 'x\n'", 'web1.cfg:1:8', 'this string is not closed'],
  ['import os (', 'web1.cfg:1:8', 'expected "="'],
  ['x = os.getenv("A")', 'web1.cfg:1:5', 'found the name "os.getenv"', 'quote it'],
  ['x = ("a")', 'web1.cfg:1:5', 'unexpected "("', 'looks like Python'],
  ['disk = [ "a" "b" ]', 'web1.cfg:1:14', 'expected "," or "]" in the list, found the string'],
  ['disk = [ "a",\n', 'web1.cfg:1:8', 'this list is not closed', 'add "]"'],
  ['x = 1 2', 'web1.cfg:1:7', 'expected the end of the line after the value'],
  ['x = 1\nx += 2', 'web1.cfg:2:1', '"x" is a number and cannot take a number with "+="'],
  ['= 3', 'web1.cfg:1:1', 'expected a key, found "="'],
  ['x = 09', 'web1.cfg:1:5', '"09" is not a number'],
  ['x = "\\q"', 'web1.cfg:1:6', 'unknown escape "\\q"'],
  ['x = "a"\n\n  ä = 1', 'web1.cfg:3:3', 'unexpected "ä"'],
]
for (const [text, place, says, hint] of mistakes) {
  const error = mistake(text)
  t.ok(error.message.startsWith(`${place}: `), `${JSON.stringify(text)} is wrong at ${place}: ${error.message}`)
  t.match(error.message, says)
  t.equal(error.exitCode, 1)
  if (hint !== undefined) t.match(error.hint, hint)
}

t.equal(
  mistake('a = 1\n\tdisk = [ "x", y ]\n').message,
  [
    'web1.cfg:2:16: expected a string, a number or "[", found the name "y"',
    '     2 | \tdisk = [ "x", y ]',
    '       | \t              ^',
  ].join('\n'),
  'the excerpt keeps tabs, so the caret is under the mistake',
)
t.match(mistake(`x = "${'a'.repeat(500)}" y`).message, /\n {7}\| +\^$/, 'a long line is cut round its mistake')

for (const [text, value] of [
  ['0', 0],
  ['10', 10],
  ['0x1f', 31],
  ['010', 8],
  ['-3600', -3600],
  ['08', undefined],
  ['1a', undefined],
  ['', undefined],
] as const) {
  t.equal(strtol(text), value, `strtol ${JSON.stringify(text)}`)
}

const overrides: [text: string, key: string, value: unknown][] = [
  ['name="web2"', 'name', 'web2'],
  ['name=web2', 'name', 'web2'],
  ['extra=console=hvc0 quiet', 'extra', 'console=hvc0 quiet'],
  ['memory=128', 'memory', 128],
  ['memory=0x80', 'memory', 128],
  ['memory=-5', 'memory', '-5'],
  ['disk=["a"]', 'disk', ['a']],
  ['x=1G', 'x', '1G'],
]
for (const [text, key, value] of overrides) {
  t.strictSame(read(parseOverride(text, new Map()))[key], value, `override ${text}`)
}
t.throws(() => parseOverride('disk=[', new Map()), {message: /^command line:1:6: this list is not closed/})
