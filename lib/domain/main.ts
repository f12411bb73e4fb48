/**
 * Entry of a domain process: `xl create` starts it and hands over the launch record. See control/launch.ts for the contract.
 */
import {receiveLaunch} from '../control/launch.js'
import type {DomainProcess} from './process.js'
import {GuestThreads} from './threads.js'

let domain: DomainProcess | undefined
// The vCPU's program is the larger: its thread begins first.
const threads = new GuestThreads()
const program = import('./process.js')
void receiveLaunch(() => {
  domain?.abandon()
  process.exit(1)
}).then(async launch => {
  domain = new (await program).DomainProcess(launch, threads)
  await domain.start()
})
