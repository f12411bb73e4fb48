/**
 * The inner loop of LZ4 as WebAssembly: every boot goes through it, and it is three times as fast as the same in JavaScript.
 *
 *   unpack(from, end, to, start, limit, pause) → (from, to)
 *
 * All are addresses: the packed block lies at from to end, its output begins at start and may reach limit, and `to` is how far the
 * output is. It returns at the first sequence boundary at or behind `pause` (engines replace a slow first version of a function only
 * between calls), or at the end of the block, or with -1 for `to` when the data is broken.
 *
 * Copies move 16 bytes at a time and may so write up to 15 bytes behind what they should: what follows is output still to come, or
 * room that the caller leaves. A match nearer than 16 bytes repeats a pattern; after one stretch of it byte by byte, a multiple of its
 * distance that is at least 16 has the same bytes.
 * Source: lz4 doc/lz4_Block_format.md.
 */
import {Code, Module} from '../../wasm/builder.js'

/** The compiled loop over one memory. */
export type UnpackBlock = (
  from: number,
  end: number,
  to: number,
  start: number,
  limit: number,
  pause: number,
) => [from: number, to: number]

/** Room that must follow the output, and readable room that must follow the input. */
export const slackBytes = 16

/** The loop over a shared memory of exactly `pages` of 64 KiB. */
export function compileUnpackBlock(memory: WebAssembly.Memory, pages: number): UnpackBlock {
  const module = new Module(pages)
  const parameters = ['i32', 'i32', 'i32', 'i32', 'i32', 'i32'] as const
  module.function('unpack', parameters, ['i32', 'i32'], body(parameters))
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), {env: {memory}})
  return instance.exports.unpack as unknown as UnpackBlock
}

function body(parameters: readonly 'i32'[]): Code {
  const code = new Code(parameters)
  const [from, end, to, start, limit, pause] = [0, 1, 2, 3, 4, 5]
  const [token, length, byte, distance, source, stop, span] = Array.from({length: 7}, () => code.local('i32'))

  /** Pushes locals and constants, each operation after its operands: `push(to, from, 'i32.sub')`. */
  const push = (...words: Array<number | string | [constant: number]>) => {
    for (const word of words) {
      if (typeof word === 'number') code.localGet(word)
      else if (typeof word === 'string') code.op(word)
      else code.i32Const(word[0])
    }
  }
  const set = (local: number, ...words: Parameters<typeof push>) => {
    push(...words)
    code.localSet(local)
  }
  const returnIf = (...condition: Parameters<typeof push>) => {
    push(...condition)
    code.if()
    push(from, to)
    code.return()
    code.end()
  }
  const brokenIf = (...condition: Parameters<typeof push>) => {
    push(...condition)
    code.if()
    push(from, [-1])
    code.return()
    code.end()
  }
  const nextByte = () => {
    push(from)
    code.memory('i32.load8_u')
    code.localSet(byte)
    set(from, from, [1], 'i32.add')
  }
  /** A length of 15 goes on in bytes, up to the first that is not 255. */
  const readMoreLength = () => {
    push(length, [15], 'i32.eq')
    code.if()
    code.loop()
    brokenIf(from, end, 'i32.ge_u')
    nextByte()
    set(length, length, byte, 'i32.add')
    // Keeps the sum from wrapping round; no length is larger than all there is.
    brokenIf(length, limit, 'i32.gt_u')
    push(byte, [255], 'i32.eq')
    code.brIf(0)
    code.end()
    code.end()
  }
  const copyUntilStop = () => {
    push(to, stop, 'i32.lt_u')
    code.if()
    code.loop()
    push(to, source)
    code.memory('v128.load')
    code.memory('v128.store')
    set(source, source, [16], 'i32.add')
    set(to, to, [16], 'i32.add')
    push(to, stop, 'i32.lt_u')
    code.brIf(0)
    code.end()
    code.end()
    set(to, stop)
  }

  code.loop()
  returnIf(from, end, 'i32.ge_u')
  returnIf(to, pause, 'i32.ge_u')
  nextByte()
  set(token, byte)

  set(length, token, [4], 'i32.shr_u')
  readMoreLength()
  brokenIf(length, end, from, 'i32.sub', 'i32.gt_u')
  brokenIf(length, limit, to, 'i32.sub', 'i32.gt_u')
  set(source, from)
  set(stop, to, length, 'i32.add')
  copyUntilStop()
  set(from, from, length, 'i32.add')
  // The last sequence of a block has literals only.
  returnIf(from, end, 'i32.ge_u')

  brokenIf(end, from, 'i32.sub', [2], 'i32.lt_u')
  push(from)
  code.memory('i32.load16_u')
  code.localSet(distance)
  set(from, from, [2], 'i32.add')
  set(length, token, [15], 'i32.and')
  readMoreLength()
  set(length, length, [4], 'i32.add')
  // A distance of 0 becomes the largest number there is.
  brokenIf(distance, [1], 'i32.sub', to, start, 'i32.sub', 'i32.ge_u')
  brokenIf(length, limit, to, 'i32.sub', 'i32.gt_u')
  set(source, to, distance, 'i32.sub')
  set(stop, to, length, 'i32.add')
  push(distance, [16], 'i32.lt_u')
  code.if()
  set(span, distance)
  code.loop()
  set(span, span, distance, 'i32.add')
  push(span, [16], 'i32.lt_u')
  code.brIf(0)
  code.end()
  // From here `byte` is where the stretch ends.
  push(stop, to, span, 'i32.add', stop, to, span, 'i32.add', 'i32.lt_u')
  code.select()
  code.localSet(byte)
  code.loop()
  push(to, source)
  code.memory('i32.load8_u')
  code.memory('i32.store8')
  set(to, to, [1], 'i32.add')
  set(source, source, [1], 'i32.add')
  push(to, byte, 'i32.lt_u')
  code.brIf(0)
  code.end()
  set(source, to, span, 'i32.sub')
  code.end()
  copyUntilStop()
  code.br(0)
  code.end()
  code.unreachable()
  return code
}
