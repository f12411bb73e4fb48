/**
 * The nodes a domain finds in xenstore when it starts, as Xen's toolstack makes them, and their removal when it ends.
 *
 *   /vm/<uuid>                            facts about the domain; read-only for it
 *   /local/domain/N                       its own directory; read-only but for the nodes marked guest-owned below
 *   /local/domain/0/backend/console/N/0   the other end of its console
 *
 * Frontends and backends of block and network devices are added by their own backends.
 * Source: tools/libs/light (libxl_create.c, libxl_dom.c, libxl_console.c), docs/misc/xenstore-paths.pandoc.
 */
import {XenbusState} from '../abi/io/xenbus.js'
import type {DomId, EventPort, Mfn} from '../base/brand.js'
import type {Domain0} from './domain0.js'
import {domainPath} from './path.js'

/** What the tree tells of a domain. */
export interface DomainFacts {
  readonly domid: DomId
  readonly name: string
  /** In the form 8-4-4-4-12. */
  readonly uuid: string
  /** UTC, milliseconds since 1970. */
  readonly startTimeMs: number
  /** 16 random bytes. */
  readonly generation: Uint8Array
  /** Memory the guest should aim at, in KiB. */
  readonly targetKib: number
  /** Most memory the guest may ever have, in KiB. */
  readonly maximumKib: number
  /** vCPUs online at the start. */
  readonly vcpus: number
  readonly maximumVcpus: number
  readonly store: SharedPage
  readonly console: SharedPage
}

/** A page and the event channel that go together. */
export interface SharedPage {
  readonly mfn: Mfn
  readonly port: EventPort
}

/** Nodes below /local/domain/N that belong to the guest, empty until it writes them. */
const guestOwned = [
  'control/shutdown',
  'control/feature-poweroff',
  'control/feature-reboot',
  'control/feature-suspend',
  'control/sysrq',
  'device/suspend/event-channel',
  'data',
  'drivers',
  'feature',
  'attr',
  'error',
]

/** How much of the guest's output Xen's console daemon would keep, in bytes. */
const consoleLimit = 1024 * 1024

/** Makes the tree of a domain. */
export function createDomainTree(store: Domain0, facts: DomainFacts): void {
  const {domid} = facts
  const home = domainPath(domid)
  const vm = vmPath(facts.uuid)
  const readOnly = ['n0', `r${domid}`]

  store.mkdir(vm, readOnly)
  for (const [path, value] of Object.entries(vmNodes(facts))) store.write(`${vm}/${path}`, value)

  store.mkdir(home, readOnly)
  for (const [path, value] of Object.entries(homeNodes(facts, vm))) store.write(`${home}/${path}`, value)
  for (const path of guestOwned) store.mkdir(`${home}/${path}`, [`n${domid}`])
  store.mkdir(`${home}/platform`)
  setGeneration(store, domid, facts.generation)

  const backend = consoleBackendPath(domid)
  store.mkdir(backend, readOnly)
  for (const [path, value] of Object.entries(consoleBackendNodes(domid, home))) store.write(`${backend}/${path}`, value)
}

/**
 * Gives the domain another generation id: its memory has been that of another domain, or will have been twice, and what must not come twice has to be
 * made anew. Source: docs/misc/xenstore-paths.pandoc, ~/platform/generation-id.
 */
export function setGeneration(store: Domain0, domid: DomId, generation: Uint8Array): void {
  const halves = new BigUint64Array(generation.slice().buffer)
  store.write(`${domainPath(domid)}/platform/generation-id`, `${halves[0]}:${halves[1]}`)
}

/** Removes the tree of a domain and the backend directories made for it. */
export function removeDomainTree(store: Domain0, domid: DomId): void {
  const vm = store.read(`${domainPath(domid)}/vm`)
  for (const kind of store.list('backend')) store.remove(`backend/${kind}/${domid}`)
  store.remove(domainPath(domid))
  if (vm) store.remove(vm)
}

/** Writes a domain's new name wherever the old one stands. */
export function renameInTree(store: Domain0, domid: DomId, name: string): void {
  const home = domainPath(domid)
  store.write(`${home}/name`, name)
  store.write(`${store.read(`${home}/vm`)}/name`, name)
}

function vmPath(uuid: string): string {
  return `/vm/${uuid}`
}

function consoleBackendPath(domid: DomId): string {
  return `/local/domain/0/backend/console/${domid}/0`
}

function vmNodes({name, uuid, startTimeMs}: DomainFacts): Record<string, string> {
  return {name, uuid, 'image/ostype': 'linux', start_time: (startTimeMs / 1000).toFixed(2)}
}

function homeNodes(facts: DomainFacts, vm: string): Record<string, string> {
  const nodes: Record<string, string> = {
    vm,
    name: facts.name,
    domid: `${facts.domid}`,
    'memory/static-max': `${facts.maximumKib}`,
    'memory/target': `${facts.targetKib}`,
    'memory/videoram': '0',
    'store/port': `${facts.store.port}`,
    'store/ring-ref': `${facts.store.mfn}`,
    'console/backend': consoleBackendPath(facts.domid),
    'console/backend-id': '0',
    'console/limit': `${consoleLimit}`,
    'console/type': 'xenconsoled',
    'console/output': 'pty',
    'console/tty': '',
    'console/port': `${facts.console.port}`,
    'console/ring-ref': `${facts.console.mfn}`,
    'control/platform-feature-multiprocessor-suspend': '1',
    'control/platform-feature-xs_reset_watches': '1',
  }
  for (let vcpu = 0; vcpu < facts.maximumVcpus; vcpu++) {
    nodes[`cpu/${vcpu}/availability`] = vcpu < facts.vcpus ? 'online' : 'offline'
  }
  return nodes
}

function consoleBackendNodes(domid: DomId, home: string): Record<string, string> {
  return {
    frontend: `${home}/console`,
    'frontend-id': `${domid}`,
    online: '1',
    state: `${XenbusState.initialising}`,
    protocol: 'vt100',
  }
}
