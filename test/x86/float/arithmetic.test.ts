/**
 * Rounded to nearest, our arithmetic must agree with the host's own doubles and singles: random operands of near and
 * far exponents, denormals included, from a seeded generator.
 */
import t from 'tap'
import {executeSse, SseOperation} from '../../../lib/x86/float/sse-exact.js'

const memory = new DataView(new ArrayBuffer(64))
const mxcsrAddress = 32
let seed = 0x2545f491

function random32(): number {
  seed ^= seed << 13
  seed ^= seed >>> 17
  seed ^= seed << 5
  return seed >>> 0
}

/** A finite double whose exponent lies within `spread` of the middle one. */
function randomDouble(spread: number): number {
  const exponent = Math.min(Math.max(1023 - spread + (random32() % (2 * spread)), 0), 2046)
  const trailing = random32() % 3 === 0 ? 0 : random32()
  memory.setUint32(60, (random32() & 0x800fffff) | (exponent << 20), true)
  memory.setUint32(56, trailing, true)
  return memory.getFloat64(56, true)
}

function double(operation: number, left: number, right: number): number {
  memory.setFloat64(0, left, true)
  memory.setFloat64(16, right, true)
  memory.setUint32(mxcsrAddress, 0x1f80, true)
  executeSse(memory, operation, 0, 16, 1, mxcsrAddress)
  return memory.getFloat64(0, true)
}

function single(operation: number, left: number, right: number): number {
  memory.setFloat32(0, left, true)
  memory.setFloat32(16, right, true)
  memory.setUint32(mxcsrAddress, 0x1f80, true)
  executeSse(memory, operation, 0, 16, 1, mxcsrAddress)
  return memory.getFloat32(0, true)
}

const operations: [string, number, number, (left: number, right: number) => number][] = [
  ['add', SseOperation.addDouble, SseOperation.addSingle, (left, right) => left + right],
  ['subtract', SseOperation.subtractDouble, SseOperation.subtractSingle, (left, right) => left - right],
  ['multiply', SseOperation.multiplyDouble, SseOperation.multiplySingle, (left, right) => left * right],
  ['divide', SseOperation.divideDouble, SseOperation.divideSingle, (left, right) => left / right],
  ['root', SseOperation.squareRootDouble, SseOperation.squareRootSingle, (_, right) => Math.sqrt(right)],
]

for (const [name, doubleOperation, singleOperation, expected] of operations) {
  t.test(name, async t => {
    let wrong = ''
    for (let i = 0; i < 20_000; i++) {
      const spread = [2, 60, 1023][i % 3]
      const left = randomDouble(spread)
      const right = name === 'root' ? Math.abs(randomDouble(spread)) : randomDouble(spread)
      if (!Object.is(double(doubleOperation, left, right), expected(left, right))) wrong = `double ${left}, ${right}`
      const [a, b] = [Math.fround(left), Math.fround(right)]
      const value = Math.fround(expected(a, b))
      if (!Number.isNaN(value) && !Object.is(single(singleOperation, a, b), value)) wrong = `single ${a}, ${b}`
    }
    t.equal(wrong, '')
  })
}
