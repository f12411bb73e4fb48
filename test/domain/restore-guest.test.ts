/** A domain that goes on as another: its xenstore is that of the new domid, name and uuid, and what must differ between two copies does. */
import t from 'tap'
import type {DomId} from '../../lib/base/brand.js'
import type {DomainConfig} from '../../lib/control/domain-config.js'
import {readGuest} from '../../lib/domain/restore-guest.js'
import {RecordType} from '../../lib/domain/stream/record.js'
import {field, MachineRecord} from '../../lib/hypervisor/record.js'
import {Domain0} from '../../lib/xenstore/domain0.js'
import {walk} from '../../lib/xenstore/node.js'
import {domid} from '../support/pv-machine.js'
import {bytesSource, parkedMachine, recordsOf, savedStream, savedUuid, streamOf} from '../support/saved-machine.js'

// Restored into itself.
const {machine} = parkedMachine()
const plain = await savedStream(machine)
const child = {domid: 9, name: 'child'}
const config = {uuid: 'ffeeddcc-bbaa-9988-7766-554433221100', nics: [] as unknown} as DomainConfig

async function restored(stream: Buffer, as: DomainConfig = config) {
  const {store, pages} = await readGuest(machine, as, child, bytesSource(stream))
  return {dom0: new Domain0(store.server), store, pages}
}

/** The stream with another state. */
function changed(change: (value: Record<string, unknown>) => void): Buffer {
  const records = recordsOf(plain)
  const record = records.find(each => each.type === RecordType.state)!
  const value = JSON.parse(record.payload.toString())
  change(value)
  record.payload = Buffer.from(JSON.stringify(value))
  return streamOf(records)
}

t.test('another domid, name and uuid', async t => {
  const {dom0, store, pages} = await restored(plain)
  t.equal(dom0.read('/local/domain/9/name'), 'child')
  t.equal(dom0.read('/local/domain/9/domid'), '9')
  t.equal(dom0.read('/local/domain/9/vm'), `/vm/${config.uuid}`)
  t.equal(dom0.read(`/vm/${config.uuid}/name`), 'child')
  t.equal(dom0.read(`/vm/${config.uuid}/uuid`), config.uuid)
  t.equal(dom0.read('/local/domain/9/console/backend'), '/local/domain/0/backend/console/9/0')
  t.equal(dom0.read('/local/domain/0/backend/console/9/0/frontend'), '/local/domain/9/console')
  t.ok(store.server.isIntroduced(9 as DomId))
  t.notOk(store.server.isIntroduced(domid as DomId))
  const everything = [...walk('/', store.server.store.root)].map(([path]) => path).join('\n')
  t.notMatch(everything, new RegExp(`/${domid}(/|$)|${savedUuid}`, 'm'), 'nothing of the former is left')
  const record = new MachineRecord(machine.memory)
  t.strictSame([record.u32(field.domid), record.uuid], [9, config.uuid])
  t.strictSame(pages, {store: 20, console: 21})
})

t.test('a generation id for each copy, but not for one that has only moved', async t => {
  const path = '/local/domain/9/platform/generation-id'
  const [first, second] = [(await restored(plain)).dom0.read(path), (await restored(plain)).dom0.read(path)]
  t.match(first, /^\d+:\d+$/)
  t.not(first, '0:0', 'that of the saved domain')
  t.not(first, second)
  const migrated = await savedStream(machine, {token: 'a'})
  t.equal((await restored(migrated)).dom0.read(path), '0:0')
})

t.test('MAC addresses', async t => {
  const withVif = changed(value => {
    const {store} = value.xenstore as {store: {nodes: {path: string; value: string}[]}}
    const sample = store.nodes.find(node => node.path === `/local/domain/${domid}/control`)!
    for (const [name, text] of Object.entries({
      device: '',
      'device/vif': '',
      'device/vif/0': '',
      'device/vif/0/mac': '00:16:3e:00:00:01',
    })) {
      const path = `/local/domain/${domid}/${name}`
      if (!store.nodes.some(node => node.path === path)) store.nodes.push({...sample, path, value: text})
    }
  })
  const nics = [{mac: '00:16:3e:12:34:56'}, {mac: '00:16:3e:12:34:57'}]
  const {dom0} = await restored(withVif, {...config, nics} as DomainConfig)
  t.equal(dom0.read('/local/domain/9/device/vif/0/mac'), '00:16:3e:12:34:56')
  t.equal(dom0.read('/local/domain/9/device/vif/1/mac'), undefined, 'no device is made up')
})
