/** Which pages a stream need not look at: only such as hold nothing. */
import {closeSync, mkdtempSync, openSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import t from 'tap'
import {canReachHostMemory, hostMemory} from '../../../lib/domain/host-memory.js'
import {TouchedPages} from '../../../lib/domain/stream/touched-pages.js'

const pages = 16384
const memory = new WebAssembly.Memory({initial: pages / 16, maximum: pages / 16, shared: true})
const bytes = new Uint8Array(memory.buffer)

/** Page numbers, asked for in pieces as a sender does. */
function touchedPages(): Set<number> {
  const touched = new TouchedPages(memory)
  const found = new Set<number>()
  for (let first = 0; first < pages; first += 4096)
    for (const page of touched.within(first * 4096, 4096)) found.add(first + page)
  touched.close()
  return found
}

t.test('a host that does not know of the first page, which is always in use, is not believed', async t => {
  t.equal(touchedPages().size, pages)
})

t.test('pages that were written to are found, most others are not', async t => {
  for (const page of [0, 5, 4095, 4096, 16383]) bytes[page * 4096 + 4095] = 1
  const found = touchedPages()
  for (const page of [0, 5, 4095, 4096, 16383]) t.ok(found.has(page), `page ${page}`)
  if (canReachHostMemory()) t.ok(found.size < pages / 2, `${found.size} of ${pages}`)
  else t.equal(found.size, pages, 'all of them where the host does not tell')
})

t.test(
  'pages that show a file are found although nobody has looked at them',
  {skip: !canReachHostMemory()},
  async t => {
    const folder = mkdtempSync(join(tmpdir(), 'gastwirt-test-'))
    t.teardown(() => rmSync(folder, {recursive: true, force: true}))
    const path = join(folder, 'pages')
    writeFileSync(path, Buffer.alloc(4096 * 1000, 7))
    const fd = openSync(path, 'r')
    // Across two pieces.
    t.ok(hostMemory(memory).mapFile(fd, 0, 7800 * 4096, 1000 * 4096))
    closeSync(fd)
    const found = touchedPages()
    const missing = Array.from({length: 1000}, (_, index) => 7800 + index).filter(page => !found.has(page))
    t.strictSame(missing, [])
    t.notOk(found.has(7799) || found.has(8800), 'and no more')
  },
)
