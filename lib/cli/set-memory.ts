/** What `xl mem-set` and `xl mem-max` share: a domain, a size, and how failing is told. */
import {OperatorError} from '../base/errors.js'
import type {MemoryRequest} from '../control/protocol.js'
import {memorySizeKb} from '../toolstack/memory-size.js'
import type {CommandContext} from './command.js'

/** Xen's words for what is set. */
const called = {target: 'dynamic max memory', maximum: 'static max memory'} as const

/** Sets target or maximum as the arguments say. Returns the exit status. */
export async function setMemory(
  {host, report, arguments: [identifier, size]}: CommandContext,
  limit: MemoryRequest['limit'],
): Promise<number> {
  const {domid, record} = host.find(identifier)
  const kb = memorySizeKb(size)
  if (kb === undefined) {
    report.error(`invalid memory size: ${size}`)
    return 1
  }
  try {
    if (domid === 0)
      throw new OperatorError("the memory of Domain-0 is the host's own", {hint: 'see "memory" in host.cfg'})
    if (record === undefined) throw new OperatorError(`domain ${domid} does not exist`)
    await host.setMemory(record, limit, kb)
  } catch (error) {
    await report.failure(limit === 'target' ? 'mem-set' : 'mem-max', error)
    report.error(`cannot set domid ${domid} ${called[limit]} to : ${size}`)
    return 1
  }
  return 0
}
