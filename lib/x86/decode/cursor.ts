/**
 * The bytes of one instruction, read from front to back. Whoever reads checks first that `at` stays below `end`; `more` says what it means
 * when it does not.
 *
 * Source: SDM vol. 2A 2.3.11 (no instruction is longer than 15 bytes).
 */
import type {DecodeFailure} from './instruction-record.js'

const longestInstruction = 15

export class Cursor {
  protected bytes: Uint8Array = new Uint8Array(0)
  protected at = 0
  protected end = 0
  /** The bytes given may end before the instruction does. */
  private short = false

  protected open(bytes: Uint8Array, offset: number): void {
    this.bytes = bytes
    this.at = offset
    this.end = Math.min(bytes.length, offset + longestInstruction)
    this.short = bytes.length - offset < longestInstruction
  }

  /** Why there is no next byte. */
  protected more(): DecodeFailure {
    return this.short ? 'more-bytes' : 'too-long'
  }

  /** The next 0, 1, 2 or 4 bytes, sign-extended; there are enough. */
  protected signed(count: number): number {
    const {bytes, at} = this
    this.at += count
    if (count === 0) return 0
    if (count === 1) return (bytes[at] << 24) >> 24
    if (count === 2) return ((bytes[at] | (bytes[at + 1] << 8)) << 16) >> 16
    return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)
  }

  /** The next 8 bytes as a signed number, exact or a bigint. */
  protected signed64(): number | bigint {
    const low = this.signed(4) >>> 0
    const high = this.signed(4)
    const value = high * 2 ** 32 + low
    return Number.isSafeInteger(value) ? value : (BigInt(high) << 32n) | BigInt(low)
  }
}
