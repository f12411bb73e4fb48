/**
 * What the toolstack asks of a running guest, through nodes the guest watches. The guest answers a shutdown request by
 * writing the empty value, then does it; a guest without the drivers never answers.
 * Source: docs/misc/xenstore-paths.pandoc (control/*, memory/target), tools/libs/light/libxl_domain.c.
 */
import type {DomId} from '../base/brand.js'
import type {Domain0} from './domain0.js'
import {domainPath} from './path.js'

/** What a guest can be asked to do with itself. */
export type ShutdownRequest = 'poweroff' | 'reboot' | 'halt' | 'suspend'

/** Asks the guest to shut down in some way. */
export function requestShutdown(store: Domain0, domid: DomId, request: ShutdownRequest): void {
  store.write(`${domainPath(domid)}/control/shutdown`, request)
}

/** The request the guest has not answered yet, if any. */
export function pendingShutdown(store: Domain0, domid: DomId): string | undefined {
  return store.read(`${domainPath(domid)}/control/shutdown`) || undefined
}

/** Whether the guest has said that it can be suspended. */
export function canSuspend(store: Domain0, domid: DomId): boolean {
  return store.read(`${domainPath(domid)}/control/feature-suspend`) === '1'
}

/** Sends the guest a magic SysRq key, one character. */
export function sendSysrq(store: Domain0, domid: DomId, key: string): void {
  store.write(`${domainPath(domid)}/control/sysrq`, key)
}

/** Tells the guest's balloon driver how much memory to use, in KiB. */
export function setMemoryTarget(store: Domain0, domid: DomId, targetKib: number): void {
  store.write(`${domainPath(domid)}/memory/target`, `${targetKib}`)
}

/** How much memory the guest is told to use, in KiB. */
export function memoryTarget(store: Domain0, domid: DomId): number {
  return Number(store.read(`${domainPath(domid)}/memory/target`))
}

/** Sets the most memory that the target may become, in KiB. */
export function setMemoryMaximum(store: Domain0, domid: DomId, maximumKib: number): void {
  store.write(`${domainPath(domid)}/memory/static-max`, `${maximumKib}`)
}

/** The most memory that the target may become, in KiB. */
export function memoryMaximum(store: Domain0, domid: DomId): number {
  return Number(store.read(`${domainPath(domid)}/memory/static-max`))
}
