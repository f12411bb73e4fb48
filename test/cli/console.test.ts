/** The console as people and scripts use it: to the last byte, from pipes and terminals, several at once, and left with Ctrl-]. */
import {spawnSync} from 'node:child_process'
import {once} from 'node:events'
import {Duplex, PassThrough} from 'node:stream'
import {fileURLToPath} from 'node:url'
import t from 'tap'
import {parseEscape, runSession} from '../../lib/cli/console-session.js'
import type {World} from '../../lib/cli/report.js'
import {TestHost, until} from '../support/xl.js'

t.test('create -c with nothing to read shows everything until the domain ends', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  t.match(await host.xl(['create', '-c', '-q', host.config('a', 'extra="poweroff"')]), {
    status: 0,
    stdout: 'guest a runs\r\n',
    stderr: '',
  })
  t.match(await host.xl(['create', '-cF', '-q', host.config('b', 'extra="poweroff"')]), {
    status: 0,
    stdout: 'guest b runs\r\n',
  })
  t.match(await host.xl(['create', '-F', '-q', host.config('c', 'extra="poweroff"')]), {status: 0, stdout: ''})
  t.strictSame(host.directory.list(), [])
})

t.test('what is piped in is typed, and the output goes on after it', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  t.match(await host.xl(['create', '-c', '-q', host.config('a')], 'uname\rpoweroff\r'), {
    status: 0,
    stdout: 'guest a runs\r\nuname\rpoweroff\r',
  })
})

t.test('a flood is bounded, and its last line arrives', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  const {status, stdout} = await host.xl(['create', '-c', '-q', host.config('a', 'extra="flood=100000 poweroff"')])
  t.equal(status, 0)
  t.ok(stdout.endsWith('line 99999 of a guest that floods its console\r\nguest a runs\r\n'))
})

t.test('create -p, console, unpause: all output from boot; two consoles see the same and both may type', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  await host.xl(['create', '-p', '-q', host.config('a')])
  const consoles = [host.spawn(['console', 'a']), host.spawn(['console', '-t', 'pv', '-n', '0', 'a'])]
  const seen = ['', '']
  for (const [index, child] of consoles.entries()) {
    child.stdout!.on('data', bytes => {
      seen[index] += bytes
    })
  }
  await host.xl(['unpause', 'a'])
  await until(() => seen.every(text => text === 'guest a runs\r\n'))
  consoles[0].stdin!.write('from one ')
  await until(() => seen.every(text => text.endsWith('from one ')))
  consoles[1].stdin!.write('from two\r')
  await until(() => seen.every(text => text.endsWith('from two\r')))
  const exits = consoles.map(child => once(child, 'exit'))
  await host.xl(['destroy', 'a'])
  t.strictSame(await Promise.all(exits), [
    [0, null],
    [0, null],
  ])
  t.equal(seen[0], 'guest a runs\r\nfrom one from two\r')
  t.equal(seen[0], seen[1])
})

t.test('Ctrl-] leaves and the domain lives on', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  t.match(await host.xl(['create', '-c', '-q', host.config('a')], 'ls\r\x1dnever typed'), {status: 0})
  t.match(await host.xl(['list', 'a']), {status: 0, stdout: / -b---- /})
  t.match(await host.xl(['console', '-e', '^X', 'a'], '\x18'), {status: 0})
  t.match(await host.xl(['console', '-e', '^X', 'a'], 'poweroff\r'), {status: 0, stdout: /ls.*poweroff/s})
  t.notMatch((await host.xl(['list'])).stdout, /^a /m)
})

t.test('a script that leaves with its first key is shown what the domain had printed', async t => {
  const stdin = new PassThrough()
  const stdout = new PassThrough()
  // The other end of the socket: it prints late, and closes when it is told of the end.
  const stream = new Duplex({
    read() {},
    write: (_bytes, _encoding, done) => done(),
    final(done) {
      this.push('printed before')
      this.push(null)
      done()
    },
  })
  const session = runSession(stream, {stdin, stdout} as unknown as World)
  stdin.write('\x1dnever typed')
  t.equal(await session, 'detached')
  t.equal(String(stdout.read()), 'printed before')
})

t.test('what console refuses', async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  await host.xl(['create', '-q', host.config('a')])
  for (const words of [['-t', 'serial', 'a'], ['-n', '1', 'a'], ['-e', 'long', 'a'], ['99']]) {
    t.match(await host.xl(['console', ...words]), {status: 1, stderr: /Unable to attach console\n$/}, words.join(' '))
  }
  t.match(await host.xl(['console', '0']), {
    status: 1,
    stderr: 'xl: console: domain 0 is this machine; it has no console here\nUnable to attach console\n',
  })
})

t.test('escape characters', async t => {
  for (const [text, code] of [
    ['^]', 0x1d],
    ['^X', 0x18],
    ['^x', 0x18],
    ['^?', 0x7f],
    ['q', 113],
    ['^', 94],
    ['', undefined],
    ['ab', undefined],
  ] as const) {
    t.equal(parseEscape(text), code, JSON.stringify(text))
  }
})

t.test('a terminal is raw during the session and restored after it, however it ends', async t => {
  for (const ending of ['detach', 'domain ends'] as const) {
    const modes: boolean[] = []
    const stdin = Object.assign(new PassThrough(), {isTTY: true, setRawMode: (mode: boolean) => modes.push(mode)})
    const listeners = process.listenerCount('SIGTERM')
    const stream = new PassThrough()
    const world = {stdin, stdout: new PassThrough()} as unknown as World
    const session = runSession(stream, world)
    t.strictSame(modes.splice(0), [true])
    // As when a person stops it and goes on with fg: the shell has changed the mode.
    process.emit('SIGCONT')
    t.strictSame(modes.splice(0), [false, true])
    if (ending === 'detach') stdin.write('\x1d')
    else stream.end()
    t.equal(await session, ending === 'detach' ? 'detached' : 'ended')
    t.strictSame(modes, [false], ending)
    process.emit('SIGCONT')
    t.strictSame(modes, [false], 'nothing of it is left')
    t.equal(process.listenerCount('SIGTERM'), listeners)
  }
})

t.test('on a real terminal', {skip: spawnSync('script', ['--version']).status !== 0 && 'no script(1)'}, async t => {
  const host = new TestHost()
  t.teardown(() => host.close())
  const xl = fileURLToPath(new URL('../support/xl-with-fake-domains.js', import.meta.url))
  const config = host.config('a', 'extra="poweroff"')
  const command = `stty -g > ${host.folder}/before; ${process.execPath} ${xl} create -c -q ${config}; stty -g > ${host.folder}/after`
  const run = `cmp ${host.folder}/before ${host.folder}/after && echo same mode`
  const {stdout, status} = spawnSync('script', ['-qec', `${command}; ${run}`, '/dev/null'], {
    env: {...host.environment, NO_COLOR: ''},
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.equal(status, 0)
  // Node's raw mode still puts a carriage return before each newline, which a terminal does not show.
  t.match(stdout, /^guest a runs\r+\nsame mode\r\n$/)
})
