/**
 * The opcode map refuses forms that claim the same bytes, and lets those pass that prefix, ModRM or mode tell apart.
 */
import t from 'tap'
import {OpcodeMap} from '../../../lib/x86/decode/opcode-map.js'
import {instructions} from '../../../lib/x86/semantics/index.js'
import {type Form, form, instruction} from '../../../lib/x86/semantics/instruction.js'

const made = (mnemonic: string, ...forms: Form[]) =>
  instruction(mnemonic, {source: 'this test', forms, execute: () => {}})

const build = (one: Form, other: Form) => () =>
  new OpcodeMap([made('ONE', one), made('OTHER', other)], () => true).all()

t.test('all instructions, whatever is offered', async t => {
  t.doesNotThrow(() => new OpcodeMap(instructions, () => true).all())
})

t.test('features not offered are not in the map', async t => {
  const map = new OpcodeMap([made('ONE', form('0F 38 CB /r', 'Vx', 'Wx', {feature: 'sha'}))], () => false)
  t.strictSame(map.entry(2, 0xcb).forms, [])
})

t.test('+r fills eight slots', async t => {
  const map = new OpcodeMap([made('ONE', form('50+r', 'Zv'))], () => true)
  for (let opcode = 0x4f; opcode < 0x59; opcode++)
    t.equal(map.entry(0, opcode).forms.length, opcode >= 0x50 && opcode < 0x58 ? 1 : 0)
})

for (const [name, one, other] of [
  ['the same form', form('01 /r', 'Ev', 'Gv'), form('01 /r', 'Gv', 'Ev')],
  ['the same digit', form('F7 /3', 'Ev'), form('F7 /3', 'Eb')],
  ['one of a +r row', form('50+r', 'Zv'), form('53')],
  ['NP and no prefix', form('NP 0F 10 /r', 'Vx', 'Wx'), form('0F 10 /r', 'Gv', 'Ev')],
  ['the same fixed ModRM', form('NP 0F 01 D0'), form('NP 0F 01 D0')],
  ['memory beside either', form('0F 12 /r', 'Vx', 'Mq'), form('0F 12 /r', 'Vx', 'Wx')],
  ['any mode beside 64-bit mode', form('63 /r', 'Gv', 'Ed', {long: 'only'}), form('63 /r', 'Ew', 'Gw')],
] as const) {
  t.test(`refuses two claims: ${name}`, async t => {
    t.throws(build(one, other), {message: /ONE \(.+\) and OTHER \(.+\) claim the same bytes/})
  })
}

for (const [name, one, other] of [
  ['mandatory prefixes', form('66 0F 10 /r', 'Vx', 'Wx'), form('F3 0F 10 /r', 'Vx', 'Wx')],
  ['a mandatory prefix beside none', form('F3 0F B8 /r', 'Gv', 'Ev'), form('0F B8 /r', 'Gv', 'Ev')],
  ['digits', form('F7 /3', 'Ev'), form('F7 /2', 'Ev')],
  ['a fixed ModRM beside a digit', form('0F 01 D0'), form('0F 01 /2', 'M')],
  ['memory and register', form('0F 12 /r', 'Vx', 'Mq'), form('0F 12 /r', 'Vx', 'Ux')],
  ['modes', form('63 /r', 'Gv', 'Ed', {long: 'only'}), form('63 /r', 'Ew', 'Gw', {long: 'no'})],
  ['VEX', form('VEX.LZ.NP.0F38 F2 /r', 'Gy', 'By', 'Ey'), form('NP 0F 38 F2 /r', 'Gv', 'Ev')],
  ['maps', form('0F 38 CC /r', 'Vx', 'Wx'), form('0F 3A CC /r', 'Vx', 'Wx')],
] as const) {
  t.test(`accepts forms told apart by ${name}`, async t => {
    t.doesNotThrow(build(one, other))
  })
}
