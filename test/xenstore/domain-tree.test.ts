/**
 * What a domain finds in xenstore, what it may change of it, and what is left when it has gone.
 */
import t from 'tap'
import type {DomId, EventPort, Mfn} from '../../lib/base/brand.js'
import {canSuspend, pendingShutdown, requestShutdown, sendSysrq, setMemoryTarget} from '../../lib/xenstore/control.js'
import {createDomainTree, removeDomainTree, renameInTree} from '../../lib/xenstore/domain-tree.js'
import {Domain0} from '../../lib/xenstore/domain0.js'
import {walk} from '../../lib/xenstore/node.js'
import {formatPermission} from '../../lib/xenstore/permissions.js'
import {XenstoreServer} from '../../lib/xenstore/server.js'
import {GuestClient} from '../support/xenstore-client.js'

const domid = 5 as DomId
const uuid = '59e1cf6c-6ab9-4879-90e7-adc8d1c63bf5'

function host() {
  const server = new XenstoreServer()
  const dom0 = new Domain0(server)
  createDomainTree(dom0, {
    domid,
    name: 'web1',
    uuid,
    startTimeMs: 1_700_000_000_123,
    generation: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255),
    targetKib: 262_144,
    maximumKib: 524_288,
    vcpus: 1,
    maximumVcpus: 2,
    store: {mfn: 0x1234 as Mfn, port: 1 as EventPort},
    console: {mfn: 0x1235 as Mfn, port: 2 as EventPort},
  })
  return {server, dom0, client: new GuestClient(server.introduce(domid))}
}

const r = 'n0 r5'
const expectedTree = [
  '/ = "" n0',
  '/vm = "" n0',
  `/vm/${uuid} = "" ${r}`,
  `/vm/${uuid}/name = "web1" ${r}`,
  `/vm/${uuid}/uuid = "${uuid}" ${r}`,
  `/vm/${uuid}/image = "" ${r}`,
  `/vm/${uuid}/image/ostype = "linux" ${r}`,
  `/vm/${uuid}/start_time = "1700000000.12" ${r}`,
  '/local = "" n0',
  '/local/domain = "" n0',
  `/local/domain/5 = "" ${r}`,
  `/local/domain/5/vm = "/vm/${uuid}" ${r}`,
  `/local/domain/5/name = "web1" ${r}`,
  `/local/domain/5/domid = "5" ${r}`,
  `/local/domain/5/memory = "" ${r}`,
  `/local/domain/5/memory/static-max = "524288" ${r}`,
  `/local/domain/5/memory/target = "262144" ${r}`,
  `/local/domain/5/memory/videoram = "0" ${r}`,
  `/local/domain/5/store = "" ${r}`,
  `/local/domain/5/store/port = "1" ${r}`,
  `/local/domain/5/store/ring-ref = "4660" ${r}`,
  `/local/domain/5/console = "" ${r}`,
  `/local/domain/5/console/backend = "/local/domain/0/backend/console/5/0" ${r}`,
  `/local/domain/5/console/backend-id = "0" ${r}`,
  `/local/domain/5/console/limit = "1048576" ${r}`,
  `/local/domain/5/console/type = "xenconsoled" ${r}`,
  `/local/domain/5/console/output = "pty" ${r}`,
  `/local/domain/5/console/tty = "" ${r}`,
  `/local/domain/5/console/port = "2" ${r}`,
  `/local/domain/5/console/ring-ref = "4661" ${r}`,
  `/local/domain/5/control = "" ${r}`,
  `/local/domain/5/control/platform-feature-multiprocessor-suspend = "1" ${r}`,
  `/local/domain/5/control/platform-feature-xs_reset_watches = "1" ${r}`,
  '/local/domain/5/control/shutdown = "" n5',
  '/local/domain/5/control/feature-poweroff = "" n5',
  '/local/domain/5/control/feature-reboot = "" n5',
  '/local/domain/5/control/feature-suspend = "" n5',
  '/local/domain/5/control/sysrq = "" n5',
  `/local/domain/5/cpu = "" ${r}`,
  `/local/domain/5/cpu/0 = "" ${r}`,
  `/local/domain/5/cpu/0/availability = "online" ${r}`,
  `/local/domain/5/cpu/1 = "" ${r}`,
  `/local/domain/5/cpu/1/availability = "offline" ${r}`,
  `/local/domain/5/device = "" ${r}`,
  `/local/domain/5/device/suspend = "" ${r}`,
  '/local/domain/5/device/suspend/event-channel = "" n5',
  '/local/domain/5/data = "" n5',
  '/local/domain/5/drivers = "" n5',
  '/local/domain/5/feature = "" n5',
  '/local/domain/5/attr = "" n5',
  '/local/domain/5/error = "" n5',
  `/local/domain/5/platform = "" ${r}`,
  `/local/domain/5/platform/generation-id = "1:18446744073709551615" ${r}`,
  '/local/domain/0 = "" n0',
  '/local/domain/0/backend = "" n0',
  '/local/domain/0/backend/console = "" n0',
  '/local/domain/0/backend/console/5 = "" n0',
  `/local/domain/0/backend/console/5/0 = "" ${r}`,
  `/local/domain/0/backend/console/5/0/frontend = "/local/domain/5/console" ${r}`,
  `/local/domain/0/backend/console/5/0/frontend-id = "5" ${r}`,
  `/local/domain/0/backend/console/5/0/online = "1" ${r}`,
  `/local/domain/0/backend/console/5/0/state = "1" ${r}`,
  `/local/domain/0/backend/console/5/0/protocol = "vt100" ${r}`,
]

t.test('the tree', async t => {
  const {server} = host()
  const lines = [...walk('/', server.store.root)].map(
    ([path, {value, permissions}]) => `${path} = "${value}" ${permissions.map(formatPermission).join(' ')}`,
  )
  t.same(lines, expectedTree)
})

t.test('what the guest may write', async t => {
  const {client} = host()
  for (const path of [
    'control/shutdown',
    'control/feature-suspend',
    'device/suspend/event-channel',
    'data/x',
    'attr/y',
  ]) {
    t.equal(client.write(path, ''), 'OK|', path)
  }
  for (const path of [
    'name',
    'domid',
    'memory/target',
    'store/port',
    'cpu/0/availability',
    'control',
    'control/x',
    'device',
  ]) {
    t.equal(client.write(path, ''), 'EACCES', path)
  }
  t.equal(client.read('memory/target'), '262144')
  t.equal(client.read('vm'), `/vm/${uuid}`)
  t.equal(client.read(`/vm/${uuid}/uuid`), uuid)
  t.equal(client.read('/local/domain/0/backend/console/5/0/state'), '1')
  t.equal(client.list('/local/domain'), 'EACCES')
})

t.test('control', async t => {
  const {client, dom0} = host()
  for (const [path, token] of [
    ['control/shutdown', 's'],
    ['control/sysrq', 'q'],
    ['memory/target', 'm'],
  ]) {
    client.watch(path, token)
  }
  client.takeEvents()
  t.equal(pendingShutdown(dom0, domid), undefined)
  requestShutdown(dom0, domid, 'poweroff')
  t.equal(pendingShutdown(dom0, domid), 'poweroff')
  t.same(client.takeEvents(), ['control/shutdown s'])
  const id = client.begin()
  t.equal(client.read('control/shutdown', id), 'poweroff')
  client.write('control/shutdown', '', id)
  t.equal(client.commit(id), 'OK|')
  t.equal(pendingShutdown(dom0, domid), undefined, 'acknowledged')
  t.notOk(canSuspend(dom0, domid))
  client.write('control/feature-suspend', '1')
  t.ok(canSuspend(dom0, domid))
  client.takeEvents()
  sendSysrq(dom0, domid, 'h')
  setMemoryTarget(dom0, domid, 131_072)
  t.same(client.takeEvents(), ['control/sysrq q', 'memory/target m'])
  t.equal(client.read('control/sysrq'), 'h')
  t.equal(client.read('memory/target'), '131072')
  t.equal(client.write('control/sysrq', ''), 'OK|', 'Linux clears it')
})

t.test('rename and removal', async t => {
  const {server, dom0, client} = host()
  renameInTree(dom0, domid, 'web2')
  t.equal(client.read('name'), 'web2')
  t.equal(client.read(`/vm/${uuid}/name`), 'web2')
  client.write('data/mine', 'x')
  dom0.mkdir('backend/vbd/5/51712')
  dom0.mkdir('backend/vbd/6/51712')
  removeDomainTree(dom0, domid)
  server.release(domid)
  t.same(dom0.list('/vm'), [])
  t.same(dom0.list('/local/domain'), ['0'])
  t.same(dom0.list('backend/console'), [])
  t.same(dom0.list('backend/vbd'), ['6'])
  t.equal(server.store.nodesOwned(domid), 0)
  removeDomainTree(dom0, domid)
})
