/**
 * Starts the process of a domain: the other side of launch.ts, for xl and for a domain that another is to take the place of.
 */
import {spawn} from 'node:child_process'
import {closeSync, existsSync, openSync, readFileSync} from 'node:fs'
import {OperatorError} from '../base/errors.js'
import type {DomainConfig} from './domain-config.js'
import {type DomainRecord, type HostDirectory, hostFailure} from './host-directory.js'
import {memoryForGuests} from './host-size.js'
import {domainTitle, type LaunchRecord, type LaunchReply, type StreamToRestore} from './launch.js'

/** What a domain process runs: a Node.js, and the script. */
export interface DomainProgram {
  readonly runtime: string
  readonly script: string
}

/** A domain that comes by migration: the name it will have, and who hears early that it can run here. */
export interface Arrival {
  readonly name: string
  onFits(): void
}

/** How a domain is started. `saved`: an open stream behind its head. */
export interface Start {
  readonly paused: boolean
  readonly saved?: StreamToRestore | undefined
  readonly arriving?: Arrival | undefined
}

/** Where a domain process finds the stream it is restored from. */
const streamFd = 4

/** Takes name, domid and memory for a domain that is to be started by this process. Errors: OperatorError when one of them is not to be had. */
export function reserveDomain(directory: HostDirectory, config: DomainConfig): Promise<DomainRecord> {
  const {name, uuid, memoryKb, vcpus, domid} = config
  // What is between memory and maxmem is not the domain's before somebody raises its target.
  const wanted = {name, uuid, maxMemoryKb: memoryKb, vcpus, ...(domid === undefined ? {} : {domid})}
  return directory.reserve({...wanted, ...memoryForGuests(directory.path)})
}

/**
 * Starts a domain for which a record has been reserved; resolves when it exists. On any failure nothing of it is left, nor of the record.
 * One that arrives by migration ends with this process until it is accepted.
 * Errors: OperatorError, also with what the domain process answered.
 */
export async function startDomainProcess(
  directory: HostDirectory,
  program: DomainProgram,
  record: DomainRecord,
  config: DomainConfig,
  {paused, saved, arriving}: Start,
): Promise<DomainRecord> {
  try {
    const logName = arriving?.name ?? config.name
    // The domid was asked for once; a domain that is saved, forked or restarted later has another one unless it is asked for again.
    const {domid: _asked, ...lasting} = config
    const launched: LaunchRecord = {
      version: 1,
      hostDirectory: directory.path,
      key: record.key,
      domid: record.domid,
      config: lasting,
      paused,
      socketPath: directory.socketPath(record.key),
      logPath: directory.logPath(logName),
      consoleLogPath: directory.consoleLogPath(logName),
      ...(arriving === undefined ? {} : {arriving: true}),
      ...(saved === undefined ? {} : {restore: {fd: streamFd, head: {bytes: saved.head.bytes, crc: saved.head.crc}}}),
    }
    await launch(program, launched, saved?.fd, arriving)
    return directory.find({key: record.key}) ?? record
  } catch (error) {
    directory.release(record.key)
    throw error
  }
}

function launch(
  {runtime, script}: DomainProgram,
  record: LaunchRecord,
  stream: number | undefined,
  arriving: Arrival | undefined,
): Promise<void> {
  if (!existsSync(script)) {
    throw new OperatorError(`the program of domain processes is missing: "${script}"`, {
      hint: 'build the project: npm run build',
      exitCode: 3,
    })
  }
  const {logPath} = record
  const {name} = record.config
  let log: number
  try {
    log = openSync(logPath, 'a', 0o600)
  } catch (error) {
    throw hostFailure(record.hostDirectory, error)
  }
  const child = spawn(runtime, [script, String(record.domid), name], {
    argv0: domainTitle(record.domid, name),
    cwd: '/',
    // One arena for all threads, which allocate little at a time: what one frees another can use.
    env: {MALLOC_ARENA_MAX: '1', ...process.env},
    detached: true,
    stdio: ['ignore', log, log, 'ipc', ...(stream === undefined ? [] : [stream])],
  })
  closeSync(log)
  return new Promise((resolve, reject) => {
    const silent = (): void => {
      child.kill('SIGKILL')
      reject(
        new OperatorError(`the process of domain "${name}" ended before the domain ran`, {
          hint: `its log is "${logPath}"${lastLine(logPath)}`,
          exitCode: 3,
        }),
      )
    }
    child.once('error', cause =>
      reject(new OperatorError(`cannot start a domain process: ${cause.message}`, {cause, exitCode: 3})),
    )
    child.once('disconnect', silent)
    child.on('message', (reply: LaunchReply) => {
      if ('fits' in reply) return arriving?.onFits()
      child.off('disconnect', silent)
      if (record.arriving) child.channel?.unref()
      else if (child.connected) child.disconnect()
      child.unref()
      if ('ready' in reply) resolve()
      else reject(new OperatorError(reply.failed.message, reply.failed))
    })
    child.send(record, error => {
      if (error !== null) silent()
    })
  })
}

function lastLine(path: string): string {
  const text = readFileSync(path, 'utf8').trimEnd()
  const line = text.slice(text.lastIndexOf('\n') + 1).slice(0, 200)
  return line === '' ? '' : ` and ends with: ${line}`
}
