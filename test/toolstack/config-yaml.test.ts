/** YAML configurations give the same values as xl.cfg, and their mistakes have places too. */
import t from 'tap'
import {parseConfig} from '../../lib/toolstack/config-parser.js'
import {checkConfig} from '../../lib/toolstack/config-schema.js'
import type {ConfigValue, Settings} from '../../lib/toolstack/config-text.js'
import {parseYamlConfig} from '../../lib/toolstack/config-yaml.js'
import {parseDisk} from '../../lib/toolstack/disk-spec.js'

function plain(value: ConfigValue): unknown {
  return value.kind === 'list' ? value.items.map(plain) : value.value
}
const read = (settings: Settings): unknown => [...settings].map(([key, {value}]) => [key, plain(value)])
const yaml = (text: string): Settings => parseYamlConfig({name: 'web1.yaml', text})

t.strictSame(
  read(
    yaml(
      'name: web1\nmemory: 256\nlocaltime: true\ndisk:\n  - /a,raw,xvda,w\n  - {target: "/b", vdev: xvdb, access: ro}\n',
    ),
  ),
  read(
    parseConfig({
      name: 'web1.cfg',
      text: 'name="web1"\nmemory=256\nlocaltime=1\ndisk=["/a,raw,xvda,w","vdev=xvdb,access=ro,target=/b"]',
    }),
  ),
)
t.strictSame(read(yaml('')), [])

for (const [text, message] of [
  ['name: [a', /^web1\.yaml:1:\d+: /],
  ['- a\n', /^web1\.yaml:1:1: expected a map of keys/],
  ['memory: {a: 1}', /^web1\.yaml:1:9: expected a string, a number or a list, found a map/],
  ['a: 1\n---\nb: 2\n', /^web1\.yaml:2:1: another document begins here: a configuration is one$/m],
  ['a: 1\nname:\n', /^web1\.yaml:2:\d+: /],
] as const) {
  t.throws(() => yaml(text), {message}, JSON.stringify(text))
}

const check = (text: string) =>
  checkConfig(yaml(`name: a\nkernel: k\n${text}`), {newUuid: () => '', resolvePath: path => path, hostCpus: 1}).config
t.equal(check('localtime: true').localtime, true)
t.throws(() => check('memory: true'), {message: /^web1\.yaml:3:9: "memory" must be a whole number, not true/})

const disk = yaml('disk:\n  - target: /x\n    vdev: xvda\n    format: qcow3\n').get('disk')!.value
t.throws(
  () => disk.kind === 'list' && disk.items[0].kind === 'string' && parseDisk(disk.items[0]),
  {message: /^web1\.yaml:4:13: .*unknown value for format: "qcow3"/},
  'a mistake inside a map is found in its own line',
)
