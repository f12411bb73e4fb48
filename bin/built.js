/**
 * Where the built form of a program is. There are two: dist/bundle, a few files that load three times as fast, and dist/lib, what the
 * compiler makes of each source. The bundle is made last; when it is the older one, somebody has compiled without it.
 */
import {statSync} from 'node:fs'

const url = (form, name) => new URL(`../dist/${form}/${name}.js`, import.meta.url)
const madeAt = file => statSync(file, {throwIfNoEntry: false})?.mtimeMs

/** The URL of lib/<name>.ts in its newest built form; undefined before the first build. */
export function built(name) {
  const [bundle, lib] = [url('bundle', name), url('lib', name)]
  const [bundleMs, libMs] = [madeAt(bundle), madeAt(lib)]
  if (bundleMs !== undefined && !(bundleMs < libMs)) return bundle.href
  return libMs === undefined ? undefined : lib.href
}
