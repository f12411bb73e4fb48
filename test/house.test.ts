/**
 * The rules of our house, checked on the sources: layers, length, and the essay that opens every file. A layer may import from lower
 * ones and from its own folder; folders of one layer do not know each other.
 */
import {readdirSync, readFileSync} from 'node:fs'
import {dirname, join, relative, resolve} from 'node:path'
import {fileURLToPath} from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../../', import.meta.url))
const lib = join(root, 'lib')

/** Folder below lib → its layer. */
const layers: Record<string, number> = {
  base: 0,
  wasm: 1,
  abi: 1,
  control: 1,
  x86: 2,
  xenstore: 2,
  hypervisor: 3,
  pv: 3,
  migration: 4,
  toolstack: 5,
  domain: 5,
  cli: 6,
}

const longestFile = 450

function sources(folder: string): string[] {
  return readdirSync(folder, {withFileTypes: true, recursive: true})
    .filter(entry => entry.isFile() && entry.name.endsWith('.ts'))
    .map(entry => join(entry.parentPath, entry.name))
    .sort()
}

const files = sources(lib).map(path => {
  const text = readFileSync(path, 'utf8')
  const imports = [...text.matchAll(/(?:from|import\()\s*'([^']+)'/g)].map(match => match[1])
  return {path: relative(root, path), folder: relative(lib, path).split('/')[0], text, imports}
})

/** The files that a file imports from our own tree. */
function ownImports(file: (typeof files)[number]): string[] {
  return file.imports
    .filter(name => name.startsWith('.'))
    .map(name => relative(root, resolve(root, dirname(file.path), name)).replace(/\.js$/, '.ts'))
}

const byPath = new Map(files.map(file => [file.path, file]))

/** All that is reached from the files of a folder. */
function reach(folder: string): Set<string> {
  const seen = new Set(files.filter(file => file.folder === folder).map(file => file.path))
  for (const path of seen) {
    const file = byPath.get(path)
    if (file !== undefined) for (const next of ownImports(file)) seen.add(next)
  }
  return seen
}

t.test('every folder has its layer', async t => {
  for (const {path, folder} of files) t.ok(folder in layers, path)
})

t.test('imports go down, or stay in the folder', async t => {
  for (const file of files) {
    for (const target of ownImports(file)) {
      const folder = target.split('/')[1]
      const down = target.startsWith('lib/') && layers[folder] < layers[file.folder]
      t.ok(down || folder === file.folder, `${file.path} imports ${target}`)
      t.ok(byPath.has(target), `${target} exists`)
    }
  }
})

t.test('xl does not load a CPU', async t => {
  for (const folder of ['cli', 'toolstack', 'control']) {
    for (const path of reach(folder)) {
      t.notMatch(path, /^lib\/(x86|wasm|hypervisor|pv|xenstore|migration|domain)\//, `${folder} reaches ${path}`)
    }
  }
})

t.test('abi is data, x86 knows no Xen, wasm knows no x86', async t => {
  for (const file of files) {
    const nodeModules = file.imports.filter(name => name.startsWith('node:'))
    if (file.folder === 'abi') t.strictSame(nodeModules, [], `${file.path} does no I/O`)
    if (file.folder === 'x86')
      t.notOk(
        ownImports(file).some(path => path.startsWith('lib/abi/')),
        file.path,
      )
    if (file.folder === 'wasm') t.notMatch(file.text, /\bx86\b/i, `${file.path} does not mention it`)
    // The engine is to run in a browser too.
    if (/^(base|wasm|x86|hypervisor|xenstore)$/.test(file.folder))
      t.strictSame(nodeModules, [], `${file.path} needs no Node`)
  }
})

t.test('inside x86: registers, exceptions <- ir <- semantics <- decode <- interpret, jit <- vcpu', async t => {
  const rank = (path: string): number | undefined => {
    const folder = path.split('/')[2]
    return {ir: 1, semantics: 2, decode: 3, jit: 4}[folder]
  }
  for (const file of files.filter(({folder}) => folder === 'x86')) {
    const own = rank(file.path)
    if (own === undefined) continue
    for (const target of ownImports(file)) {
      const other = rank(target)
      if (other !== undefined) t.ok(other <= own, `${file.path} imports ${target}`)
      t.notMatch(target, /^lib\/x86\/vcpu\.ts$/, `${file.path} does not know the run loop`)
    }
  }
})

t.test('files are short and open with their essay', async t => {
  for (const {path, text} of files) {
    const lines = text.split('\n').length - 1
    t.ok(lines <= longestFile, `${path} has ${lines} lines`)
    t.match(text, /^\/\*\*/, `${path} opens with its essay`)
  }
})
