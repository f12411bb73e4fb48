/**
 * `xl evacuate`: all domains of a host go to another one and come back, those first that stand still for the shortest time.
 */
import {chmodSync, existsSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import t from 'tap'
import {checkingGuest, isUnbroken} from '../support/checking-guest.js'
import {Shutdown, TinyGuest} from '../support/tiny-guest.js'
import {realXl, TestHost, until} from '../support/xl.js'

t.setTimeout(280_000)

const hosts = {here: new TestHost(realXl), there: new TestHost(realXl)}
const {here, there} = hosts
t.teardown(() => Promise.all([here.close(), there.close()]))
/** What ssh would be: each host by its name. */
const ssh = here.file(
  'ssh',
  `#!/bin/sh
case $1 in
  here) GASTWIRT_HOST=${here.path} ;;
  there) GASTWIRT_HOST=${there.path} ;;
  *) exit 255 ;;
esac
export GASTWIRT_HOST
shift 2
exec env -u NODE_OPTIONS ${process.execPath} ${realXl} "$@"
`,
)
chmodSync(ssh, 0o755)
const guests = {
  busy: {memory: 8, kernel: checkingGuest({pages: 96, sleepMs: 0})},
  large: {memory: 24, kernel: checkingGuest({pages: 1, sleepMs: 1000})},
  small: {memory: 8, kernel: checkingGuest({pages: 1, sleepMs: 1000})},
}
for (const [name, {memory, kernel}] of Object.entries(guests)) {
  const path = here.file(`${name}.kernel`, kernel)
  const config = here.file(`${name}.cfg`, `name = "${name}"\nkernel = "${path}"\nmemory = ${memory}\n`)
  const {status, stderr} = await here.xl(['create', '-q', config])
  if (status !== 0) throw new Error(stderr)
}

const letters = (host: TestHost, name: string) => {
  const path = host.directory.consoleLogPath(name)
  return existsSync(path) ? readFileSync(path, 'latin1') : ''
}
const namesOn = (host: TestHost) =>
  host.directory
    .list()
    .map(({name}) => name)
    .sort()
const names = Object.keys(guests)
/** What each had printed when it left. */
const left: Record<string, string> = {}
const notes = join(here.path, 'evacuated.json')

t.test('they go, the idle and small first', async t => {
  await until(() => names.every(name => letters(here, name).length > 0))
  const {status, stdout, stderr} = await here.xl(['evacuate', '-s', ssh, '-n', '1', 'there'])
  t.equal(status, 0, stderr)
  const lines = stdout.trimEnd().split('\n')
  t.strictSame(
    lines.map(line => line.split(':')[0]),
    ['small', 'large', 'busy'],
  )
  for (const line of lines) t.match(line, /^\w+: \d+ rounds, \d+ pages, [\d.]+ MiB, [\d.]+ s, downtime \d+ ms$/)
  t.strictSame([namesOn(here), namesOn(there)], [[], ['busy', 'large', 'small']])
  t.ok(existsSync(notes))
  for (const name of names) left[name] = letters(here, name)
})

t.test('what has shut down and is kept stays, and is named', async t => {
  const kernel = here.file('kept.kernel', new TinyGuest().shutDown(Shutdown.poweroff).kernel())
  const text = `name = "kept"\nkernel = "${kernel}"\nmemory = 8\non_poweroff = "preserve"\n`
  await here.xl(['create', '-q', '-F', here.file('kept.cfg', text)])
  const outcome = await here.xl(['evacuate', '-s', ssh, 'there'])
  t.match(outcome, {status: 0, stdout: '', stderr: 'kept: stays here, it has shut down (poweroff)\n'})
  t.strictSame(namesOn(here), ['kept'])
  t.equal((await here.xl(['destroy', 'kept'])).status, 0)
})

t.test('one that cannot come back stays where it is, and is still noted', async t => {
  await here.directory.reserve({name: 'large--incoming', uuid: '', maxMemoryKb: 1, vcpus: 1})
  const {status, stdout, stderr} = await here.xl(['evacuate', '-s', ssh, '--return', '--as', 'here', 'there'])
  t.equal(status, 1)
  t.match(stderr, /xl: evacuate: large did not come back \(status 1\)\n/)
  t.strictSame(stdout.trimEnd().split('\n').sort(), ['busy: back', 'small: back'])
  t.strictSame(namesOn(there), ['large'])
  const [dummy] = here.directory.list().filter(({name}) => name === 'large--incoming')
  here.directory.release(dummy.key)
})

t.test('the rest comes back', async t => {
  const {status, stdout, stderr} = await here.xl(['evacuate', '-s', ssh, '--return', '--as', 'here', 'there'])
  t.equal(status, 0, stderr)
  t.equal(stdout, 'large: back\n')
  t.strictSame([namesOn(here), namesOn(there)], [['busy', 'large', 'small'], []])
  t.notOk(existsSync(notes))
  for (const name of names) {
    await until(() => letters(here, name).length > left[name].length)
    const all = left[name] + letters(there, name) + letters(here, name).slice(left[name].length)
    t.ok(isUnbroken(all), `${name} has gone on wherever it was`)
  }
})

t.test('one that has ended there is said to have, once', async t => {
  t.match(await here.xl(['evacuate', '-s', ssh, 'there']), {status: 0})
  t.match(await there.xl(['destroy', 'busy']), {status: 0})
  const back = await here.xl(['evacuate', '-s', ssh, '--return', '--as', 'here', 'there'])
  t.equal(back.status, 1)
  t.match(back.stderr, /^xl: evacuate: busy is not on there any more$/m)
  t.strictSame(namesOn(here), ['large', 'small'])
  t.match(await here.xl(['evacuate', '-s', ssh, '--return', '--as', 'here', 'there']), {status: 0, stdout: ''})
  t.notOk(existsSync(notes))
})

t.test('what is refused', async t => {
  t.match(await here.xl(['evacuate', '-n', '0', 'there']), {status: 2, stderr: /between 1 and 16/})
  t.match(await here.xl(['evacuate', '-s', '', 'there']), {status: 2, stderr: /must be reached/})
  const {status, stderr} = await here.xl(['evacuate', '-s', ssh, '-n', '3', 'nowhere'])
  t.equal(status, 1)
  for (const name of ['large', 'small'])
    t.match(
      stderr,
      new RegExp(`^xl: evacuate: ${name}: the receiver is gone \\(the transport ended with status 255\\)$`, 'm'),
    )
  t.strictSame(namesOn(here), ['large', 'small'])
  t.notOk(existsSync(notes), 'nobody has left')
})
