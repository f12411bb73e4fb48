/** A guest that writes to its pages far faster than the stream can carry them: it is slowed down until few are left, and has lost nothing. */
import t from 'tap'
import {MigrationHosts} from '../support/migration-hosts.js'

t.setTimeout(280_000)

const pages = 512
const hosts = new MigrationHosts('busy', {pages, sleepMs: 1})
t.teardown(() => hosts.close())
await hosts.start()

t.test('a link of 20 MB/s', async t => {
  hosts.link.rate = 20_000
  hosts.link.expect()
  const {status, stderr} = await hosts.source.xl(['migrate', '-s', hosts.link.command, '--debug', 'busy', 'there'])
  t.equal(status, 0, stderr)
  const rounds = [...stderr.matchAll(/^round \d+: (\d+) pages/gm)].map(match => Number(match[1]))
  t.ok(rounds.length > 2 && rounds.length < 20, `${rounds} pages in rounds`)
  t.ok(rounds[1] > pages / 2, 'at first it writes to most of its pages meanwhile')
  t.ok(rounds[rounds.length - 1] < pages / 2, 'at last to few')
  await hosts.goesOn('target')
})
