/**
 * Little-endian record layouts: declare the fields once, in header order, and get size, offsets, read and write.
 * Alignment follows the System V x86-64 rules that Xen's public headers rely on: a field is aligned to its own size,
 * the record to its largest field.
 *
 *   const EvtchnAllocUnbound = struct({dom: u16, remoteDom: u16, port: u32})
 *   EvtchnAllocUnbound.size          8
 *   EvtchnAllocUnbound.offset.port   4
 */

/** One scalar of a record. `u64` reads as bigint; frame numbers and counts that fit 53 bits use `u53`. */
export interface Field<T> {
  readonly size: number
  readonly align: number
  read(view: DataView, at: number): T
  write(view: DataView, at: number, value: T): void
}

const scalar = <T>(size: number, read: Field<T>['read'], write: Field<T>['write']): Field<T> => ({
  size,
  align: size,
  read,
  write,
})

export const u8: Field<number> = scalar(
  1,
  (v, at) => v.getUint8(at),
  (v, at, x) => v.setUint8(at, x),
)
export const i8: Field<number> = scalar(
  1,
  (v, at) => v.getInt8(at),
  (v, at, x) => v.setInt8(at, x),
)
export const u16: Field<number> = scalar(
  2,
  (v, at) => v.getUint16(at, true),
  (v, at, x) => v.setUint16(at, x, true),
)
export const i16: Field<number> = scalar(
  2,
  (v, at) => v.getInt16(at, true),
  (v, at, x) => v.setInt16(at, x, true),
)
export const u32: Field<number> = scalar(
  4,
  (v, at) => v.getUint32(at, true),
  (v, at, x) => v.setUint32(at, x, true),
)
export const i32: Field<number> = scalar(
  4,
  (v, at) => v.getInt32(at, true),
  (v, at, x) => v.setInt32(at, x, true),
)
export const u64: Field<bigint> = scalar(
  8,
  (v, at) => v.getBigUint64(at, true),
  (v, at, x) => v.setBigUint64(at, BigInt.asUintN(64, x), true),
)
/** A 64-bit field whose value fits a double; larger values read as an inexact number above 2^53. */
export const u53: Field<number> = scalar(
  8,
  (v, at) => v.getUint32(at + 4, true) * 2 ** 32 + v.getUint32(at, true),
  (v, at, x) => {
    v.setUint32(at, x >>> 0, true)
    v.setUint32(at + 4, Math.floor(x / 2 ** 32) >>> 0, true)
  },
)

/** `length` raw bytes, for text and padding. */
export function bytes(length: number): Field<Uint8Array> {
  return {
    size: length,
    align: 1,
    read: (v, at) => new Uint8Array(v.buffer, v.byteOffset + at, length).slice(),
    write: (v, at, x) => {
      const target = new Uint8Array(v.buffer, v.byteOffset + at, length)
      target.fill(0)
      target.set(x.subarray(0, length))
    },
  }
}

type ValueOf<F> = F extends Field<infer T> ? T : never
export type RecordOf<S> = S extends Struct<infer F> ? {[K in keyof F]: ValueOf<F[K]>} : never

/** A record layout; see the file's head. */
export interface Struct<F> extends Field<{[K in keyof F]: ValueOf<F[K]>}> {
  readonly offset: {readonly [K in keyof F]: number}
}

/** The layout of a record whose fields stand in header order. */
// biome-ignore lint/suspicious/noExplicitAny: a field of any value type
export function struct<F extends Record<string, Field<any>>>(fields: F): Struct<F> {
  const offset = {} as {[K in keyof F]: number}
  let end = 0
  let align = 1
  for (const name in fields) {
    const field = fields[name]
    end = roundUp(end, field.align)
    offset[name] = end
    end += field.size
    align = Math.max(align, field.align)
  }
  return {
    size: roundUp(end, align),
    align,
    offset,
    read(view, at) {
      const record = {} as {[K in keyof F]: ValueOf<F[K]>}
      for (const name in fields) record[name] = fields[name].read(view, at + offset[name])
      return record
    },
    write(view, at, record) {
      for (const name in fields) fields[name].write(view, at + offset[name], record[name])
    },
  }
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to
}
