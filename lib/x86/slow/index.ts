/**
 * All slow paths by name; generated code calls them by their number in this list.
 */
import {arithmeticPaths} from './arithmetic.js'
import {fpuPaths} from './fpu.js'
import type {SlowPath} from './operand.js'
import {segmentPaths} from './segments.js'
import {stackPaths} from './stack.js'
import {stringPaths} from './strings.js'
import {systemPaths} from './system.js'

const byName: Record<string, SlowPath> = {
  ...arithmeticPaths,
  ...segmentPaths,
  ...stackPaths,
  ...fpuPaths,
  ...stringPaths,
  ...systemPaths,
}

export const slowPathNames: string[] = Object.keys(byName)
export const slowPaths: SlowPath[] = Object.values(byName)
