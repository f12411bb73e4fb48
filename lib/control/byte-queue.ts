/**
 * A queue of bytes in the pieces they came in, with constant-time work per piece at both ends however long it grows.
 */

const compactAfter = 1024

/** First in, first out. Pieces are kept, not copied. */
export class ByteQueue {
  private pieces: Uint8Array[] = []
  private head = 0
  private bytes = 0

  /** How many bytes are in it. */
  get size(): number {
    return this.bytes
  }

  /** Adds at the end. */
  push(piece: Uint8Array): void {
    if (piece.length === 0) return
    this.pieces.push(piece)
    this.bytes += piece.length
  }

  /** Removes the oldest bytes, up to `limit`, and returns them. */
  take(limit: number): Uint8Array {
    const taken: Uint8Array[] = []
    let room = Math.min(limit, this.bytes)
    while (room > 0) {
      const piece = this.pieces[this.head]
      if (piece.length > room) {
        taken.push(piece.subarray(0, room))
        this.pieces[this.head] = piece.subarray(room)
        this.bytes -= room
        break
      }
      taken.push(piece)
      room -= piece.length
      this.dropPiece()
    }
    return taken.length === 1 ? taken[0] : Buffer.concat(taken)
  }

  /** Drops whole pieces from the front while more than `limit` bytes are in it, but never the last; returns how many bytes went. */
  trim(limit: number): number {
    const before = this.bytes
    while (this.bytes > limit && this.head < this.pieces.length - 1) this.dropPiece()
    return before - this.bytes
  }

  /** A copy of everything in it. */
  toBytes(): Uint8Array {
    return Buffer.concat(this.pieces.slice(this.head))
  }

  private dropPiece(): void {
    this.bytes -= this.pieces[this.head].length
    this.head++
    if (this.head < compactAfter || this.head * 2 < this.pieces.length) return
    this.pieces = this.pieces.slice(this.head)
    this.head = 0
  }
}
