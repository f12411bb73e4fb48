/**
 * A Debian guest that is saved, restored and forked: it counts, watches its clocks and keeps files meanwhile, and finds everything as it should be.
 */
import {join} from 'node:path'
import t from 'tap'
import {debianImage, kernelTrouble} from '../support/debian-image.js'
import {GuestShell} from '../support/guest-shell.js'
import {realXl, TestHost, until} from '../support/xl.js'

t.setTimeout(290_000)

const image = await debianImage()
const awayMs = 3000

/** Reads nodes of xenstore through the kernel's device: a request as in xs_wire.h, whose reply has a head of 16 bytes. */
const xenstoreReader = [
  'xs() { exec 3<>/dev/xen/xenbus; n=$(echo "$1" | wc -c)',
  'printf "\\2\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\\\$(printf %o $n)\\0\\0\\0$1\\0" >&3',
  'dd bs=4096 count=1 <&3 2>/dev/null | tail -c +17; exec 3>&-; echo; }',
].join('; ')
/** Draws random numbers one after the other: what Linux gives to one read follows from what it gave to the one before, until it takes a new seed. */
const draws = 64
const draw = `dd if=/dev/urandom bs=32 count=${draws} 2>/dev/null | hexdump -v -e '32/1 "%02x" "\\n"'`
const monotonicNs = "awk '/^now at/{print $3}' /proc/timer_list"
/** Prints a line five times a second, for which it needs a timer each time. */
const counter = '(i=0; while :; do i=$((i+1)); echo; echo "tick $i."; usleep 200000; done) & true'

/** Where a counter has got to; undefined when a number is missing or comes twice. */
function ticks(text: string): number | undefined {
  const numbers = [...text.matchAll(/tick (\d+)\./g)].map(match => Number(match[1]))
  return numbers.every((number, index) => index === 0 || number === numbers[index - 1] + 1)
    ? (numbers.at(-1) ?? 0)
    : undefined
}

/** What a command prints, between the lines of the counter and of the kernel. */
async function ask(guest: GuestShell, command: string): Promise<string> {
  const text = (await guest.says(command)).replaceAll(/tick \d+\./g, '')
  return text
    .split(/[\r\n]+/)
    .filter(line => line !== '' && !/^\[ *\d+\.\d+\] /.test(line))
    .join(' ')
}

t.test('a Debian guest', {skip: typeof image === 'string' && image}, async t => {
  if (typeof image === 'string') return
  const host = new TestHost(realXl)
  let shell: GuestShell | undefined
  t.teardown(async () => {
    if (!t.passing()) t.comment(shell?.text.slice(-3000))
    await host.close()
  })
  const parent = await GuestShell.boot(host, image, 'web')
  shell = parent
  const count = async (guest: GuestShell, more: number) => {
    const before = ticks(guest.text) ?? Number.POSITIVE_INFINITY
    await until(() => (ticks(guest.text) ?? Number.POSITIVE_INFINITY) >= before + more)
    t.not(ticks(guest.text), undefined, 'it counts without a gap, and nothing twice')
  }
  // A kernel loses time while it boots on a busy machine, before it finds Xen's clock: what counts is that it is no later than then.
  const lagMs = async (guest: GuestShell) => -Number(await ask(guest, 'date +%s')) * 1000 + Date.now()
  const lagAtFirst = await lagMs(parent)
  const isOnTime = async (guest: GuestShell) => (await lagMs(guest)) < lagAtFirst + awayMs / 2

  await parent.says(xenstoreReader)
  const hasNewSeed = async (guest: GuestShell) =>
    (await ask(guest, 'cat /run/generation-id')) === (await ask(guest, 'xs platform/generation-id'))
  const sum = await ask(parent, 'dd if=/dev/urandom of=/keep bs=1M count=8 2>/dev/null; sha256sum </keep')
  t.match(sum, /^[0-9a-f]{64} /)
  const generation = await ask(parent, 'xs platform/generation-id')
  t.match(generation, /^\d+:\d+$/)
  t.equal(await ask(parent, 'xs domid; xs name'), '1 web')
  await parent.says(counter)
  await count(parent, 5)

  await t.test('saved, away for a while, restored', async t => {
    const before = Number(await ask(parent, monotonicNs))
    const beforeMs = Date.now()
    const file = join(host.folder, 'web.save')
    t.match(await host.xl(['save', 'web', file]), {status: 0})
    const savedMs = Date.now()
    await until(() => Date.now() >= savedMs + awayMs)
    t.match(await host.xl(['restore', '-p', file]), {status: 0})
    parent.reattach()
    t.match(await host.xl(['unpause', 'web']), {status: 0})
    await count(parent, 5)
    await until(() => isOnTime(parent))
    t.pass('the clock of the day is right again')
    const after = Number(await ask(parent, monotonicNs))
    const elapsedMs = Date.now() - beforeMs
    t.ok(after > before, 'its own time goes on')
    t.ok((after - before) / 1e6 < elapsedMs - awayMs, 'without the time it was away')
    t.equal(await ask(parent, 'sha256sum </keep'), sum)
    t.equal(await ask(parent, 'xs domid; xs name'), '2 web', 'xenstore answers, and knows it by its new domid')
    t.not(await ask(parent, 'xs platform/generation-id'), generation)
  })

  await t.test('forked', async t => {
    const {status, stdout} = await host.xl(['fork', '-n', '2', 'web'])
    t.strictSame([status, stdout], [0, 'Forked domain 2 (web) as 3 (web-1)\nForked domain 2 (web) as 4 (web-2)\n'])
    const children = ['web-1', 'web-2'].map(name => new GuestShell(host, name))
    const guests = [parent, ...children]
    for (const guest of guests) await count(guest, 3)
    for (const guest of guests) await until(() => isOnTime(guest))
    const answers = async (command: string) => {
      const all: string[] = []
      for (const guest of guests) all.push(await ask(guest, command))
      return all
    }
    t.strictSame(await answers('xs domid; xs name'), ['2 web', '3 web-1', '4 web-2'])
    t.equal(new Set(await answers('xs vm')).size, 3, 'each has a uuid')
    t.equal(new Set(await answers('xs platform/generation-id')).size, 3, 'and a generation id')
    for (const guest of guests) await until(async () => hasNewSeed(guest))
    const drawn = (await answers(draw)).flatMap(text => text.match(/[0-9a-f]{64}/g))
    t.equal(new Set(drawn).size, 3 * draws, 'nobody draws the random numbers of another')
    t.strictSame(await answers('sha256sum </keep'), [sum, sum, sum])
    for (const guest of guests) await ask(guest, `echo ${guest.name} >/keep`)
    t.strictSame(await answers('cat /keep'), ['web', 'web-1', 'web-2'], 'what one writes is its own')
    t.match(await host.xl(['destroy', 'web-2']), {status: 0})
    for (const guest of [parent, children[0]]) await count(guest, 3)
    t.match(await host.xl(['shutdown', '-w', 'web-1']), {status: 0, stderr: /reason code 0\n$/})
    t.notMatch(children[0].text, kernelTrouble)
  })

  await count(parent, 3)
  t.match(await host.xl(['shutdown', '-w', 'web']), {status: 0, stderr: /reason code 0\n$/})
  t.notMatch(parent.text, kernelTrouble)
})
