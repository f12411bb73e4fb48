/**
 * What shutdown and reboot have in common: a request to one guest or to all, and waiting for what comes of it.
 * Source: tools/xl/xl_vmcontrol.c main_shutdown_or_reboot() for the texts.
 */
import {OperatorError} from '../base/errors.js'
import type {DomainRecord} from '../control/host-directory.js'
import {type DomainEnd, type ShutdownRequest, shutdownReasons} from '../control/protocol.js'
import {type ControlClient, DomainGoneError} from '../control/socket.js'
import type {CommandContext} from './command.js'

const noParavirtualControl = 10

/** Asks and, with -w, waits. `verb` is "Shutting down" or "Rebooting"; `word` the command's name. */
export async function requestShutdown(
  context: CommandContext,
  request: ShutdownRequest,
  verb: string,
  word: string,
): Promise<number> {
  const {host, report, options, counts, arguments: names} = context
  const all = options.all === true
  if (!all && names.length === 0) {
    report.error('You must specify -a or a domain id.\n')
    return 1
  }
  const domains = all
    ? host.records()
    : names.map(name => host.find(name)).map(found => present(found.domid, found.record, word))
  const until = (counts.wait ?? 0) > 1 ? 'death' : 'shutdown'
  let failures = 0
  const asked: {record: DomainRecord; client: ControlClient; end: Promise<DomainEnd>}[] = []
  for (const record of domains) {
    report.error(`${verb} domain ${record.domid}`)
    try {
      const client = await host.connect(record)
      // The wait goes first: a guest may be down before a later one would reach its process.
      const end = options.wait ? client.request('wait', {until}) : Promise.resolve({domid: record.domid})
      end.catch(() => {})
      try {
        await client.request('shutdown', {request})
        asked.push({record, client, end})
      } catch (error) {
        client.close()
        throw error
      }
    } catch (error) {
      failures++
      await explain(context, error, word)
    }
  }
  if (options.wait === true && asked.length > 0) {
    report.error(`Waiting for ${asked.length} domains`)
    await Promise.all(asked.map(({record, end}) => tellEnd(context, record, end, until)))
  }
  for (const {client} of asked) client.close()
  return failures === 0 ? 0 : 1
}

function present(domid: number, record: DomainRecord | undefined, word: string): DomainRecord {
  if (record !== undefined) return record
  const reason = domid === 0 ? 'is this machine; shut it down with its own commands' : 'does not exist'
  throw new OperatorError(`domain ${domid} ${reason} (${word} failed)`)
}

async function explain({report}: CommandContext, error: unknown, word: string): Promise<void> {
  if (error instanceof OperatorError && error.exitCode === noParavirtualControl) {
    report.error('PV control interface not available: external graceful shutdown not possible.')
    report.error('Use "-F" to fallback to ACPI power event.')
  } else await report.failure(word, error)
  const code = error instanceof OperatorError && error.exitCode === noParavirtualControl ? noParavirtualControl : 3
  report.error(`${word} failed (rc=-${code})`)
}

/** Waits for a domain's end and says what it was. */
async function tellEnd(
  {report}: CommandContext,
  record: DomainRecord,
  end: Promise<DomainEnd>,
  until: 'shutdown' | 'death',
): Promise<void> {
  try {
    const {domid, reason} = await end
    if (until === 'death' || reason === undefined) report.error(`Domain ${domid} has been destroyed`)
    else report.error(`Domain ${domid} has been shut down, reason code ${shutdownReasons.indexOf(reason)}`)
  } catch (error) {
    if (!(error instanceof DomainGoneError)) throw error
    report.error(`Domain ${record.domid} has been destroyed`)
  }
}
