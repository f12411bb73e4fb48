/**
 * Runs the script that stands beside this file under the same name with .cjs, with what V8 made of its text when the project was built
 * (bin/bundle.mjs), which saves a thread half of the time it takes to load. Copied to dist/bundle once for each program. Where V8's form is
 * another engine's or missing, the text does.
 *
 * With GASTWIRT_KEEP_CODE the form is written when the process ends: of what has run by then.
 */
const {readFileSync, writeFileSync} = require('node:fs')
const {pathToFileURL} = require('node:url')
const {Script} = require('node:vm')

const filename = __filename.replace(/js$/, 'cjs')
const codePath = `${filename}.${process.versions.v8}`

function readCode() {
  try {
    return readFileSync(codePath)
  } catch {
    return undefined
  }
}

const cachedData = readCode()
const script = new Script(readFileSync(filename, 'latin1'), {filename, ...(cachedData && {cachedData})})
if (process.env.GASTWIRT_KEEP_CODE) process.on('exit', () => writeFileSync(codePath, script.createCachedData()))
script.runInThisContext()(exports, require, module, pathToFileURL(__filename).href, name => import(name))
