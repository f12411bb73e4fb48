/**
 * The Node.js that domain processes run on works, and GASTWIRT_RUNTIME=own keeps to the caller's.
 */
import {spawnSync} from 'node:child_process'
import t from 'tap'
import {domainRuntime} from '../../lib/toolstack/runtime.js'

t.equal(domainRuntime({GASTWIRT_RUNTIME: 'own'}), process.execPath)
const version = spawnSync(domainRuntime({}), ['-p', 'process.versions.node'], {encoding: 'utf8'}).stdout
t.ok(Number.parseInt(version, 10) >= Number.parseInt(process.versions.node, 10), 'never older than the one that asks')
t.throws(() => domainRuntime({GASTWIRT_RUNTIME: 'node20'}), {
  message: 'GASTWIRT_RUNTIME is "node20": it can be "own" or not be there',
})
