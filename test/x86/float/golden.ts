/**
 * Reads a file of rows that a real processor produced (data/*.br): brotli over a column-wise array, byte 0 of all rows
 * first, then byte 1, and so on. The rows were made on an AMD EPYC (Zen) from edge values and random values by a small
 * C program: load state, execute one instruction, store state.
 */
import {readFileSync} from 'node:fs'
import {brotliDecompressSync} from 'node:zlib'

const directory = new URL('../../../../test/x86/float/data/', import.meta.url)

/** The rows of `name`, `rowBytes` each. */
export function goldenRows(name: string, rowBytes: number): DataView[] {
  const columns = brotliDecompressSync(readFileSync(new URL(`${name}.br`, directory)))
  const count = columns.length / rowBytes
  const rows: DataView[] = []
  for (let row = 0; row < count; row++) {
    const bytes = new Uint8Array(rowBytes)
    for (let i = 0; i < rowBytes; i++) bytes[i] = columns[i * count + row]
    rows.push(new DataView(bytes.buffer))
  }
  return rows
}

/** `length` bytes as hexadecimal, most significant first. */
export function hexadecimal(view: DataView, at: number, length: number): string {
  let text = ''
  for (let i = length - 1; i >= 0; i--)
    text += view
      .getUint8(at + i)
      .toString(16)
      .padStart(2, '0')
  return text
}
