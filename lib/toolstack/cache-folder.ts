/** Where xl keeps what it can make or fetch again. */
import {homedir} from 'node:os'
import {isAbsolute, join} from 'node:path'

/** $XDG_CACHE_HOME/gastwirt, by default ~/.cache/gastwirt. It may not exist yet. */
export function cacheFolder(environment: Readonly<Record<string, string | undefined>>): string {
  const base = environment.XDG_CACHE_HOME
  // The XDG specification says to ignore a relative path.
  if (base !== undefined && isAbsolute(base)) return join(base, 'gastwirt')
  return join(environment.HOME || homedir(), '.cache', 'gastwirt')
}
