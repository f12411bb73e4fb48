/**
 * Domains that come and go in every way leave nothing behind: no process, file, socket or descriptor, neither on the host nor in a domain that
 * stays all the while. `GASTWIRT_CYCLES=1000` makes it a thousand domains.
 */
import {once} from 'node:events'
import {mkdirSync, readdirSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import t, {type Test} from 'tap'
import {Hypercall} from '../../lib/abi/xen.js'
import {type ProcessIdentity, signalProcess} from '../../lib/control/process-identity.js'
import {Shutdown, TinyGuest} from '../support/tiny-guest.js'
import {type Outcome, realXl, TestHost, until} from '../support/xl.js'

const cycles = Number(process.env.GASTWIRT_CYCLES ?? 18)
/** Domains that come at the same time. */
const atOnce = 3

t.setTimeout(120_000 + cycles * 2000)

const schedBlock = 1
const sleeping = new TinyGuest().print('here\r\n')
sleeping.forEver(() => sleeping.hypercall(Hypercall.schedOp, schedBlock, 0))
const leaving = new TinyGuest().print('gone\r\n').shutDown(Shutdown.poweroff)
const crashing = new TinyGuest().shutDown(Shutdown.crash)

/** A configuration of a tiny guest. */
function tiny(host: TestHost, name: string, guest: TinyGuest, text = ''): string {
  const kernel = host.file(`${name}.kernel`, guest.kernel())
  return host.file(`${name}.cfg`, `name = "${name}"\nkernel = "${kernel}"\nmemory = 8\n${text}\n`)
}

const skip = process.platform !== 'linux' && 'looks into /proc'

/** Processes of a host: those that were started with its directory in their environment. */
function processesOf({path}: TestHost): string[] {
  return readdirSync('/proc').filter(pid => {
    if (!/^\d+$/.test(pid)) return false
    try {
      return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`GASTWIRT_HOST=${path}\0`)
    } catch {
      return false
    }
  })
}

/** All that is there of a host; of a process its descriptors and threads are counted. */
function inventory(host: TestHost, {pid}: ProcessIdentity) {
  return {
    processes: processesOf(host),
    files: (readdirSync(host.folder, {recursive: true}) as string[]).sort(),
    sockets: readFileSync('/proc/net/unix', 'latin1')
      .split('\n')
      .filter(line => line.includes(host.path)).length,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: readdirSync(`/proc/${pid}/task`).length,
  }
}

/** The ways of a domain from its creation to its end, one after the other. */
const ways: Record<string, (host: TestHost, name: string, t: Test) => Promise<unknown>> = {
  async 'paused, and destroyed'(host, name, t) {
    fine(t, await host.xl(['create', '-q', '-p', tiny(host, name, sleeping)]))
    fine(t, await host.xl(['destroy', name]))
  },
  async 'looked at, and destroyed'(host, name, t) {
    fine(t, await host.xl(['create', '-q', tiny(host, name, sleeping)]))
    const console = host.spawn(['console', '-e', '^X', 'stays'])
    t.match(String(await once(console.stdout!, 'data')), 'here')
    console.stdin!.end('\x18')
    t.strictSame(await once(console, 'exit'), [0, null])
    t.match((await host.xl(['list'])).stdout, new RegExp(`^${name} `, 'm'))
    fine(t, await host.xl(['destroy', name]))
  },
  async 'gone by itself'(host, name, t) {
    t.match(await host.xl(['create', '-q', '-c', tiny(host, name, leaving)]), {status: 0, stdout: 'gone\r\n'})
  },
  async 'never there'(host, name, t) {
    const config = tiny(host, name, sleeping)
    t.match(await host.xl(['create', '-q', config, 'memory=1']), {status: 3})
  },
  async killed(host, name, t) {
    fine(t, await host.xl(['create', '-q', tiny(host, name, sleeping)]))
    const console = host.spawn(['console', name], 'ignore')
    await once(console.stdout!, 'data')
    signalProcess(host.directory.find({name})!.owner, 'SIGKILL')
    t.strictSame(await once(console, 'exit'), [0, null])
  },
}

function fine(t: Test, outcome: Outcome): void {
  t.strictSame(outcome, {status: 0, stdout: '', stderr: ''})
}

t.test(`${cycles} domains come and go`, {skip}, async t => {
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  host.environment.TMPDIR = join(host.folder, 'tmp')
  mkdirSync(host.environment.TMPDIR)
  fine(t, await host.xl(['create', '-q', tiny(host, 'stays', sleeping)]))
  const {owner} = host.directory.find({name: 'stays'})!
  const kinds = Object.values(ways)
  const comeAndGo = async (count: number) => {
    const inTurn = async (name: string) => {
      for (let index = 0; index < count / atOnce; index++) await kinds[index % kinds.length](host, name, t)
    }
    await Promise.all(Array.from({length: atOnce}, (_, place) => inTurn(`comes${place}`)))
    // What a killed domain left is swept away when the next one comes.
    await kinds[0](host, 'last', t)
    await until(() => processesOf(host).length === 1)
  }
  await comeAndGo(kinds.length * atOnce)
  const before = inventory(host, owner)
  await comeAndGo(cycles)
  // The domain that stays closes its ends of connections in its own time.
  await until(() => inventory(host, owner).descriptors <= before.descriptors)
  t.strictSame(inventory(host, owner), before)
  t.match(host.directory.list(), [{name: 'stays', owner}])
})

t.test(`${cycles} times the same domain, in one process`, {skip}, async t => {
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  fine(t, await host.xl(['create', '-q', tiny(host, 'again', crashing, 'on_crash = "restart"')]))
  const {owner} = host.directory.find({name: 'again'})!
  const domid = () => host.directory.find({name: 'again'})!.domid
  // Between two guests there is less than while one runs: the most that is seen during some counts.
  const most = async (first: number) => {
    const seen = {descriptors: 0, threads: 0}
    await until(() => {
      const {descriptors, threads} = inventory(host, owner)
      seen.descriptors = Math.max(seen.descriptors, descriptors)
      seen.threads = Math.max(seen.threads, threads)
      return domid() >= first + 6
    })
    return seen
  }
  await until(() => domid() > 2)
  const before = await most(domid())
  await until(() => domid() >= cycles)
  const after = await most(domid())
  t.ok(after.descriptors <= before.descriptors + 3 && after.threads <= before.threads + 1, {before, after})
  fine(t, await host.xl(['destroy', 'again']))
  // The name is free before the last of the process is.
  await until(() => processesOf(host).length === 0)
  t.strictSame(readdirSync(join(host.path, 'domains')), [])
})
