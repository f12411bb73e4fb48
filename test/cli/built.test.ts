/** Which built form bin/xl runs: the bundle, unless the compiler has run since. */
import {spawnSync} from 'node:child_process'
import {copyFileSync, mkdirSync, utimesSync, writeFileSync} from 'node:fs'
import {dirname, join} from 'node:path'
import {fileURLToPath} from 'node:url'
import t from 'tap'

const folder = fileURLToPath(new URL('../../../bin/', import.meta.url))

t.test('the newer form', async t => {
  const root = t.testdir({bin: {}, dist: {bundle: {}}, 'package.json': '{"type": "module"}'})
  for (const file of ['built.js', 'package.json']) copyFileSync(join(folder, file), join(root, 'bin', file))
  copyFileSync(join(folder, 'package.json'), join(root, 'dist/bundle/package.json'))
  const program = `console.log(require(${JSON.stringify(join(root, 'bin/built.js'))}).run('cli/xl'))`
  const run = () => spawnSync(process.execPath, ['-e', program], {encoding: 'utf8', env: {}})
  const ran = () => run().stdout.trim().split('\n')
  const make = (name: string, seconds: number): void => {
    const path = join(root, 'dist', name, 'cli/xl.js')
    mkdirSync(dirname(path), {recursive: true})
    writeFileSync(path, `console.log('${name}')`)
    utimesSync(path, seconds, seconds)
  }
  t.strictSame(ran(), ['false'], 'nothing is built')
  t.match(run(), {status: 3, stderr: /^xl: the project is not built yet\nhint: npm ci && npm run build\n$/})
  make('lib', 100)
  t.strictSame(ran(), ['true', 'lib'], 'compiled only')
  make('bundle', 101)
  t.strictSame(ran(), ['bundle', 'true'])
  make('lib', 102)
  t.strictSame(ran(), ['true', 'lib'], 'compiled since')
  make('bundle', 102)
  t.strictSame(ran(), ['bundle', 'true'], 'an installed package, whose files have one date')
})
