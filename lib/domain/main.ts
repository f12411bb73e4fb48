/**
 * Entry of a domain process: `xl create` starts it and hands over the launch record. See control/launch.ts for the contract.
 */
import {receiveLaunch} from '../control/launch.js'
import {DomainProcess} from './process.js'

let domain: DomainProcess | undefined
const launch = await receiveLaunch(() => {
  domain?.abandon()
  process.exit(1)
})
domain = new DomainProcess(launch)
await domain.start()
