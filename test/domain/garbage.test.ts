/**
 * When a guest's threads give memory back: once it is quiet after work, and not again before it has worked again.
 */
import t from 'tap'
import {QuietTime} from '../../lib/domain/garbage.js'

const second = 1e9

t.test('a quiet time comes once after work', async t => {
  const quiet = new QuietTime()
  t.equal(quiet.hasCome(3 * second, 2.9 * second), false, 'it works')
  t.equal(quiet.untilNext(4 * second, 3.5 * second), second, 'looked at again')
  t.equal(quiet.hasCome(4 * second, 3.5 * second), false, 'too early to say')
  t.equal(quiet.hasCome(5.1 * second, 3.55 * second), false, 'it worked until shortly before')
  t.equal(quiet.hasCome(7.2 * second, 3.6 * second), true, 'it does no longer')
  t.equal(quiet.hasCome(9.3 * second, 3.7 * second), false, 'nothing new to collect')
  t.equal(quiet.untilNext(20 * second, 3.7 * second), Number.POSITIVE_INFINITY, 'and no reason to look')
})

t.test('little work over a long time is worth it in the end', async t => {
  const quiet = new QuietTime()
  const came: number[] = []
  for (let at = 0; at <= 200; at++) if (quiet.hasCome(at * second, at * 0.01 * second)) came.push(at)
  t.strictSame(came, [50, 100, 150, 200])
})
