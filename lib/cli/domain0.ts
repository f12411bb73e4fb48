/** Domain-0 as a row and as a record: the machine itself, so that scripts written for Xen find what they skip or add up. */
import type {Host} from '../toolstack/host.js'
import type {ListRow} from './format.js'

/** The id Xen gives Domain-0. */
export const domain0Uuid = '00000000-0000-0000-0000-000000000000'

/** Its row in `xl list`. */
export function domain0Row(host: Host): ListRow {
  const {cpuTimeNs, memoryKb, vcpus} = host.domain0()
  return {name: 'Domain-0', domid: 0, memoryKb, vcpus, state: 'r-----', cpuTimeNs}
}
