/** Which built form bin/xl runs: the bundle, unless the compiler has run since. */
import {copyFileSync, mkdirSync, utimesSync, writeFileSync} from 'node:fs'
import {dirname, join} from 'node:path'
import {fileURLToPath, pathToFileURL} from 'node:url'
import t from 'tap'

const source = fileURLToPath(new URL('../../../bin/built.js', import.meta.url))

t.test('the newer form', async t => {
  const root = t.testdir({bin: {}, 'package.json': '{"type": "module"}'})
  copyFileSync(source, join(root, 'bin/built.js'))
  const {built} = await import(pathToFileURL(join(root, 'bin/built.js')).href)
  const form = (): string | undefined => /dist\/(\w+)\/cli\/xl\.js$/.exec(built('cli/xl') ?? '')?.[1]
  const make = (name: string, seconds: number): void => {
    const path = join(root, 'dist', name, 'cli/xl.js')
    mkdirSync(dirname(path), {recursive: true})
    writeFileSync(path, '')
    utimesSync(path, seconds, seconds)
  }
  t.equal(form(), undefined, 'nothing is built')
  make('lib', 100)
  t.equal(form(), 'lib', 'compiled only')
  make('bundle', 101)
  t.equal(form(), 'bundle')
  make('lib', 102)
  t.equal(form(), 'lib', 'compiled since')
  make('bundle', 102)
  t.equal(form(), 'bundle', 'an installed package, whose files have one date')
})
