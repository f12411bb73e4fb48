/**
 * Exactly one host runs a migrated domain, whatever dies at whatever byte of the talk. The points are random and the same in every run;
 * GASTWIRT_POINTS and GASTWIRT_SEED make more and others.
 */
import t from 'tap'
import * as handshake from '../../lib/control/handshake.js'
import {type Death, type Ending, MigrationHosts, victims} from '../support/migration-hosts.js'
import {Random} from '../vectors/random.js'

const points = Number(process.env.GASTWIRT_POINTS ?? 210)
const random = new Random(Number(process.env.GASTWIRT_SEED ?? 4))
const lanes = 2
/** The last part of the stream: blocks, values, end. */
const tailBytes = 150_000
const saidBytes =
  handshake.banner.length + handshake.fits.length + handshake.received.length + handshake.report.length + 1

t.setTimeout(Math.max(280_000, points * 3000))

/** A point of a stream of about so many bytes: early, anywhere or late in it, or in the words around it. */
function randomDeath(streamBytes: number): Death {
  const victim = victims[random.below(victims.length)]
  const kind = random.below(10)
  if (kind < 3) return {victim, part: 'back', at: random.below(saidBytes)}
  if (kind < 5) return {victim, part: 'permission', at: random.below(handshake.permission.length)}
  if (kind === 5) return {victim, part: 'stream', at: random.below(1000)}
  const from = kind < 8 ? 0 : Math.max(0, streamBytes - tailBytes)
  return {victim, part: 'stream', at: from + random.below(streamBytes - from)}
}

t.test(`${points} deaths at random points`, async t => {
  const endings: Record<Ending, number> = {source: 0, target: 0, lost: 0}
  let reached = 0
  const lane = async () => {
    const hosts = new MigrationHosts('tiny', {pages: 96, sleepMs: 20})
    t.teardown(() => hosts.close())
    await hosts.start()
    t.equal(await hosts.migrateWith(undefined), 'target', 'without a death it arrives')
    // One that dirties less meanwhile is shorter.
    let streamBytes = hosts.link.passed.stream
    while (reached < points) {
      const death = randomDeath(streamBytes)
      try {
        endings[await hosts.migrateWith(death)]++
      } catch (error) {
        throw new Error(`${JSON.stringify(death)}: ${(error as Error).message}`)
      }
      if (hosts.link.fired) reached++
      else streamBytes = Math.min(streamBytes, hosts.link.passed.stream)
    }
  }
  await Promise.all(Array.from({length: lanes}, lane))
  t.comment(JSON.stringify(endings))
  t.ok(endings.source > points / 10 && endings.target > points / 10, 'some deaths leave the domain here, some there')
})
