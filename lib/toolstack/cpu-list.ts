/**
 * Host CPU lists: "all", "0-3,5,^1", "node:0", "nodes:0-1,^node:1" → sorted CPU numbers, and back to text for vcpu-list. Our host is
 * one node with all CPUs.
 * Source: xl.cfg(5) "cpus".
 */

/** The CPUs a text names, of `count` that there are; or what is wrong with it. */
export function parseCpuList(text: string, count: number): number[] | string {
  const chosen = new Set<number>()
  let sawAll = false
  for (const raw of text.split(',')) {
    let piece = raw.trim()
    if (piece === '') continue
    const exclude = piece.startsWith('^')
    if (exclude) piece = piece.slice(1)
    if (piece === 'all') {
      if (exclude) return 'Can\'t combine "^" and "all".'
      sawAll = true
      for (let cpu = 0; cpu < count; cpu++) chosen.add(cpu)
      continue
    }
    if (exclude && sawAll) return 'Can\'t combine "^" and "all".'
    const match = /^(nodes?:)?([0-9]+)(?:-([0-9]+))?$/.exec(piece)
    if (match === null) return `Invalid pcpu range: ${raw.trim()}.`
    const first = Number(match[2])
    const last = match[3] === undefined ? first : Number(match[3])
    if (last < first) return `Invalid pcpu range: ${raw.trim()}.`
    const [from, to] = match[1] === undefined ? [first, last] : first === 0 ? [0, count - 1] : [1, 0]
    for (let cpu = from; cpu <= Math.min(to, count - 1); cpu++) {
      if (exclude) chosen.delete(cpu)
      else chosen.add(cpu)
    }
  }
  return [...chosen].sort((a, b) => a - b)
}

/** "all" only if every CPU is in it, "none", or ranges: "0-3,5". */
export function formatCpuList(cpus: readonly number[] | undefined, count: number): string {
  if (cpus === undefined || cpus.length >= count) return 'all'
  if (cpus.length === 0) return 'none'
  const ranges: string[] = []
  for (let start = 0; start < cpus.length; ) {
    let end = start
    while (end + 1 < cpus.length && cpus[end + 1] === cpus[end] + 1) end++
    ranges.push(end === start ? String(cpus[start]) : `${cpus[start]}-${cpus[end]}`)
    start = end + 1
  }
  return ranges.join(',')
}
