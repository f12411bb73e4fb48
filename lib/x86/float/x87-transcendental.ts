/** Transcendental x87 instructions. */
import type {X87Registers} from './x87-registers.js'
export function transcendental(_r: X87Registers, _modrm: number): void {}
