/**
 * Files that an xl of the past has written (golden/, packed with gzip) must be read for ever. Each holds a checking guest (support/checking-guest.ts) of
 * 5 MiB in the middle of its work. They are never written anew: a stream of another version gets files of its own beside them.
 */
import {readdirSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {gunzipSync} from 'node:zlib'
import t from 'tap'
import {readSaveHead} from '../../../lib/control/save-file.js'
import {isUnbroken} from '../../support/checking-guest.js'
import {realXl, TestHost, until} from '../../support/xl.js'

t.setTimeout(120_000)

const folder = fileURLToPath(new URL('../../../../test/domain/stream/golden/', import.meta.url))
const files = readdirSync(folder)
t.strictSame(
  files,
  [1, 2].flatMap(version => [`version-${version}-zstd.save.gz`, `version-${version}.save.gz`]),
)

for (const file of files) {
  t.test(file, async t => {
    const bytes = gunzipSync(readFileSync(join(folder, file)))
    let at = 0
    const head = await readSaveHead(async count => {
      at += count
      return bytes.subarray(at - count, at)
    })
    t.match(head.config, {name: 'golden', uuid: '5f0a9a5c-1d0e-4a0f-8f0e-0123456789ab', memoryKb: 5 * 1024})
    const host = new TestHost(realXl)
    t.teardown(() => host.close())
    t.match(await host.xl(['restore', host.file('golden.save', bytes)]), {status: 0, stdout: ''})
    const letters = () => host.printed('golden')
    await until(() => letters().length > 100 || host.directory.list().length === 0)
    t.ok(letters().length > 100, 'the guest goes on')
    t.ok(isUnbroken(letters()), 'with every page as it was')
  })
}
