/** Host CPU lists, both ways. */
import t from 'tap'
import {formatCpuList, parseCpuList} from '../../lib/toolstack/cpu-list.js'

for (const [text, cpus] of [
  ['all', [0, 1, 2, 3, 4, 5, 6, 7]],
  ['0', [0]],
  ['0-3,5', [0, 1, 2, 3, 5]],
  ['0-3,^1', [0, 2, 3]],
  ['7-9', [7]],
  ['node:0', [0, 1, 2, 3, 4, 5, 6, 7]],
  ['nodes:0-1,^3', [0, 1, 2, 4, 5, 6, 7]],
  ['nodes:1', []],
  ['^all', 'Can\'t combine "^" and "all".'],
  ['3-1', 'Invalid pcpu range: 3-1.'],
  ['0,,1', [0, 1]],
] as const) {
  t.strictSame(parseCpuList(text, 8), cpus, text)
}
for (const [cpus, text] of [
  [undefined, 'all'],
  [[0, 1, 2, 3], 'all'],
  [[], 'none'],
  [[0, 1, 3], '0-1,3'],
  [[2], '2'],
] as const) {
  t.equal(formatCpuList(cpus, 4), text)
}
