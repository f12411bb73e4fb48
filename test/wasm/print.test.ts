/**
 * The text of a module shows every construct the writer has; engines accept the module it was made from.
 */
import t from 'tap'
import {Code, Module} from '../../lib/wasm/builder.js'
import {pureOps} from '../../lib/wasm/opcodes.js'
import {printModule} from '../../lib/wasm/print.js'

/** The statements of one function `(i32, i64) → i32`. */
function statements(write: (code: Code) => void): string[] {
  const module = new Module(1)
  const code = new Code(['i32', 'i64'])
  write(code)
  module.function('f', ['i32', 'i64'], ['i32'], code)
  const bytes = module.bytes()
  t.ok(WebAssembly.validate(bytes), 'the module is valid')
  return printModule(bytes).split('\n').slice(3, -1)
}

t.test('imports, locals, calls', async t => {
  const module = new Module(20)
  module.importTable('callable')
  const add = module.import('add', ['i32', 'i32'], ['i32'])
  const cpu = module.importGlobal('cpu', 'i32')
  const code = new Code(['i32'])
  const local = code.local('i32')
  code.local('i32')
  code.local('v128')
  code.globalGet(cpu)
  code.localGet(0)
  code.call(add)
  code.localSet(local)
  code.localGet(local)
  code.i32Const(1)
  code.callIndirect(module.type(['i32'], []))
  code.localGet(local)
  code.localGet(0)
  code.returnCallIndirect(module.type(['i32'], ['i32']))
  module.function('f', ['i32'], ['i32'], code)
  t.ok(WebAssembly.validate(module.bytes()))
  t.equal(
    printModule(module.bytes(), ['zero', 'one']),
    `import env.memory: memory of 20 to 20 pages
import env.callable: table
import env.add: function (i32 i32) -> (i32)
import env.cpu: global i32

function f (i32) -> (i32)
  local $1 to $2: i32
  local $3: v128
  $1 = call add(global 0, $0)
  call one($1)
  push return call table[$0]($1)
`,
  )
})

t.test('constants', async t => {
  const lines = statements(code => {
    for (const value of [0, -1, 63, 64, -64, -65, 4095, 4096, -0x80000000, 0x7fffffff]) {
      code.i32Const(value)
      code.drop()
    }
    for (const value of [-1n, 0x7fffffffffffffffn, -0x8000000000000000n]) {
      code.i64Const(value)
      code.drop()
    }
    code.v128Const(Uint8Array.from({length: 16}, (_, index) => index))
    code.drop()
    code.i32Const(5)
  })
  t.strictSame(
    lines.map(line => line.replace('  drop ', '')),
    [
      ...['0', '-1', '63', '64', '-64', '-65', '4095', '0x1000', '-0x80000000', '0x7fffffff'],
      ...['-1', '0x7fffffffffffffff', '-0x8000000000000000', '0x000102030405060708090a0b0c0d0e0f', '  push 5'],
    ],
  )
})

t.test('memory', async t => {
  const lines = statements(code => {
    code.localGet(0)
    code.localGet(0)
    code.memory('i64.load', 5000)
    code.memory('i64.store32', 8)
    code.localGet(0)
    code.i32Const(1)
    code.i32Const(2)
    code.memory('i32.atomic.rmw.cmpxchg')
    code.drop()
    code.localGet(0)
    code.localGet(0)
    code.i32Const(16)
    code.memoryCopy()
    code.localGet(0)
    code.memory('i32.atomic.load', 4)
  })
  t.strictSame(lines, [
    '  i64.store32[$0 + 8](i64.load[$0 + 0x1388])',
    '  drop i32.atomic.rmw.cmpxchg[$0](1, 2)',
    '  memory.copy($0, $0, 16)',
    '  push i32.atomic.load[$0 + 4]',
  ])
})

t.test('control', async t => {
  const lines = statements(code => {
    code.block()
    code.loop()
    code.localGet(0)
    code.unlikely()
    code.brIf(1)
    code.localGet(0)
    code.brTable([0, 1], 1)
    code.end()
    code.end()
    code.localGet(0)
    code.unlikely()
    code.if('i32')
    code.i32Const(1)
    code.else()
    code.i32Const(2)
    code.return()
    code.end()
    code.localTee(0)
    code.localGet(0)
    code.localGet(0)
    code.select()
  })
  t.strictSame(lines, [
    '  block {',
    '    loop {',
    '      br 1 if unlikely $0',
    '      br 0 1 else 1 by $0',
    '    }',
    '  }',
    '  if unlikely $0 -> i32 {',
    '    push 1',
    '  } else {',
    '    return 2',
    '  }',
    '  push ($0 ? ($0 := pop) : $0)',
  ])
})

t.test('a value that waits over another statement is pushed first', async t => {
  const lines = statements(code => {
    code.localGet(0)
    code.i32Const(7)
    code.localSet(0)
    code.i32Const(1)
    code.op('i32.add')
  })
  t.strictSame(lines, ['  push $0', '  $0 = 7', '  push i32.add(pop, 1)'])
})

t.test('every pure instruction', async t => {
  for (const [name, {args, lanes, result}] of pureOps) {
    const module = new Module(1)
    const code = new Code(args)
    for (const index of args.keys()) code.localGet(index)
    code.op(
      name,
      Array.from({length: lanes}, () => 1),
    )
    module.function('f', args, [result], code)
    t.ok(WebAssembly.validate(module.bytes()), name)
    const immediates = ' 1'.repeat(lanes)
    const operands = args.map((_, index) => `$${index}`).join(', ')
    t.match(printModule(module.bytes()), `push ${name}${immediates}(${operands})\n`)
  }
})
