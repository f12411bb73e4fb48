/** What xl says and returns before any domain is involved: global options, prefixes, misuse, help. */
import {readdirSync} from 'node:fs'
import {PassThrough, Writable} from 'node:stream'
import {fileURLToPath} from 'node:url'
import t from 'tap'
import {commandNames, loadCommand} from '../../lib/cli/commands/index.js'
import {Report} from '../../lib/cli/report.js'
import {xlInside} from '../support/xl.js'

const host = {GASTWIRT_HOST: '/nonexistent/host'}

t.test('the table of commands is the folder, sorted', async t => {
  const folder = fileURLToPath(new URL('../../lib/cli/commands/', import.meta.url))
  const files = readdirSync(folder).filter(name => name.endsWith('.js') && name !== 'index.js')
  t.strictSame(commandNames, files.map(name => name.slice(0, -3)).sort())
  for (const name of commandNames) {
    const command = await loadCommand(name)
    t.equal(command.name, name)
    t.notMatch(command.summary, /\.$/, `${name}: help adds the full stop`)
  }
})

t.test('help', async t => {
  const all = await xlInside(['help'])
  t.equal(all.status, 0)
  const lines = all.stdout.split('\n')
  t.strictSame(lines.slice(0, 4), ['Usage xl [-vfNtT] <subcommand> [args]', '', 'xl full list of subcommands:', ''])
  const listed = lines.slice(4).flatMap(line => /^ ([^ ]+)/.exec(line)?.[1] ?? [])
  t.strictSame(listed, commandNames, 'shell completion finds the commands after four lines')
  t.match(await xlInside([]), {status: 1, stdout: all.stdout})
  t.match(await xlInside(['--help']), {status: 0, stdout: all.stdout})
  t.match(await xlInside(['help', 'shutdown']), {
    status: 0,
    stdout:
      /^Usage: xl \[-vtTf\] shutdown \[options\] <-a\|Domain>\n\nIssue a shutdown signal to a domain\.\n\nOptions:\n\n-a, --all +Shut/,
  })
  t.match(await xlInside(['shutdown', '--help']), {status: 0, stdout: /^Usage: xl \[-vtTf\] shutdown/})
  t.match(await xlInside(['help', 'create']), {stdout: /^Usage: xl \[-vtTfN\] create/})
  t.match(await xlInside(['help', 'unp']), {status: 0, stdout: /^Usage: xl \[-vtTf\] unpause/})
  t.match(await xlInside(['help', 'help']), {status: 0, stdout: all.stdout})
  t.strictSame(await xlInside(['help', 'fly']), {status: 0, stdout: 'command "fly" not implemented\n', stderr: ''})
})

t.test('choice of a command', async t => {
  t.strictSame(await xlInside(['fly']), {status: 1, stdout: '', stderr: 'command not implemented\n'})
  t.strictSame(
    await xlInside(['re'], host),
    {status: 1, stdout: '', stderr: 'command not implemented\n'},
    'reboot or rename?',
  )
  t.match(await xlInside(['li'], host), {status: 0, stdout: /^Name /})
  t.match(await xlInside(['-vv', '-t', 'list'], host), {status: 0})
  t.strictSame(await xlInside(['-z', 'list'], host), {
    status: 1,
    stdout: '',
    stderr: "xl: invalid option -- 'z'\nunknown global option\n",
  })
  t.strictSame(await xlInside(['-N', 'list'], host), {
    status: 1,
    stdout: '',
    stderr: 'command does not implement -N (dryrun) option\n',
  })
})

t.test('misuse', async t => {
  t.match(await xlInside(['list', '-Q'], host), {status: 2, stderr: "option `Q' not supported.\n"})
  t.match(await xlInside(['list', '--quux'], host), {status: 2, stderr: "option `quux' not supported.\n"})
  t.match(await xlInside(['pause'], host), {
    status: 2,
    stderr: "'xl pause' requires at least 1 argument.\n\n",
    stdout: /^Usage: xl \[-vtTf\] pause <Domain>/,
  })
  t.match(await xlInside(['rename', 'a'], host), {status: 2, stderr: /^'xl rename' requires at least 2 arguments\./})
  t.match(await xlInside(['domid', 'a', 'b'], host), {status: 2})
  t.match(await xlInside(['list', 'a', 'b'], host), {status: 1, stdout: /^Usage: xl \[-vtT\] list/})
  t.match(await xlInside(['create', 'a.cfg', 'b.cfg'], host), {
    status: 2,
    stdout: /^Usage: .* create/,
    stderr: /"b.cfg"/,
  })
  t.match(await xlInside(['console', '-t', 'vga', 'a'], host), {
    status: 1,
    stderr: 'console type supported are: pv, serial, vuart\n',
  })
  t.match(await xlInside(['create', '-f'], host), {status: 2, stderr: /requires an argument/})
})

t.test('a domain that is not there', async t => {
  const rows: [words: string[], status: number, stderr: string][] = [
    ['list foo', 1, 'foo is an invalid domain identifier (rc=-6)\n'],
    ['list 99', 1, "Error: Domain '99' does not exist.\n"],
    ['pause foo', 1, 'foo is an invalid domain identifier (rc=-6)\n'],
    ['pause 99', 0, 'libxl: error: libxl_domain_pause: Domain 99:No such process\n'],
    ['unpause 99', 0, 'libxl: error: libxl_domain_unpause: Domain 99:No such process\n'],
    ['sysrq 99 h', 0, 'libxl: error: libxl_send_sysrq: Domain 99:No such process\n'],
    ['sysrq foo h', 1, 'foo is an invalid domain identifier (rc=-6)\n'],
    ['domid foo', 1, "Can't get domid of domain name 'foo', maybe this domain does not exist.\n"],
    ['domname 99', 1, "Can't get domain name of domain id '99', maybe this domain does not exist.\n"],
    ['domname abc', 1, 'Invalid domain id.\n\n'],
    ['destroy foo', 1, 'foo is an invalid domain identifier (rc=-6)\n'],
    ['console 99', 1, 'xl: console: domain "99" does not exist\nUnable to attach console\n'],
    ['uptime foo', 1, 'foo is an invalid domain identifier (rc=-6)\n'],
    ['shutdown', 1, 'You must specify -a or a domain id.\n\n'],
    ['reboot', 1, 'You must specify -a or a domain id.\n\n'],
    ['shutdown 99', 1, 'xl: shutdown: domain 99 does not exist (shutdown failed)\n'],
    ['shutdown -a', 0, ''],
  ].map(([words, status, stderr]) => [String(words).split(' '), Number(status), String(stderr)])
  for (const [words, status, stderr] of rows) {
    t.strictSame(await xlInside(words, host), {status, stdout: '', stderr}, `xl ${words.join(' ')}`)
  }
  t.match(await xlInside(['destroy', '99'], host), {
    status: 1,
    stderr: /Domain 99:Non-existant domain\n(.*\n)*destroy failed \(rc=-21\)\n$/,
  })
  t.match(await xlInside(['destroy', '0'], host), {status: 1, stderr: /^Not destroying domain 0; use -f to force\.\n/})
  t.match(await xlInside(['destroy', '-f', '0'], host), {status: 1, stderr: /^xl: destroy: Domain-0 is this machine/})
  t.match(await xlInside(['rename', '99', 'x'], host), {status: 1, stderr: /Can't rename domain '99'\.\n$/})
  t.match(await xlInside(['vcpu-list', '99'], host), {status: 1, stderr: "Error: Domain '99' does not exist.\n"})
})

t.test('an error of ours is one line and a hint; -v shows where it happened', async t => {
  const broken = {
    get GASTWIRT_HOST(): string {
      throw new TypeError('it broke')
    },
  }
  t.strictSame(await xlInside(['list'], broken), {
    status: 3,
    stdout: '',
    stderr: 'xl: list: internal error: it broke\nhint: "xl -v list ..." shows where\n',
  })
  t.match(await xlInside(['-v', 'list'], broken), {status: 3, stderr: /^xl: list: .*\nTypeError: it broke\n +at /})
})

t.test('a terminal of no width gets plain lines', async t => {
  let written = ''
  const write = (chunk: Buffer, _encoding: string, done: () => void) => {
    written += chunk
    done()
  }
  for (const [columns, isPlain] of [
    [0, true],
    [80, false],
  ] as const) {
    const stderr = Object.assign(new Writable({write}), {isTTY: true, columns})
    const world = {environment: {}, stdin: new PassThrough(), stdout: new PassThrough(), stderr, domainProgram: ''}
    const report = new Report(world)
    t.equal(report.colourful, !isPlain)
    if (!isPlain) continue
    const shown = await report.progress('migrating')
    shown.succeed('done')
    t.equal(written, 'migrating\ndone\n')
  }
})
