/** Sizes as `xl mem-set` takes them. */
import t from 'tap'
import {memorySizeKb} from '../../lib/toolstack/memory-size.js'

t.test('sizes', async t => {
  const rows: [text: string, kb: number | undefined][] = [
    ['512', 512 * 1024],
    ['512m', 512 * 1024],
    ['512M', 512 * 1024],
    ['3g', 3 * 1024 ** 2],
    ['1T', 1024 ** 3],
    ['2049k', 2049],
    ['4097b', 4],
    ['+7', 7 * 1024],
    ['1023b', undefined],
    ['0', undefined],
    ['', undefined],
    ['m', undefined],
    ['-5', undefined],
    ['1.5g', undefined],
    ['0x100', undefined],
    ['5mb', undefined],
    ['5 m', undefined],
    ['1e3', undefined],
    ['99999999999999999999t', undefined],
  ]
  for (const [text, kb] of rows) t.equal(memorySizeKb(text), kb, `"${text}"`)
})
