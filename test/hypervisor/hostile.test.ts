/**
 * A hostile guest: random hypercalls with arguments that are likely to hurt, from a seeded generator. None may throw, none may write outside
 * the domain's record and frames, and afterwards the hypervisor still answers.
 */
import t from 'tap'
import {Hypercall} from '../../lib/abi/xen.js'
import {pvMachine, ramPages, scratchFrame} from '../support/pv-machine.js'

const calls = 60_000
/** After so many calls the guest gets sane page tables again, so that its pointers mean something. */
const callsPerLife = 40

/** xorshift32: the same calls in every run. */
function generator(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

t.test('random hypercalls end with an answer', async t => {
  const guest = pvMachine()
  const random = generator(0x9e3779b9)
  const numbers = [
    ...Object.values(Hypercall).filter(number => number !== Hypercall.iret),
    7,
    22,
    31,
    35,
    36,
    40,
    48,
    999,
  ]
  const edge = [
    0n,
    1n,
    2n,
    3n,
    7n,
    15n,
    64n,
    4095n,
    4096n,
    8192n,
    BigInt(ramPages),
    0x7fffffffn,
    0x80000000n,
    0xffffffffn,
    0x100000000n,
    0x7fffffffffffn,
    0x800000000000n,
    0xffff800000000000n,
    0xffff7fffffffffffn,
    0xfffffffffffff000n,
    0xffffffffffffffffn,
    0x8000000000000000n,
  ]
  const address = () => guest.linear(random(ramPages + 2), random(4) === 0 ? random(4096) : random(512) * 8)
  const value = () => {
    const kind = random(6)
    if (kind === 0) return edge[random(edge.length)]
    if (kind === 1) return BigInt(random(guest.layout.frames + 2))
    if (kind === 2) return BigInt(random(ramPages)) * 4096n + BigInt(random(512))
    if (kind === 3) return BigInt(random(32))
    return address()
  }
  // The decoded code is no business of any hypercall made here: a stray write would show in it.
  const code = guest.memory.bytes.subarray(guest.layout.codeStart, guest.layout.codeEnd)
  code.fill(0xa5)
  let answers = 0
  for (let count = 0; count < calls; count++) {
    if (count % callsPerLife === 0) guest.restart()
    for (let word = 0; word < 24; word++)
      guest.memory.view.setBigUint64(guest.host(scratchFrame) + word * 8, value() as bigint, true)
    const number = numbers[random(numbers.length)]
    const args = [0, 1, 2, 3, 4, 5].map(() => {
      const kind = random(4)
      return kind === 0 ? guest.linear(scratchFrame) : kind === 1 ? BigInt(random(24)) : (value() as bigint)
    })
    // A count in the billions over memory that is all there is legal and only slow.
    if (number === Hypercall.mmuUpdate || number === Hypercall.mmuextOp || number === Hypercall.multicall)
      args[1] = BigInt(random(16))
    try {
      if (Number.isInteger(guest.call(number, ...args))) answers++
    } catch (error) {
      t.fail(`hypercall ${number}(${args.map(argument => argument.toString(16)).join(', ')}): ${error}`)
      throw error
    }
  }
  t.equal(answers, calls)
  t.ok(
    code.every(byte => byte === 0xa5),
    'nothing outside the record and the frames was written',
  )
  guest.restart()
  t.equal(guest.call(Hypercall.xenVersion, 0), (4 << 16) | 17, 'and the hypervisor still answers')
})
