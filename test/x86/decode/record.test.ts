/**
 * The writer of records works word by word; what it writes must lie where record.ts says.
 */
import t from 'tap'
import {record, recordBytes} from '../../../lib/x86/decode/record.js'
import {writeRecord} from '../../../lib/x86/decode/write-record.js'
import {decode} from '../../../lib/x86/instruction-set.js'
import {Segment, state} from '../../../lib/x86/state.js'
import {assembled} from '../../support/assembler.js'

const rip = 0x123456789
const handler = 0x1234

function written(text: string): DataView {
  const words = new Uint32Array(2 * (recordBytes / 4))
  const decoded = decode(Buffer.concat([Buffer.from(assembled(text)), Buffer.alloc(15)]), 0, rip, 64)
  if (typeof decoded === 'string') throw new Error(`${text}: ${decoded}`)
  writeRecord(words, recordBytes, decoded, rip, handler)
  return new DataView(words.buffer, recordBytes)
}

t.test('a record with a memory operand and an immediate', async t => {
  const view = written('add DWORD PTR fs:[rbx+rsi*4-8],0x1234567')
  const u16 = (offset: number) => view.getUint16(offset, true)
  t.equal(u16(record.handler), handler)
  t.equal(view.getUint8(record.length), 9)
  t.equal(view.getUint8(record.segment), Segment.fs)
  t.equal(u16(record.base), state.gpr + 3 * 8)
  t.equal(u16(record.index), state.gpr + 6 * 8)
  t.equal(view.getUint8(record.scale), 2)
  t.equal(view.getUint8(record.codeBits), 64)
  t.equal(view.getBigInt64(record.immediate, true), 0x1234567n)
  t.equal(view.getBigInt64(record.displacement, true), -8n)
  t.equal(view.getBigInt64(record.rip, true), BigInt(rip))
  t.equal(u16(record.segmentBase), state.segmentBase + Segment.fs * 8)
  t.equal(view.getUint8(record.opcode), 0x81)
  t.equal(view.getUint8(record.operandBits), 32)
  t.equal(view.getUint8(record.addressBits), 64)
  t.equal(view.getUint8(record.map), 0)
})

t.test('a record with registers only', async t => {
  const view = written('imul r9,rdx')
  const u16 = (offset: number) => view.getUint16(offset, true)
  t.same(record.operands.slice(0, 2).map(u16), [state.gpr + 9 * 8, state.gpr + 2 * 8])
  t.equal(view.getUint8(record.segment), 0xff)
  t.same([record.base, record.index, record.segmentBase].map(u16), [state.zero, state.zero, state.zero])
  t.equal(view.getBigInt64(record.displacement, true), 0n)
  t.equal(view.getUint8(record.modrm), 0xca)
  t.equal(view.getUint8(record.map), 1)
})
