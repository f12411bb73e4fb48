/**
 * Code that writes over itself while it runs is seen at the next instruction, in every tier: through its own address, through another
 * address of the same frame, and where an instruction lies across two pages, of which only one is written to.
 */
import t from 'tap'
import {assembled} from '../support/assembler.js'
import {machine} from '../support/machine.js'
import {tiers} from '../support/vector-check.js'

const turns = 100
const runs = 4
/** A second address of all frames: the first 2 MiB of the second GiB. */
const alias = 0x40000000
const aliasEntry = 19 * 4096

/** Where the immediate of the MOV lies, and where INC finds what it changes. */
const places: Record<string, {immediate: number; written: number}> = {
  'through its own address': {immediate: 0x100100, written: 0x100100},
  'through another address of the frame': {immediate: 0x100100, written: alias + 0x100100},
  'across two pages': {immediate: 0x100ffe, written: 0x100ffe},
  'in the second of two pages': {immediate: 0x100ffe, written: 0x101000},
  'in the second of two pages, through another address': {immediate: 0x100ffe, written: alias + 0x101000},
}

for (const [tier, options] of Object.entries(tiers)) {
  t.test(tier, async t => {
    for (const [how, {immediate, written}] of Object.entries(places)) {
      const {vcpu, memory, at, run} = machine(options)
      memory.uint32[at(aliasEntry) >> 2] = 0x87
      const again = immediate - 1
      const start = again - assembled(`mov ecx,${turns}; xor edx,edx`).length
      const code = assembled(
        `mov ecx,${turns}; xor edx,edx; mov eax,0; add edx,eax; inc DWORD PTR [rbx]; dec ecx; jne ${again}; int3`,
        {rip: start},
      )
      t.equal(code[again - start], 0xb8)
      memory.bytes.set(code, at(start))
      const step = 2 ** (8 * ((written % alias) - immediate))
      let seen = 0
      for (let time = 0; time < runs; time++) {
        vcpu.setGpr(3, BigInt(written))
        vcpu.rip = BigInt(start)
        run()
        let sum = 0
        for (let turn = 0; turn < turns; turn++) sum += step * seen++
        t.equal(Number(vcpu.gpr(2)), sum % 2 ** 32, `${how}, run ${time}`)
      }
    }
  })
}
