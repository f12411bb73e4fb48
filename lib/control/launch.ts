/**
 * How a domain process comes to life.
 *
 *   xl (launcher.ts)                            domain process (lib/domain/main.ts)
 *   reserve a record in the host directory
 *   spawn detached, argv0 "gastwirt: domain 5 web1", stdout and stderr → log/<name>.log, an IPC channel
 *   LaunchRecord ──────────────────────────────→ receiveLaunch()
 *                                               host.adopt(key); build the domain, paused or not; serveControl()
 *              ←──────────────────────────────  ready()  or  failed(error), which also releases the record
 *   close the channel; go on or give up         goes on alone
 *
 * If xl dies before `ready`, the channel closes, and the process must end, leaving nothing: `receiveLaunch` calls `onAbandoned`, which
 * tears down whatever has been built, releases the record and exits. If the domain process dies before `ready`, xl sees the channel
 * close, releases the record, and reports the end of the log.
 *
 * A reboot (on_reboot = "restart") stays in the process: `host.renew(key)` gives the new domid, the domain is built again, the socket
 * and the consoles stay as they are. With "rename-restart" the process does xl's part for that of a new domain (domain/successor.ts).
 * At the end `host.release(key)` comes first, so that whoever waits for the end finds the name free; then answer those who wait, end
 * the consoles, close the control socket, and end by SIGKILL, which nothing can hold up.
 */
import {OperatorError} from '../base/errors.js'
import type {DomainConfig} from './domain-config.js'

/** An open stream behind its head, and the length and CRC-32 of that. */
export interface StreamToRestore {
  fd: number
  head: {bytes: number; crc: number}
}

/** All that a domain process is told. */
export interface LaunchRecord {
  version: 1
  /** Path for `new HostDirectory(path)`. */
  hostDirectory: string
  /** Names the record and the socket in the host directory. */
  key: string
  domid: number
  /** With `kernel` filled in, also where the configuration names an image. */
  config: DomainConfig
  /** What to restore the domain from. Absent: it boots. */
  restore?: StreamToRestore
  /** It arrives by migration: until it is accepted it ends with the xl that started it. */
  arriving?: boolean
  /** Build the domain and leave it paused until `unpause`. */
  paused: boolean
  socketPath: string
  /** The log of this process, to which standard error leads already. */
  logPath: string
  consoleLogPath: string
}

/** What a domain process sends back: `fits` when an arriving domain can run here, then one of the others. */
export type LaunchReply = {fits: true} | {ready: true} | {failed: {message: string; hint?: string; exitCode: number}}

/** What a domain process holds while it starts. */
export interface Launch {
  record: LaunchRecord
  /** Tells xl that the domain of the stream can run here. */
  fits(): void
  /** Tells xl that the domain exists and answers on its socket; from here on the process stands alone. */
  ready(): Promise<void>
  /** A domain that arrived is here to stay: it no longer ends with xl. */
  accepted(): void
  /** Tells xl why there will be no domain. The caller has released everything and exits afterwards. */
  failed(error: unknown): Promise<void>
}

/** The title `ps` shows. */
export function domainTitle(domid: number, name: string): string {
  return `gastwirt: domain ${domid} ${name}`
}

/** In the domain process: waits for the record. `onAbandoned` is called when xl is gone before `ready` or `failed`. */
export async function receiveLaunch(onAbandoned: () => void): Promise<Launch> {
  if (process.send === undefined) {
    throw new OperatorError('a domain process is started by "xl create"', {exitCode: 2})
  }
  return new Promise(resolve => {
    process.once('disconnect', onAbandoned)
    process.once('message', (record: LaunchRecord) => {
      process.title = domainTitle(record.domid, record.config.name)
      const reply = (message: LaunchReply): Promise<void> =>
        new Promise(done => {
          process.off('disconnect', onAbandoned)
          process.once('disconnect', () => done())
          if (!process.connected) done()
          else process.send!(message, () => process.connected && process.disconnect())
        })
      const arrived = (): Promise<void> =>
        new Promise(done => process.send!({ready: true} satisfies LaunchReply, () => done()))
      resolve({
        record,
        fits: () => void process.send!({fits: true} satisfies LaunchReply),
        ready: () => (record.arriving ? arrived() : reply({ready: true})),
        accepted: () => {
          process.off('disconnect', onAbandoned)
          if (process.connected) process.disconnect()
        },
        failed: error => reply({failed: describe(error)}),
      })
    })
  })
}

function describe(error: unknown): {message: string; hint?: string; exitCode: number} {
  if (error instanceof OperatorError) return {message: error.message, hint: error.hint, exitCode: error.exitCode}
  return {
    message: `internal error in the domain process: ${error instanceof Error ? error.message : error}`,
    exitCode: 3,
  }
}
