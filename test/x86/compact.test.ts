/**
 * A quiet moment's tidying: handlers that came in many modules are made once more in one, translations whose code is gone are let go. The
 * guest notices neither.
 */
import t from 'tap'
import {type Machine, machine} from '../support/machine.js'
import {tiers} from '../support/vector-check.js'

const codeAt = 0x100000
const otherAt = 0x102000

const times = <Item>(count: number, item: (index: number) => Item) => Array.from({length: count}, (_, at) => item(at))

const int32 = (value: number) => times(4, at => (value >> (at * 8)) & 0xff)

/** Each in a block of its own, and so its handler in a module of its own. */
const program = [
  ...times(16, condition => [0x0f, 0x90 | condition, 0xc0 | (condition & 3)]), //        SETcc
  ...times(16, condition => [0x0f, 0x40 | condition, 0xc1]), //                          CMOVcc EAX, ECX
  ...times(8, operation => [0x01 | (operation << 3), 0xd8]), //                          ADD … CMP EAX, EBX
  ...times(8, operation => [0x48, 0x01 | (operation << 3), 0xca]), //                    ADD … CMP RDX, RCX
  ...times(8, operation => [0x00 | (operation << 3), 0xe1]), //                          ADD … CMP CL, AH
  ...[0, 1, 4, 5, 7].flatMap(shift => [
    [0xc1, 0xc0 | (shift << 3), 3], //                                                   ROL … SAR EAX, 3
    [0x48, 0xc1, 0xc3 | (shift << 3), 5], //                                             ROL … SAR RBX, 5
    [0xd2, 0xc2 | (shift << 3)], //                                                      ROL … SAR DL, CL
  ]),
].flatMap(bytes => [...bytes, 0xeb, 0]) // JMP to what follows

function load(target: Machine, address: number, code: readonly number[]): void {
  target.memory.bytes.set([...code, 0xcc], target.at(address))
  target.vcpu.code.invalidatePage(target.at(address))
}

function run({vcpu, ...target}: Machine, address: number): bigint[] {
  for (let register = 0; register < 4; register++) vcpu.setGpr(register, 0x0123456789abcdefn >> BigInt(register))
  vcpu.rip = BigInt(address)
  vcpu.rflags = 2n
  target.run()
  return [...times(4, register => vcpu.gpr(register)), vcpu.rip, vcpu.rflags]
}

t.test('handlers become one module', async t => {
  const target = machine()
  load(target, codeAt, program)
  const before = run(target, codeAt)
  const {table} = target.vcpu.engine
  const first = table.get(2)
  target.vcpu.engine.compact()
  t.not(table.get(2), first, 'made anew')
  t.strictSame(run(target, codeAt), before)
})

t.test('translations of code that is gone are let go, others stay', async t => {
  const target = machine(tiers.baseline)
  const {engine} = target.vcpu
  const translations = () =>
    times(engine.table.length, slot => engine.table.get(slot))
      .slice(16_384)
      .filter(Boolean)
  load(target, codeAt, program)
  load(target, otherAt, program)
  const runs = () => [codeAt, otherAt].map(address => run(target, address))
  const before = times(4, runs).at(-1)
  const all = translations().length
  engine.compact()
  t.equal(translations().length, all, 'all are in use')
  load(target, otherAt, program)
  engine.compact()
  const left = translations().length
  t.ok(left > 0 && left < all, `${left} of ${all}`)
  t.strictSame(times(4, runs).at(-1), before)
})

t.test('links do not lead to what was let go because there is better', async t => {
  const target = machine(tiers.baseline)
  const {engine} = target.vcpu
  // The callee runs often enough for its optimized form, its callers do not: their links stay.
  const [sites, turns] = [60, 150]
  const calls = times(sites, site => [0xe8, ...int32(otherAt - (codeAt + 5 + (site + 1) * 5))]).flat()
  // MOV ECX, turns; again: CALL other …; DEC ECX; JNE again
  load(target, codeAt, [0xb9, ...int32(turns), ...calls, 0xff, 0xc9, 0x0f, 0x85, ...int32(-(sites * 5 + 8))])
  // INC EDX; RET
  load(target, otherAt, [0xff, 0xc2, 0xc3])
  target.vcpu.setGpr(4, 0x200000n)
  const results = times(4, () => {
    const [, , rdx] = run(target, codeAt)
    engine.compact()
    return rdx
  })
  t.equal(new Set(results).size, 1)
  t.equal(Number(results[0]) - Number((0x0123456789abcdefn >> 2n) & 0xffffffffn), sites * turns)
})
