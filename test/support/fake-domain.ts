/**
 * A domain process without a CPU: it keeps the launch contract and answers every request, so that xl is tested as real processes.
 * The "guest" speaks on its console and does what the kernel command line says:
 *
 *   (nothing)     prints "guest <name> runs" when unpaused, echoes what is typed; typing "poweroff" or "crash" on a line ends it
 *   poweroff, gastwirt.once    powers off as soon as it has spoken; with "crash" beside it, crashes
 *   flood=N       prints N numbered lines first
 *   fail=TEXT     the domain cannot be built
 *   die           the process kills itself while building
 *   hang          never answers while building
 *   deaf          does not listen to shutdown requests
 *   stuck         does not react to destroy
 *   shared=N      shares N KiB, half of it its own
 *   dies          kills itself at the first request
 */
import {OperatorError} from '../../lib/base/errors.js'
import {ConsoleHub} from '../../lib/control/console-hub.js'
import type {DomainAction} from '../../lib/control/domain-config.js'
import {HostDirectory} from '../../lib/control/host-directory.js'
import {domainTitle, receiveLaunch} from '../../lib/control/launch.js'
import type {AwaitedEnd, DomainService, DomainStatus, ShutdownReason} from '../../lib/control/protocol.js'
import {serveControl} from '../../lib/control/socket.js'
import {EndWaiters} from '../../lib/domain/end-waiters.js'
import {noDeparture} from './no-departure.js'

let release = (): void => {}
const launch = await receiveLaunch(() => {
  release()
  process.exit(1)
})
const {record} = launch
const {config} = record
const words = new Map(
  config.cmdline.split(' ').map(word => [word.split('=')[0], word.slice(word.indexOf('=') + 1)] as [string, string]),
)
const host = new HostDirectory(record.hostDirectory)
let {domid, key} = await host.adopt(record.key)
release = () => host.release(key)
let name = config.name
let paused = record.paused
let reason: ShutdownReason | undefined
let startedMs = Date.now()
let {memoryKb, maxMemoryKb} = config
let log = 'Gastwirt (fake) boots\nsecond line\n'
const waiters = new EndWaiters()

const hub = new ConsoleHub(() => read())
let typed = ''

function read(): void {
  if (paused) return
  const bytes = hub.takeInput(1 << 20)
  say(Buffer.from(bytes).toString())
  typed += Buffer.from(bytes).toString()
  const lines = typed.split(/[\r\n]/)
  typed = lines.pop()!
  for (const line of lines) if (line === 'poweroff' || line === 'crash' || line === 'reboot') void end(line)
}

function say(text: string): void {
  hub.write(Buffer.from(text))
}

function run(): void {
  for (let line = 0; line < Number(words.get('flood') ?? 0); line++)
    say(`line ${line} of a guest that floods its console\r\n`)
  say(`guest ${name} runs\r\n`)
  if (words.has('poweroff') || words.has('gastwirt.once')) void end(words.has('crash') ? 'crash' : 'poweroff')
  read()
}

function settle(come: AwaitedEnd): void {
  waiters.settle(come, {domid, ...(reason === undefined ? {} : {reason})})
}

async function end(why: 'poweroff' | 'crash' | 'reboot'): Promise<void> {
  reason = why
  settle('shutdown')
  const action: DomainAction = {poweroff: config.onPoweroff, crash: config.onCrash, reboot: config.onReboot}[why]
  if (action === 'preserve') return settle('aftermath')
  if (action === 'restart') {
    ;({domid} = await host.renew(key))
    process.title = domainTitle(domid, name)
    reason = undefined
    waiters.begin()
    startedMs = Date.now()
    run()
    return
  }
  await leave()
}

async function leave(): Promise<void> {
  release()
  settle('death')
  await hub.end()
  await control.close()
  process.exit(0)
}

const service: DomainService = {
  status: (): DomainStatus => ({
    domid,
    name,
    uuid: config.uuid,
    running: false,
    blocked: !paused && reason === undefined,
    paused,
    ...(reason === undefined ? {} : {shutdownReason: reason}),
    dying: false,
    cpuTimeNs: paused ? 0 : 1.5e9,
    currentMemoryKb: memoryKb,
    maxMemoryKb,
    vcpus: [{id: 0, state: paused ? 'paused' : 'blocked', cpu: 0, cpuTimeNs: paused ? 0 : 1.5e9}],
    uptimeMs: Date.now() - startedMs,
    config: {...config, name, memoryKb, maxMemoryKb},
  }),
  pause: () => {
    paused = true
  },
  unpause: () => {
    if (!paused) return
    paused = false
    run()
  },
  shutdown: request => {
    if (words.has('deaf')) throw new OperatorError('the guest does not listen to control/shutdown', {exitCode: 10})
    void end(request === 'reboot' ? 'reboot' : 'poweroff')
  },
  destroy: () => {
    if (words.has('stuck')) return new Promise(() => {})
    setImmediate(leave)
    return undefined
  },
  rename: async to => {
    ;({name} = await host.rename(key, to))
  },
  setMemory: async ({limit, kb, hostMemoryKb}) => {
    await host.resize(key, kb, hostMemoryKb)
    if (limit === 'maximum') maxMemoryKb = kb
    else memoryKb = kb
  },
  sharing: () => ({sharedKb: Number(words.get('shared') ?? 0), ownKb: Number(words.get('shared') ?? 0) / 2}),
  sysrq: letter => say(`sysrq ${letter}\r\n`),
  dmesg: clear => {
    const text = log
    if (clear) log = ''
    return text
  },
  dumpCore: () => {},
  debug: keys => {
    log += `key '${keys}' pressed\n`
  },
  wait: until => waiters.wait(until),
  ...noDeparture,
  attachConsole: stream => hub.attach(stream),
}

const deadly = new Proxy(service, {get: () => () => process.kill(process.pid, 'SIGKILL')})

if (words.has('die')) process.kill(process.pid, 'SIGKILL')
if (words.has('hang')) await new Promise(() => setInterval(() => {}, 1 << 30))
if (words.has('fail')) {
  release()
  await launch.failed(new OperatorError(words.get('fail')!, {exitCode: 3, hint: 'this is a test'}))
  process.exit(1)
}
const control = await serveControl(record.socketPath, words.has('dies') ? deadly : service, error =>
  console.error(error),
)
await launch.ready()
if (!paused) run()
