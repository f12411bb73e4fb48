/**
 * Makes dist/bundle of lib/: the same programs in few files, because loading a module takes Node.js longer than running it does. Each
 * thread of a domain gets a file of its own, the vCPU's also its core module and the interpreter's handlers for common instructions; xl and
 * the domain's main thread have further ones for what they load when they need it.
 *
 * Rule of use: after the compiler (`npm run build`), which checks what is only stripped here. Folders are as deep as those of dist/lib, so
 * that a URL relative to a module leads to the same place from either.
 */
import {rmSync, writeFileSync} from 'node:fs'
import {build} from 'esbuild'
import {layoutFor} from '../dist/lib/hypervisor/layout.js'
import {coreModule} from '../dist/lib/x86/core.js'
import {commonHandlers} from '../dist/lib/x86/handlers.js'

const programs = [['cli/program', 'cli/start'], ['domain/main'], ['domain/vcpu-worker'], ['domain/translator-worker']]

rmSync('dist/bundle', {recursive: true, force: true})
for (const names of programs) {
  await build({
    entryPoints: names.map(name => `lib/${name}.ts`),
    bundle: true,
    splitting: true,
    packages: 'external',
    platform: 'node',
    target: 'node20',
    format: 'esm',
    outbase: 'lib',
    outdir: 'dist/bundle',
    // Comments are text that every thread would hold in memory, at two bytes a letter where one is not Latin.
    minifyWhitespace: true,
    chunkNames: 'chunks/[name]-[hash]',
    logLevel: 'warning',
  })
}
writeFileSync('dist/bundle/domain/handlers.wasm', commonHandlers())
const {vcpuBase} = layoutFor(1, 1)
writeFileSync(`dist/bundle/domain/core-${vcpuBase.toString(16)}.wasm`, coreModule(vcpuBase))
