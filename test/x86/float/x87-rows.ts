/**
 * Runs one row of a real processor's x87 results and says what differs. Row, 592 bytes: opcode, ModRM, exception (1
 * #MF, 2 #UD), 0; u32 EFLAGS before, EFLAGS after | AX << 16, 0; then 160 bytes of FXSAVE image and 128 of memory
 * operand before, and the same after. The pointers of the last instruction are not compared: processors differ in when
 * they record them.
 */
import {loadLegacyImage, Status, storeLegacyImage} from '../../../lib/x86/float/x87-state.js'
import {Outcome, X87Unit} from '../../../lib/x86/float/x87-unit.js'
import {hexadecimal} from './golden.js'

export const rowBytes = 592
const at = {flagsBefore: 4, flagsAfter: 8, imageBefore: 16, memoryBefore: 176, imageAfter: 304, memoryAfter: 464}
const stateBase = 512
const operandAddress = 1024
const flagsAddress = 2048
const axAddress = 2056
const imageAddress = 3072

const view = new DataView(new ArrayBuffer(4096))
const bytes = new Uint8Array(view.buffer)
const unit = new X87Unit(view, stateBase)

/** The encoding as the manual writes it. */
export function encodingOf(row: DataView): string {
  const opcode = row.getUint8(0).toString(16).toUpperCase()
  const modrm = row.getUint8(1)
  return modrm < 0xc0 ? `${opcode} /${modrm >> 3}` : `${opcode} ${modrm.toString(16).toUpperCase()}`
}

/** Whether the encoding exchanges its result through EFLAGS: FCMOVcc, FCOMI, FUCOMI and popping forms. */
function usesFlags(opcode: number, modrm: number): boolean {
  if (modrm < 0xc0) return false
  const field = (modrm >> 3) & 7
  if (opcode === 0xda) return field < 4
  return opcode === 0xdb ? field !== 4 && field < 7 : opcode === 0xdf && field > 4 && field < 7
}

function imageText(source: DataView, from: number): string {
  const registers = [0, 1, 2, 3, 4, 5, 6, 7].map(i => hexadecimal(source, from + 32 + i * 16, 10))
  return `${hexadecimal(source, from, 5)} ${registers.join(' ')}`
}

/**
 * Forgives one unit in the last place: where a register of the image at `imageAddress` differs by no more from the
 * row's, the row's is taken, and so is C1, which tells the direction of an inexact result. Returns whether anything
 * differed.
 */
function forgiveOneUnit(row: DataView): boolean {
  const magnitude = (source: DataView, from: number) =>
    (BigInt(source.getUint16(from + 8, true)) << 63n) + (source.getBigUint64(from, true) & (2n ** 63n - 1n))
  const status = view.getUint16(imageAddress + 2, true)
  const theirStatus = row.getUint16(at.imageAfter + 2, true)
  view.setUint16(imageAddress + 2, (status & ~Status.c1) | (theirStatus & Status.c1), true)
  let forgiven = ((status ^ theirStatus) & Status.c1) !== 0
  for (let i = 0; i < 8; i++) {
    const ours = imageAddress + 32 + i * 16
    const theirs = at.imageAfter + 32 + i * 16
    const distance = magnitude(view, ours) - magnitude(row, theirs)
    if (distance !== 1n && distance !== -1n) continue
    forgiven = true
    bytes.set(new Uint8Array(row.buffer, theirs, 10), ours)
  }
  return forgiven
}

/** What executing a row gave. */
export interface RowResult {
  readonly expected: string
  readonly actual: string
  readonly input: string
  readonly forgiven: boolean
}

/** Executes the row; what came out and what should have, as text. `tolerant` allows one unit in the last place. */
export function runRow(row: DataView, tolerant = false): RowResult {
  const opcode = row.getUint8(0)
  const modrm = row.getUint8(1)
  bytes.set(new Uint8Array(row.buffer, at.imageBefore, 160), imageAddress)
  loadLegacyImage(view, stateBase, imageAddress, true)
  bytes.set(new Uint8Array(row.buffer, at.memoryBefore, 128), operandAddress)
  view.setUint32(flagsAddress, row.getUint32(at.flagsBefore, true), true)
  view.setUint16(axAddress, 0x5a5a, true)
  const flags = usesFlags(opcode, modrm)
  const outcome = unit.execute(opcode, modrm, modrm < 0xc0 ? operandAddress : flags ? flagsAddress : axAddress)
  const input = `${encodingOf(row)}: ${imageText(row, at.imageBefore)} [${hexadecimal(row, at.memoryBefore, 10)}]`
  const fault = outcome === Outcome.storeSuppressed ? 0 : outcome
  if (fault || row.getUint8(2))
    return {expected: `exception ${row.getUint8(2)}`, actual: `exception ${fault}`, input, forgiven: false}
  storeLegacyImage(view, stateBase, imageAddress, true)
  const forgiven = tolerant && forgiveOneUnit(row)
  if (modrm < 0xc0 && ((modrm >> 3) & 7) === 6 && (opcode === 0xd9 || opcode === 0xdd)) {
    // FNSTENV, FNSAVE: bytes 12–27 are the pointers.
    new Uint8Array(row.buffer, at.memoryAfter + 12, 16).fill(0)
    bytes.fill(0, operandAddress + 12, operandAddress + 28)
  }
  let expected = `${imageText(row, at.imageAfter)} [${hexadecimal(row, at.memoryAfter, 128)}]`
  let actual = `${imageText(view, imageAddress)} [${hexadecimal(view, operandAddress, 128)}]`
  const after = row.getUint32(at.flagsAfter, true)
  if (flags) {
    expected += ` EFLAGS ${after & 0x8d5}`
    actual += ` EFLAGS ${view.getUint32(flagsAddress, true)}`
  }
  if (opcode === 0xdf && modrm === 0xe0) {
    expected += ` AX ${after >>> 16}`
    actual += ` AX ${view.getUint16(axAddress, true)}`
  }
  return {expected, actual, input, forgiven}
}
