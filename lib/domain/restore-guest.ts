/**
 * A guest that goes on where another process left it: memory and state come from a stream instead of a builder.
 */
import {randomBytes} from 'node:crypto'
import type {DomId, Mfn} from '../base/brand.js'
import {OperatorError} from '../base/errors.js'
import type {DomainConfig} from '../control/domain-config.js'
import {createMachine} from '../hypervisor/create.js'
import {field, MachineRecord} from '../hypervisor/record.js'
import {memoryMaximum, memoryTarget, requestShutdown} from '../xenstore/control.js'
import {renameInTree, setGeneration} from '../xenstore/domain-tree.js'
import {Domain0} from '../xenstore/domain0.js'
import {moveDomain} from '../xenstore/move-domain.js'
import {XenstoreServer} from '../xenstore/server.js'
import type {GuestIdentity} from './boot-guest.js'
import {emptyMachine, Guest, type GuestStore, type Machine, type SharedPages} from './guest.js'
import {hostMemory} from './host-memory.js'
import {checkStart, putState} from './stream/machine-state.js'
import type {SumHelper} from './stream/page-sums.js'
import {readStream} from './stream/reader.js'
import type {StreamContents, StreamStart, StreamState} from './stream/record.js'
import type {StreamSource} from './stream/source.js'
import type {GuestThreads} from './threads.js'

/** A guest as a stream brought it, before anything attaches to it. */
export interface ReadGuest {
  readonly contents: StreamContents
  readonly store: GuestStore
  readonly pages: SharedPages
}

/**
 * Reads a guest into empty memory. It may have another domid, name and uuid than it had. `onStart` is called when the start of the stream shows that
 * the domain can be here. Errors: OperatorError for what is wrong with the stream.
 */
export async function readGuest(
  machine: Machine,
  {uuid, nics}: DomainConfig,
  identity: GuestIdentity,
  source: StreamSource,
  onStart: (start: StreamStart) => void = () => {},
  helper?: SumHelper,
): Promise<ReadGuest> {
  const {memory, layout} = machine
  const contents = await readStream(source, start => {
    checkStart(start, machine)
    createMachine(memory, layout, {domid: identity.domid, uuid, wallOffsetMs: 0})
    onStart(start)
    return {machine, host: hostMemory(memory.wasm), helper}
  })
  putState(machine, contents)
  const {state} = contents
  const record = new MachineRecord(memory)
  const store = restoreStore(state, record.uuid, uuid, identity)
  const dom0 = new Domain0(store.server)
  const domid = identity.domid as DomId
  // A stream that can be used once makes no second copy of what the guest remembers.
  if (contents.start.token === undefined) setGeneration(dom0, domid, randomBytes(16))
  setMacs(dom0, domid, nics)
  record.setU32(field.domid, identity.domid)
  record.uuid = uuid
  const pages = {store: sharedPage(machine, state.storePage), console: sharedPage(machine, state.consolePage)}
  return {contents, store, pages}
}

/**
 * The guest of a stream; `enter` lets it run. A stream that can be used once is known to fit as soon as its start has been read.
 * Errors: OperatorError for what is wrong with the stream.
 */
export async function restoreGuest(
  config: DomainConfig,
  identity: GuestIdentity,
  threads: GuestThreads,
  source: StreamSource,
  onMigrationFits: () => void = () => {},
): Promise<{guest: Guest; enter: () => void; token?: string}> {
  const machine = emptyMachine(config)
  const {memory, layout} = machine
  const {contents, store, pages} = await readGuest(
    machine,
    config,
    identity,
    source,
    start => {
      threads.machine(memory.wasm, layout)
      if (start.token !== undefined) onMigrationFits()
    },
    table => threads.assist(table),
  )
  const guest = new Guest(machine, threads, store, pages)
  const {domid} = identity
  // Linux shows its wall clock's step only when it wakes from a suspend: it is asked for one, which the hypervisor cancels (hypercall/sched.ts).
  const stepsAtSuspend = guest.dom0.read(`/local/domain/${domid}/control/feature-suspend`) === '1'
  if (stepsAtSuspend) requestShutdown(guest.dom0, domid as DomId, 'suspend')
  const {token} = contents.start
  return {
    guest,
    enter: () => threads.enter({resumeAtNs: contents.state.timeNs, stepsAtSuspend}),
    ...(typeof token === 'string' ? {token} : {}),
  }
}

/** A child of a fork has addresses of its own. */
function setMacs(dom0: Domain0, domid: DomId, nics: DomainConfig['nics']): void {
  for (const [index, {mac}] of nics.entries()) {
    const path = `/local/domain/${domid}/device/vif/${index}/mac`
    if (mac !== undefined && dom0.read(path) !== undefined) dom0.write(path, mac)
  }
}

function sharedPage({layout}: Machine, frame: number): Mfn {
  if (Number.isInteger(frame) && frame >= 0 && frame < layout.ramPages) return frame as Mfn
  throw new OperatorError('the saved domain cannot be: its rings lie nowhere', {exitCode: 3})
}

/** Xenstore as it was, for the domain as it is now. */
function restoreStore(state: StreamState, formerUuid: string, uuid: string, {domid, name}: GuestIdentity): GuestStore {
  try {
    const moved = moveDomain(state.xenstore, {domid: state.domid, uuid: formerUuid}, {domid, uuid})
    const server = XenstoreServer.restore(moved)
    const connection = server.connectionOf(domid as DomId)
    const dom0 = new Domain0(server)
    renameInTree(dom0, domid as DomId, name)
    const hasMemory = memoryTarget(dom0, domid as DomId) > 0 && memoryMaximum(dom0, domid as DomId) > 0
    if (connection !== undefined && hasMemory) return {server, connection}
  } catch {
    // Whatever is not as XenstoreState says ends up here.
  }
  throw new OperatorError('the saved domain cannot be: its xenstore is broken', {exitCode: 3})
}
