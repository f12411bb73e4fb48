/**
 * Guests that go wrong, as real domains: each ends its own domain and nothing else, its process leaves in good order, and the log says
 * what happened, with registers, code and the end of the console.
 */
import {existsSync, readdirSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import t from 'tap'
import {Hypercall} from '../../lib/abi/xen.js'
import {Shutdown, TinyGuest} from '../support/tiny-guest.js'
import {realXl, TestHost, until} from '../support/xl.js'
import {littleEndian} from '../vectors/encode.js'

t.setTimeout(280_000)

const pageFault = 14

/** Registers a handler for page faults at an address where nothing is. */
function handlerInNowhere(guest: TinyGuest): void {
  const entry = [pageFault, 0, ...littleEndian(0xe033, 2), 0, 0, 0, 0, ...littleEndian(0x123456000, 8)]
  guest.hypercall(Hypercall.setTrapTable, guest.data(Uint8Array.from([...entry, ...new Array(16).fill(0)])))
}

const unreadable = /^> \w{16}: {2}cannot be read$/m

/** What the guest does after its greeting, what the log must say of it, and the line of its code where RIP is. */
const crashes: Record<string, {act: (guest: TinyGuest) => unknown; log: RegExp; code?: RegExp}> = {
  'an exception without a handler': {
    act: guest => guest.code('ud2'),
    log: /exception 6 .* without a handler/,
    code: /^ {2}\w+: {2}0f 05 +syscall\n> \w+: {2}0f 0b +ud2\n {2}\w+: {2}00 00 +add +BYTE PTR \[rax\],al$/m,
  },
  'a handler that is nowhere': {
    act: guest => {
      handlerInNowhere(guest)
      guest.code('xor eax,eax; mov al,[rax]')
    },
    log: /exception 14 .* found no stack/,
    code: unreadable,
  },
  'a fault with no stack to show it on': {
    act: guest => {
      handlerInNowhere(guest)
      guest.move('rsp', 0x1000).code('push rax')
    },
    log: /exception 14 .* found no stack/,
  },
  'a jump to where nothing is mapped': {
    act: guest => guest.move('rax', 0x7f0000001000n).code('jmp rax'),
    code: unreadable,
    log: /exception 14 .* at 0x7f0000001000 without a handler/,
  },
  'a jump to an address that cannot be': {
    act: guest => guest.move('rax', 0x8000000000000000n).code('jmp rax'),
    code: /^> ffffffff\w{8}: {2}ff e0 +jmp +rax$/m,
    log: /exception 13 .* without a handler/,
  },
  "a jump into Xen's own addresses": {
    act: guest => guest.move('rax', 0xffff800000000000n).code('jmp rax'),
    code: /^> ffff800000000000: {2}/m,
    log: /exception 14 .* at 0xffff800000000000 without a handler/,
  },
  'a jump into data that no instruction begins with': {
    act: guest => guest.move('rax', guest.data(new Uint8Array(16).fill(0x06))).code('jmp rax'),
    log: /exception 6 .* without a handler/,
    code: /^> \w+: {2}06 +\(bad\)$/m,
  },
  'an iret without a frame': {
    act: guest => guest.move('rsp', 0).hypercall(Hypercall.iret),
    log: /bad frame in HYPERVISOR_iret/,
  },
  'a crash of its own choice': {act: guest => guest.shutDown(Shutdown.crash), log: /Domain 1 has shut down/},
  'a shutdown for a reason there is not': {
    act: guest => guest.shutDown(200),
    log: /has shut down, reason code 200 0xc8/,
  },
}

/** Starts of lines that must never be in a log. */
const ownFaults = /\bbug\b|^\s+at .*\(|UnhandledPromise|node:internal/m

for (const [what, {act, log, code = /^> ffffffff\w{8}: {2}(\w\w )+ +\w+/m}] of Object.entries(crashes)) {
  t.test(what, async t => {
    const host = new TestHost(realXl)
    t.teardown(() => host.close())
    const guest = new TinyGuest().print('a tiny guest speaks\r\n')
    act(guest)
    const kernel = host.file('tiny', guest.kernel())
    const config = host.file('bad.cfg', `name = "bad"\nkernel = "${kernel}"\nmemory = 8\non_crash = "destroy"\n`)
    t.strictSame(await host.xl(['create', '-c', '-q', config]), {
      status: 0,
      stdout: 'a tiny guest speaks\r\n',
      stderr: '',
    })
    const text = readFileSync(host.directory.logPath('bad'), 'utf8')
    t.match(text, log)
    t.match(text, /^registers of the guest:\nrip: [0-9a-f]{16} +rflags: [0-9a-f]{16}/m)
    t.match(text, code)
    t.match(text, /^end of its console:\na tiny guest speaks\r?\n/m)
    t.match(text, /Action for shutdown reason code \d+ is destroy\n.*\nDone\. Exiting now\n$/)
    t.notMatch(text, ownFaults)
    t.strictSame(readdirSync(join(host.path, 'domains')), [], 'nothing is left of it')
    t.notOk(existsSync(join(host.path, 'lock')))
  })
}

t.test('a guest that spins, deaf to everything, does as it is told all the same', async t => {
  const host = new TestHost(realXl)
  t.teardown(() => host.close())
  // A guest starts with all events masked, and this one never looks for any.
  const kernel = host.file('tiny', new TinyGuest().print('it spins\r\n').forEver().kernel())
  const config = host.file('spin.cfg', `name = "spin"\nkernel = "${kernel}"\nmemory = 8\n`)
  t.match(await host.xl(['create', '-q', config]), {status: 0, stderr: ''})
  await until(() => host.printed('spin') !== '')
  const state = async (): Promise<string> => (await host.xl(['list', 'spin'])).stdout.split(/\s+/)[10]
  t.equal(await state(), 'r-----')
  t.match(await host.xl(['pause', 'spin']), {status: 0, stderr: ''})
  t.equal(await state(), '--p---')
  t.match(await host.xl(['unpause', 'spin']), {status: 0, stderr: ''})
  t.match(await host.xl(['shutdown', 'spin']), {status: 1, stderr: /PV control interface not available/})
  t.match(await host.xl(['destroy', 'spin']), {status: 0, stdout: '', stderr: ''})
  t.strictSame(readdirSync(join(host.path, 'domains')), [], 'nothing is left of it')
  t.match(readFileSync(host.directory.logPath('spin'), 'utf8'), /\nDone\. Exiting now\n$/, 'it has not been killed')
})
