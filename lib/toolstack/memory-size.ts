/**
 * Sizes of memory as a person gives them to `xl mem-set` and `xl mem-max`: a number and one letter, b, k, m, g or t, in either case; without
 * a letter it is in MiB.
 * Source: tools/xl/xl_utils.c parse_mem_size_kb.
 */

/** One KiB in each unit is this many. */
const kbPerUnit: Record<string, number> = {b: 1 / 1024, k: 1, m: 1024, g: 1024 ** 2, t: 1024 ** 3}

/** A size in KiB, rounded down; undefined for what is none, or is less than one KiB or more than can be counted. */
export function memorySizeKb(text: string): number | undefined {
  const match = /^\s*\+?([0-9]+)([bkmgt]?)$/i.exec(text)
  if (match === null) return undefined
  const kb = Math.floor(Number(match[1]) * kbPerUnit[match[2].toLowerCase() || 'm'])
  return kb >= 1 && Number.isSafeInteger(kb) ? kb : undefined
}
