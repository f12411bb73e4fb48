/**
 * Makes dist/bundle of lib/: each program as one script, because loading a module takes Node.js longer than running it does, with what V8 makes
 * of its text (cached-script.js); beside the vCPU's its core module and the interpreter's handlers for common instructions.
 *
 * Rule of use: after the compiler (`npm run build`), which checks what is only stripped here. Folders are as deep as those of dist/lib, so
 * that a URL relative to a module leads to the same place from either. What is called as a script cannot `import` a package that has no CommonJS
 * form (chalk, execa, ora) at its head on every Node.js: it is imported where it is used.
 */
import {spawnSync} from 'node:child_process'
import {copyFileSync, existsSync, mkdirSync, realpathSync, rmSync, writeFileSync} from 'node:fs'
import {delimiter, dirname, join} from 'node:path'
import {build} from 'esbuild'
import {layoutFor} from '../dist/lib/hypervisor/layout.js'
import {domainRuntime} from '../dist/lib/toolstack/runtime.js'
import {coreModule} from '../dist/lib/x86/core.js'
import {commonHandlers} from '../dist/lib/x86/handlers.js'

/** The engines that may run a program: this one, that of domains, and the one that xl finds, for which npm's scripts have another. */
const outside = (process.env.PATH ?? '')
  .split(delimiter)
  .filter(folder => !folder.includes('node_modules'))
  .map(folder => join(folder, 'node'))
  .filter(path => existsSync(path))
const found = [process.execPath, domainRuntime({...process.env, GASTWIRT_RUNTIME: ''}), ...outside.slice(0, 1)]
const runtimes = new Set(found.map(path => realpathSync(path)))
const rehearsal = {env: {...process.env, GASTWIRT_KEEP_CODE: '1'}}

const programs = ['cli/xl', 'cli/npm-start', 'domain/main', 'domain/vcpu-worker', 'domain/translator-worker']

rmSync('dist/bundle', {recursive: true, force: true})
mkdirSync('dist/bundle', {recursive: true})
copyFileSync('bin/package.json', 'dist/bundle/package.json')
for (const name of programs) {
  const {outputFiles} = await build({
    entryPoints: [`lib/${name}.ts`],
    write: false,
    bundle: true,
    packages: 'external',
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    define: {'import.meta.url': 'scriptUrl'},
    banner: {js: '(function(exports,require,module,scriptUrl,importPackage){'},
    footer: {js: '})'},
    // Comments are text that every thread would hold in memory.
    minifyWhitespace: true,
    logLevel: 'warning',
  })
  mkdirSync(dirname(`dist/bundle/${name}`), {recursive: true})
  // A script's own import() is forgotten in V8's form of it.
  writeFileSync(`dist/bundle/${name}.cjs`, outputFiles[0].text.replaceAll(/\bimport\((?=")/g, 'importPackage('))
  copyFileSync('bin/cached-script.js', `dist/bundle/${name}.js`)
  if (name === 'cli/npm-start') continue
  // Alone, a domain's programs have nothing to do and end by an error, but they have loaded all their modules by then.
  for (const runtime of runtimes) spawnSync(runtime, [`dist/bundle/${name}.js`, 'help'], rehearsal)
}
writeFileSync('dist/bundle/domain/handlers.wasm', commonHandlers())
const {vcpuBase} = layoutFor(1, 1)
writeFileSync(`dist/bundle/domain/core-${vcpuBase.toString(16)}.wasm`, coreModule(vcpuBase))
