/**
 * Entry of a domain process: `xl create` starts it and hands over the launch record. See control/launch.ts for the contract.
 */
import {setFlagsFromString} from 'node:v8'
import {receiveLaunch} from '../control/launch.js'
import type {DomainProcess} from './process.js'
import {GuestThreads} from './threads.js'

// Translations are compiled where they are made, on the translator's thread, and say which of their branches are seldom taken: misses of the TLB
// are then out of the way. Nothing is worth inlining, and counting calls for it costs at every one. Engines without these settings ignore them.
setFlagsFromString('--no-wasm-lazy-compilation')
setFlagsFromString('--no-wasm-inlining')
setFlagsFromString('--experimental-wasm-branch-hinting')

let domain: DomainProcess | undefined
// The vCPU's program is the larger: its thread begins first.
const threads = new GuestThreads()
const program = import('./process.js')
const launch = await receiveLaunch(() => {
  domain?.abandon()
  process.exit(1)
})
domain = new (await program).DomainProcess(launch, threads)
await domain.start()
