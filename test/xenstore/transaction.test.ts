/**
 * Transactions: what they see, what others see, and which pairs of them conflict.
 */
import t from 'tap'
import {XsType} from '../../lib/abi/io/xs-wire.js'
import type {DomId} from '../../lib/base/brand.js'
import {Domain0} from '../../lib/xenstore/domain0.js'
import {quota} from '../../lib/xenstore/quota.js'
import {XenstoreServer} from '../../lib/xenstore/server.js'
import {seeded} from '../support/backend-environment.js'
import {GuestClient} from '../support/xenstore-client.js'

const home = '/local/domain/5'

function host() {
  const server = new XenstoreServer()
  const dom0 = new Domain0(server)
  dom0.mkdir(home, ['n5'])
  for (const name of ['a', 'b', 'c']) dom0.write(`${home}/dir/${name}`, name)
  return {server, dom0, client: new GuestClient(server.introduce(5 as DomId))}
}

t.test('a snapshot for the reader, a secret until the commit', async t => {
  const {client, dom0} = host()
  const id = client.begin()
  t.equal(client.write('dir/a', 'mine', id), 'OK|')
  t.equal(client.read('dir/a', id), 'mine', 'reads its own writes')
  t.equal(client.read('dir/a'), 'a', 'nobody else does')
  dom0.write(`${home}/dir/b`, 'theirs')
  t.equal(client.read('dir/b', id), 'b', 'does not see what came later')
  t.equal(client.commit(id), 'EAGAIN', 'having read what has changed')
  t.equal(client.read('dir/a'), 'a', 'nothing of it happened')
  t.equal(client.commit(id), 'ENOENT', 'a failed transaction is over')

  const second = client.begin()
  client.write('dir/a', 'mine', second)
  client.write('dir/new/leaf', 'deep', second)
  client.remove('dir/c', second)
  t.equal(client.list('dir', second), 'a|b|new|')
  t.equal(client.commit(second), 'OK|')
  t.equal(client.read('dir/a'), 'mine')
  t.equal(client.list('dir'), 'a|b|new|')
  t.equal(client.read('dir/new/leaf'), 'deep')
})

t.test('an abort leaves no trace', async t => {
  const {client} = host()
  client.watch('dir', 'tok')
  client.takeEvents()
  const id = client.begin()
  client.write('dir/a', 'x', id)
  client.remove('dir/b', id)
  t.equal(client.abort(id), 'OK|')
  t.same(client.takeEvents(), [])
  t.equal(client.list('dir'), 'a|b|c|')
  t.equal(client.read('dir/a'), 'a')
})

/** Rows of [what, inside, meanwhile outside, whether they conflict]. */
type Step = (client: GuestClient, id: number) => void
const rows: [string, Step, Step, boolean][] = [
  ['nothing outside', (c, id) => c.write('dir/a', '1', id), () => {}, false],
  ['another node', (c, id) => c.write('dir/a', '1', id), c => c.write('dir/b', '2'), false],
  ['another directory', (c, id) => c.write('dir/new', '1', id), c => c.write('other', '2'), false],
  ['the same node, both written', (c, id) => c.write('dir/a', '1', id), c => c.write('dir/a', '2'), true],
  ['the same node, same value', (c, id) => c.write('dir/a', '1', id), c => c.write('dir/a', '1'), true],
  ['read inside, written outside', (c, id) => c.read('dir/a', id), c => c.write('dir/a', '2'), true],
  ['read inside, read outside', (c, id) => c.read('dir/a', id), c => c.read('dir/a'), false],
  ['written inside, removed outside', (c, id) => c.write('dir/a', '1', id), c => c.remove('dir/a'), true],
  [
    'removed outside and made anew',
    (c, id) => c.write('dir/a', '1', id),
    c => {
      c.remove('dir/a')
      c.write('dir/a', 'a')
    },
    true,
  ],
  ['ancestor removed outside', (c, id) => c.write('dir/a', '1', id), c => c.remove('dir'), true],
  ['removed inside, child made outside', (c, id) => c.remove('dir', id), c => c.write('dir/a/x', '2'), true],
  ['removed inside, deep node written outside', (c, id) => c.remove('dir', id), c => c.write('dir/a', '2'), true],
  ['listed inside, child made outside', (c, id) => c.list('dir', id), c => c.write('dir/d', '2'), true],
  ['listed inside, child removed outside', (c, id) => c.list('dir', id), c => c.remove('dir/a'), true],
  ['listed inside, child written outside', (c, id) => c.list('dir', id), c => c.write('dir/a', '2'), false],
  ['both make a child', (c, id) => c.write('dir/d', '1', id), c => c.write('dir/e', '2'), true],
  ['absent inside, made outside', (c, id) => c.read('dir/d', id), c => c.write('dir/d', '2'), true],
  ['mkdir of what is there, value outside', (c, id) => c.mkdir('dir/a', id), c => c.write('dir/a', '2'), true],
  [
    'permissions read inside, set outside',
    (c, id) => c.ask(XsType.getPermissions, 'dir/a|', id),
    c => c.ask(XsType.setPermissions, 'dir/a|n5|r3|'),
    true,
  ],
  ['refused inside counts as read', (c, id) => c.remove('dir/x/y', id), c => c.write('dir/x', '2'), true],
]

t.test('conflicts', async t => {
  for (const [what, inside, outside, conflicts] of rows) {
    const {client} = host()
    const id = client.begin()
    inside(client, id)
    outside(client, id)
    t.equal(client.commit(id), conflicts ? 'EAGAIN' : 'OK|', what)
  }
})

t.test('a commit keeps what others did beside it', async t => {
  const {client, dom0} = host()
  const id = client.begin()
  client.write('dir/a', 'inside', id)
  client.write('dir/b/deep/er', 'inside', id)
  client.remove('dir/c', id)
  client.ask(XsType.setPermissions, 'dir/a|n5|r7|', id)
  dom0.write(`${home}/dir/a/child`, 'outside')
  t.equal(client.commit(id), 'EAGAIN', 'a new child changes its parent')

  const second = client.begin()
  client.write('dir/a', 'inside', second)
  client.write('dir/b/deep/er', 'inside', second)
  client.remove('dir/c', second)
  dom0.write(`${home}/dir/a/child`, 'changed outside')
  dom0.write(`${home}/elsewhere`, 'outside')
  t.equal(client.commit(second), 'OK|')
  t.equal(client.read('dir/a'), 'inside')
  t.equal(client.read('dir/a/child'), 'changed outside')
  t.equal(client.read('dir/b/deep/er'), 'inside')
  t.equal(client.read('elsewhere'), 'outside')
  t.equal(client.list('dir'), 'a|b|')
})

t.test('a node removed and made again inside', async t => {
  const {client, dom0} = host()
  client.write('dir/a/old', 'x')
  const id = client.begin()
  client.remove('dir/a', id)
  client.write('dir/a', 'again', id)
  client.write('dir/a/fresh', 'y', id)
  dom0.write(`${home}/elsewhere`, 'forces a merge')
  t.equal(client.commit(id), 'OK|')
  t.equal(client.list('dir/a'), 'fresh|')
  t.equal(client.read('dir/a'), 'again')
})

t.test('events fire at the commit, once for each node', async t => {
  const {client} = host()
  client.watch('dir', 'tok')
  client.takeEvents()
  const id = client.begin()
  client.write('dir/a', '1', id)
  client.write('dir/a', '2', id)
  client.write('dir/new/leaf', '3', id)
  client.remove('dir/c', id)
  t.same(client.takeEvents(), [])
  t.equal(client.commit(id), 'OK|')
  t.same(client.takeEvents(), ['dir/a tok', 'dir/new/leaf tok', 'dir/c tok'])
})

t.test('ids', async t => {
  const {client} = host()
  const ids = Array.from({length: quota.transactions}, () => client.begin())
  t.same(
    ids,
    Array.from({length: quota.transactions}, (_, index) => index + 1),
  )
  t.equal(client.ask(XsType.transactionStart, '|'), 'ENOSPC')
  t.equal(client.ask(XsType.transactionStart, '|', ids[0]), 'EBUSY', 'they do not nest')
  t.equal(client.read('dir/a', 77), 'ENOENT', 'an id that is not open')
  t.equal(client.write('dir/a', 'x', 77), 'ENOENT')
  t.equal(client.ask(XsType.watch, 'dir|t|', 77), 'OK|', 'a watch has no use for one')
  client.abort(ids[3])
  t.equal(client.begin(), quota.transactions + 1)
  t.equal(client.ask(XsType.resetWatches, '|'), 'OK|')
  t.equal(client.commit(ids[0]), 'ENOENT', 'a reset drops transactions too')
  t.equal(client.read('dir/a'), 'a')
})

t.test('whatever commits is as if done at once at that moment', async t => {
  const random = seeded(42)
  const {client, server} = host()
  const serial = host()
  const open = new Map<number, ((client: GuestClient) => void)[]>()
  const names = ['a', 'b', 'c']
  const path = () => `dir/${Array.from({length: 1 + random(3)}, () => names[random(3)]).join('/')}`
  const step = (): ((client: GuestClient, id?: number) => void) => {
    const [where, value, kind] = [path(), `${random(1000)}`, random(8)]
    if (kind < 3) return (c, id) => c.write(where, value, id)
    if (kind < 4) return (c, id) => c.mkdir(where, id)
    if (kind < 5) return (c, id) => c.remove(where, id)
    if (kind < 6) return (c, id) => c.ask(XsType.setPermissions, `${where}|n5|r${value}|`, id)
    return (c, id) => c.read(where, id)
  }
  /** The tree as text; the order of children is not part of what is promised. */
  const contents = (of: XenstoreServer) =>
    of
      .save()
      .store.nodes.map(({path, value, permissions}) => `${path}=${value} ${permissions}`)
      .sort()
  let committed = 0
  let refused = 0
  for (let turn = 0; turn < 6000; turn++) {
    const ids = [...open.keys()]
    const id = ids[random(ids.length + 1)]
    const action = random(10)
    if (action === 0 && open.size < 3) open.set(client.begin(), [])
    else if (id === undefined && action < 4) {
      const outside = step()
      outside(client)
      outside(serial.client)
    } else if (id !== undefined && action === 1) {
      if (client.commit(id) === 'OK|') {
        committed++
        for (const inside of open.get(id) ?? []) inside(serial.client)
      } else refused++
      open.delete(id)
      t.same(contents(server), contents(serial.server))
      t.equal(server.store.nodesOwned(5 as DomId), serial.server.store.nodesOwned(5 as DomId))
    } else if (id !== undefined) {
      const inside = step()
      inside(client, id)
      open.get(id)?.push(inside)
    }
  }
  t.comment(`${committed} committed, ${refused} refused`)
  t.ok(committed > 50 && refused > 50)
})

t.test('Linux frontends publish their keys so, over and over until it works', async t => {
  const {client, dom0} = host()
  dom0.mkdir(`${home}/device/vbd/51712`, ['n5', 'r0'])
  dom0.write(`${home}/device/vbd/51712/state`, '1')
  let tries = 0
  for (let result = 'EAGAIN'; result === 'EAGAIN'; tries++) {
    const id = client.begin()
    client.write('device/vbd/51712/ring-ref', '8', id)
    client.write('device/vbd/51712/event-channel', '9', id)
    client.write('device/vbd/51712/protocol', 'x86_64-abi', id)
    if (tries < 2) dom0.write(`${home}/device/vbd/51712/extra${tries}`, 'racing')
    result = client.commit(id)
  }
  t.equal(tries, 3)
  t.equal(dom0.read(`${home}/device/vbd/51712/protocol`), 'x86_64-abi')
})
