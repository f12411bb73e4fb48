/**
 * xl and a running Debian guest: consoles, pause, reboot, shutdown, and what `xl list` says meanwhile. The guest's kernel and its
 * programs answer, so the whole way is walked: xenstore, the console ring, timers and event channels.
 */
import {once} from 'node:events'
import t from 'tap'
import {debianImage, imageSettings, kernelTrouble} from '../support/debian-image.js'
import {realXl, TestHost, until} from '../support/xl.js'

t.setTimeout(280_000)

const image = await debianImage()
const skip = typeof image === 'string' && image
const prompt = /:\S+# /

t.test('a guest is paused, rebooted and shut down, with two at its console', {skip}, async t => {
  if (typeof image === 'string') return
  const host = new TestHost(realXl)
  const seen = ['', '']
  t.teardown(async () => {
    if (!t.passing()) t.comment(seen[0].slice(-2000))
    await host.close()
  })
  const state = async (): Promise<string | undefined> => {
    const {status, stdout} = await host.xl(['list', 'web'])
    return status === 0 ? stdout.split('\n')[1].split(/\s+/)[4] : undefined
  }
  const said = (text: string | RegExp): Promise<void> =>
    until(() => seen.every(all => (typeof text === 'string' ? all.includes(text) : text.test(all))))

  t.match(await host.xl(['create', '-p', '-q', ...imageSettings(image, 'web', '')]), {status: 0, stderr: ''})
  t.equal(await state(), '--p---', 'created paused')
  const consoles = seen.map((_, index) => {
    const child = host.spawn(['console', 'web'])
    child.stdout!.on('data', bytes => {
      seen[index] += bytes
    })
    return child
  })
  const exits = consoles.map(child => once(child, 'exit'))
  t.match(await host.xl(['unpause', 'web']), {status: 0, stderr: ''})
  await said(prompt)
  await until(async () => (await state()) === '-b----')
  t.pass('at its prompt the guest sleeps')

  consoles[0].stdin!.write('echo one-$((6*7))\r')
  await said('one-42')
  consoles[1].stdin!.write('echo two-$((6*8))\r')
  await said('two-48')

  t.match(await host.xl(['pause', 'web']), {status: 0, stderr: ''})
  t.equal(await state(), '--p---')
  consoles[0].stdin!.write('echo three-$((6*9))\r')
  t.match(await host.xl(['list', 'web']), {stdout: / --p--- /})
  t.notMatch(seen[0], 'three-54', 'a paused guest does not answer')
  t.match(await host.xl(['unpause', 'web']), {status: 0, stderr: ''})
  await said('three-54')

  const before = seen.map(text => text.length)
  t.match(await host.xl(['reboot', 'web']), {status: 0, stderr: 'Rebooting domain 1\n'})
  await until(() => seen.every((text, index) => prompt.test(text.slice(text.indexOf('gastwirt: init', before[index])))))
  t.match(await host.xl(['domid', 'web']), {status: 0, stdout: '2\n'}, 'a reboot takes a new domid')

  t.match(await host.xl(['shutdown', '-w', 'web']), {
    status: 0,
    stderr: 'Shutting down domain 2\nWaiting for 1 domains\nDomain 2 has been shut down, reason code 0\n',
  })
  t.strictSame(await Promise.all(exits), [
    [0, null],
    [0, null],
  ])
  await until(async () => (await state()) === undefined)
  t.strictSame(host.directory.list(), [])
  t.equal(seen[0], seen[1], 'both saw the same')
  t.notMatch(seen[0], kernelTrouble)
})
