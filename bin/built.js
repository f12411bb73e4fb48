/**
 * Where the built form of a program is. There are two: dist/bundle, one script for each program, which loads twice as fast, and dist/lib, what the
 * compiler makes of each source. The bundle is made last; when it is the older one, somebody has compiled without it.
 *
 * Like the bundle, this folder holds CommonJS modules: Node.js starts sooner without its loader of the others.
 */
const {statSync} = require('node:fs')
const {join} = require('node:path')
const {pathToFileURL} = require('node:url')

const file = (form, name) => join(__dirname, '../dist', form, `${name}.js`)
const madeAt = path => statSync(path, {throwIfNoEntry: false})?.mtimeMs

/** Runs the newest built form of lib/<name>.ts; says so, and is false, before the first build. */
exports.run = name => {
  const [bundle, lib] = [file('bundle', name), file('lib', name)]
  const [bundleMs, libMs] = [madeAt(bundle), madeAt(lib)]
  if (bundleMs !== undefined && !(bundleMs < libMs)) require(bundle)
  else if (libMs !== undefined) import(pathToFileURL(lib))
  else {
    console.error('xl: the project is not built yet\nhint: npm ci && npm run build')
    process.exitCode = 3
    return false
  }
  return true
}
