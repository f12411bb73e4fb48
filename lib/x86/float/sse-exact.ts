/**
 * SSE floating point, exactly: every rounding mode, DAZ and FTZ, sticky flags, masked responses. It is the slow path
 * behind generated code, which handles by itself only what needs none of this.
 *
 * `executeSse` does dest = dest op source, lane by lane, in linear memory, and keeps the architecture's promise: when
 * an exception is unmasked, MXCSR has its flags, the destination is untouched, and 1 is returned (raise #XM).
 * - An operation is a number of `SseOperation`; where the instruction has an immediate or predicate, add it shifted
 *   left by 8.
 * - Only lanes × the result's width bytes are written: zeroing above (CVTPD2PS, CVTPD2DQ, CVTTPD2DQ) is the caller's.
 * - Destination and source may overlap; a destination of an integer register is a scratch address.
 * Source: SDM vol. 1, 11.5; vol. 2, each instruction.
 */
import {
  Arithmetic,
  arithmeticLane,
  convertLane,
  dotProduct,
  extremeLane,
  fromIntegerLane,
  isUnmasked,
  lane,
  orderExceptions,
  orderLane,
  roundLane,
  setMode,
  squareRootLane,
  toIntegerLane,
  visibleExceptions,
} from './sse-lane.js'

/** Operations by number. Up to `dotProductDouble` the lowest bit says double. */
export const SseOperation = {
  addSingle: 0, //           ADDPS ADDSS
  addDouble: 1, //           ADDPD ADDSD
  subtractSingle: 2, //      SUBPS SUBSS
  subtractDouble: 3,
  multiplySingle: 4, //      MULPS MULSS
  multiplyDouble: 5,
  divideSingle: 6, //        DIVPS DIVSS
  divideDouble: 7,
  squareRootSingle: 8, //    SQRTPS SQRTSS: of the source
  squareRootDouble: 9,
  minimumSingle: 10, //      MINPS MINSS
  minimumDouble: 11,
  maximumSingle: 12, //      MAXPS MAXSS
  maximumDouble: 13,
  compareSingle: 14, //      CMPPS CMPSS; + predicate << 8, 0–7
  compareDouble: 15,
  roundSingle: 16, //        ROUNDPS ROUNDSS; + immediate << 8
  roundDouble: 17,
  horizontalAddSingle: 18, // HADDPS; lanes 4
  horizontalAddDouble: 19, // HADDPD; lanes 2
  horizontalSubtractSingle: 20, // HSUBPS
  horizontalSubtractDouble: 21,
  addSubtractSingle: 22, //  ADDSUBPS
  addSubtractDouble: 23,
  dotProductSingle: 24, //   DPPS; + immediate << 8; lanes 4
  dotProductDouble: 25, //   DPPD; + immediate << 8; lanes 2
  singleToDouble: 26, //     CVTSS2SD CVTPS2PD
  doubleToSingle: 27, //     CVTSD2SS CVTPD2PS
  singleToInt32: 28, //      CVTSS2SI CVTPS2DQ CVTPS2PI
  doubleToInt32: 29, //      CVTSD2SI CVTPD2DQ CVTPD2PI
  singleToInt64: 30,
  doubleToInt64: 31,
  singleTruncateInt32: 32, // CVTTSS2SI CVTTPS2DQ CVTTPS2PI
  doubleTruncateInt32: 33, // CVTTSD2SI CVTTPD2DQ CVTTPD2PI
  singleTruncateInt64: 34,
  doubleTruncateInt64: 35,
  int32ToSingle: 36, //      CVTSI2SS CVTDQ2PS CVTPI2PS
  int32ToDouble: 37, //      CVTSI2SD CVTDQ2PD CVTPI2PD
  int64ToSingle: 38,
  int64ToDouble: 39,
} as const

/** Truth of a comparison by predicate (rows) for less, equal, greater, unordered (bits 0–3). */
const predicateTruth = [0b0010, 0b0001, 0b0011, 0b1000, 0b1101, 0b1110, 0b1100, 0b0111]
/** Predicates for which a quiet NaN is invalid: LT LE NLT NLE. */
const signallingPredicates = 0b01100110

/** Results wait here until no exception forbids storing them. */
const resultHi = new Uint32Array(4)
const resultLo = new Uint32Array(4)

function compareLane(view: DataView, predicate: number, isDouble: number, destination: number, source: number): number {
  const order = orderLane(view, isDouble, destination, source)
  const relation = order === 1 ? 0 : order === 0x40 ? 1 : order === 0 ? 2 : 3
  lane.hi = lane.lo = (predicateTruth[predicate] >> relation) & 1 ? 0xffffffff : 0
  return orderExceptions(((signallingPredicates >> predicate) & 1) !== 0)
}

function executeLane(
  view: DataView,
  operation: number,
  destination: number,
  source: number,
  index: number,
  lanes: number,
): number {
  const isDouble = operation & 1
  const size = isDouble ? 8 : 4
  const immediate = operation >>> 8
  const from = source + index * size
  const to = destination + index * size
  switch (operation & 0xfe) {
    case SseOperation.addSingle:
    case SseOperation.subtractSingle:
    case SseOperation.multiplySingle:
    case SseOperation.divideSingle:
      return arithmeticLane(view, (operation & 0xff) >> 1, isDouble, to, from)
    case SseOperation.squareRootSingle:
      return squareRootLane(view, isDouble, from)
    case SseOperation.minimumSingle:
      return extremeLane(view, false, isDouble, to, from)
    case SseOperation.maximumSingle:
      return extremeLane(view, true, isDouble, to, from)
    case SseOperation.compareSingle:
      return compareLane(view, immediate & 7, isDouble, to, from)
    case SseOperation.roundSingle:
      return roundLane(view, immediate, isDouble, from)
    case SseOperation.horizontalAddSingle:
    case SseOperation.horizontalSubtractSingle: {
      const pair = index * 2 < lanes ? destination + index * 2 * size : source + (index * 2 - lanes) * size
      const operator = (operation & 0xfe) === SseOperation.horizontalAddSingle ? Arithmetic.add : Arithmetic.subtract
      return arithmeticLane(view, operator, isDouble, pair, pair + size)
    }
    case SseOperation.addSubtractSingle:
      return arithmeticLane(view, index & 1 ? Arithmetic.add : Arithmetic.subtract, isDouble, to, from)
    case SseOperation.singleToDouble:
      return convertLane(view, isDouble, from)
    case SseOperation.singleToInt32:
      return toIntegerLane(view, isDouble, 32, false, from)
    case SseOperation.singleToInt64:
      return toIntegerLane(view, isDouble, 64, false, from)
    case SseOperation.singleTruncateInt32:
      return toIntegerLane(view, isDouble, 32, true, from)
    case SseOperation.singleTruncateInt64:
      return toIntegerLane(view, isDouble, 64, true, from)
    case SseOperation.int32ToSingle:
      return fromIntegerLane(view, isDouble, 32, source + index * 4)
    default:
      return fromIntegerLane(view, isDouble, 64, source + index * 8)
  }
}

/** Bytes of one result lane. */
function resultBytes(operation: number): number {
  const index = operation & 0xff
  if (index === SseOperation.singleToDouble) return 8
  if (index === SseOperation.doubleToSingle) return 4
  if (index >= SseOperation.singleToInt32 && index < SseOperation.int32ToSingle) return index & 2 ? 8 : 4
  return index & 1 ? 8 : 4
}

/** Merges the flags that all lanes raised into MXCSR; 1 when one of them is unmasked. */
function raise(view: DataView, mxcsrAddress: number, mxcsr: number, flags: number): number {
  view.setUint32(mxcsrAddress, mxcsr | flags, true)
  return isUnmasked(flags) ? 1 : 0
}

/** See the file's head. Returns 0, or 1 when #XM must be raised. */
export function executeSse(
  view: DataView,
  operation: number,
  destination: number,
  source: number,
  lanes: number,
  mxcsrAddress: number,
): number {
  const mxcsr = view.getUint32(mxcsrAddress, true)
  setMode(mxcsr)
  if ((operation & 0xfe) === SseOperation.dotProductSingle) {
    return executeDotProduct(view, operation, destination, source, mxcsrAddress, mxcsr)
  }
  let flags = 0
  for (let index = 0; index < lanes; index++) {
    flags |= executeLane(view, operation, destination, source, index, lanes)
    resultHi[index] = lane.hi
    resultLo[index] = lane.lo
  }
  if (flags !== 0 && raise(view, mxcsrAddress, mxcsr, visibleExceptions(flags))) return 1
  const size = resultBytes(operation)
  for (let index = 0; index < lanes; index++) {
    view.setUint32(destination + index * size, resultLo[index], true)
    if (size === 8) view.setUint32(destination + index * 8 + 4, resultHi[index], true)
  }
  return 0
}

function executeDotProduct(
  view: DataView,
  operation: number,
  destination: number,
  source: number,
  mxcsrAddress: number,
  mxcsr: number,
): number {
  const isDouble = operation & 1
  const immediate = operation >>> 8
  const flags = dotProduct(view, immediate, isDouble, destination, source)
  if (flags !== 0 && raise(view, mxcsrAddress, mxcsr, flags)) return 1
  for (let index = 0; index < (isDouble ? 2 : 4); index++) {
    const selected = (immediate >> index) & 1
    const at = destination + index * (isDouble ? 8 : 4)
    view.setUint32(at, selected ? lane.lo : 0, true)
    if (isDouble) view.setUint32(at + 4, selected ? lane.hi : 0, true)
  }
  return 0
}

/**
 * COMISS, COMISD (`quiet` false), UCOMISS, UCOMISD (true): the new ZF, PF and CF at their places in EFLAGS (the other
 * status flags become 0), or −1 when #XM must be raised.
 */
export function compareSse(
  view: DataView,
  isDouble: boolean,
  quiet: boolean,
  first: number,
  second: number,
  mxcsrAddress: number,
): number {
  const mxcsr = view.getUint32(mxcsrAddress, true)
  setMode(mxcsr)
  const order = orderLane(view, isDouble ? 1 : 0, first, second)
  const flags = orderExceptions(!quiet)
  return flags !== 0 && raise(view, mxcsrAddress, mxcsr, visibleExceptions(flags)) ? -1 : order
}
