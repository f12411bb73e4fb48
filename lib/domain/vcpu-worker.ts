/**
 * Entry of the vCPU's thread: gets its machine, makes the processor, helps with sums while a guest is restored, and runs the guest until the
 * domain stops (running-guest.ts).
 */
import {parentPort} from 'node:worker_threads'
import {RunningGuest} from './running-guest.js'
import {workOn} from './stream/page-sums.js'
import {xxh64} from './stream/xxh64.js'
import type {GuestEntry, GuestMachine, SumOrder} from './vcpu-messages.js'

const port = parentPort!
port.once('message', (machine: GuestMachine) => {
  const guest = new RunningGuest(machine, message => port.postMessage(message))
  port.on('message', (order: SumOrder | GuestEntry) => {
    if ('sums' in order) return workOn(order.sums, xxh64(machine.memory))
    guest.run(order)
    port.close()
  })
})
