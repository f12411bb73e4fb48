/** RDFSBASE and its kin are unknown as long as CR4.FSGSBASE does not allow them, in every tier. */
import t from 'tap'
import {Segment, state} from '../../lib/x86/state.js'
import {assembled} from '../support/assembler.js'
import {machine} from '../support/machine.js'
import {tiers} from '../support/vector-check.js'

const code = 0x800000
const base = 0x7f0012345678n
const fsgsbase = 0x10000n

for (const [tier, options] of Object.entries(tiers)) {
  t.test(tier, async t => {
    const {vcpu, memory, at, run, faults} = machine(options)
    memory.bytes.set(assembled('rdfsbase rax; wrgsbase rax; rdgsbase rcx; wrfsbase rcx; int3'), at(code))
    const start = (rip: number): number => {
      faults.length = 0
      vcpu.setSegmentBase(Segment.fs, base)
      vcpu.setGpr(0, 0n)
      vcpu.setGpr(1, 0n)
      vcpu.rip = BigInt(rip)
      run()
      return faults[0].vector
    }
    const without = vcpu.u64(state.cr4) & ~fsgsbase
    for (let time = 0; time < 3; time++) {
      vcpu.setU64(state.cr4, without | fsgsbase)
      t.equal(start(code), 3)
      t.equal(vcpu.gpr(1), base)
      vcpu.setU64(state.cr4, without)
      for (let instruction = 0; instruction < 4; instruction++) {
        t.equal(start(code + instruction * 5), 6, `instruction ${instruction}`)
        t.equal(vcpu.rip, BigInt(code + instruction * 5))
      }
    }
  })
}
