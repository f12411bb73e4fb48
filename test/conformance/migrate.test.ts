/**
 * A Debian guest on the move between two hosts while it changes a file and checks its sum: it arrives, comes back, and whatever dies on the way it goes on
 * where it was, with every page as it left it.
 */
import {existsSync, readFileSync} from 'node:fs'
import t from 'tap'
import {signalProcess} from '../../lib/control/process-identity.js'
import {debianImage, imageSettings, kernelTrouble} from '../support/debian-image.js'
import {type Connection, MigrationLink, type Part} from '../support/migration-link.js'
import {realXl, TestHost, until} from '../support/xl.js'

t.setTimeout(280_000)

const image = await debianImage()
const skip = typeof image === 'string' && image

/** Changes a page of a file of 16 MiB in each turn, after it has looked whether the file is as the turn before left it. */
const script = [
  'dd if=/dev/urandom of=/f bs=1M count=16; md5sum /f > /s; i=0',
  'while md5sum -c /s > /dev/null; do dd if=/dev/urandom of=/f bs=4096 seek=$((i * 97 % 4096)) count=1 conv=notrunc',
  'md5sum /f > /s; i=$((i + 1)); echo sound-$i; done 2> /dev/null; echo a page is l""ost',
].join('\n')

/** What dies, and before which byte of the talk; where the guest is then. */
const journeys: [what: string, point: [Part, number] | undefined, end: 'source' | 'target'][] = [
  ['nothing', undefined, 'target'],
  ['nothing', undefined, 'target'],
  ['transport', ['stream', 20_000_000], 'source'],
  ['receiver', ['stream', 40_000_000], 'source'],
  ['target', ['permission', 0], 'source'],
  ['sender', ['permission', 10], 'target'],
  ['transport', ['back', 120], 'target'],
]

t.test('a guest on the move', {skip}, async t => {
  if (typeof image === 'string') return
  const hosts = [new TestHost(realXl), new TestHost(realXl)]
  let at = 0
  const link = new MigrationLink(hosts[0], () => hosts[1 - at])
  t.teardown(async () => {
    link.close()
    for (const host of hosts) await host.close()
  })
  const said = (host: number) => {
    const path = hosts[host].directory.consoleLogPath('web')
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  }
  const turns = (host: number) =>
    Math.max(0, ...[...said(host).matchAll(/sound-(\d+)/g)].map(match => Number(match[1])))
  const goesOn = async (from: number) => {
    await until(() => turns(at) > from + 1 || said(at).includes('page is lost'))
    t.notMatch(said(at), 'page is lost')
  }

  t.match(await hosts[0].xl(['create', '-q', ...imageSettings(image, 'web', '')]), {status: 0, stderr: ''})
  const console = hosts[0].spawn(['console', 'web'])
  await until(() => /:\S+# /.test(said(0)))
  console.stdin!.write(`${script}\n`)
  await goesOn(0)
  console.kill()

  for (const [what, point, end] of journeys) {
    const before = turns(at)
    const kill = ({receiver, cut}: Connection) => {
      if (what === 'transport') cut()
      if (what === 'receiver') receiver.kill('SIGKILL')
      if (what === 'target') signalProcess(hosts[1 - at].directory.list()[0].owner, 'SIGKILL')
      if (what === 'sender') sender.kill('SIGKILL')
    }
    link.expect(point && {part: point[0], at: point[1], act: kill})
    const sender = hosts[at].spawn(['migrate', '-s', link.command, 'web', 'there'], 'ignore')
    await new Promise(resolve => sender.once('close', resolve))
    await until(() => {
      const names = hosts.map(host => `${host.directory.list().map(({name}) => name)}`)
      return names.includes('web') && names.includes('')
    })
    await link.idle()
    const isThere = hosts[1 - at].directory.list().length === 1
    t.equal(isThere ? 'target' : 'source', end, `${what} dies before ${point ?? 'no byte'}`)
    t.equal(link.fired, point !== undefined)
    if (isThere) at = 1 - at
    await goesOn(before)
  }
  for (const host of [0, 1]) t.notMatch(said(host), kernelTrouble)
})
