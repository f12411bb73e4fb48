/**
 * What the part of linear memory for decoded code is divided into. Apart from the engine, so that who only hands the parts out need not
 * load a processor.
 */
import {recordBytes} from './decode/record.js'

/** A part of linear memory: byte offsets of its first byte and behind its last. */
export interface Area {
  readonly start: number
  readonly end: number
}

/** What the record area is for: the table of code pages, one block for single instructions, decoded blocks, records of translations. */
export function splitArea(memoryBytes: number, area: Area): {blocks: Area; translations: Area} {
  const start = area.start + (memoryBytes >>> 12) + recordBytes * 4
  const middle = area.end - (((area.end - start) >>> 2) & ~15)
  return {blocks: {start, end: middle}, translations: {start: middle, end: area.end}}
}
