/**
 * A guest that starts with a kernel: memory, machine, the builder's work, xenstore's tree. The vCPU's thread gets ready while the kernel is read.
 */
import {randomBytes} from 'node:crypto'
import type {DomId, EventPort, Mfn} from '../base/brand.js'
import type {DomainConfig} from '../control/domain-config.js'
import {consolePort, createMachine, storePort} from '../hypervisor/create.js'
import {createDomainTree} from '../xenstore/domain-tree.js'
import {Domain0} from '../xenstore/domain0.js'
import {XenstoreServer} from '../xenstore/server.js'
import {buildDomain} from './builder.js'
import {emptyMachine, Guest} from './guest.js'
import {readInputs} from './inputs.js'
import type {GuestThreads} from './threads.js'

/** Which domain a guest is of. */
export interface GuestIdentity {
  readonly domid: number
  readonly name: string
}

/**
 * Builds a guest; `enter` lets it run. `isWanted` is asked once its files are read: undefined when the answer is no.
 * Errors: OperatorError for what is wrong with configuration or kernel.
 */
export async function bootGuest(
  config: DomainConfig,
  {domid, name}: GuestIdentity,
  threads: GuestThreads,
  isWanted: () => boolean,
): Promise<{guest: Guest; enter: () => void; origin: string} | undefined> {
  const machine = emptyMachine(config)
  const {memory, layout} = machine
  const presentPages = Math.floor(config.memoryKb / 4)
  createMachine(memory, layout, {domid, uuid: config.uuid, wallOffsetMs: wallOffsetMs(config), presentPages})
  threads.machine(memory.wasm, layout)
  const inputs = await readInputs(config)
  if (!isWanted()) return undefined
  const built = buildDomain({
    memory: {bytes: memory.bytes, addressOf: mfn => layout.ramBase + mfn * 4096},
    ...inputs,
    cmdline: config.cmdline,
    ramPages: presentPages,
    sharedInfo: layout.sharedInfo as Mfn,
    storePort: storePort as EventPort,
    consolePort: consolePort as EventPort,
  })
  const server = new XenstoreServer()
  createDomainTree(new Domain0(server), {
    domid: domid as DomId,
    name,
    uuid: config.uuid,
    startTimeMs: Date.now(),
    generation: randomBytes(16),
    targetKib: config.memoryKb,
    maximumKib: config.maxMemoryKb,
    vcpus: 1,
    maximumVcpus: 1,
    store: {mfn: built.store, port: storePort as EventPort},
    console: {mfn: built.console, port: consolePort as EventPort},
  })
  const guest = new Guest(machine, threads, {server, connection: server.introduce(domid as DomId)}, built)
  const {rip, rsp, rsi, level4} = built
  return {guest, enter: () => threads.enter({rip, rsp, rsi, level4}), origin: `kernel ${inputs.kernel.name}`}
}

/** What the guest's wall clock shows more than UTC: local time, rtc_timeoffset. */
function wallOffsetMs(config: DomainConfig): number {
  const local = config.localtime ? -new Date().getTimezoneOffset() * 60_000 : 0
  return local + config.rtcTimeoffsetSeconds * 1000
}
