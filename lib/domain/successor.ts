/**
 * rename-restart: a domain that has shut down stays to be looked at, under another name, and a new one of the same configuration takes its place. Each
 * has a process of its own, so the old one's starts the new one's, as xl would.
 *
 * The other name tells the minute. If it is taken, the domain stays where it is and nothing is started, as with Xen's xl: a guest that crashes as soon as
 * it runs does not fill the host.
 * Source: tools/xl/xl_vmcontrol.c (preserve_domain).
 */
import {randomUUID} from 'node:crypto'
import {OperatorError} from '../base/errors.js'
import type {DomainConfig} from '../control/domain-config.js'
import type {HostDirectory} from '../control/host-directory.js'
import {reserveDomain, startDomainProcess} from '../control/launcher.js'
import type {DomainEnd} from '../control/protocol.js'

/** What is left to the domain that makes way. */
export interface Predecessor {
  rename(name: string, uuid: string): Promise<void>
  log(line: string): void
}

/** See the file's head. `config` is what the new domain will be. Resolves to what came of it. */
export async function makeWay(
  host: HostDirectory,
  config: DomainConfig,
  old: Predecessor,
): Promise<Pick<DomainEnd, 'successor' | 'failed'>> {
  const {domid: _, ...successor} = config
  try {
    const suffix = minuteSuffix(new Date())
    old.log(`Preserving domain ${config.name} with suffix${suffix}`)
    await old.rename(config.name + suffix, randomUUID())
    const record = await reserveDomain(host, successor)
    const program = {runtime: process.execPath, script: process.argv[1]}
    const {domid, key} = await startDomainProcess(host, program, record, successor, {paused: false})
    old.log(`Done. Rebooting now as domain ${domid}`)
    return {successor: key}
  } catch (error) {
    const message = `domain ${config.name} is not started again: ${error instanceof Error ? error.message : error}`
    old.log(message)
    return {failed: {message, exitCode: error instanceof OperatorError ? error.exitCode : 3}}
  }
}

/** "-20261201T0543Z". */
function minuteSuffix(now: Date): string {
  const [date, time] = now.toISOString().split('T')
  return `-${date.replaceAll('-', '')}T${time.slice(0, 5).replace(':', '')}Z`
}
